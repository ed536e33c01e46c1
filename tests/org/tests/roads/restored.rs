//! An org with every feature, dumped and restored: both answer alike on every road.

use salesforce_org::Response;
use salesforce_org::local::{INTEGRATION_USER, PERSON};
use serde_json::{Value as Json, json};

use crate::automation;
use crate::road::{Caller, READINGS, ROADS, Road};

/// What the org has besides the objects of the automation.
const MORE: &str = r#"
[[queue]]
name = "New leads"
objects = ["Lead"]

[[country]]
code = "US"
name = "United States"
states = { CA = "California" }

[[object]]
name = "Invoice__c"
  [[object.field]]
  name = "Card__c"
  type = "encryptedstring"
  mask = "lastFour"
"#;

fn org_file() -> String {
    let features = r#"["activities", "person_accounts", "products", "queues"]
currencies = ["EUR", "USD"]"#;
    automation::ORG.replace(r#"["products"]"#, features) + MORE
}

/// The ids of the records that the org has.
struct Known {
    person: String,
    deal: String,
    entry: String,
    top: String,
    low: String,
    invoice: String,
    task: String,
}

fn create(caller: &mut Caller, object: &str, fields: Json) -> String {
    let created = caller.org.insert_as(PERSON, object, &fields);
    created
        .unwrap_or_else(|error| panic!("{object}: {error}"))
        .to_string()
}

fn first_id(caller: &mut Caller, soql: &str) -> String {
    let found = caller.query(soql).to_json();
    found["records"][0]["Id"].as_str().unwrap().to_owned()
}

/// Returns an org with a record of every feature, with permissions and with a changed schema.
fn lived_in() -> (Caller, Known) {
    let mut caller = Caller::new(&org_file());
    let kind = "SELECT Id FROM RecordType WHERE DeveloperName = 'PersonAccount'";
    let kind = first_id(&mut caller, kind);
    let queue = first_id(&mut caller, "SELECT Id FROM Group");
    let book = first_id(&mut caller, "SELECT Id FROM Pricebook2");
    let person = json!({"RecordTypeId": kind, "FirstName": "Mei", "LastName": "Ito"});
    let person = create(&mut caller, "Account", person);
    let top =
        json!({"Name": "Top", "BillingCountryCode": "US", "BillingStateCode": "CA", "Fax": "1"});
    let top = create(&mut caller, "Account", top);
    let low = json!({"Name": "Low", "ParentId": top, "CurrencyIsoCode": "USD"});
    let low = create(&mut caller, "Account", low);
    let lead = json!({"LastName": "Kim", "Company": "Acme", "OwnerId": queue});
    create(&mut caller, "Lead", lead);
    let product = create(&mut caller, "Product2", json!({"Name": "Lamp"}));
    let entry =
        json!({"Product2Id": product, "Pricebook2Id": book, "UnitPrice": 20, "IsActive": true});
    let entry = create(&mut caller, "PricebookEntry", entry);
    let deal = json!({"Name": "Deal", "CloseDate": "2026-06-01", "StageName": "Prospecting"});
    let deal = create(&mut caller, "Opportunity", deal);
    let line =
        json!({"OpportunityId": deal, "PricebookEntryId": entry, "Quantity": 3, "Discount": 50});
    create(&mut caller, "OpportunityLineItem", line);
    let invoice = json!({"Account__c": top, "Total__c": 5, "Card__c": "4111-1234", "Closed__c": true, "Note__c": "x"});
    let invoice = create(&mut caller, "Invoice__c", invoice);
    let task = create(
        &mut caller,
        "Task",
        json!({"Subject": "Call", "WhatId": top}),
    );
    let gone = create(
        &mut caller,
        "Invoice__c",
        json!({"Account__c": low, "Total__c": 1}),
    );
    caller.org.advance_ms(61_000);
    caller.control("archive", &json!({"ids": [task]}));
    let deleted = json!({"action": "delete", "user": PERSON, "id": gone});
    caller.control("user_edit", &deleted);
    let field = json!({"name": "Later__c", "type": "int", "default": 5});
    caller.control(
        "schema",
        &json!({"object": "Invoice__c", "add_field": field}),
    );
    let shared = json!([{"object": "Invoice__c", "where": "Total__c > 1", "edit": true}]);
    let restricted = json!({
        "user": INTEGRATION_USER, "hidden_fields": ["Account.Fax"], "read_only_fields": ["Account.Phone"],
        "cannot_delete": ["Contact"], "cannot_view_all": ["Invoice__c"], "sharing": shared,
    });
    caller.control("permissions", &restricted);
    caller.org.advance_ms(61_000);
    let known = Known {
        person,
        deal,
        entry,
        top,
        low,
        invoice,
        task,
    };
    (caller, known)
}

/// The parts of an answer that a client sees: status, headers, body.
type Seen = (u16, Vec<(String, String)>, String);

fn seen(answer: Response) -> Seen {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status, answer.headers, body)
}

/// Reads everything that the features and permissions change.
fn read(caller: &mut Caller, known: &Known) -> Vec<Seen> {
    let window = "start=2026-05-01T09:00:00Z&end=2026-05-01T10:00:00Z";
    let mut paths = vec![
        "sobjects".to_owned(),
        format!("sobjects/Task/{}", known.task),
        format!("sobjects/Invoice__c/{}", known.invoice),
        format!("sobjects/Account/{}", known.person),
        format!("sobjects/Opportunity/{}", known.deal),
        format!("sobjects/Invoice__c/deleted?{window}"),
        format!("sobjects/Invoice__c/updated?{window}"),
        "queryAll?q=SELECT+Id,IsArchived,IsDeleted+FROM+Task".to_owned(),
        "query?q=SELECT+PermissionsViewEncryptedData+FROM+UserPermissionAccess".to_owned(),
    ];
    for object in [
        "Account",
        "Contact",
        "Invoice__c",
        "Opportunity",
        "Lead",
        "Task",
        "Case",
    ] {
        paths.push(format!("sobjects/{object}/describe"));
        paths.push(format!(
            "query?q=SELECT+FIELDS(ALL)+FROM+{object}+LIMIT+200"
        ));
    }
    let answers = paths
        .iter()
        .map(|path| seen(caller.call("GET", path, None)));
    answers.collect()
}

/// Writes by one road what the features and permissions change or refuse.
fn write(caller: &mut Caller, road: Road, known: &Known) -> Vec<Result<String, String>> {
    let mut outcomes = Vec::new();
    let line = json!({"OpportunityId": known.deal, "PricebookEntryId": known.entry, "Quantity": 1});
    outcomes.push(caller.create(road, "OpportunityLineItem", &line));
    let invoice = json!({"Account__c": known.low, "Total__c": 7, "Card__c": "4711-9999"});
    let created = caller.create(road, "Invoice__c", &invoice);
    if let Ok(id) = &created {
        for field in ["Card__c", "Later__c", "Net__c"] {
            for reading in READINGS {
                let value = caller.read(reading, "Invoice__c", id, field);
                outcomes.push(value.map(|value| value.to_string()));
            }
        }
        let key = caller.last_key();
        let change = json!({"Note__c": "y", "Closed__c": true});
        outcomes.push(caller.update(road, "Invoice__c", (id, &key), &change));
        let ignored = json!({"Note__c": "z"});
        outcomes.push(caller.update(road, "Invoice__c", (id, &key), &ignored));
    }
    outcomes.push(created);
    if road == Road::ExternalId {
        return outcomes;
    }
    for (object, id, change) in [
        ("Account", &known.top, json!({"ParentId": known.low})),
        ("Account", &known.top, json!({"Phone": "1"})),
        ("Account", &known.top, json!({"Fax": "1"})),
        ("Account", &known.top, json!({"BillingStateCode": "NY"})),
        (
            "Account",
            &known.person,
            json!({"FirstName": format!("{road:?}")}),
        ),
        ("Opportunity", &known.deal, json!({"Amount": 1})),
        (
            "Opportunity",
            &known.deal,
            json!({"StageName": "Closed Won"}),
        ),
        ("Invoice__c", &known.invoice, json!({"Note__c": null})),
        ("Task", &known.task, json!({"Subject": "Again"})),
    ] {
        outcomes.push(caller.update(road, object, (id, ""), &change));
    }
    outcomes
}

#[test]
fn restored_org_with_every_feature_answers_alike() {
    let (mut dumped, known) = lived_in();
    let mut restored = dumped.restored(&org_file());
    assert_eq!(restored.dumped(), dumped.dumped());
    assert_eq!(read(&mut restored, &known), read(&mut dumped, &known));
    for road in ROADS {
        let (again, first) = (
            write(&mut restored, road, &known),
            write(&mut dumped, road, &known),
        );
        assert!(first.iter().any(Result::is_ok), "{road:?}: {first:?}");
        assert_eq!(again, first, "{road:?}");
        assert_eq!(
            read(&mut restored, &known),
            read(&mut dumped, &known),
            "{road:?}"
        );
    }
    let text = |caller: &Caller| format!("{:?}", caller.events());
    assert_eq!(text(&restored), text(&dumped));
    assert_eq!(restored.dumped(), dumped.dumped());
}
