//! SOQL functions: dates, labels, formats, types of parents; and long results.

use salesforce_org::Org;
use salesforce_org::local::PERSON;
use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, refused};

const FILE: &str = r#"
[[object]]
name = "Note__c"
  [[object.field]]
  name = "About__c"
  type = "reference"
  reference_to = ["Account", "Contact"]
  [[object.field]]
  name = "Kind__c"
  type = "picklist"
  values = ["a", "b"]
  labels = { a = "Alpha" }
  [[object.field]]
  name = "Price__c"
  type = "currency"
  scale = 2
"#;

fn records(f: &mut Fixture, soql: &str) -> Vec<Json> {
    let answer = f.query(soql);
    let records = answer["records"].as_array();
    let mut records = records
        .unwrap_or_else(|| panic!("{soql}: {answer}"))
        .clone();
    records.iter_mut().for_each(without_attributes);
    records
}

fn without_attributes(json: &mut Json) {
    if let Some(members) = json.as_object_mut() {
        members.remove("attributes");
        members.values_mut().for_each(without_attributes);
    }
}

/// Returns the code and message of a refused query.
fn refusal(f: &mut Fixture, soql: &str) -> (String, String) {
    let error = f.query(soql)[0].clone();
    let of = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (of("errorCode"), of("message"))
}

/// Returns accounts created on three days in two years.
fn opened() -> Fixture {
    let mut f = Fixture::of(Org::from_toml(FILE).unwrap());
    for (name, day) in [
        ("A", "2025-03-31"),
        ("B", "2026-04-01"),
        ("C", "2026-05-15"),
    ] {
        f.account(json!({"Name": name, "Opened__c": day}));
    }
    f.account(json!({"Name": "D"}));
    f
}

#[test]
fn records_are_counted_by_date_parts() {
    let mut f = opened();
    let soql = "SELECT CALENDAR_YEAR(Opened__c), COUNT(Id) n FROM Account \
                GROUP BY CALENDAR_YEAR(Opened__c) ORDER BY CALENDAR_YEAR(Opened__c) NULLS LAST";
    assert_eq!(
        records(&mut f, soql),
        [
            json!({"expr0": 2025, "n": 1}),
            json!({"expr0": 2026, "n": 2}),
            json!({"expr0": null, "n": 1}),
        ]
    );
    let soql = "SELECT DAY_ONLY(convertTimezone(CreatedDate)) day, COUNT(Id) n FROM Account \
                GROUP BY DAY_ONLY(CreatedDate)";
    assert_eq!(
        records(&mut f, soql),
        [json!({"day": "2026-05-01", "n": 4})]
    );
}

#[test]
fn records_are_found_by_date_parts() {
    let mut f = opened();
    for (condition, expected) in [
        ("CALENDAR_YEAR(Opened__c) = 2026", "BC"),
        ("CALENDAR_QUARTER(Opened__c) < 2", "A"),
        ("CALENDAR_MONTH(Opened__c) IN (3, 5)", "AC"),
        (
            "DAY_IN_MONTH(Opened__c) NOT IN (1, 31) AND Opened__c != null",
            "C",
        ),
        ("DAY_ONLY(CreatedDate) = 2026-05-01", "ABCD"),
        ("DAY_ONLY(CreatedDate) = TODAY", "ABCD"),
        ("DAY_ONLY(CreatedDate) > YESTERDAY", "ABCD"),
        ("HOUR_IN_DAY(CreatedDate) >= 10", ""),
        ("WEEK_IN_YEAR(Opened__c) = null", "D"),
    ] {
        let found = records(
            &mut f,
            &format!("SELECT Name FROM Account WHERE {condition} ORDER BY Name"),
        );
        let names: String = found
            .iter()
            .map(|one| one["Name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected, "{condition}");
    }
}

/// Statements, their error codes, and a part of the messages.
const REFUSED: [(&str, &str, &str); 13] = [
    (
        "SELECT CALENDAR_YEAR(Opened__c) FROM Account",
        "MALFORMED_QUERY",
        "grouped or aggregated",
    ),
    (
        "SELECT Id FROM Account WHERE CALENDAR_YEAR(Name) = 1",
        "INVALID_FIELD",
        "does not support CALENDAR_YEAR",
    ),
    (
        "SELECT Id FROM Account WHERE HOUR_IN_DAY(Opened__c) = 1",
        "INVALID_FIELD",
        "HOUR_IN_DAY",
    ),
    (
        "SELECT Id FROM Account WHERE CALENDAR_YEAR(Opened__c) = '1'",
        "INVALID_FIELD",
        "must be of type int",
    ),
    (
        "SELECT Id FROM Account WHERE MINUTE(Opened__c) = 1",
        "MALFORMED_QUERY",
        "unexpected token: '('",
    ),
    (
        "SELECT toLabel(AnnualRevenue) FROM Account",
        "INVALID_FIELD",
        "does not support toLabel",
    ),
    (
        "SELECT FORMAT(Phone) FROM Account",
        "INVALID_FIELD",
        "does not support FORMAT",
    ),
    (
        "SELECT Industry, toLabel(Industry) FROM Account",
        "INVALID_FIELD",
        "duplicate field selected: Industry",
    ),
    (
        "SELECT TYPEOF Owner WHEN User THEN Id END FROM Account",
        "MALFORMED_QUERY",
        "several objects",
    ),
    (
        "SELECT TYPEOF About__r WHEN Lead THEN Id END FROM Note__c",
        "MALFORMED_QUERY",
        "does not lead to Lead",
    ),
    (
        "SELECT TYPEOF About__r WHEN Account THEN Nope END FROM Note__c",
        "INVALID_FIELD",
        "Nope",
    ),
    (
        "SELECT TYPEOF About__r WHEN Account THEN Id ELSE Fax END FROM Note__c",
        "INVALID_FIELD",
        "entity 'Name'",
    ),
    (
        "SELECT TYPEOF About__r ELSE Id END FROM Note__c",
        "MALFORMED_QUERY",
        "unexpected token: 'ELSE'",
    ),
];

#[test]
fn misused_functions_are_refused() {
    let mut f = opened();
    for (soql, code, words) in REFUSED {
        let (found, message) = refusal(&mut f, soql);
        assert_eq!(found, code, "{soql}: {message}");
        assert!(message.contains(words), "{soql}: {message}");
    }
}

#[test]
fn labels_and_formats_are_applied() {
    let mut f = opened();
    let note = json!({"Name": "n", "Kind__c": "a", "Price__c": -1234.5});
    f.send("POST", "sobjects/Note__c", &note);
    let soql = "SELECT Kind__c, toLabel(Kind__c) kind, FORMAT(Price__c), FORMAT(CreatedDate) made FROM Note__c";
    let shown = json!({"Kind__c": "a", "kind": "Alpha", "Price__c": "-$1,234.50",
        "made": "5/1/2026, 9:30 AM"});
    assert_eq!(records(&mut f, soql), [shown]);
    let soql = "SELECT toLabel(Kind__c) FROM Note__c";
    assert_eq!(records(&mut f, soql), [json!({"Kind__c": "Alpha"})]);
    let described = f.call("GET", "sobjects/Note__c/describe").to_json();
    let fields = described["fields"].as_array().unwrap();
    let kind = fields
        .iter()
        .find(|field| field["name"] == "Kind__c")
        .unwrap();
    let labels: Vec<&Json> = kind["picklistValues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["label"])
        .collect();
    assert_eq!(labels, ["Alpha", "b"]);
}

#[test]
fn typeof_selects_fields_by_parent_object() {
    let mut f = opened();
    let account = f.account(json!({"Name": "Acme", "Phone": "1"}));
    let contact = f.send(
        "POST",
        "sobjects/Contact",
        &json!({"LastName": "Ito", "Email": "i@x.io"}),
    );
    let contact = contact.to_json()["id"].clone();
    for about in [json!(account), contact, Json::Null] {
        f.send(
            "POST",
            "sobjects/Note__c",
            &json!({"Name": "n", "About__c": about}),
        );
    }
    let soql = "SELECT TYPEOF About__r WHEN Account THEN Phone, Name WHEN Contact THEN Email END \
                FROM Note__c ORDER BY Id";
    assert_eq!(
        records(&mut f, soql),
        [
            json!({"About__r": {"Phone": "1", "Name": "Acme"}}),
            json!({"About__r": {"Email": "i@x.io"}}),
            json!({"About__r": null}),
        ]
    );
    let soql = "SELECT Id, TYPEOF About__r WHEN Account THEN Phone ELSE Name, Email END FROM Note__c ORDER BY Id";
    let found = records(&mut f, soql);
    assert_eq!(found[0]["About__r"], json!({"Phone": "1"}));
    assert_eq!(
        found[1]["About__r"],
        json!({"Name": "Ito", "Email": "i@x.io"})
    );
    let soql = "SELECT TYPEOF About__r WHEN Account THEN Phone END FROM Note__c ORDER BY Id";
    assert_eq!(records(&mut f, soql)[1]["About__r"], Json::Null);
}

#[test]
fn children_have_their_own_pages() {
    let mut f = Fixture::new();
    let many = f.account(json!({"Name": "many", "External_Id__c": "many"}));
    f.account(json!({"Name": "none"}));
    for n in 0..450 {
        let child = json!({"LastName": format!("c{n:03}"), "Account": {"External_Id__c": "many"}});
        f.org.insert_as(PERSON, "Contact", &child).unwrap();
    }
    let soql = "SELECT Name, (SELECT LastName FROM Contacts ORDER BY LastName DESC) FROM Account ORDER BY Name";
    let answer = f.query(soql);
    assert_eq!(
        (&answer["done"], &answer["totalSize"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(answer["records"][1]["Contacts"], Json::Null);
    let mut page = answer["records"][0]["Contacts"].clone();
    assert_eq!(
        (&page["totalSize"], &page["done"]),
        (&json!(450), &json!(false))
    );
    let mut names = Vec::new();
    loop {
        let some = page["records"].as_array().unwrap();
        names.extend(
            some.iter()
                .map(|one| one["LastName"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["nextRecordsUrl"].as_str().map(str::to_owned) else {
            break;
        };
        page = f.call("GET", &next).to_json();
    }
    let expected: Vec<String> = (0..450).rev().map(|n| format!("c{n:03}")).collect();
    assert_eq!(names, expected);
    assert!(f.call("DELETE", &format!("sobjects/Account/{many}")).status == 204);
}

#[test]
fn long_urls_and_long_statements_are_refused() {
    let mut f = Fixture::new();
    let of = |length: usize| {
        format!(
            "query?q=SELECT+Id+FROM+Account+WHERE+Name='{}'",
            "x".repeat(length)
        )
    };
    assert_eq!(f.call("GET", &of(15_000)).status, 200);
    assert_eq!(f.call("GET", &of(16_500)).status, 414);
    let long = f
        .request("GET", "limits")
        .header("x-long", &"x".repeat(17_000));
    assert_eq!(f.org.request(&long).status, 431);
    let text = format!(
        "SELECT Id FROM Account WHERE Name = '{}'",
        "x".repeat(100_000)
    );
    let job = f.send(
        "POST",
        "jobs/query",
        &json!({"operation": "query", "query": text}),
    );
    let (status, error) = refused(&job);
    assert_eq!(
        (status, &error[0]["errorCode"]),
        (400, &json!("MALFORMED_QUERY"))
    );
    let message = "SOQL statements cannot be longer than 100,000 characters.";
    assert_eq!(error[0]["message"], message);
}

#[test]
fn pretty_print_changes_only_whitespace() {
    let mut f = opened();
    let request = f.request("GET", "query?q=SELECT+Name+FROM+Account");
    let plain = f.org.request(&request);
    let pretty = f.org.request(&request.header("X-PrettyPrint", "1"));
    assert_eq!(pretty.to_json(), plain.to_json());
    let text = String::from_utf8(pretty.body).unwrap();
    assert!(
        text.starts_with("{\n  \"totalSize\" : 4,\n  \"done\" : true,\n  \"records\" : [ {\n"),
        "{text}"
    );
}
