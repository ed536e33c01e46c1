//! Parses `syncline.toml` into a [`Config`], or reports all of its mistakes.
//!
//! First every key is checked against the tables of keys. Then each part is read and checked by its own
//! rules. A part with a mistake is skipped, so that the rest is still checked.

use std::collections::BTreeMap;

use toml::de::DeTable;

use crate::model::hash::canonical_hash;
use crate::model::ids::{ColumnName, FieldName, ObjectName, RelationName, TableName, TenantId};

use super::keys::FILE;
use super::mistake::ConfigError;
use super::read::{FENCE_FIX, Reader, SECRET_FIX, Section, Text, below, item_path};
use super::{
    AuthFlow, BudgetConfig, CaptureMode, Config, ConflictPolicy, DeleteMode, DeleteOnEdit, Deletes,
    Direction, DuplicateRules, ExternalId, FenceRef, FieldSync, LaneThresholds, ObjectSync,
    OnFilterExit, Owner, PostgresConfig, SalesforceConfig, SecretRef, Seed, TenantConfig, rules,
};

/// The global Pub/Sub endpoint (Pub/Sub API guide, "Endpoints").
const PUBSUB_URL: &str = "https://api.pubsub.salesforce.com:7443";

const API_VERSION: &str = "68.0";

/// Connections of one instance: for capture, apply and a running poll, and one more.
const CONNECTIONS_MAX: u32 = 4;

impl Config {
    /// Parses a configuration in TOML.
    ///
    /// Fails with all mistakes, not only the first, each with its line and its fix.
    ///
    /// ```
    /// let error = syncline_planner::config::Config::parse("[tenant.acme]\ncapturr = \"poll\"").unwrap_err();
    /// assert_eq!(
    ///     error.mistakes[0].to_string(),
    ///     "line 1: tenant.acme.postgres: this key is missing; add it: Where the database is",
    /// );
    /// assert_eq!(error.mistakes[2].line, 2);
    /// assert_eq!(error.mistakes[2].fix, "did you mean `capture`?");
    /// ```
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader::new(text);
        reader.syntax_errors(&errors);
        let mut tenants = BTreeMap::new();
        if errors.is_empty() {
            let file = Section::of(root.get_ref());
            reader.check("", file, FILE);
            for (name, section) in file.named("tenant") {
                if let Some(tenant) = read_tenant(&mut reader, name, section) {
                    tenants.insert(tenant.tenant.clone(), tenant);
                }
            }
        }
        if reader.mistakes.is_empty() {
            return Ok(Self { tenants });
        }
        let mut mistakes = reader.mistakes;
        mistakes.sort_unstable();
        mistakes.dedup();
        Err(ConfigError { mistakes })
    }
}

fn read_tenant(
    reader: &mut Reader<'_>,
    name: Text<'_>,
    section: Section<'_>,
) -> Option<TenantConfig> {
    let path = below("tenant", name.text);
    let tenant = parsed(reader, &path, Some(name), TenantId::parse);
    let salesforce = section
        .section("salesforce")
        .and_then(|part| read_salesforce(reader, &below(&path, "salesforce"), part));
    let postgres = section
        .section("postgres")
        .and_then(|part| read_postgres(reader, &below(&path, "postgres"), part));
    let api_version = section.text("api_version");
    if let Some(version) = api_version.filter(|version| !is_api_version(version.text)) {
        let path = below(&path, "api_version");
        let fix = match likely_version(version.text) {
            Some(likely) => format!("write it as \"{likely}\""),
            None => format!("write it as two digits and \".0\", such as \"{API_VERSION}\""),
        };
        reader.mistake(version.at, &path, "it is not an API version", fix);
    }
    let schema = postgres
        .as_ref()
        .map_or("public", |postgres| &postgres.schema);
    let list = below(&path, "object");
    let objects: Vec<(Section<'_>, ObjectSync)> = section
        .list("object")
        .into_iter()
        .enumerate()
        .filter_map(|(place, part)| {
            let path = item_path(&list, place, part);
            Some((part, read_object(reader, &path, part, schema)?))
        })
        .collect();
    let declared = section.list("object");
    let declared: Vec<&str> = declared
        .iter()
        .filter_map(|part| part.text("object").map(|object| object.text))
        .collect();
    rules::check_objects(reader, &list, &declared, &objects);
    let mut tenant = TenantConfig {
        tenant: tenant?,
        salesforce: salesforce?,
        postgres: postgres?,
        api_version: api_version
            .map_or(API_VERSION, |version| version.text)
            .to_owned(),
        capture: word(section, "capture", CaptureMode::Pubsub),
        fence: read_fence(reader, &path, section),
        budget: read_budget(section),
        objects: rules::parents_first(objects.into_iter().map(|(_, object)| object).collect()),
        config_hash: String::new(),
    };
    let json = serde_json::to_value(&tenant).expect("a configuration is JSON");
    tenant.config_hash = canonical_hash(&json);
    Some(tenant)
}

fn read_budget(section: Section<'_>) -> BudgetConfig {
    let budget = section.section("budget");
    let reserve = budget.and_then(|budget| budget.whole("reserve"));
    reserve.map_or_else(BudgetConfig::default, |reserve| BudgetConfig { reserve })
}

fn read_fence(reader: &mut Reader<'_>, path: &str, section: Section<'_>) -> Option<FenceRef> {
    let text = section.text("fence")?;
    let fence = FenceRef::parse(text.text);
    if fence.is_none() {
        reader.mistake(
            text.at,
            &below(path, "fence"),
            "it is not the address of a fence",
            FENCE_FIX,
        );
    }
    fence
}

fn is_api_version(text: &str) -> bool {
    text.split_once('.').is_some_and(|(number, rest)| {
        rest == "0" && number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// Returns the version that `v62`, `62` or `62.00` stands for.
fn likely_version(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    let (number, rest) = text.split_once('.').unwrap_or((text, ""));
    let likely = format!("{number}.0");
    (rest.bytes().all(|b| b == b'0') && is_api_version(&likely)).then_some(likely)
}

fn read_salesforce(
    reader: &mut Reader<'_>,
    path: &str,
    section: Section<'_>,
) -> Option<SalesforceConfig> {
    let login_url = read_url(reader, path, section, "login_url");
    if let (Some(url), Some(text)) = (&login_url, section.text("login_url"))
        && let Some(origin) = origin_of_longer(url)
    {
        let fix = format!("write only \"{origin}\"");
        reader.mistake(text.at, &below(path, "login_url"), "it has a path", fix);
    }
    let pubsub_url = match section.text("pubsub_url") {
        Some(_) => read_url(reader, path, section, "pubsub_url"),
        None => Some(PUBSUB_URL.to_owned()),
    };
    let username = section.text("username");
    let auth = match (section.text("auth").map(|auth| auth.text), username) {
        (Some("jwt"), Some(username)) => Some(AuthFlow::Jwt {
            username: username.text.to_owned(),
        }),
        (Some("jwt"), None) => {
            let path = below(path, "username");
            let fix = "add the Salesforce user name to act as";
            reader.mistake(section.place("auth"), &path, "auth = \"jwt\" needs it", fix);
            None
        }
        (Some("client_credentials"), None) => Some(AuthFlow::ClientCredentials),
        (Some("client_credentials"), Some(username)) => {
            let problem = "with client_credentials the app itself defines the user";
            let fix = "remove it, or write auth = \"jwt\"";
            reader.mistake(username.at, &below(path, "username"), problem, fix);
            None
        }
        (Some(_) | None, _) => None,
    };
    let secret = read_secret(reader, path, section, "secret");
    Some(SalesforceConfig {
        login_url: login_url?,
        pubsub_url: pubsub_url?,
        client_id: section.text("client_id")?.text.to_owned(),
        auth: auth?,
        secret: secret?,
    })
}

fn read_postgres(
    reader: &mut Reader<'_>,
    path: &str,
    section: Section<'_>,
) -> Option<PostgresConfig> {
    let url = read_secret(reader, path, section, "url");
    let schema = match section.text("schema") {
        Some(text) => parsed(
            reader,
            &below(path, "schema"),
            Some(text),
            RelationName::parse,
        ),
        None => RelationName::parse("public").ok(),
    };
    Some(PostgresConfig {
        url: url?,
        schema: schema?.to_string(),
        statement_cache: section.flag("statement_cache").unwrap_or(true),
        connections_max: section.whole("connections_max").unwrap_or(CONNECTIONS_MAX),
    })
}

/// Reads a URL. It must use TLS, unless it points to this machine.
fn read_url(
    reader: &mut Reader<'_>,
    path: &str,
    section: Section<'_>,
    key: &str,
) -> Option<String> {
    let url = section.text(key)?;
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
        .iter()
        .filter_map(|local| url.text.strip_prefix(local))
        .any(|rest| rest.is_empty() || rest.starts_with([':', '/']));
    let secure = url
        .text
        .strip_prefix("https://")
        .is_some_and(|host| !host.is_empty());
    if local || secure {
        return Some(url.text.trim_end_matches('/').to_owned());
    }
    let fix = "write an https:// URL (http:// only to this machine)";
    reader.mistake(url.at, &below(path, key), "it is not a safe URL", fix);
    None
}

/// Returns scheme and host of a URL that goes on after them.
fn origin_of_longer(url: &str) -> Option<&str> {
    let host = url.find("://")? + "://".len();
    let end = url[host..].find(['/', '?', '#'])?;
    Some(&url[..host + end])
}

/// Reads the address of a secret. A mistake never quotes the text: it may be the secret itself.
fn read_secret(
    reader: &mut Reader<'_>,
    path: &str,
    section: Section<'_>,
    key: &str,
) -> Option<SecretRef> {
    let text = section.text(key)?;
    let secret = SecretRef::parse(text.text);
    if secret.is_none() {
        let problem = "it is not the address of a secret; this file must not contain secrets";
        reader.mistake(text.at, &below(path, key), problem, SECRET_FIX);
    }
    secret
}

fn read_object(
    reader: &mut Reader<'_>,
    path: &str,
    section: Section<'_>,
    schema: &str,
) -> Option<ObjectSync> {
    let object = parsed(
        reader,
        &below(path, "object"),
        section.text("object"),
        ObjectName::parse,
    );
    let table = read_table(reader, &below(path, "table"), section.text("table"), schema);
    let external_id = section
        .section("external_id")
        .and_then(|part| read_external_id(reader, &below(path, "external_id"), part));
    let deletes = match section.section("deletes") {
        Some(part) => read_deletes(reader, &below(path, "deletes"), part),
        None => Some(Deletes::default()),
    };
    let defaults = LaneThresholds::default();
    let lanes = section.section("lanes").map_or(defaults, |part| {
        let lane = |key, default| part.whole(key).map_or(default, |number| number as usize);
        LaneThresholds {
            rest_max_batch_size: lane("rest_max", defaults.rest_max_batch_size),
            bulk_min_batch_size: lane("bulk_min", defaults.bulk_min_batch_size),
        }
    });
    let fields = read_fields(reader, &below(path, "fields"), section);
    let object = ObjectSync {
        object: object?,
        table: table?,
        external_id: external_id?,
        direction: word(section, "direction", Direction::Both),
        conflicts: word(section, "conflicts", ConflictPolicy::ManualReview),
        seed: word(section, "seed", Seed::Refuse),
        deletes: deletes?,
        lanes,
        filter: section.text("where").map(|filter| filter.text.to_owned()),
        on_filter_exit: word(section, "on_filter_exit", OnFilterExit::Keep),
        auto_assign: section.flag("auto_assign").unwrap_or(false),
        duplicate_rules: word(section, "duplicate_rules", DuplicateRules::Enforce),
        fields,
    };
    rules::check_object(reader, path, section, &object);
    Some(object)
}

fn read_table(
    reader: &mut Reader<'_>,
    path: &str,
    text: Option<Text<'_>>,
    schema: &str,
) -> Option<TableName> {
    let text = text?;
    let (schema, table) = text.text.split_once('.').unwrap_or((schema, text.text));
    let part = |part| {
        Some(Text {
            text: part,
            at: text.at,
        })
    };
    let schema = parsed(reader, path, part(schema), RelationName::parse);
    let table = parsed(reader, path, part(table), RelationName::parse);
    Some(TableName {
        schema: schema?,
        table: table?,
    })
}

fn read_external_id(
    reader: &mut Reader<'_>,
    path: &str,
    section: Section<'_>,
) -> Option<ExternalId> {
    let field = parsed(
        reader,
        &below(path, "field"),
        section.text("field"),
        FieldName::parse,
    );
    let column = read_column(reader, path, section);
    Some(ExternalId {
        field: field?,
        column: column?,
    })
}

fn read_deletes(reader: &mut Reader<'_>, path: &str, section: Section<'_>) -> Option<Deletes> {
    let column = match section.text("column") {
        Some(_) => Some(read_column(reader, path, section)?),
        None => None,
    };
    Some(Deletes {
        mode: word(section, "mode", DeleteMode::Propagate),
        on_edit: word(section, "on_edit", DeleteOnEdit::Manual),
        column,
        max_per_hour: section.whole("max_per_hour"),
        max_per_day: section.whole("max_per_day"),
    })
}

fn read_fields(
    reader: &mut Reader<'_>,
    path: &str,
    section: Section<'_>,
) -> BTreeMap<FieldName, FieldSync> {
    let mut fields = BTreeMap::new();
    for (name, part) in section.named("fields") {
        let path = below(path, name.text);
        let field = parsed(reader, &path, Some(name), FieldName::parse);
        let column = read_column(reader, &path, part);
        let references = parsed(
            reader,
            &below(&path, "references"),
            part.text("references"),
            ObjectName::parse,
        );
        let (Some(field), Some(column)) = (field, column) else {
            continue;
        };
        let sync = FieldSync {
            column,
            owner: word(part, "owner", Owner::Shared),
            references,
        };
        fields.insert(field, sync);
    }
    fields
}

fn read_column(reader: &mut Reader<'_>, path: &str, section: Section<'_>) -> Option<ColumnName> {
    parsed(
        reader,
        &below(path, "column"),
        section.text("column"),
        ColumnName::parse,
    )
}

/// Parses an identifier, or notes why it is invalid.
fn parsed<T, E: std::fmt::Display>(
    reader: &mut Reader<'_>,
    path: &str,
    text: Option<Text<'_>>,
    parse: fn(&str) -> Result<T, E>,
) -> Option<T> {
    let text = text?;
    match parse(text.text) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            reader.mistake(text.at, path, error.to_string(), "write its exact name");
            None
        }
    }
}

/// Returns the value of a key with fixed values. An unknown value was reported already.
fn word<T: std::str::FromStr>(section: Section<'_>, key: &str, default: T) -> T {
    section
        .text(key)
        .and_then(|word| word.text.parse().ok())
        .unwrap_or(default)
}
