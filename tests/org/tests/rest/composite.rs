//! Calls within calls: composite, batch, graph and tree.

use salesforce_org::{Org, RecordId, Response};
use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, error, refused};

const BASE: &str = "/services/data/v62.0";

/// A subrequest without a body.
fn node(method: &str, path: &str, reference: &str) -> Json {
    json!({"method": method, "url": format!("{BASE}/{path}"), "referenceId": reference})
}

/// A subrequest with a body.
fn with(method: &str, path: &str, reference: &str, body: Json) -> Json {
    let mut node = node(method, path, reference);
    node["body"] = body;
    node
}

/// Sends a composite request whose calls run in the order given.
fn composite(f: &mut Fixture, all_or_none: bool, nodes: &[Json]) -> Response {
    let body = json!({
        "allOrNone": all_or_none, "collateSubrequests": false, "compositeRequest": nodes,
    });
    f.send("POST", "composite", &body)
}

/// Returns the status and code of each contained answer.
fn outcomes(response: &Json) -> Vec<(u64, String)> {
    let answers = response["compositeResponse"].as_array().unwrap().iter();
    answers
        .map(|answer| {
            let code = answer["body"][0]["errorCode"].as_str().unwrap_or_default();
            (answer["httpStatusCode"].as_u64().unwrap(), code.to_owned())
        })
        .collect()
}

fn plain(outcomes: &[(u16, &str)]) -> Vec<(u64, String)> {
    let owned = |(status, code): &(u16, &str)| (u64::from(*status), (*code).to_owned());
    outcomes.iter().map(owned).collect()
}

#[test]
fn composite_is_one_transaction_and_one_api_call() {
    let mut f = Fixture::new();
    let response = composite(
        &mut f,
        true,
        &[
            with(
                "POST",
                "sobjects/Account",
                "acc",
                json!({"Name": "Acme", "External_Id__c": "a/1"}),
            ),
            with(
                "POST",
                "sobjects/Contact",
                "con",
                json!({"LastName": "Ito", "AccountId": "@{acc.id}"}),
            ),
            node(
                "GET",
                "sobjects/Account/@{acc.id}?fields=External_Id__c",
                "read",
            ),
            with(
                "PATCH",
                "sobjects/Account/External_Id__c/@{read.External_Id__c}",
                "up",
                json!({"Site": "s"}),
            ),
            node(
                "GET",
                "query?q=SELECT+Id,(SELECT+LastName+FROM+Contacts)+FROM+Account+WHERE+Id='@{up.id}'",
                "find",
            ),
        ],
    );
    assert_eq!(
        response.header("sforce-limit-info"),
        Some("api-usage=1/1000000")
    );
    let json = response.to_json();
    let expected = plain(&[(201, ""), (201, ""), (200, ""), (200, ""), (200, "")]);
    assert_eq!(
        (response.status, outcomes(&json)),
        (200, expected),
        "{json}"
    );
    let answers = &json["compositeResponse"];
    let id = answers[0]["body"]["id"].as_str().unwrap();
    let location = format!("{BASE}/sobjects/Account/{id}");
    assert_eq!(answers[0]["httpHeaders"], json!({"Location": location}));
    assert_eq!(answers[1]["referenceId"], "con");
    assert_eq!(answers[3]["body"]["created"], json!(false));
    assert_eq!(
        answers[4]["body"]["records"][0]["Contacts"]["records"][0]["LastName"],
        "Ito"
    );
    let events = f.events();
    assert_eq!(
        events.len(),
        2,
        "an update of a record created in the same transaction has no event"
    );
    assert_eq!(events[0].transaction_key, events[1].transaction_key);
}

#[test]
fn all_or_none_failure_rolls_back_the_whole_composite() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "old", "External_Id__c": "k"}));
    let before = f.events().len();
    let response = composite(
        &mut f,
        true,
        &[
            with(
                "PATCH",
                &format!("sobjects/Account/{id}"),
                "up",
                json!({"Name": "new", "External_Id__c": "moved"}),
            ),
            node("DELETE", &format!("sobjects/Account/{id}"), "gone"),
            with("POST", "sobjects/Contact", "bad", json!({"FirstName": "x"})),
            with(
                "POST",
                "sobjects/Account",
                "never",
                json!({"Name": "never"}),
            ),
        ],
    );
    let json = response.to_json();
    let halted = (400, "PROCESSING_HALTED");
    let expected = plain(&[halted, halted, (400, "REQUIRED_FIELD_MISSING"), halted]);
    assert_eq!((response.status, outcomes(&json)), (200, expected));
    let message =
        "The transaction was rolled back since another operation in the same transaction failed.";
    assert_eq!(json["compositeResponse"][0]["body"][0]["message"], message);
    let id = RecordId::parse(&id).unwrap();
    assert_eq!(f.org.value_of(id, "Name").as_deref(), Some("old"));
    assert_eq!(
        f.call("GET", "sobjects/Account/External_Id__c/k").status,
        200
    );
    assert_eq!((f.org.count("Account"), f.events().len()), (1, before));
}

#[test]
fn without_all_or_none_only_dependent_calls_fail() {
    let mut f = Fixture::new();
    let response = composite(
        &mut f,
        false,
        &[
            with("POST", "sobjects/Account", "bad", json!({})),
            with(
                "POST",
                "sobjects/Contact",
                "child",
                json!({"LastName": "x", "AccountId": "@{bad.id}"}),
            ),
            with("POST", "sobjects/Account", "good", json!({"Name": "good"})),
            node("GET", "sobjects/Nope", "none"),
            node("POST", "composite", "nested"),
        ],
    );
    let json = response.to_json();
    let expected = plain(&[
        (400, "REQUIRED_FIELD_MISSING"),
        (400, "PROCESSING_HALTED"),
        (201, ""),
        (404, "NOT_FOUND"),
        (404, "NOT_FOUND"),
    ]);
    assert_eq!(outcomes(&json), expected);
    let message = "Invalid reference specified. No value for bad.id found in bad.";
    assert_eq!(json["compositeResponse"][1]["body"][0]["message"], message);
    assert_eq!((f.org.count("Account"), f.org.count("Contact")), (1, 0));
}

#[test]
fn subrequests_have_their_own_headers() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "a"}));
    let mut known = node("GET", &format!("sobjects/Account/{id}"), "known");
    known["httpHeaders"] = json!({"If-Modified-Since": "Fri, 01 May 2026 09:30:00 GMT"});
    let json = composite(&mut f, true, &[known]).to_json();
    let answer = &json["compositeResponse"][0];
    assert_eq!(
        (&answer["httpStatusCode"], &answer["body"]),
        (&json!(304), &Json::Null)
    );
    assert_eq!(
        answer["httpHeaders"]["Last-Modified"],
        "Fri, 01 May 2026 09:30:00 GMT"
    );
    assert!(answer["httpHeaders"]["ETag"].is_string(), "{answer}");
}

#[test]
fn collection_in_a_composite_is_rolled_back_with_it() {
    let mut f = Fixture::new();
    let record = |name: &str| json!({"attributes": {"type": "Account"}, "Name": name});
    let records = json!({"allOrNone": true, "records": [record("a"), record("b")]});
    let json = composite(
        &mut f,
        true,
        &[
            with("POST", "composite/sobjects", "many", records.clone()),
            with(
                "POST",
                "sobjects/Contact",
                "con",
                json!({"LastName": "x", "AccountId": "@{many[1].id}"}),
            ),
            node("DELETE", "sobjects/Contact/0035g00000000zzAAA", "bad"),
        ],
    )
    .to_json();
    assert_eq!(outcomes(&json)[2].1, "INVALID_CROSS_REFERENCE_KEY");
    assert_eq!((f.org.count("Account"), f.events().len()), (0, 0));
    let json = composite(
        &mut f,
        true,
        &[with("POST", "composite/sobjects", "many", records)],
    )
    .to_json();
    assert_eq!(
        json["compositeResponse"][0]["body"][1]["success"],
        json!(true)
    );
    assert_eq!((f.org.count("Account"), f.events().len()), (2, 2));
}

#[test]
fn malformed_composite_is_refused_as_a_whole() {
    let mut f = Fixture::new();
    let get = |reference: &str| node("GET", "sobjects/Account/describe", reference);
    let many: Vec<Json> = (0..26).map(|n| get(&format!("r{n}"))).collect();
    let heavy: Vec<Json> = (0..6)
        .map(|n| node("GET", "query?q=x", &format!("q{n}")))
        .collect();
    for (body, code) in [
        (json!({}), "JSON_PARSER_ERROR"),
        (json!({"compositeRequest": []}), "JSON_PARSER_ERROR"),
        (json!({"compositeRequest": [5]}), "JSON_PARSER_ERROR"),
        (
            json!({"compositeRequest": [{"method": "GET", "url": "/x"}]}),
            "JSON_PARSER_ERROR",
        ),
        (
            json!({"allOrNone": "yes", "compositeRequest": [get("a")]}),
            "JSON_PARSER_ERROR",
        ),
        (
            json!({"compositeRequest": [get("a"), get("a")]}),
            "INVALID_INPUT",
        ),
        (json!({"compositeRequest": [get("a-b")]}), "INVALID_INPUT"),
        (json!({"compositeRequest": many}), "LIMIT_EXCEEDED"),
        (json!({"compositeRequest": heavy}), "LIMIT_EXCEEDED"),
    ] {
        let response = f.send("POST", "composite", &body);
        let found = response.to_json()[0]["errorCode"].clone();
        assert_eq!((response.status, found), (400, json!(code)), "{body}");
    }
    let old = f.send(
        "POST",
        "/services/data/v37.0/composite",
        &json!({"compositeRequest": [get("a")]}),
    );
    assert_eq!(old.status, 404);
}

#[test]
fn batch_continues_after_a_failure_unless_it_halts() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "a"}));
    let path = format!("v62.0/sobjects/Account/{id}");
    let parts = json!([
        {"method": "PATCH", "url": path, "richInput": {"Name": "b"}},
        {"method": "GET", "url": "v62.0/sobjects/Nope"},
        {"method": "GET", "url": format!("{path}?fields=Name")},
        {"method": "GET", "url": "v62.0/limits"},
        {"method": "POST", "url": "v62.0/composite"},
    ]);
    let response = f.send("POST", "composite/batch", &json!({"batchRequests": parts}));
    f.org.advance_ms(300_000);
    let usage = f.call("GET", "limits");
    assert_eq!(
        usage.header("sforce-limit-info"),
        Some("api-usage=7/1000000")
    );
    let json = response.to_json();
    let statuses: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["statusCode"])
        .collect();
    assert_eq!(
        (response.status, statuses),
        (
            200,
            vec![
                &json!(204),
                &json!(404),
                &json!(200),
                &json!(200),
                &json!(404)
            ]
        )
    );
    assert_eq!(
        (&json["hasErrors"], &json["results"][0]["result"]),
        (&json!(true), &Json::Null)
    );
    assert_eq!(json["results"][2]["result"]["Name"], "b");

    let halting = json!({"haltOnError": true, "batchRequests": parts});
    let json = f.send("POST", "composite/batch", &halting).to_json();
    let halted = json!({"statusCode": 412, "result": [{"errorCode": "BATCH_PROCESSING_HALTED",
        "message": "Batch processing halted per request"}]});
    assert_eq!(
        (&json["results"][1]["statusCode"], &json["results"][2]),
        (&json!(404), &halted)
    );
    for body in [
        json!({}),
        json!({"batchRequests": []}),
        json!({"batchRequests": [{"url": "v62.0/limits"}]}),
    ] {
        assert_eq!(
            f.send("POST", "composite/batch", &body).status,
            400,
            "{body}"
        );
    }
}

#[test]
fn batch_parts_above_the_call_limit_are_refused() {
    let mut f = Fixture::of(Org::from_toml("[org]\ndaily_api_requests = 2\n").unwrap());
    let part = json!({"method": "GET", "url": "v62.0/limits"});
    let body = json!({"batchRequests": [part, part, part]});
    let json = f.send("POST", "composite/batch", &body).to_json();
    assert_eq!(json["results"][1]["statusCode"], json!(200));
    assert_eq!(
        json["results"][2]["result"][0]["errorCode"],
        "REQUEST_LIMIT_EXCEEDED"
    );
}

fn graph(id: &str, nodes: &[Json]) -> Json {
    json!({"graphId": id, "compositeRequest": nodes})
}

fn good(id: &str) -> Json {
    graph(
        id,
        &[
            with(
                "PATCH",
                &format!("sobjects/Account/External_Id__c/{id}"),
                "a",
                json!({"Name": id}),
            ),
            with(
                "POST",
                "sobjects/Contact/",
                "c",
                json!({"LastName": id, "AccountId": "@{a.id}"}),
            ),
        ],
    )
}

fn bad(id: &str) -> Json {
    graph(
        id,
        &[
            with("POST", "sobjects/Account", "a", json!({"Name": id})),
            with(
                "POST",
                "sobjects/Contact",
                "c",
                json!({"AccountId": "@{a.id}"}),
            ),
        ],
    )
}

#[test]
fn failed_graph_does_not_affect_others() {
    let mut f = Fixture::new();
    let body = json!({"graphs": [good("g1"), bad("b"), good("g2")]});
    let response = f.send("POST", "composite/graph", &body);
    assert_eq!(
        response.header("sforce-limit-info"),
        Some("api-usage=1/1000000")
    );
    let graphs = response.to_json()["graphs"].clone();
    let of = |n: usize| {
        (
            graphs[n]["graphId"].clone(),
            graphs[n]["isSuccessful"].clone(),
        )
    };
    assert_eq!(of(0), (json!("g1"), json!(true)));
    assert_eq!(of(1), (json!("b"), json!(false)));
    let expected = plain(&[(400, "PROCESSING_HALTED"), (400, "REQUIRED_FIELD_MISSING")]);
    assert_eq!(outcomes(&graphs[1]["graphResponse"]), expected);
    assert_eq!(
        outcomes(&graphs[2]["graphResponse"]),
        plain(&[(201, ""), (201, "")])
    );
    assert_eq!((f.org.count("Account"), f.org.count("Contact")), (2, 2));
    let keys: Vec<_> = f
        .events()
        .into_iter()
        .map(|event| event.transaction_key)
        .collect();
    assert!(
        keys[0] == keys[1] && keys[2] == keys[3] && keys[0] != keys[2],
        "{keys:?}"
    );
}

#[test]
fn graphs_stop_after_fourteen_failures() {
    let mut f = Fixture::new();
    let mut graphs: Vec<Json> = (0..14).map(|n| bad(&format!("b{n}"))).collect();
    graphs.extend([good("runs"), bad("b14"), good("late"), good("later")]);
    let json = f
        .send("POST", "composite/graph", &json!({"graphs": graphs}))
        .to_json();
    let of = |n: usize| &json["graphs"][n];
    assert_eq!(
        of(14)["isSuccessful"],
        json!(true),
        "14 failures halt nothing"
    );
    for n in [16, 17] {
        assert_eq!(of(n)["isSuccessful"], json!(false));
        let halted = plain(&[(400, "PROCESSING_HALTED"), (400, "PROCESSING_HALTED")]);
        assert_eq!(outcomes(&of(n)["graphResponse"]), halted);
    }
    assert_eq!(f.org.count("Account"), 1);
}

fn post(reference: &str, body: Json) -> Json {
    with("POST", "sobjects/Account", reference, body)
}

/// Returns this many independent nodes.
fn flat(count: usize) -> Vec<Json> {
    let node = |n: usize| post(&format!("r{n}"), json!({"Name": "x"}));
    (0..count).map(node).collect()
}

#[test]
fn graphs_above_a_limit_are_refused_as_a_whole() {
    let mut f = Fixture::new();
    let chain = |count: usize| -> Vec<Json> {
        (0..count)
            .map(|n| {
                let parent = if n == 0 {
                    Json::Null
                } else {
                    json!(format!("@{{r{}.id}}", n - 1))
                };
                post(&format!("r{n}"), json!({"Name": "x", "ParentId": parent}))
            })
            .collect()
    };
    let kinds = |count: u32| -> Vec<Json> {
        (0..count)
            .map(|n| json!({"method": "POST", "url": format!("/services/data/v{}.0/sobjects/Account", 50 + n),
                            "referenceId": format!("r{n}"), "body": {"Name": "x"}}))
            .collect()
    };
    let one = |nodes: Vec<Json>| json!({"graphs": [graph("g", &nodes)]});
    let many = |count: usize| -> Json {
        let graphs: Vec<Json> = (0..count)
            .map(|n| graph(&format!("g{n}"), &flat(1)))
            .collect();
        json!({"graphs": graphs})
    };
    for (body, refused) in [
        (one(flat(500)), false),
        (one(flat(501)), true),
        (many(75), false),
        (many(76), true),
        (one(chain(15)), false),
        (one(chain(16)), true),
        (one(kinds(15)), false),
        (one(kinds(16)), true),
        (
            json!({"graphs": [graph("g", &flat(300)), graph("h", &flat(201))]}),
            true,
        ),
        (
            json!({"graphs": [graph("g", &flat(1)), graph("g", &flat(1))]}),
            true,
        ),
        (json!({"graphs": [graph("-g", &flat(1))]}), true),
        (json!({"graphs": [graph(&"g".repeat(40), &flat(1))]}), true),
        (json!({"graphs": []}), true),
        (json!({"graphs": [{"compositeRequest": flat(1)}]}), true),
    ] {
        let response = f.send("POST", "composite/graph", &body);
        let successful = response.to_json()["graphs"][0]["isSuccessful"] == json!(true);
        assert_eq!(
            (response.status == 400, successful),
            (refused, !refused),
            "{}",
            response.to_json()
        );
    }
    let query = graph("g", &[node("GET", "query?q=x", "q")]);
    let json = f
        .send("POST", "composite/graph", &json!({"graphs": [query]}))
        .to_json();
    assert_eq!(
        outcomes(&json["graphs"][0]["graphResponse"]),
        plain(&[(404, "NOT_FOUND")])
    );
}

#[test]
fn tree_is_saved_completely_or_not_at_all() {
    let mut f = Fixture::new();
    let contact = |reference: &str, name: Json| json!({"attributes": {"type": "Contact", "referenceId": reference}, "LastName": name});
    let tree = |second: Json| {
        json!({"records": [{
            "attributes": {"type": "Account", "referenceId": "a"}, "Name": "Acme",
            "Contacts": {"records": [contact("c1", json!("Ito")), contact("c2", second)]},
        }]})
    };
    let response = f.send("POST", "composite/tree/Account", &tree(Json::Null));
    assert_eq!(response.status, 400);
    assert_eq!(
        response.to_json(),
        json!({"hasErrors": true, "results": [{"referenceId": "c2", "errors": [{
            "statusCode": "REQUIRED_FIELD_MISSING", "message": "Required fields are missing: [LastName]",
            "fields": ["LastName"]}]}]})
    );
    assert_eq!((f.org.count("Account"), f.events().len()), (0, 0));
    let response = f.send("POST", "composite/tree/Account/", &tree(json!("Sato")));
    let json = response.to_json();
    assert_eq!((response.status, &json["hasErrors"]), (201, &json!(false)));
    let references: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["referenceId"])
        .collect();
    assert_eq!(references, ["a", "c1", "c2"]);
    let parent = f.query("SELECT AccountId FROM Contact WHERE LastName = 'Sato'");
    assert_eq!(parent["records"][0]["AccountId"], json["results"][0]["id"]);
    for body in [
        json!({}),
        json!({"records": []}),
        json!({"records": [{"Name": "x"}]}),
        tree(json!("x")),
    ] {
        let twice = f.send("POST", "composite/tree/Contact", &body);
        assert_eq!(twice.status, 400, "{body}");
    }
}

#[test]
fn url_references_become_one_segment() {
    let mut f = Fixture::new();
    let response = composite(
        &mut f,
        false,
        &[
            with(
                "POST",
                "sobjects/Account",
                "a",
                json!({"Name": "x", "External_Id__c": "a b/%?#é"}),
            ),
            node("GET", "sobjects/Account/@{a.id}?fields=External_Id__c", "r"),
            node(
                "GET",
                "sobjects/Account/External_Id__c/@{r.External_Id__c}",
                "again",
            ),
        ],
    );
    let json = response.to_json();
    assert_eq!(
        json["compositeResponse"][2]["httpStatusCode"],
        json!(200),
        "{json}"
    );
    let wrong = f.call("GET", "sobjects/Account/%zz");
    assert_eq!(
        refused(&wrong),
        error(404, "NOT_FOUND", "The requested resource does not exist")
    );
}
