//! `generate` writes a mapping and tables that `check` accepts and the engine works with.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use salesforce_org::Org;
use serde_json::{Value as Json, json};
use syncline::config::Direction;
use syncline::engine::generate::{
    Draft, GenerateOptions, Generated, Pattern, Picklists, TablePattern,
};

use crate::local_org::LocalOrg;
use crate::stage::Stage;

/// A tenant without objects.
const TENANT: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "id", auth = "client_credentials", secret = "env:SECRET" }
postgres   = { url = "env:DATABASE_URL" }
"#;

fn objects(patterns: &[&str]) -> GenerateOptions {
    let patterns = patterns.iter().map(|text| Pattern::parse(text).unwrap());
    GenerateOptions {
        objects: patterns.collect(),
        ..GenerateOptions::default()
    }
}

fn table(name: &str, object: Option<&str>) -> GenerateOptions {
    let tables = vec![TablePattern {
        pattern: Pattern::parse(name).unwrap(),
        object: object.map(str::to_owned),
    }];
    GenerateOptions {
        tables,
        ..GenerateOptions::default()
    }
}

async fn empty(org: LocalOrg) -> Stage {
    Stage::empty(org, TENANT).await
}

async fn generate(stage: &Stage, options: &GenerateOptions) -> Generated {
    stage.engine.generate(&stage.tenant, options).await.unwrap()
}

/// Runs the SQL, takes the mapping over, and installs. `check` finds nothing.
async fn take_over(stage: &mut Stage, generated: &Generated) {
    stage.sql(&generated.sql()).await;
    stage.configure(&format!("{TENANT}\n{}", generated.mapping()));
    let mapped: Vec<_> = generated
        .objects
        .iter()
        .map(|draft| draft.sync.clone())
        .collect();
    for sync in &mapped {
        assert!(
            stage.config.objects.contains(sync),
            "{}",
            generated.mapping()
        );
    }
    assert_eq!(stage.config.objects.len(), mapped.len());
    stage.install().await;
    assert_eq!(stage.mismatches(&stage.engine).await, Vec::new());
}

/// Asserts that no work is left and that a comparison finds nothing.
async fn assert_at_rest(stage: &Stage, records: u64) {
    assert_eq!(stage.tasks().await, Vec::<Json>::new());
    let report = stage.engine.reconcile_full(&stage.tenant, stage.deadline());
    let report = report.await.unwrap();
    assert_eq!((report.compared as u64, report.drifted.len()), (records, 0));
}

fn draft<'a>(generated: &'a Generated, object: &str) -> &'a Draft {
    let mut drafts = generated.objects.iter();
    drafts
        .find(|draft| draft.sync.object.as_str() == object)
        .unwrap()
}

fn skipped(generated: &Generated) -> Vec<String> {
    let skipped = generated.skipped.iter().map(|skipped| {
        let fix = skipped.fix.as_deref().unwrap_or("-");
        format!("{}: {}; {fix}", skipped.object, skipped.why)
    });
    skipped.collect()
}

fn why_left_out<'a>(draft: &'a Draft, field: &str) -> &'a str {
    let mut left_out = draft.left_out.iter();
    &left_out
        .find(|left| left.field.as_str() == field)
        .unwrap()
        .why
}

#[tokio::test]
async fn objects_of_the_local_org_are_mapped_and_synchronised() {
    let mut stage = empty(LocalOrg::new()).await;
    let generated = generate(&stage, &objects(&["*"])).await;
    insta::assert_snapshot!(format!("{}\n{}", generated.mapping(), generated.sql()));
    take_over(&mut stage, &generated).await;
    let parent = stage
        .org
        .insert("Account", json!({"Name": "Ada", "BillingCity": "Oslo"}));
    let contact = json!({"LastName": "Bo", "FirstName": "Jo", "AccountId": parent});
    stage.org.insert("Contact", contact);
    let deal = json!({"Name": "D", "StageName": "Prospecting", "CloseDate": "2026-05-01", "AccountId": parent,
        "Amount": 10});
    stage.org.insert("Opportunity", deal);
    stage.drain().await;
    let joined = "select account.name as parent, billing_city, contact.name, amount, is_won
        from account
        join contact on contact.account_id = account.external_id
        join opportunity on opportunity.account_id = account.external_id";
    let expected = json!({"parent": "Ada", "billing_city": "Oslo", "name": "Jo Bo", "amount": 10, "is_won": false});
    assert_eq!(stage.rows(joined).await, [expected]);

    stage
        .sql(
            "insert into account (name, active, tags) values ('Eve', true, null);
            insert into lead (last_name, company) values ('Fay', 'F');
            update contact set title = 'Dr', account_id = null",
        )
        .await;
    stage.drain().await;
    let there = stage
        .org
        .query("select Name, Active__c from Account where Name = 'Eve'");
    assert_eq!(there[0]["Active__c"], json!(true));
    assert_eq!(stage.org.count("Lead"), 1);
    let there = stage.org.query("select Title, AccountId from Contact");
    assert_eq!(
        (&there[0]["Title"], &there[0]["AccountId"]),
        (&json!("Dr"), &Json::Null)
    );
    assert_at_rest(&stage, 5).await;

    let again = generate(&stage, &objects(&["account"])).await;
    assert_eq!(
        again.mapping(),
        "# Not mapped:\n#   Account: it is mapped already, to public.account\n"
    );
}

#[tokio::test]
async fn every_object_of_the_features_is_mapped() {
    let files = ["activities", "person_accounts", "products", "queues"];
    let texts = files.map(|file| {
        let path = format!(
            "{}/../tests/org/features/{file}.toml",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    });
    for text in texts {
        let org = LocalOrg::of(Org::from_toml(&text).unwrap());
        let mut stage = empty(org).await;
        let generated = generate(&stage, &objects(&["*"])).await;
        take_over(&mut stage, &generated).await;
        stage.org.insert("Account", json!({"Name": "Ada"}));
        stage.drain().await;
    }
}

const SHOP: &str = r#"
[[object]]
name = "Order__c"
label = "Order"
label_plural = "Orders"
key_prefix = "a01"

  [[object.field]]
  name = "Number__c"
  type = "string"
  length = 20
  external_id = true
  unique = true
  [[object.field]]
  name = "Barcode__c"
  type = "string"
  length = 20
  external_id = true
  unique = true
  [[object.field]]
  name = "Account__c"
  type = "reference"
  reference_to = ["Account"]
  relationship_name = "Account__r"
  required = true
  [[object.field]]
  name = "Buyer__c"
  type = "reference"
  reference_to = ["Account", "Contact"]
  relationship_name = "Buyer__r"
  [[object.field]]
  name = "State__c"
  type = "picklist"
  values = ["it's new", "sent"]
  restricted = true
  [[object.field]]
  name = "Marks__c"
  type = "multipicklist"
  values = ["a", "b", "c"]
  restricted = true
  [[object.field]]
  name = "Source__c"
  type = "picklist"
  values = ["web", "shop"]
  [[object.field]]
  name = "Due__c"
  type = "date"
  required = true
  [[object.field]]
  name = "Secret__c"
  type = "encryptedstring"
  length = 20

[[object]]
name = "Plain__c"
label = "Plain"
label_plural = "Plains"
key_prefix = "a02"

  [[object.field]]
  name = "Code__c"
  type = "string"
  length = 20
  external_id = true
"#;

fn shop() -> LocalOrg {
    LocalOrg::of(Org::from_toml(SHOP).unwrap())
}

#[tokio::test]
async fn external_id_is_never_guessed() {
    let stage = empty(shop()).await;
    let generated = generate(&stage, &objects(&["*__C", "Lead*", "Acount", "user"])).await;
    let mapped: Vec<&str> = generated
        .objects
        .iter()
        .map(|draft| draft.sync.object.as_str())
        .collect();
    assert_eq!(mapped, ["Lead"]);
    insta::assert_snapshot!(skipped(&generated).join("\n"), @r#"
    Order__c: it has several external ids: Barcode__c, Number__c; name one: --external-id Order__c=Barcode__c
    Plain__c: Code__c is not unique: two records could have the same external id; tick "Unique" on the field in Setup
    User: it has no external id; create a text field on it in Setup, of 36 characters or more, marked "External ID" and "Unique", which the integration user may edit
    acount: the org has no such object, or it is hidden from our user; did you mean Account? Else correct its name, or grant the integration user access
    "#);

    let chosen = |field: &str| GenerateOptions {
        external_ids: vec![("order__C".to_owned(), field.to_owned())],
        ..objects(&["Order__c"])
    };
    let generated = generate(&stage, &chosen("BARCODE__c")).await;
    let key = &draft(&generated, "Order__c").sync.external_id;
    assert_eq!(
        (key.field.as_str(), key.column.as_str()),
        ("Barcode__c", "barcode")
    );
    for field in ["Barcod__c", "State__c"] {
        let generated = generate(&stage, &chosen(field)).await;
        insta::assert_snapshot!(format!("wrong_{field}"), skipped(&generated).join("\n"));
    }
}

#[tokio::test]
async fn lookup_needs_a_mapped_parent() {
    let mut stage = empty(shop()).await;
    let order = GenerateOptions {
        external_ids: vec![("Order__c".to_owned(), "Number__c".to_owned())],
        ..objects(&["Order__c"])
    };
    let generated = generate(&stage, &order).await;
    let alone = draft(&generated, "Order__c");
    assert_eq!(alone.sync.direction, Direction::ToPostgres);
    assert_eq!(
        alone.notes,
        ["one way, to Postgres: Account__c is required in Salesforce but left out"]
    );
    assert_eq!(
        why_left_out(alone, "Account__c"),
        "Account, which it points to, is not mapped"
    );
    assert_eq!(
        why_left_out(alone, "Buyer__c"),
        "it may point to several objects (Account, Contact), and a column holds external ids of one"
    );
    assert!(why_left_out(alone, "Secret__c").starts_with("encrypted text: "));
    take_over(&mut stage, &generated).await;

    // An account that is mapped already is a parent, too, with the type that its column has.
    let mut stage = empty(shop()).await;
    stage
        .sql("create table firm (key uuid primary key, name text)")
        .await;
    let firm = table("firm", Some("account"));
    let firm = generate(&stage, &firm).await;
    let problems = draft(&firm, "Account").problems.iter();
    let sql: Vec<&str> = problems
        .filter_map(|problem| problem.sql.as_deref())
        .collect();
    let expected = [
        "alter table public.firm add column external_id varchar(255) unique;",
        "alter table public.firm alter column key set default gen_random_uuid();",
    ];
    assert_eq!(sql, expected);
    let mapping = format!("{TENANT}\n{}", firm.mapping()).replace("\"external_id\"", "\"key\"");
    stage.configure(&mapping);
    stage.install().await;
    let generated = generate(&stage, &order).await;
    let order = draft(&generated, "Order__c");
    assert_eq!(order.sync.direction, Direction::Both);
    let columns = &order.new_table.as_ref().unwrap().columns;
    let lookup = columns
        .iter()
        .find(|column| column.name.as_str() == "account");
    assert_eq!(lookup.unwrap().column_type.name, "uuid");
    stage.sql(&generated.sql()).await;
    stage.configure(&format!("{mapping}\n{}", generated.mapping()));
    stage.install().await;
    assert_eq!(stage.mismatches(&stage.engine).await, Vec::new());
}

#[tokio::test]
async fn restricted_picklists_become_constraints_if_asked() {
    let mut stage = empty(shop()).await;
    let options = GenerateOptions {
        external_ids: vec![("Order__c".to_owned(), "Number__c".to_owned())],
        picklists: Picklists::Check,
        ..objects(&["Account", "Order__c"])
    };
    let generated = generate(&stage, &options).await;
    let order = draft(&generated, "Order__c");
    let note =
        "no constraint, as these picklists are not restricted and may hold any value: Source__c";
    assert!(
        order.notes.iter().any(|known| known == note),
        "{:?}",
        order.notes
    );
    take_over(&mut stage, &generated).await;
    let refused = |values: &str| {
        let sql = format!("insert into public.order (number, state, marks) values ('1', {values})");
        let pool = stage.pool.clone();
        async move {
            let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await;
            done.err()
                .map(|error| error.to_string().contains("violates check constraint"))
        }
    };
    assert_eq!(refused("'old', null").await, Some(true));
    assert_eq!(refused("null, 'a;z'").await, Some(true));
    assert_eq!(refused("null, null").await, None);
    let account = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "A"}));
    let record = json!({"Number__c": "2", "State__c": "it's new", "Marks__c": "c;a", "Source__c": "fair",
        "Account__c": account, "Due__c": "2026-05-01"});
    stage.org.insert("Order__c", record);
    stage
        .sql("update \"order\" set account = 'A', due = '2026-05-02', state = 'sent' where number = '1'")
        .await;
    stage.drain().await;
    let rows = "select number, state, marks, source, account, due from \"order\" order by number";
    let first = json!({"number": "1", "state": "sent", "marks": null, "source": null, "account": "A", "due": "2026-05-02"});
    let second = json!({"number": "2", "state": "it's new", "marks": "a;c", "source": "fair", "account": "A",
        "due": "2026-05-01"});
    assert_eq!(stage.rows(rows).await, [first, second]);
    assert_eq!(stage.org.count("Order__c"), 2);
    assert_at_rest(&stage, 3).await;
}

/// An object with these custom text fields.
fn object(number: usize, fields: impl Iterator<Item = String>) -> String {
    let mut text = format!(
        "[[object]]\nname = \"Wide_{number}__c\"\nlabel = \"W\"\nlabel_plural = \"W\"\nkey_prefix = \"b{number:02}\"\n
         [[object.field]]\nname = \"Key__c\"\ntype = \"string\"\nlength = 40\nexternal_id = true\nunique = true\n"
    );
    for name in fields {
        let _ = writeln!(
            text,
            "[[object.field]]\nname = \"{name}\"\ntype = \"string\"\nlength = 40"
        );
    }
    text
}

#[tokio::test]
async fn many_wide_objects_need_one_describe_each() {
    let text: String = (0..30)
        .map(|number| object(number, (0..100).map(|field| format!("Field_{field}__c"))))
        .collect();
    let org = LocalOrg::of(Org::from_toml(&text).unwrap());
    let mut stage = empty(org).await;
    let calls = |stage: &Stage| -> u64 { stage.org.calls().values().sum() };
    let before = calls(&stage);
    let generated = generate(&stage, &objects(&["wide_*"])).await;
    assert_eq!(generated.objects.len(), 30);
    // The list of objects and the login besides.
    let asked = calls(&stage) - before;
    assert!(
        (31..=33).contains(&asked),
        "{asked} calls: {:?}",
        stage.org.calls()
    );
    let fields: usize = generated
        .objects
        .iter()
        .map(|draft| draft.sync.fields.len())
        .sum();
    assert!(fields >= 30 * 100, "{fields}");
    take_over(&mut stage, &generated).await;
}

#[tokio::test]
async fn object_with_800_fields_is_synchronised() {
    let text = object(0, (0..800).map(|field| format!("Field_{field}__c")));
    let org = LocalOrg::of(Org::from_toml(&text).unwrap());
    let mut stage = empty(org).await;
    let generated = generate(&stage, &objects(&["Wide_0__c"])).await;
    take_over(&mut stage, &generated).await;
    stage
        .org
        .insert("Wide_0__c", json!({"Key__c": "there", "Field_799__c": "x"}));
    stage
        .sql("insert into wide_0 (key, field_0) values ('here', 'y')")
        .await;
    stage.drain().await;
    let rows = stage
        .rows("select key, field_0, field_799 from wide_0 order by key")
        .await;
    let expected = [
        json!({"key": "here", "field_0": "y", "field_799": null}),
        json!({"key": "there", "field_0": null, "field_799": "x"}),
    ];
    assert_eq!(rows, expected);
    assert_eq!(stage.org.count("Wide_0__c"), 2);
    assert_at_rest(&stage, 2).await;
}

#[tokio::test]
async fn key_words_are_quoted() {
    let stage = empty(LocalOrg::new()).await;
    let words = stage.rows(
        "select distinct initcap(word) as word from pg_get_keywords() where word ~ '^[a-z]+$'",
    );
    let words: BTreeSet<String> = words
        .await
        .iter()
        .map(|row| format!("{}__c", row["word"].as_str().unwrap()))
        .chain(["Xmin__c", "Ctid__c", "Id__c", "Key_C__c"].map(str::to_owned))
        .filter(|name| !["Key__c", "Name__c"].contains(&name.as_str()))
        .collect();
    assert!(words.contains("Select__c") && words.len() > 300);
    let other = object(0, words.into_iter()).replace("Wide_0__c", "User__c");
    let mut stage = empty(LocalOrg::of(Org::from_toml(&other).unwrap())).await;
    let generated = generate(&stage, &objects(&["User__c"])).await;
    take_over(&mut stage, &generated).await;
    stage
        .sql("insert into public.user (key, \"select\") values ('here', 'y')")
        .await;
    stage.drain().await;
    assert_eq!(
        stage.org.query("select Select__c from User__c")[0]["Select__c"],
        json!("y")
    );
}
