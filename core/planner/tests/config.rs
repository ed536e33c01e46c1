//! What `syncline.toml` may hold, and how each mistake is reported.

use proptest::prelude::*;
use syncline_planner::config::{
    AuthFlow, CaptureMode, Config, ConflictPolicy, DeleteMode, Direction, ExternalId, FenceRef,
    FieldSync, Owner, SecretRef, Seed, json_schema,
};
use syncline_planner::model::ids::{
    ColumnName, FieldName, ObjectName, RelationName, TableName, TenantId,
};

const WHOLE: &str = r#"
[tenant.acme]
salesforce  = { login_url = "https://acme.my.salesforce.com/", client_id = "3MVG9", auth = "jwt", username = "sync@acme.com", secret = "secretsmanager:acme/salesforce" }
postgres    = { url = "env:DATABASE_URL", schema = "crm", statement_cache = false, connections_max = 2 }
api_version = "67.0"
capture     = "poll"

[[tenant.acme.object]]
object      = "Contact"
table       = "contact"
external_id = { field = "External_Id__c", column = "external_id" }
[tenant.acme.object.fields]
LastName  = { column = "last_name" }
AccountId = { column = "account_external_id", references = "Account" }

[[tenant.acme.object]]
object      = "Account"
table       = "sales.account"
external_id = { field = "External_Id__c", column = "external_id" }
direction   = "both"
conflicts   = "last_writer_wins"
seed        = "salesforce"
deletes     = { mode = "soft", on_edit = "edit_wins", column = "deleted_at" }
lanes       = { rest_max = 10, bulk_min = 1000 }
where       = "Type = 'Customer'"
on_filter_exit    = "soft_delete"
auto_assign = true
duplicate_rules = "allow"
[tenant.acme.object.fields]
Name     = { column = "name" }
Industry = { column = "industry", owner = "salesforce" }
Rating   = { column = "rating", owner = "postgres" }
ParentId = { column = "parent_external_id", references = "Account" }
"#;

/// One object, with a line of its own for what a test changes.
fn object(rules: &str, fields: &str) -> String {
    format!(
        r#"[tenant.acme]
salesforce = {{ login_url = "https://acme.my.salesforce.com", client_id = "3MVG9", auth = "client_credentials", secret = "env:SECRET" }}
postgres   = {{ url = "env:DATABASE_URL" }}
[[tenant.acme.object]]
object      = "Account"
table       = "account"
external_id = {{ field = "External_Id__c", column = "external_id" }}
{rules}
[tenant.acme.object.fields]
Name = {{ column = "name" }}
{fields}
"#
    )
}

fn mistakes(text: &str) -> Vec<String> {
    match Config::parse(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.mistakes.iter().map(ToString::to_string).collect(),
    }
}

/// The text has exactly one mistake, on this line, at this path, and its message says this.
#[track_caller]
fn check(text: &str, line: usize, path: &str, says: &str) {
    let error = Config::parse(text).expect_err("it has a mistake");
    let [mistake] = &error.mistakes[..] else {
        panic!("one mistake was expected: {error}");
    };
    assert_eq!(
        (mistake.line, mistake.path.as_str()),
        (line, path),
        "{mistake}"
    );
    assert!(mistake.to_string().contains(says), "{mistake}");
    assert!(!mistake.fix.is_empty());
}

#[test]
fn a_whole_file_is_read() {
    let config = Config::parse(WHOLE).unwrap();
    let tenant = &config.tenants[&TenantId::parse("acme").unwrap()];
    assert_eq!(
        tenant.salesforce.login_url,
        "https://acme.my.salesforce.com"
    );
    assert_eq!(
        tenant.salesforce.pubsub_url,
        "https://api.pubsub.salesforce.com:7443"
    );
    let username = "sync@acme.com".to_owned();
    assert_eq!(tenant.salesforce.auth, AuthFlow::Jwt { username });
    let secret = "acme/salesforce".to_owned();
    assert_eq!(tenant.salesforce.secret, SecretRef::SecretsManager(secret));
    assert_eq!(
        (tenant.api_version.as_str(), tenant.capture),
        ("67.0", CaptureMode::Poll)
    );
    assert!(!tenant.postgres.statement_cache);

    let names: Vec<&str> = tenant
        .objects
        .iter()
        .map(|object| object.object.as_str())
        .collect();
    assert_eq!(names, ["Account", "Contact"], "parents come first");
    let account = &tenant.objects[0];
    assert_eq!(
        (account.table.schema.as_str(), account.table.table.as_str()),
        ("sales", "account")
    );
    assert_eq!(account.conflicts, ConflictPolicy::LastWriterWins);
    assert_eq!(
        (account.seed, account.direction),
        (Seed::Salesforce, Direction::Both)
    );
    assert_eq!(account.deletes.mode, DeleteMode::Soft);
    assert_eq!(account.lanes.bulk_min_batch_size, 1_000);
    let owners: Vec<Owner> = account.fields.values().map(|field| field.owner).collect();
    assert_eq!(
        owners,
        [
            Owner::Salesforce,
            Owner::Shared,
            Owner::Shared,
            Owner::Postgres
        ]
    );
    assert_eq!(
        account.fields.values().nth(2).unwrap().references,
        ObjectName::parse("Account").ok()
    );
    assert_eq!(tenant.objects[1].table.schema.as_str(), "crm");
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = Config::parse(&object("", "")).unwrap();
    let tenant = config.tenants.values().next().unwrap();
    assert_eq!(
        (tenant.api_version.as_str(), tenant.capture),
        ("68.0", CaptureMode::Pubsub)
    );
    assert!(tenant.postgres.statement_cache);
    let account = &tenant.objects[0];
    assert_eq!(account.conflicts, ConflictPolicy::ManualReview);
    assert_eq!(account.seed, Seed::Refuse);
    assert_eq!(account.lanes.rest_max_batch_size, 25);
    assert_eq!(account.table.schema.as_str(), "public");
}

#[test]
fn the_hash_follows_the_content_and_not_the_spelling() {
    let hash = |text: &str| {
        Config::parse(text)
            .unwrap()
            .tenants
            .into_values()
            .next()
            .unwrap()
            .config_hash
    };
    let spaced = object("", "").replace(" = ", "   =   ");
    assert_eq!(hash(&object("", "")), hash(&spaced));
    assert_ne!(
        hash(&object("", "")),
        hash(&object("seed = \"postgres\"", ""))
    );
}

#[test]
fn unknown_missing_and_mistyped_keys_name_line_and_fix() {
    let account = "tenant.acme.object.Account";
    let at = |key: &str| format!("{account}.{key}");
    check(
        &object("conflict = \"manual_review\"", ""),
        8,
        &at("conflict"),
        "did you mean `conflicts`?",
    );
    check(
        &object("colour = 1", ""),
        8,
        &at("colour"),
        "known here: object, table",
    );
    check(
        &object("seed = \"both\"", ""),
        8,
        &at("seed"),
        "\"refuse\", \"salesforce\", \"postgres\"",
    );
    check(
        &object("auto_assign = \"yes\"", ""),
        8,
        &at("auto_assign"),
        "true or false",
    );
    check(
        &object("lanes = { rest_max = -1 }", ""),
        8,
        &at("lanes.rest_max"),
        "from 0 to 1000",
    );
    check(
        &object("", "Phone = {}"),
        11,
        &at("fields.Phone.column"),
        "missing",
    );
    check(
        &object("", "Phone = \"phone\""),
        11,
        &at("fields.Phone"),
        "{ column = … }",
    );
    check(
        &object("", "\"Pho ne\" = { column = \"p\" }"),
        11,
        &at("fields.Pho ne"),
        "letters, digits",
    );
}

#[test]
fn all_mistakes_are_told_at_once_by_line() {
    let text = object("conflict = 1\nseed = 2", "Phone = {}");
    let found = mistakes(&text);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found[0].starts_with("line 8:") && found[1].starts_with("line 9:"),
        "{found:#?}"
    );
}

#[test]
fn a_syntax_error_names_line_and_column() {
    check(
        "[tenant.acme]\ncapture = ",
        2,
        "syncline.toml",
        "this is not TOML, at column 11: ",
    );
    check(
        "[tenant.acme]\ncapture = \"poll\"\ncapture = \"poll\"",
        3,
        "syncline.toml",
        "this is not TOML, at column 1: duplicate key",
    );
}

#[test]
fn syntax_errors_are_reported_line_by_line() {
    let reported = mistakes("a = \nb = 1\n[c\nd = 2\n[e]\nf = 3 4\n");
    let lines: Vec<&str> = reported
        .iter()
        .filter_map(|mistake| mistake.split(':').next())
        .collect();
    assert_eq!(lines, ["line 1", "line 3", "line 6"], "{reported:#?}");
}

#[test]
fn deep_nesting_is_reported_as_one_mistake() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ] {
        assert_eq!(mistakes(&text).len(), 1);
    }
}

#[test]
fn a_field_or_column_is_mapped_once() {
    let fields = "tenant.acme.object.Account.fields";
    let at = |key: &str| format!("{fields}.{key}");
    check(
        &object("", "Phone = { column = \"name\" }"),
        11,
        &at("Phone.column"),
        "already holds Name",
    );
    check(
        &object("", "name = { column = \"other\" }"),
        11,
        &at("name"),
        "mapped twice",
    );
    check(
        &object("", "external_id__c = { column = \"x\" }"),
        11,
        &at("external_id__c"),
        "external id",
    );
    check(
        &object("", "Phone = { column = \"external_id\" }"),
        11,
        &at("Phone.column"),
        "External_Id__c",
    );
}

#[test]
fn impossible_combinations_are_refused() {
    let account = "tenant.acme.object.Account";
    let at = |key: &str| format!("{account}.{key}");
    check(
        &object("deletes = { mode = \"soft\" }", ""),
        8,
        &at("deletes.column"),
        "needs a column",
    );
    check(
        &object("deletes = { column = \"gone\" }", ""),
        8,
        &at("deletes.column"),
        "nothing fills it",
    );
    check(
        &object(
            "direction = \"to_postgres\"",
            "Phone = { column = \"phone\", owner = \"postgres\" }",
        ),
        11,
        &at("fields.Phone.owner"),
        "one direction",
    );
    let rules = "direction = \"to_postgres\"\nseed = \"postgres\"";
    check(&object(rules, ""), 9, &at("seed"), "cannot start");
    let rules = "direction = \"to_salesforce\"\nconflicts = \"salesforce_wins\"";
    check(&object(rules, ""), 9, &at("conflicts"), "cannot win");
    let field = "ParentId = { column = \"parent\", references = \"Parent__c\" }";
    check(
        &object("", field),
        11,
        &at("fields.ParentId.references"),
        "Parent__c is not mapped",
    );
    check(
        &object("on_filter_exit = \"delete\"", ""),
        8,
        &at("on_filter_exit"),
        "without a filter",
    );
    check(
        &object("lanes = { bulk_min = 10 }", ""),
        8,
        &at("lanes"),
        "below rest_max",
    );
    check(
        &object("deletes = { max_per_day = 99 }", ""),
        8,
        &at("deletes.max_per_day"),
        "below max_per_hour",
    );
}

#[test]
fn an_object_or_table_is_mapped_once_in_a_tenant() {
    let second = |object: &str, table: &str| {
        format!(
            "{}[[tenant.acme.object]]\nobject = \"{object}\"\ntable = \"{table}\"\nexternal_id = {{ field = \"E__c\", column = \"e\" }}\nfields.Name = {{ column = \"name\" }}\n",
            self::object("", "")
        )
    };
    check(
        &second("account", "other"),
        13,
        "tenant.acme.object.account",
        "mapped twice",
    );
    check(
        &second("Lead", "account"),
        14,
        "tenant.acme.object.Lead.table",
        "another object",
    );
}

#[test]
fn secrets_are_never_in_the_file_or_its_mistakes() {
    let text = object("", "").replace("env:SECRET", "hunter2-hunter2");
    check(
        &text,
        2,
        "tenant.acme.salesforce.secret",
        "secretsmanager:ID",
    );
    let text = text.replace("env:DATABASE_URL", "postgres://u:hunter2@db/x");
    let message = mistakes(&text).concat();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn signing_in_is_complete_and_goes_over_tls() {
    let jwt = object("", "").replace("client_credentials", "jwt");
    check(&jwt, 2, "tenant.acme.salesforce.username", "needs it");
    let plain = object("", "").replace("https://", "http://");
    check(&plain, 2, "tenant.acme.salesforce.login_url", "https://");
    let local = object("", "").replace("https://acme.my.salesforce.com", "http://127.0.0.1:8180");
    assert_eq!(mistakes(&local), [""; 0]);
    let lookalike = object("", "").replace("https://", "http://localhost.");
    assert_eq!(mistakes(&lookalike).len(), 1);
}

// The planner itself has no I/O; this test writes the schema down.
#[allow(clippy::disallowed_methods)]
#[test]
fn the_committed_schema_is_the_parsers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../syncline.schema.json");
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("SYNCLINE_WRITE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        committed, schema,
        "run SYNCLINE_WRITE_SCHEMA=1 cargo test --test config"
    );
}

#[test]
fn versions_and_addresses_have_fixes_that_are_right() {
    let fix_of = |line: &str| {
        let text =
            object("", "").replacen("[tenant.acme]\n", &format!("[tenant.acme]\n{line}\n"), 1);
        let error = Config::parse(&text).expect_err("it has a mistake");
        error.mistakes[0].fix.clone()
    };
    assert_eq!(fix_of("api_version = \"v62.0\""), "write it as \"62.0\"");
    assert_eq!(fix_of("api_version = \"62\""), "write it as \"62.0\"");
    assert!(fix_of("api_version = \"winter\"").contains("two digits"));

    let text = object("", "").replacen(".com\"", ".com/lightning/setup?x=1\"", 1);
    let error = Config::parse(&text).expect_err("it has a path");
    let mistake = &error.mistakes[0];
    assert_eq!(mistake.problem, "it has a path");
    assert!(
        mistake.fix.starts_with("write only \"https://") && mistake.fix.ends_with(".com\""),
        "{}",
        mistake.fix
    );
}

#[test]
fn addresses_of_secrets_and_fences_read_back() {
    for address in ["env:A", "secretsmanager:a/b", "ssm:/a", "file:a.pem"] {
        let read = SecretRef::parse(address).map(|address| address.to_string());
        assert_eq!(read.as_deref(), Some(address));
    }
    for address in ["ssm:/a", "file:a"] {
        let read = FenceRef::parse(address).map(|address| address.to_string());
        assert_eq!(read.as_deref(), Some(address));
    }
    for address in ["", "ssm", "ssm:", "ftp:a"] {
        assert_eq!(SecretRef::parse(address), None, "{address}");
        assert_eq!(FenceRef::parse(address), None, "{address}");
    }
    let fenced =
        object("", "").replacen("[tenant.acme]\n", "[tenant.acme]\nfence = \"ssm:/a\"\n", 1);
    let config = Config::parse(&fenced).unwrap();
    let tenant = config.tenants.values().next().unwrap();
    assert_eq!(tenant.fence, Some(FenceRef::Ssm("/a".to_owned())));
}

#[test]
fn mistakes_are_shown_one_a_line() {
    let text = object("direction = \"up\"\nseed = \"none\"", "");
    let error = Config::parse(&text).unwrap_err();
    assert_eq!(error.mistakes.len(), 2);
    assert_eq!(error.to_string(), mistakes(&text).join("\n"));
}

#[test]
fn mistake_says_what_is_wanted() {
    for (rules, says) in [
        ("where = \" \"", "a text that is not empty"),
        ("auto_assign = 1", "true or false"),
        ("lanes = { rest_max = -1 }", "a whole number in its range"),
    ] {
        let shown = mistakes(&object(rules, ""));
        assert!(
            shown.len() == 1 && shown[0].contains(says),
            "{rules}: {shown:?}"
        );
    }
    let nameless = object("", "").replace("table       = \"account\"\n", "");
    let shown = mistakes(&nameless).concat();
    assert!(shown.contains("add it: "), "{shown}");
    let short = object("", "").replace("https://acme.my.salesforce.com", "https://a.io/x");
    let shown = mistakes(&short).concat();
    assert!(shown.contains("write only \"https://a.io\""), "{shown}");
    for version in ["6.0", "ab.0", "67.1", "067.0"] {
        let line = format!("[tenant.acme]\napi_version = \"{version}\"\n");
        let text = object("", "").replacen("[tenant.acme]\n", &line, 1);
        assert_eq!(mistakes(&text).len(), 1, "{version}");
    }
}

#[test]
fn direction_decides_which_side_may_win() {
    for (rules, is_possible) in [
        ("direction = \"to_postgres\"\nseed = \"salesforce\"", true),
        (
            "direction = \"to_salesforce\"\nseed = \"salesforce\"",
            false,
        ),
        ("direction = \"to_salesforce\"\nseed = \"postgres\"", true),
        (
            "direction = \"to_postgres\"\nconflicts = \"postgres_wins\"",
            false,
        ),
        (
            "direction = \"to_salesforce\"\nconflicts = \"postgres_wins\"",
            true,
        ),
        (
            "direction = \"to_salesforce\"\nwhere = \"A = 1\"\non_filter_exit = \"delete\"",
            false,
        ),
        (
            "direction = \"to_postgres\"\nwhere = \"A = 1\"\non_filter_exit = \"delete\"",
            true,
        ),
        ("lanes = { rest_max = 10, bulk_min = 10 }", true),
        ("deletes = { max_per_hour = 5, max_per_day = 5 }", true),
    ] {
        let found = mistakes(&object(rules, ""));
        assert_eq!(found.is_empty(), is_possible, "{rules}: {found:?}");
    }
}

#[test]
fn parents_come_first_and_others_in_order() {
    let mut text = object("", "");
    text.truncate(text.find("[[tenant").unwrap());
    for (object, parent) in [("B", Some("C")), ("C", None), ("A", Some("B")), ("D", None)] {
        let lookup = parent.map_or(String::new(), |parent| {
            format!("Up__c = {{ column = \"up\", references = \"{parent}\" }}\n")
        });
        text += &format!(
            "[[tenant.acme.object]]\nobject = \"{object}\"\ntable = \"{object}\"\n\
             external_id = {{ field = \"E__c\", column = \"e\" }}\n\
             [tenant.acme.object.fields]\nName = {{ column = \"name\" }}\n{lookup}"
        );
    }
    let config = Config::parse(&text).unwrap();
    let tenant = config.tenants.values().next().unwrap();
    let order: Vec<&str> = tenant
        .objects
        .iter()
        .map(|object| object.object.as_str())
        .collect();
    assert_eq!(order, ["C", "B", "A", "D"]);
}

/// The smallest configuration, without objects.
const TENANT: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "3MVG9", auth = "client_credentials", secret = "env:SECRET" }
postgres   = { url = "env:DATABASE_URL", schema = "crm" }
"#;

proptest! {
    #[test]
    fn written_mapping_is_read_as_it_was_meant(
        schema in "(crm|sales)",
        table in "[a-z]([ -~\u{7f}äß\n]{0,10}[!-~])?",
        direction in prop::sample::select(vec![Direction::Both, Direction::ToPostgres]),
        ignores_deletes: bool,
        columns in prop::collection::btree_set("[!-~äß]([ -~\u{7f}äß\t]{0,10}[!-~äß])?", 2..20),
        choices in prop::collection::vec((0..3_usize, any::<bool>()), 20),
    ) {
        let tenant = TenantId::parse("acme").unwrap();
        let mut columns = columns.into_iter();
        let key = ColumnName::parse(&columns.next().unwrap()).unwrap();
        let fields = columns.zip(choices).enumerate().map(|(number, (column, (owner, lookup)))| {
            let owner = match direction {
                Direction::Both => [Owner::Shared, Owner::Salesforce, Owner::Postgres][owner],
                Direction::ToPostgres | Direction::ToSalesforce => Owner::Shared,
            };
            let sync = FieldSync {
                column: ColumnName::parse(&column).unwrap(),
                owner,
                references: lookup.then(|| ObjectName::parse("Account").unwrap()),
            };
            (FieldName::parse(&format!("F{number}__c")).unwrap(), sync)
        });
        let mut object = Config::parse(WHOLE).unwrap().tenants[&tenant].objects[0].clone();
        object.table = TableName {
            schema: RelationName::parse(&schema).unwrap(),
            table: RelationName::parse(&table).unwrap(),
        };
        object.external_id = ExternalId { field: FieldName::parse("Key__c").unwrap(), column: key };
        object.direction = direction;
        object.conflicts = ConflictPolicy::default();
        object.seed = Seed::default();
        object.lanes = Default::default();
        object.filter = None;
        object.on_filter_exit = Default::default();
        object.auto_assign = false;
        object.duplicate_rules = Default::default();
        object.deletes = Default::default();
        if ignores_deletes {
            object.deletes.mode = DeleteMode::Ignore;
        }
        object.fields = fields.collect();
        let text = format!("{TENANT}\n{}", object.to_toml(&tenant, "crm"));
        let read = Config::parse(&text);
        prop_assert!(read.is_ok(), "{} {:?}", text, read);
        prop_assert_eq!(&read.unwrap().tenants[&tenant].objects, &[object], "{}", text);
    }
}
