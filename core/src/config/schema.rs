//! `syncline.schema.json`: the keys of `syncline.toml` for editors.

use serde_json::{Map, Value as Json, json};

use super::keys::{FILE, Key, Kind};

/// Returns the JSON Schema of `syncline.toml`.
pub fn json_schema() -> Json {
    let mut schema = section(FILE);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("syncline.toml");
    schema
}

fn section(keys: &[Key]) -> Json {
    let properties: Map<String, Json> = keys
        .iter()
        .map(|key| {
            let mut schema = of_kind(&key.kind);
            schema["description"] = json!(key.doc);
            (key.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn of_kind(kind: &Kind) -> Json {
    match kind {
        Kind::Text => json!({"type": "string", "minLength": 1}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Whole(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Kind::OneOf(words) => json!({"enum": words}),
        Kind::Secret => {
            json!({"type": "string", "pattern": "^(env|secretsmanager|ssm|file):.+"})
        }
        Kind::Section(keys) => section(keys),
        Kind::Named(keys) => json!({
            "type": "object",
            "additionalProperties": section(keys),
            "minProperties": 1,
        }),
        Kind::List(keys) => json!({"type": "array", "items": section(keys)}),
    }
}
