//! Every key of `syncline.toml`: its kind, whether it is required, its meaning.
//!
//! The parser and the JSON Schema both use these tables, so they cannot disagree.

/// One key of a section.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) doc: &'static str,
}

/// The kind of a key's value.
pub(super) enum Kind {
    Text,
    Flag,
    /// A whole number from the first to the second.
    Whole(u32, u32),
    OneOf(&'static [&'static str]),
    /// Where a secret is kept.
    Secret,
    /// Where the fence is kept.
    Fence,
    /// A section.
    Section(&'static [Key]),
    /// A section for each name.
    Named(&'static [Key]),
    /// `[[…]]`: any number of sections.
    List(&'static [Key]),
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        required: true,
        doc,
    }
}

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        required: false,
        doc,
    }
}

/// The whole file.
pub(super) const FILE: &[Key] = &[required(
    "tenant",
    Kind::Named(TENANT),
    "One Salesforce org and one set of tables each, by name.",
)];

const TENANT: &[Key] = &[
    required(
        "salesforce",
        Kind::Section(SALESFORCE),
        "How to reach the org and log in to it.",
    ),
    required(
        "postgres",
        Kind::Section(POSTGRES),
        "Where the database is.",
    ),
    optional(
        "api_version",
        Kind::Text,
        "REST API version. Default: 68.0.",
    ),
    optional(
        "capture",
        Kind::OneOf(&["pubsub", "relay", "poll"]),
        "How Salesforce's changes are captured. Default: pubsub.",
    ),
    optional(
        "fence",
        Kind::Fence,
        "A counter outside the database, by which two physical copies of it notice each other: ssm:/name, or file:path on one machine.",
    ),
    optional(
        "budget",
        Kind::Section(BUDGET),
        "How much of what the org allows in 24 hours may be used.",
    ),
    optional("object", Kind::List(OBJECT), "The mapped objects."),
];

const SALESFORCE: &[Key] = &[
    required("login_url", Kind::Text, "Login or My Domain URL."),
    optional(
        "pubsub_url",
        Kind::Text,
        "Pub/Sub API endpoint. Default: https://api.pubsub.salesforce.com:7443.",
    ),
    required(
        "client_id",
        Kind::Text,
        "Consumer key of the connected app.",
    ),
    required(
        "auth",
        Kind::OneOf(&["jwt", "client_credentials"]),
        "OAuth flow. `jwt` needs a username.",
    ),
    optional(
        "username",
        Kind::Text,
        "The Salesforce user to act as, with auth = \"jwt\".",
    ),
    required(
        "secret",
        Kind::Secret,
        "Where the private key (PEM, for jwt) or the client secret is kept.",
    ),
];

const POSTGRES: &[Key] = &[
    required("url", Kind::Secret, "Where the connection URL is kept."),
    optional(
        "schema",
        Kind::Text,
        "Schema of tables without one. Default: public.",
    ),
    optional(
        "statement_cache",
        Kind::Flag,
        "Cache prepared statements on the connection; false behind a transaction pooler. Default: true.",
    ),
    optional(
        "connections_max",
        Kind::Whole(1, 100),
        "Most connections of one instance. Default: 4.",
    ),
];

const BUDGET: &[Key] = &[optional(
    "reserve",
    Kind::Whole(0, 90),
    "Percent of the org's API requests that are left to its other users. Default: 20.",
)];

const OBJECT: &[Key] = &[
    required("object", Kind::Text, "API name of the Salesforce object."),
    required(
        "table",
        Kind::Text,
        "The table, as `table` or `schema.table`.",
    ),
    required(
        "external_id",
        Kind::Section(EXTERNAL_ID),
        "Field and column of the external id.",
    ),
    optional(
        "direction",
        Kind::OneOf(&["both", "to_postgres", "to_salesforce"]),
        "In which direction changes are written. Default: both.",
    ),
    optional(
        "conflicts",
        Kind::OneOf(&[
            "manual_review",
            "field_ownership",
            "last_writer_wins",
            "salesforce_wins",
            "postgres_wins",
        ]),
        "What decides when both sides changed a field without an owner. Default: manual_review.",
    ),
    optional(
        "seed",
        Kind::OneOf(&["refuse", "salesforce", "postgres"]),
        "Which side's value a field without a base takes. Default: refuse, a person decides.",
    ),
    optional(
        "deletes",
        Kind::Section(DELETES),
        "What happens to deletes.",
    ),
    optional(
        "lanes",
        Kind::Section(LANES),
        "The limits between the lanes.",
    ),
    optional(
        "where",
        Kind::Text,
        "SOQL filter; records that do not match it are left alone.",
    ),
    optional(
        "on_filter_exit",
        Kind::OneOf(&["keep", "soft_delete", "delete"]),
        "What happens to the row of a record that no longer matches the filter. Default: keep.",
    ),
    optional(
        "auto_assign",
        Kind::Flag,
        "Run assignment rules on our writes. Default: false.",
    ),
    optional(
        "duplicate_rules",
        Kind::OneOf(&["enforce", "allow"]),
        "Whether suspected duplicates are refused, or saved anyway. Default: enforce.",
    ),
    required(
        "fields",
        Kind::Named(FIELD),
        "The mapped fields by API name, without the external id.",
    ),
];

const EXTERNAL_ID: &[Key] = &[
    required(
        "field",
        Kind::Text,
        "The Salesforce field, marked as external id and unique.",
    ),
    required("column", Kind::Text, "The unique column."),
];

const DELETES: &[Key] = &[
    optional(
        "mode",
        Kind::OneOf(&["propagate", "soft", "ignore"]),
        "Whether a delete is written to the other side; `soft` fills a column of the row instead. Default: propagate.",
    ),
    optional(
        "on_edit",
        Kind::OneOf(&["manual", "delete_wins", "edit_wins"]),
        "What happens when one side deletes what the other edited. Default: manual.",
    ),
    optional(
        "column",
        Kind::Text,
        "The timestamp column that a soft delete fills.",
    ),
    optional(
        "max_per_hour",
        Kind::Whole(0, 1_000_000),
        "Deletes of an hour that need no approval; if more wait, all wait. Default: 100; 0: no limit at all.",
    ),
    optional(
        "max_per_day",
        Kind::Whole(1, 3_000_000),
        "Deletes of a day that need no approval. Default: three times max_per_hour.",
    ),
];

const LANES: &[Key] = &[
    optional(
        "rest_max",
        Kind::Whole(0, 1_000),
        "Most records of one round that go by single calls. Default: 25.",
    ),
    optional(
        "bulk_min",
        Kind::Whole(1, 1_000_000),
        "Fewest records that would go by Bulk, which is not used yet. Default: 500.",
    ),
];

const FIELD: &[Key] = &[
    required("column", Kind::Text, "The column."),
    optional(
        "owner",
        Kind::OneOf(&["shared", "salesforce", "postgres"]),
        "Which side's value wins. Default: shared.",
    ),
    optional(
        "references",
        Kind::Text,
        "For a lookup: the mapped object whose external id the column contains.",
    ),
];
