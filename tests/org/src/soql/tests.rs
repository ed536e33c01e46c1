//! Valid statements and their results, invalid statements and their errors.

use proptest::prelude::*;
use serde_json::json;

use super::{Writer, bind, groups, parse, rows};
use crate::Org;
use crate::local::PERSON;

fn org() -> Org {
    let mut org = Org::default();
    let names = [
        ("Acme", 10, Some("Media"), "a-1"),
        ("Borg", 20, None, "a-2"),
        ("acme Two", 30, Some("Energy"), "a-3"),
        ("100% Pure", 40, Some("Media"), "A'4"),
    ];
    for (name, employees, industry, external) in names {
        let fields = json!({
            "Name": name, "NumberOfEmployees": employees, "Industry": industry,
            "External_Id__c": external, "AnnualRevenue": employees * 2, "Tags__c": "large;closed",
            "Active__c": employees > 15, "Opened__c": format!("2020-01-{employees}"),
        });
        let fields = if employees > 31 {
            without(fields, "Opened__c")
        } else {
            fields
        };
        org.insert_as(PERSON, "Account", &fields).unwrap();
    }
    let child = json!({"LastName": "Ito", "Account": {"External_Id__c": "A-1"}});
    org.insert_as(PERSON, "Contact", &child).unwrap();
    org.insert_as(PERSON, "Contact", &json!({"LastName": "Orphan"}))
        .unwrap();
    org
}

fn without(mut json: serde_json::Value, name: &str) -> serde_json::Value {
    json.as_object_mut().unwrap().remove(name);
    json
}

/// Returns the first selected value of each row, or the error code.
fn run(org: &Org, text: &str) -> Vec<String> {
    let plan = match parse(text).and_then(|query| bind(org.model.whole(), &query)) {
        Ok(plan) => plan,
        Err(error) => return vec![error.code().to_owned()],
    };
    let nodes = plan.select.clone().unwrap_or_default();
    let found = rows(org.model.whole(), &plan, false);
    let records = match &plan.aggregation {
        Some(aggregation) => match groups(org.model.whole(), &plan, aggregation, &found) {
            Ok(records) => records,
            Err(error) => return vec![error.code().to_owned()],
        },
        None => {
            let record = |row| {
                let mut out = String::new();
                Writer::whole(org.model.whole(), "v62.0").push_record(
                    &mut out,
                    (plan.object, row),
                    &nodes,
                );
                out
            };
            found.into_iter().map(record).collect()
        }
    };
    let shown = records.into_iter().map(|out| {
        let json: serde_json::Map<_, _> = serde_json::from_str(&out).unwrap();
        let member = json
            .into_iter()
            .find(|(name, _)| name != "attributes")
            .unwrap()
            .1;
        member
            .as_str()
            .map_or_else(|| member.to_string(), str::to_owned)
    });
    shown.collect()
}

#[test]
fn conditions_find_the_right_rows() {
    let org = org();
    for (condition, expected) in [
        ("Name = 'ACME'", vec!["Acme"]),
        ("Name != 'acme' AND Industry = null", vec!["Borg"]),
        ("Industry != 'Media'", vec!["Borg", "acme Two"]),
        ("Name LIKE 'acme%'", vec!["Acme", "acme Two"]),
        (r"Name LIKE '100\%%'", vec!["100% Pure"]),
        (
            "NumberOfEmployees > 10 AND NumberOfEmployees <= 30",
            vec!["Borg", "acme Two"],
        ),
        (
            "AnnualRevenue >= 59.99 AND AnnualRevenue < 1e3",
            vec!["acme Two", "100% Pure"],
        ),
        (
            "External_Id__c IN ('A-1', 'a-3', 'x')",
            vec!["Acme", "acme Two"],
        ),
        (r"External_Id__c = 'a\'4'", vec!["100% Pure"]),
        ("Industry NOT IN ('Media', null)", vec!["acme Two"]),
        ("NOT Industry = 'Media'", vec!["Borg", "acme Two"]),
        (
            "(Name = 'Acme' OR Name = 'Borg') AND Active__c = TRUE",
            vec!["Borg"],
        ),
        ("Opened__c < 2020-01-20", vec!["Acme"]),
        (
            "CreatedDate >= 2026-05-01T09:30:00+02:00 AND Name = 'Borg'",
            vec!["Borg"],
        ),
        (
            "Tags__c INCLUDES ('closed;large', 'small') AND Name = 'Acme'",
            vec!["Acme"],
        ),
        ("Tags__c EXCLUDES ('small') AND Name = 'Acme'", vec!["Acme"]),
        (
            "Owner.Username = 'kim@acme.example' AND Name = 'Acme'",
            vec!["Acme"],
        ),
        ("SystemModstamp > 2026-05-01T09:30:00Z", vec![]),
        ("CreatedDate = TODAY AND Name = 'Borg'", vec!["Borg"]),
        ("CreatedDate < today", vec![]),
        (
            "CreatedDate <= LAST_N_DAYS:0 AND Name = 'Borg'",
            vec!["Borg"],
        ),
        ("CreatedDate > YESTERDAY AND Name = 'Acme'", vec!["Acme"]),
        ("Opened__c != N_YEARS_AGO:6 AND Opened__c != null", vec![]),
        ("Opened__c >= THIS_YEAR", vec![]),
        ("Id IN (SELECT AccountId FROM Contact)", vec!["Acme"]),
        (
            "Id NOT IN (SELECT AccountId FROM Contact WHERE LastName = 'Ito') AND Active__c = true",
            vec!["Borg", "acme Two", "100% Pure"],
        ),
        (
            "OwnerId IN (SELECT Id FROM User WHERE Username = 'unknown')",
            vec![],
        ),
    ] {
        let text = format!("SELECT Name FROM Account WHERE {condition} ORDER BY Id");
        assert_eq!(run(&org, &text), expected, "{condition}");
    }
}

#[test]
fn parent_fields_are_resolved_and_missing_parents_null() {
    let org = org();
    let found = run(
        &org,
        "SELECT Account.Owner.Username, LastName FROM Contact ORDER BY LastName",
    );
    assert!(
        found[0].contains("\"Owner\":{") && found[0].contains("kim@acme.example"),
        "{found:?}"
    );
    assert_eq!(found[1], "null");
    assert_eq!(
        run(
            &org,
            "SELECT LastName FROM Contact WHERE Account.Name = null"
        ),
        ["Orphan"]
    );
}

#[test]
fn order_limit_and_offset_apply() {
    let org = org();
    let names = |tail: &str| run(&org, &format!("SELECT Name FROM Account {tail}"));
    assert_eq!(names("ORDER BY Industry, Name")[0], "Borg");
    assert_eq!(
        names("ORDER BY Industry DESC NULLS LAST, Name DESC")[3],
        "Borg"
    );
    assert_eq!(names("ORDER BY Name LIMIT 1 OFFSET 1"), ["Acme"]);
    assert_eq!(
        names("ORDER BY SystemModstamp, Id LIMIT 2"),
        ["Acme", "Borg"]
    );
    assert_eq!(
        names("WHERE Name LIKE '%' ORDER BY NumberOfEmployees DESC LIMIT 1"),
        ["100% Pure"]
    );
}

/// A statement and its error code.
const REFUSALS: &[(&str, &str)] = &[
    ("SELECT Id", "MALFORMED_QUERY"),
    ("SELECT FROM Account", "MALFORMED_QUERY"),
    ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY"),
    ("SELECT Id FROM Account WHERE Name = 'x", "MALFORMED_QUERY"),
    (
        r"SELECT Id FROM Account WHERE Name = '\q'",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Id FROM Account WHERE Name = 'a' OR Name = 'b' AND Name = 'c'",
        "MALFORMED_QUERY",
    ),
    ("SELECT Id FROM Account LIMIT x", "MALFORMED_QUERY"),
    ("SELECT Id FROM Account; DROP", "MALFORMED_QUERY"),
    ("SELECT FIELDS(ALL) FROM Account", "MALFORMED_QUERY"),
    ("SELECT Id FROM Accout", "INVALID_TYPE"),
    ("SELECT Foo FROM Account", "INVALID_FIELD"),
    ("SELECT Foo.Name FROM Account", "INVALID_FIELD"),
    ("SELECT Id, Id FROM Account", "INVALID_FIELD"),
    ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD"),
    (
        "SELECT Id FROM Account WHERE NumberOfEmployees = 'x'",
        "INVALID_FIELD",
    ),
    (
        "SELECT Id FROM Account WHERE Description = 'x'",
        "INVALID_FIELD",
    ),
    (
        "SELECT Id FROM Account WHERE Id = 'nope'",
        "INVALID_QUERY_FILTER_OPERATOR",
    ),
    (
        "SELECT Id FROM Account OFFSET 2001",
        "NUMBER_OUTSIDE_VALID_RANGE",
    ),
    ("SELECT Id FROM Account WHERE Name = :x", "MALFORMED_QUERY"),
    ("SELECT Id FROM Account WHERE Id IN ()", "MALFORMED_QUERY"),
    (
        "SELECT Id FROM Account WITH SECURITY_ENFORCED",
        "MALFORMED_QUERY",
    ),
    ("SELECT Id FROM Account ALL ROWS", "MALFORMED_QUERY"),
    ("SELECT Id FROM Account WHERE Name = TODAY", "INVALID_FIELD"),
    (
        "SELECT Id FROM Account WHERE CreatedDate = LAST_N_DAYS",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT Name FROM Contact)",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT Id FROM Contact)",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Id FROM Account WHERE Name IN (SELECT Id FROM Contact)",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT Id, Name FROM Account)",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Id FROM Account WHERE Name = 'x' OR Id IN (SELECT AccountId FROM Contact)",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE AccountId IN \
             (SELECT Id FROM Account))",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Id, (SELECT Id FROM Foos) FROM Account",
        "INVALID_TYPE",
    ),
    (
        "SELECT Id, (SELECT Foo FROM Contacts) FROM Account",
        "INVALID_FIELD",
    ),
    (
        "SELECT Id, (SELECT COUNT() FROM Contacts) FROM Account",
        "MALFORMED_QUERY",
    ),
    ("SELECT Name, COUNT(Id) FROM Account", "MALFORMED_QUERY"),
    ("SELECT Name n FROM Account", "MALFORMED_QUERY"),
    ("SELECT SUM(Name) FROM Account", "INVALID_FIELD"),
    ("SELECT COUNT(Id), COUNT() FROM Account", "MALFORMED_QUERY"),
    (
        "SELECT MEDIAN(AnnualRevenue) FROM Account",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT convertCurrency(AnnualRevenue) FROM Account",
        "MALFORMED_QUERY",
    ),
    (
        "SELECT Parent.Parent.Parent.Parent.Parent.Parent.Name FROM Account",
        "MALFORMED_QUERY",
    ),
];

#[test]
fn errors_have_salesforce_codes() {
    let org = org();
    for (text, code) in REFUSALS {
        assert_eq!(run(&org, text), [*code], "{text}");
    }
}

#[test]
fn groups_are_counted_summed_and_sorted() {
    let org = org();
    for (text, expected) in [
        ("SELECT COUNT(Id) FROM Account", vec!["4"]),
        ("SELECT COUNT(Industry) FROM Account", vec!["3"]),
        ("SELECT COUNT_DISTINCT(Industry) FROM Account", vec!["2"]),
        ("SELECT SUM(AnnualRevenue) FROM Account", vec!["200.0"]),
        (
            "SELECT SUM(NumberOfEmployees) s FROM Account WHERE Name LIKE 'acme%'",
            vec!["40"],
        ),
        ("SELECT AVG(NumberOfEmployees) FROM Account", vec!["25.0"]),
        ("SELECT MIN(Name) FROM Account", vec!["100% Pure"]),
        ("SELECT MAX(Opened__c) FROM Account", vec!["2020-01-30"]),
        (
            "SELECT MAX(Opened__c) FROM Account WHERE Name = 'unknown'",
            vec!["null"],
        ),
        (
            "SELECT COUNT(Id) FROM Account WHERE Name = 'unknown'",
            vec!["0"],
        ),
        (
            "SELECT Industry FROM Account GROUP BY Industry ORDER BY Industry NULLS LAST",
            vec!["Energy", "Media", "null"],
        ),
        (
            "SELECT Industry, COUNT(Id) n FROM Account GROUP BY Industry ORDER BY COUNT(Id) DESC LIMIT 1",
            vec!["Media"],
        ),
        (
            "SELECT Industry i, COUNT(Id) n FROM Account GROUP BY Industry HAVING COUNT(Id) > 1",
            vec!["Media"],
        ),
        (
            "SELECT Account.Name, COUNT(Id) FROM Contact GROUP BY Account.Name ORDER BY Account.Name DESC",
            vec!["null", "Acme"],
        ),
        (
            "SELECT Name FROM Account WHERE Name = 'unknown' GROUP BY Name",
            vec![],
        ),
    ] {
        // The first member after the attributes, in alphabetical order, is the selected one.
        let found = run(&org, text);
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        assert!(
            expected.iter().zip(&found).all(|(e, f)| e == f),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn children_are_returned_with_their_parents() {
    let org = org();
    let text = "SELECT (SELECT LastName FROM Contacts WHERE LastName LIKE 'I%' ORDER BY LastName) \
                FROM Account ORDER BY Id LIMIT 2";
    let found = run(&org, text);
    let nested: serde_json::Value = serde_json::from_str(&found[0]).unwrap();
    assert_eq!(
        (&nested["totalSize"], &nested["done"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(nested["records"][0]["LastName"], "Ito");
    assert_eq!(nested["records"][0]["attributes"]["type"], "Contact");
    assert_eq!(found[1], "null", "no children is null, not an empty list");
}

#[test]
fn fields_may_be_prefixed_with_the_object_alias() {
    let org = org();
    let text = "SELECT a.Name FROM Account a WHERE a.Industry = 'Energy' ORDER BY a.Name FOR VIEW";
    assert_eq!(run(&org, text), ["acme Two"]);
    let text = "SELECT Name FROM Account USING SCOPE everything WHERE Industry = 'Energy'";
    assert_eq!(run(&org, text), ["acme Two"]);
}

#[test]
fn errors_show_their_position() {
    let org = org();
    for (text, expected) in [
        ("nonsense", "unexpected token: 'nonsense'"),
        (
            "SELECT Id, FROM Account",
            "\nSELECT Id, FROM Account\n           ^\nERROR at Row:1:Column:12\n\
             unexpected token: 'FROM'",
        ),
        (
            "SELECT Id FROM Account WHERE",
            "\nSELECT Id FROM Account WHERE\n                            ^\n\
             ERROR at Row:1:Column:29\nunexpected token: '<EOF>'",
        ),
        (
            "SELECT Id FROM Account WHERE Name = :name",
            "\nId FROM Account WHERE Name = :name\n                             ^\n\
             ERROR at Row:1:Column:37\nBind variables only allowed in Apex code",
        ),
        (
            "SELECT Id, Foo FROM Account",
            "\nSELECT Id, Foo FROM Account\n           ^\nERROR at Row:1:Column:12\nNo such column \
             'Foo' on entity 'Account'. If you are attempting to use a custom field, be sure to \
             append the '__c' after the custom field name. Please reference your WSDL or the \
             describe call for the appropriate names.",
        ),
        (
            "SELECT Id FROM Accout",
            "\nSELECT Id FROM Accout\n               ^\nERROR at Row:1:Column:16\nsObject type \
             'Accout' is not supported. If you are attempting to use a custom object, be sure to \
             append the '__c' after the entity name. Please reference your WSDL or the describe \
             call for the appropriate names.",
        ),
    ] {
        let error = match parse(text) {
            Err(error) => error,
            Ok(query) => super::explained(text, bind(org.model.whole(), &query).unwrap_err()),
        };
        assert_eq!(error.message(), expected, "{text}");
    }
}

#[test]
fn fields_all_needs_a_limit() {
    let org = org();
    assert_eq!(
        run(&org, "SELECT FIELDS(STANDARD) FROM Account LIMIT 200").len(),
        4
    );
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!(
        "SELECT Id FROM Account WHERE {}Name = 'x'",
        "(".repeat(50_000)
    );
    assert!(parse(&deep).is_err());
    let deep = format!(
        "SELECT Id FROM Account WHERE {} Name = 'x'",
        "NOT ".repeat(20_000)
    );
    assert!(parse(&deep).is_err());
}

static ORG: std::sync::LazyLock<Org> = std::sync::LazyLock::new(org);

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn random_words_get_an_answer(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "select", "Id", "Name", "from", "Account", "where", "and", "or", "not", "in", "(",
                ")", ",", "=", "<", "like", "'a'", "'\\u12'", "5", "null", "2020-01-01", "order",
                "by", "limit", "offset", "Owner.Name", "count", "fields", "é", "-", "group",
                "having", "Contacts", "AccountId", "Contact", "LAST_N_DAYS:3", "TODAY", ":", "sum",
                "nulls", "last", "using", "scope", "for", "view", "1e400", "2020-01-01T00:00:00Z",
            ]),
            0..30,
        )
    ) {
        let _ = run(&ORG, &words.join(" "));
    }
}
