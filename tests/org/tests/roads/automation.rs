//! What Salesforce itself changes in the transaction of a write, by every road.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::road::{Caller, ROADS, Reading, Road};

pub(crate) const ORG: &str = r#"
[org]
features = ["products"]

[[object]]
name = "Account"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true
  [[object.field]]
  name = "Invoiced__c"
  type = "currency"
  scale = 2
  automation = { total = { object = "Invoice__c", reference = "Account__c", function = "sum", field = "Total__c" } }

[[object]]
name = "Opportunity"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true

[[object]]
name = "OpportunityLineItem"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true

[[object]]
name = "PricebookEntry"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true

[[object]]
name = "Product2"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true

[[object]]
name = "Pricebook2"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true

[[object]]
name = "Invoice__c"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true
  [[object.field]]
  name = "Account__c"
  type = "reference"
  reference_to = ["Account"]
  child_relationship_name = "Invoices__r"
  [[object.field]]
  name = "Total__c"
  type = "currency"
  scale = 2
  [[object.field]]
  name = "Net__c"
  type = "currency"
  scale = 2
  automation.formula = "Total__c * 0.5"
  [[object.field]]
  name = "Closed__c"
  type = "boolean"
  [[object.field]]
  name = "Note__c"
  type = "string"
  ignored_while = "Closed__c"
"#;

/// One line of a scenario. A name that has no record yet creates one, `@name` is a record's id.
enum Step {
    /// `(name, object, fields)`.
    Write(&'static str, &'static str, &'static str),
    /// `(name, object, fields, code of the refusal)`.
    Refused(&'static str, &'static str, &'static str, &'static str),
    Delete(&'static str),
    /// `(name, some of its fields)`.
    Is(&'static str, &'static str),
}

use Step::{Delete, Is, Refused, Write};

/// A product with a standard price of 25 and a retail price of 20.
const SHOP: &[Step] = &[
    Write("lamp", "Product2", r#"{"Name": "Lamp", "IsActive": true}"#),
    Write(
        "retail",
        "Pricebook2",
        r#"{"Name": "Retail", "IsActive": true}"#,
    ),
    Refused(
        "price",
        "PricebookEntry",
        r#"{"Product2Id": "@lamp", "Pricebook2Id": "@retail", "UnitPrice": 20, "IsActive": true}"#,
        "STANDARD_PRICE_NOT_DEFINED",
    ),
    Write(
        "standard",
        "PricebookEntry",
        r#"{"Product2Id": "@lamp", "Pricebook2Id": "@book", "UnitPrice": 25, "IsActive": true}"#,
    ),
    Write(
        "price",
        "PricebookEntry",
        r#"{"Product2Id": "@lamp", "Pricebook2Id": "@retail", "UnitPrice": 20, "IsActive": true}"#,
    ),
    Write(
        "deal",
        "Opportunity",
        r#"{"Name": "Deal", "CloseDate": "2026-06-01", "StageName": "Prospecting", "Amount": 7}"#,
    ),
    Write(
        "line",
        "OpportunityLineItem",
        r#"{"OpportunityId": "@deal", "PricebookEntryId": "@price", "Quantity": 3}"#,
    ),
];

const SCENARIOS: &[(&str, &[Step])] = &[
    (
        "a stage sets what follows from it",
        &[
            Write(
                "deal",
                "Opportunity",
                r#"{"Name": "Deal", "CloseDate": "2026-06-01", "StageName": "Prospecting", "Amount": 200}"#,
            ),
            Is(
                "deal",
                r#"{"Probability": 10, "IsClosed": false, "ExpectedRevenue": 20}"#,
            ),
            Write("deal", "Opportunity", r#"{"StageName": "Closed Won"}"#),
            Is(
                "deal",
                r#"{"Probability": 100, "IsClosed": true, "IsWon": true, "ForecastCategory": "Closed",
                    "ExpectedRevenue": 200}"#,
            ),
            Write(
                "deal",
                "Opportunity",
                r#"{"StageName": "Prospecting", "Probability": 35}"#,
            ),
            Is(
                "deal",
                r#"{"Probability": 35, "IsWon": false, "ExpectedRevenue": 70}"#,
            ),
        ],
    ),
    (
        "products make the amount",
        &[
            Is(
                "line",
                r#"{"UnitPrice": 20, "ListPrice": 20, "TotalPrice": 60, "Product2Id": "@lamp"}"#,
            ),
            Is(
                "deal",
                r#"{"Amount": 60, "HasOpportunityLineItem": true, "Pricebook2Id": "@retail"}"#,
            ),
            Write(
                "line",
                "OpportunityLineItem",
                r#"{"Discount": 50, "Quantity": 4}"#,
            ),
            Is("deal", r#"{"Amount": 40, "ExpectedRevenue": 4}"#),
            Refused(
                "other",
                "OpportunityLineItem",
                r#"{"OpportunityId": "@deal", "PricebookEntryId": "@standard", "Quantity": 1}"#,
                "FIELD_INTEGRITY_EXCEPTION",
            ),
            Refused(
                "deal",
                "Opportunity",
                r#"{"Pricebook2Id": "@book"}"#,
                "FIELD_INTEGRITY_EXCEPTION",
            ),
        ],
    ),
    (
        "an amount with products is ignored, and is the caller's without them",
        &[
            Write(
                "deal",
                "Opportunity",
                r#"{"Amount": 1, "NextStep": "call"}"#,
            ),
            Is("deal", r#"{"Amount": 60, "NextStep": "call"}"#),
            Delete("line"),
            Is("deal", r#"{"Amount": 60, "HasOpportunityLineItem": false}"#),
            Write("deal", "Opportunity", r#"{"Amount": 1}"#),
            Is("deal", r#"{"Amount": 1}"#),
        ],
    ),
    (
        "a roll-up follows its children",
        &[
            Write("old", "Account", r#"{"Name": "Old"}"#),
            Write("new", "Account", r#"{"Name": "New"}"#),
            Write(
                "one",
                "Invoice__c",
                r#"{"Account__c": "@old", "Total__c": 5.5}"#,
            ),
            Write(
                "two",
                "Invoice__c",
                r#"{"Account__c": "@old", "Total__c": 1}"#,
            ),
            Is("old", r#"{"Invoiced__c": 6.5}"#),
            Is("one", r#"{"Net__c": 2.75}"#),
            Write(
                "one",
                "Invoice__c",
                r#"{"Account__c": "@new", "Total__c": 7}"#,
            ),
            Is("old", r#"{"Invoiced__c": 1}"#),
            Is("new", r#"{"Invoiced__c": 7}"#),
            Delete("two"),
            Is("old", r#"{"Invoiced__c": 0}"#),
        ],
    ),
    (
        "a deleted parent clears its lookups",
        &[
            Write("top", "Account", r#"{"Name": "Top"}"#),
            Write(
                "low",
                "Invoice__c",
                r#"{"Account__c": "@top", "Note__c": "x"}"#,
            ),
            Delete("top"),
            Is("low", r#"{"Account__c": null, "Note__c": "x"}"#),
        ],
    ),
    (
        "a field is ignored while its condition holds, and cleared otherwise",
        &[
            Write(
                "bill",
                "Invoice__c",
                r#"{"Note__c": "x", "Closed__c": true}"#,
            ),
            Write("bill", "Invoice__c", r#"{"Note__c": null, "Total__c": 3}"#),
            Is("bill", r#"{"Note__c": "x", "Total__c": 3}"#),
            Write("bill", "Invoice__c", r#"{"Closed__c": false}"#),
            Write("bill", "Invoice__c", r#"{"Note__c": null}"#),
            Is("bill", r#"{"Note__c": null, "Total__c": 3}"#),
        ],
    ),
    (
        "a record is not its own ancestor",
        &[
            Write("top", "Account", r#"{"Name": "Top"}"#),
            Write("low", "Account", r#"{"Name": "Low", "ParentId": "@top"}"#),
            Refused(
                "top",
                "Account",
                r#"{"ParentId": "@low"}"#,
                "CIRCULAR_DEPENDENCY",
            ),
            Refused(
                "low",
                "Account",
                r#"{"ParentId": "@low"}"#,
                "CIRCULAR_DEPENDENCY",
            ),
            Is("top", r#"{"ParentId": null}"#),
            Is("low", r#"{"ParentId": "@top"}"#),
        ],
    ),
];

/// A scenario on one road.
struct Play {
    caller: Caller,
    /// The scenario and the road, for messages.
    at: String,
    road: Road,
    /// The object, id and key of each named record.
    records: BTreeMap<&'static str, (&'static str, String, String)>,
}

impl Play {
    fn new(scenario: &str, road: Road) -> Self {
        let mut play = Self {
            caller: Caller::new(ORG),
            at: format!("{scenario}, {road:?}"),
            road,
            records: BTreeMap::new(),
        };
        let found = play.caller.query("SELECT Id FROM Pricebook2").to_json();
        let id = found["records"][0]["Id"].as_str().unwrap().to_owned();
        play.records
            .insert("book", ("Pricebook2", id, String::new()));
        play
    }

    fn fields(&self, text: &str) -> Json {
        let mut text = text.to_owned();
        for (name, (_, id, _)) in &self.records {
            text = text.replace(&format!("\"@{name}\""), &format!("\"{id}\""));
        }
        serde_json::from_str(&text).unwrap()
    }

    /// Writes a record, and returns the code of the refusal.
    fn write(&mut self, name: &'static str, object: &'static str, text: &str) -> Option<String> {
        let fields = self.fields(text);
        if let Some((_, id, key)) = self.records.get(name).cloned() {
            let at = (id.as_str(), key.as_str());
            return self.caller.update(self.road, object, at, &fields).err();
        }
        match self.caller.create(self.road, object, &fields) {
            Err(code) => Some(code),
            Ok(id) => {
                let key = self.caller.last_key();
                self.records.insert(name, (object, id, key));
                None
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let (road, at) = (self.road, self.at.clone());
        match step {
            Write(name, object, text) => {
                assert_eq!(self.write(name, object, text), None, "{at}: {name} {text}");
            }
            Refused(name, object, text, code) => {
                let refusal = self.write(name, object, text);
                assert_eq!(refusal.as_deref(), Some(*code), "{at}: {name} {text}");
            }
            Delete(name) => {
                let (object, id, key) = self.records.remove(name).unwrap();
                let deleted = self.caller.delete(road, object, (&id, &key));
                assert!(deleted.is_ok(), "{at}: {name} {deleted:?}");
            }
            Is(name, text) => {
                let (object, id, _) = self.records[name].clone();
                for (field, expected) in self.fields(text).as_object().unwrap() {
                    let read = self
                        .caller
                        .read(Reading::Query, object, &id, field)
                        .unwrap();
                    let same = match expected.as_f64() {
                        Some(number) => read.as_f64() == Some(number),
                        None => read == *expected,
                    };
                    assert!(same, "{at}: {name} {field}: {read}, expected {expected}");
                }
            }
        }
    }
}

#[test]
fn automation_is_the_same_by_every_road() {
    for (scenario, steps) in SCENARIOS {
        let needs_shop = steps
            .iter()
            .any(|step| matches!(step, Is("line", _) | Delete("line")));
        for road in ROADS {
            let mut play = Play::new(scenario, road);
            let shop = SHOP.iter().filter(|_| needs_shop);
            for step in shop.chain(*steps) {
                play.step(step);
            }
        }
    }
}

#[test]
fn automation_of_one_write_is_in_one_event() {
    for road in ROADS {
        let mut play = Play::new("one event", road);
        for step in SHOP {
            play.step(step);
        }
        play.caller.org.advance_ms(5_000);
        let before = play.caller.events().len();
        play.step(&Write(
            "deal",
            "Opportunity",
            r#"{"StageName": "Closed Won", "Amount": 1}"#,
        ));
        let events = play.caller.events().split_off(before);
        assert_eq!(events.len(), 1, "{road:?}");
        let changed = |name: &str| events[0].changed_fields.contains(&name.to_owned());
        assert!(changed("IsWon") && changed("ExpectedRevenue"), "{road:?}");
        assert!(!changed("Amount"), "{road:?}");
        assert_eq!(events[0].fields["Probability"], json!(100.0), "{road:?}");
    }
}
