//! `syncline.schema.json`: the keys of `syncline.toml` for editors.

use serde_json::{Map, Value as Json};

use super::keys::{FILE, Key, Kind};

/// Returns the JSON Schema of `syncline.toml`.
pub fn json_schema() -> Json {
    let mut schema = section(FILE);
    let draft = "https://json-schema.org/draft/2020-12/schema";
    schema.insert("$schema".to_owned(), Json::from(draft));
    schema.insert("title".to_owned(), Json::from("syncline.toml"));
    Json::Object(schema)
}

fn section(keys: &[Key]) -> Map<String, Json> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys {
        let mut schema = of_kind(&key.kind);
        schema.insert("description".to_owned(), Json::from(key.doc));
        properties.insert(key.name.to_owned(), Json::Object(schema));
        if key.required {
            required.push(Json::from(key.name));
        }
    }
    schema([
        ("type", Json::from("object")),
        ("properties", Json::Object(properties)),
        ("required", Json::Array(required)),
        ("additionalProperties", Json::Bool(false)),
    ])
}

fn of_kind(kind: &Kind) -> Map<String, Json> {
    match kind {
        Kind::Text => schema([
            ("type", Json::from("string")),
            ("minLength", Json::from(1_u32)),
        ]),
        Kind::Flag => schema([("type", Json::from("boolean"))]),
        Kind::Whole(least, most) => schema([
            ("type", Json::from("integer")),
            ("minimum", Json::from(*least)),
            ("maximum", Json::from(*most)),
        ]),
        Kind::OneOf(words) => {
            let words = words.iter().map(|word| Json::from(*word));
            schema([("enum", Json::Array(words.collect()))])
        }
        Kind::Secret => schema([
            ("type", Json::from("string")),
            ("pattern", Json::from("^(env|secretsmanager|ssm|file):.+")),
        ]),
        Kind::Fence => schema([
            ("type", Json::from("string")),
            ("pattern", Json::from("^(ssm|file):.+")),
        ]),
        Kind::Section(keys) => section(keys),
        Kind::Named(keys) => schema([
            ("type", Json::from("object")),
            ("additionalProperties", Json::Object(section(keys))),
            ("minProperties", Json::from(1_u32)),
        ]),
        Kind::List(keys) => schema([
            ("type", Json::from("array")),
            ("items", Json::Object(section(keys))),
        ]),
    }
}

fn schema<const MEMBERS: usize>(members: [(&str, Json); MEMBERS]) -> Map<String, Json> {
    let mut schema = Map::new();
    for (name, member) in members {
        schema.insert(name.to_owned(), member);
    }
    schema
}
