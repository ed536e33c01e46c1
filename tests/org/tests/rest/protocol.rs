//! What clients see of the protocol beside the records.

use salesforce_org::{Org, Request, Response};
use serde_json::{Value as Json, json};

use crate::fixture::Fixture;

fn switched(f: &mut Fixture, switches: &Json) {
    let request = Request::new("POST", "/_org/unconfirmed").json(switches);
    let answer = f.org.request(&request);
    assert_eq!(answer.status, 200, "{}", answer.to_json());
}

/// Creates accounts in one composite request and returns their names in order of creation.
fn created_in_order(f: &mut Fixture, collate: Json) -> Vec<String> {
    let node = |number: usize| {
        json!({
            "method": "POST", "url": "/services/data/v62.0/sobjects/Account",
            "referenceId": format!("r{number}"), "body": {"Name": format!("N{number}")},
        })
    };
    let nodes: Vec<Json> = (0..8).map(node).collect();
    let body = json!({"compositeRequest": nodes, "collateSubrequests": collate});
    let answers = f.send("POST", "composite", &body).to_json();
    for (place, answer) in answers["compositeResponse"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        assert_eq!(answer["httpStatusCode"], 201);
        assert_eq!(answer["referenceId"], format!("r{place}"));
    }
    let found = f.query("SELECT Name FROM Account ORDER BY Id");
    let records = found["records"].as_array().unwrap();
    let name = |record: &Json| record["Name"].as_str().unwrap().to_owned();
    records.iter().map(name).collect()
}

#[test]
fn composite_calls_without_references_run_in_any_order() {
    let sorted: Vec<String> = (0..8).map(|number| format!("N{number}")).collect();
    let mut shuffled = created_in_order(&mut Fixture::new(), json!(null));
    assert_ne!(shuffled, sorted);
    shuffled.sort();
    assert_eq!(shuffled, sorted);
    assert_eq!(created_in_order(&mut Fixture::new(), json!(false)), sorted);
}

#[test]
fn composite_calls_run_after_those_that_they_refer_to() {
    let mut f = Fixture::new();
    let mut nodes = Vec::new();
    for number in 0..12 {
        let body = match number % 2 {
            0 => json!({"Name": "parent"}),
            _ => json!({"Name": "child", "ParentId": format!("@{{r{}.id}}", number - 1)}),
        };
        nodes.push(json!({
            "method": "POST", "url": "/services/data/v62.0/sobjects/Account",
            "referenceId": format!("r{number}"), "body": body,
        }));
    }
    let answers = f.send("POST", "composite", &json!({"compositeRequest": nodes}));
    let answers = answers.to_json();
    let mut all = answers["compositeResponse"].as_array().unwrap().iter();
    assert!(
        all.all(|answer| answer["httpStatusCode"] == 201),
        "{answers}"
    );
}

#[test]
fn organization_tells_a_sandbox_from_production() {
    let text = "[org]\nis_sandbox = true\ninstance_name = \"CS1\"\n";
    let mut f = Fixture::of(Org::from_toml(text).unwrap());
    let id = f.org.org_id();
    let soql = "SELECT Id, IsSandbox, InstanceName, OrganizationType FROM Organization";
    let found = f.query(&format!("{soql} WHERE Id = '{id}'"));
    let record = &found["records"][0];
    assert_eq!(record["Id"], json!(id));
    assert_eq!(record["IsSandbox"], json!(true));
    assert_eq!(record["InstanceName"], "CS1");
    assert_eq!(record["OrganizationType"], "Developer Edition");
    let path = format!("sobjects/Organization/{id}");
    assert_eq!(f.call("GET", &path).to_json()["Name"], "Syncline Local");
    assert_eq!(f.send("PATCH", &path, &json!({"Name": "x"})).status, 400);
}

#[test]
fn columns_parameter_describes_a_query_without_its_rows() {
    let mut f = Fixture::new();
    let q = "SELECT+Id,Owner.Email,(SELECT+LastName+FROM+Contacts)+FROM+Account";
    let json = f
        .call("GET", &format!("query?columns=true&q={q}"))
        .to_json();
    assert_eq!(
        (&json["entityName"], &json["keyPrefix"], &json["idSelected"]),
        (&json!("Account"), &json!("001"), &json!(true))
    );
    assert_eq!(json["records"], Json::Null);
    let columns = &json["columnMetadata"];
    assert_eq!(columns[0]["apexType"], "Id");
    assert_eq!(columns[1]["joinColumns"][0]["columnName"], "Email");
    assert_eq!(columns[2]["aggregate"], json!(true));
    let q = "SELECT+Industry,COUNT(Id)+n+FROM+Account+GROUP+BY+Industry";
    let json = f
        .call("GET", &format!("query?columns=true&q={q}"))
        .to_json();
    assert_eq!(json["groupBy"], json!(true));
    assert_eq!(json["columnMetadata"][1]["columnName"], "n");
}

#[test]
fn wide_rows_make_smaller_pages_than_asked() {
    let mut f = Fixture::new();
    for batch in 0..4 {
        let record =
            |n: u32| json!({"attributes": {"type": "Account"}, "Name": format!("{batch}-{n}")});
        let records: Vec<Json> = (0..200).map(record).collect();
        f.send("POST", "composite/sobjects", &json!({"records": records}));
    }
    let narrow = f.query("SELECT Id FROM Account");
    assert_eq!(narrow["done"], json!(true));
    let wide = f.query("SELECT Id, Description FROM Account");
    let rows = wide["records"].as_array().unwrap().len();
    assert!(rows < 800 && wide["done"] == json!(false), "{rows}");
    let next = wide["nextRecordsUrl"].as_str().unwrap().to_owned();
    let rest = f.call("GET", &next).to_json();
    assert_eq!(rest["records"].as_array().unwrap().len(), 800 - rows);
}

#[test]
fn fields_group_exactly_if_describe_says_so() {
    let mut f = Fixture::new();
    f.account(json!({"Name": "A"}));
    let describe = f.call("GET", "sobjects/Account/describe").to_json();
    let mut refused = 0;
    for field in describe["fields"].as_array().unwrap() {
        let name = field["name"].as_str().unwrap();
        let answer = f.query(&format!("SELECT COUNT(Id) FROM Account GROUP BY {name}"));
        let groups = answer.get("records").is_some();
        assert_eq!(json!(groups), field["groupable"], "{name}: {answer}");
        refused += usize::from(!groups);
    }
    assert!(
        refused > 5,
        "currencies, datetimes and long texts do not group"
    );
}

#[test]
fn describe_lists_every_address_of_an_object() {
    let mut f = Fixture::new();
    let describe = f.call("GET", "sobjects/Account/describe").to_json();
    let names: Vec<&String> = describe["urls"].as_object().unwrap().keys().collect();
    for name in [
        "approvalLayouts",
        "compactLayouts",
        "describe",
        "layouts",
        "listviews",
        "quickActions",
        "rowTemplate",
        "sobject",
        "uiDetailTemplate",
        "uiEditTemplate",
        "uiNewRecord",
    ] {
        assert!(names.iter().any(|known| *known == name), "{name}");
    }
    let global = f.call("GET", "sobjects").to_json();
    assert_eq!(global["sobjects"][0]["urls"].as_object().unwrap().len(), 8);
}

fn usage(response: &Response) -> String {
    response.header("sforce-limit-info").unwrap().to_owned()
}

#[test]
fn limit_info_can_be_five_minutes_old() {
    let mut f = Fixture::new();
    let first = usage(&f.call("GET", "limits"));
    for _ in 0..3 {
        assert_eq!(usage(&f.call("GET", "limits")), first);
    }
    f.org.advance_ms(300_000);
    assert_eq!(usage(&f.call("GET", "limits")), "api-usage=5/1000000");
    switched(&mut f, &json!({"limit_info": "exact"}));
    assert_eq!(usage(&f.call("GET", "limits")), "api-usage=6/1000000");
}

#[test]
fn query_locator_ends_fifteen_minutes_after_its_use() {
    for (life, ms, status) in [
        ("fifteen_minutes", 15 * 60_000, 200),
        ("fifteen_minutes", 15 * 60_000 + 1, 400),
        ("two_days", 2 * 86_400_000, 200),
    ] {
        let mut f = Fixture::new();
        switched(&mut f, &json!({"query_locator_life": life}));
        for batch in 0..2 {
            let record =
                |n: u32| json!({"attributes": {"type": "Account"}, "Name": format!("{batch}{n}")});
            let records: Vec<Json> = (0..200).map(record).collect();
            f.send("POST", "composite/sobjects", &json!({"records": records}));
        }
        let request = f.request("GET", "query?q=SELECT+Id+FROM+Account");
        let request = request.header("Sforce-Query-Options", "batchSize=200");
        let page = f.org.request(&request).to_json();
        let next = page["nextRecordsUrl"].as_str().unwrap().to_owned();
        f.org.advance_ms(ms);
        f.token = f
            .org
            .open_session(salesforce_org::local::INTEGRATION_USER)
            .unwrap();
        assert_eq!(f.call("GET", &next).status, status, "{life} {ms}");
    }
}

#[test]
fn client_tag_is_in_no_event_of_composite_writes() {
    let mut f = Fixture::new();
    let record = json!({"attributes": {"type": "Account"}, "Name": "A"});
    let body = json!({"records": [record]});
    f.send("POST", "composite/sobjects", &body);
    f.send("POST", "sobjects/Account", &json!({"Name": "B"}));
    switched(&mut f, &json!({"client_tag_on_composite": "kept"}));
    f.send("POST", "composite/sobjects", &body);
    let origins: Vec<String> = f.events().into_iter().map(|e| e.change_origin).collect();
    let plain = "com/salesforce/api/rest/62.0";
    let tagged = format!("{plain};client=syncline");
    assert_eq!(origins, [plain, &tagged, &tagged]);
}

#[test]
fn condition_inside_a_composite_is_ignored_unless_switched() {
    let mut f = Fixture::new();
    f.org.advance_ms(60_000);
    let id = f.account(json!({"Name": "A"}));
    let node = json!({
        "method": "PATCH", "url": format!("/services/data/v62.0/sobjects/Account/{id}"),
        "referenceId": "r", "body": {"Site": "s"},
        "httpHeaders": {"If-Unmodified-Since": "Fri, 01 May 2026 09:30:00 GMT"},
    });
    let body = json!({"compositeRequest": [node]});
    let status = |f: &mut Fixture| {
        let answer = f.send("POST", "composite", &body).to_json();
        answer["compositeResponse"][0]["httpStatusCode"].clone()
    };
    assert_eq!(status(&mut f), 204);
    switched(&mut f, &json!({"conditions_in_composite": "checked"}));
    assert_eq!(status(&mut f), 412);
}

#[test]
fn equal_changes_share_an_event_only_by_chance() {
    let numbers = |merged: &str| {
        let mut f = Fixture::new();
        switched(&mut f, &json!({"merged_events": merged}));
        let record = |n: u32| json!({"attributes": {"type": "Account"}, "Name": n.to_string()});
        let records: Vec<Json> = (0..100).map(record).collect();
        let saved = f.send("POST", "composite/sobjects", &json!({"records": records}));
        let saved = saved.to_json();
        let before = f.events().len();
        let change =
            |one: &Json| json!({"attributes": {"type": "Account"}, "id": one["id"], "Site": "s"});
        let records: Vec<Json> = saved.as_array().unwrap().iter().map(change).collect();
        f.send("PATCH", "composite/sobjects", &json!({"records": records}));
        let events = f.events().split_off(before);
        let ids = events
            .iter()
            .map(|event| event.record_ids.len())
            .sum::<usize>();
        assert_eq!(ids, 100, "{merged}: every record is in one event");
        events.len()
    };
    assert_eq!(numbers("always"), 1);
    assert_eq!(numbers("never"), 100);
    let some = numbers("by_chance");
    assert!((2..100).contains(&some), "{some}");
}
