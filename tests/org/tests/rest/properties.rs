//! The org answers any request.

use std::sync::{LazyLock, Mutex};

use proptest::prelude::*;
use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{Org, Request};
use serde_json::Value as Json;

use crate::fixture::Fixture;

proptest! {
    #[test]
    fn any_body_is_answered(body in prop::collection::vec(any::<u8>(), 0..80), patch in any::<bool>()) {
        let mut org = Org::default();
        let token = org.open_session(INTEGRATION_USER).unwrap();
        let path = if patch { "composite/sobjects" } else { "sobjects/Account" };
        let method = if patch { "PATCH" } else { "POST" };
        let request = Request::new(method, &format!("/services/data/v62.0/{path}"))
            .bearer(&token)
            .body("application/json", body);
        let response = org.request(&request);
        prop_assert!((200..500).contains(&response.status));
    }

    #[test]
    fn any_path_is_answered(path in "[a-zA-Z0-9/%_.?=&-]{0,60}") {
        let mut org = Org::default();
        let token = org.open_session(INTEGRATION_USER).unwrap();
        let target = format!("/services/data/v62.0/{path}");
        let response = org.request(&Request::new("GET", &target).bearer(&token));
        prop_assert!((200..500).contains(&response.status));
    }

    #[test]
    fn any_scalar_in_any_field_is_saved_or_refused(
        field in prop::sample::select(vec![
            "Name", "Phone", "AnnualRevenue", "NumberOfEmployees", "Opened__c", "Checked_At__c",
            "Active__c", "Tags__c", "BillingLatitude", "ParentId", "BillingAddress", "Parent",
        ]),
        value in prop_oneof![
            "\\PC{0,20}".prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
            Just(serde_json::json!({"External_Id__c": 5})),
            Just(serde_json::json!([1])),
        ],
    ) {
        let mut org = Org::default();
        let mut fields = serde_json::json!({"Name": "n"});
        fields[field] = value;
        let token = org.open_session(INTEGRATION_USER).unwrap();
        let request = Request::new("POST", "/services/data/v62.0/sobjects/Account")
            .bearer(&token)
            .json(&fields);
        prop_assert!(matches!(org.request(&request).status, 201 | 400));
    }
}

/// Error codes that a query may return.
const QUERY_CODES: [&str; 6] = [
    "MALFORMED_QUERY",
    "INVALID_FIELD",
    "INVALID_TYPE",
    "INVALID_QUERY_FILTER_OPERATOR",
    "NUMBER_OUTSIDE_VALID_RANGE",
    "EXCEEDED_ID_LIMIT",
];

fn name() -> impl Strategy<Value = String> {
    let names = vec![
        "Id",
        "Name",
        "Industry",
        "AnnualRevenue",
        "Opened__c",
        "CreatedDate",
        "Tags__c",
        "Active__c",
        "Owner.Name",
        "Parent.Parent.Name",
        "ParentId",
        "Description",
        "BillingAddress",
        "Nope",
        "Foo.Name",
        "Account.Name",
    ];
    prop::sample::select(names).prop_map(str::to_owned)
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z%_\\\\']{0,4}".prop_map(|text| format!("'{text}'")),
        any::<i32>().prop_map(|number| number.to_string()),
        prop::sample::select(vec![
            "null",
            "true",
            "1.5e3",
            "2026-05-01",
            "2026-05-01T09:30:00Z",
            "TODAY",
            "LAST_N_DAYS:3",
            "NEXT_FISCAL_YEAR",
            "'0015g0000000000AAA'",
            ":bound",
        ])
        .prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">=", "LIKE"]);
    let simple = prop_oneof![
        4 => (name(), operator, literal()).prop_map(|(n, o, l)| format!("{n} {o} {l}")),
        1 => (name(), prop::collection::vec(literal(), 0..3))
            .prop_map(|(n, l)| format!("{n} NOT IN ({})", l.join(","))),
        1 => (name(), literal()).prop_map(|(n, l)| format!("{n} INCLUDES ({l})")),
        1 => (date_function(), name(), literal()).prop_map(|(f, n, l)| format!("{f}({n}) >= {l}")),
        1 => (name(), literal()).prop_map(|(n, l)| format!("DAY_ONLY({n}) NOT IN ({l}, 2026)")),
        1 => (name(), name()).prop_map(|(a, b)| format!("{a} IN (SELECT {b} FROM Contact)")),
    ];
    simple.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("NOT {c}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) AND ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) OR ({b})")),
        ]
    })
}

fn date_function() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["CALENDAR_YEAR", "day_only", "HOUR_IN_DAY", "MINUTE"])
}

fn item() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => name(),
        1 => name().prop_map(|n| format!("COUNT({n}) c")),
        1 => name().prop_map(|n| format!("SUM({n})")),
        1 => Just("FIELDS(ALL)".to_owned()),
        1 => (date_function(), name()).prop_map(|(f, n)| format!("{f}({n}) d")),
        1 => name().prop_map(|n| format!("toLabel({n})")),
        1 => name().prop_map(|n| format!("FORMAT({n}) f")),
        1 => name().prop_map(|n| format!("TYPEOF Owner WHEN User THEN {n}, Id ELSE {n} END")),
        1 => condition().prop_map(|c| format!("(SELECT Id FROM Contacts WHERE {c} LIMIT 2)")),
        1 => Just("COUNT()".to_owned()),
    ]
}

/// Valid or nearly valid statements.
fn statement() -> impl Strategy<Value = String> {
    let items = prop::collection::vec(item(), 1..4);
    let tail = prop::sample::select(vec![
        "",
        "LIMIT 3",
        "LIMIT 200 OFFSET 1",
        "OFFSET 2001",
        "LIMIT -1",
        "FOR VIEW",
        "ALL ROWS",
    ]);
    let order = prop::option::of((name(), prop::sample::select(vec!["", "DESC", "NULLS LAST"])));
    let group = prop_oneof![
        name(),
        (date_function(), name()).prop_map(|(f, n)| format!("{f}({n})")),
    ];
    let group = prop::option::of(group);
    (items, prop::option::of(condition()), group, order, tail).prop_map(
        |(items, condition, group, order, tail)| {
            let condition = condition.map(|c| format!("WHERE {c}")).unwrap_or_default();
            let group = group.map(|g| format!("GROUP BY {g}")).unwrap_or_default();
            let order = order
                .map(|(n, how)| format!("ORDER BY {n} {how}"))
                .unwrap_or_default();
            let items = items.join(", ");
            format!("SELECT {items} FROM Account {condition} {group} {order} {tail}")
        },
    )
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// JSON that resembles the bodies of composite calls.
fn body() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        "[ -~]{0,8}".prop_map(Json::from),
        prop::sample::select(vec![
            "/services/data/v62.0/sobjects/Account",
            "v62.0/limits",
            "GET",
            "POST",
            "PATCH",
            "r1",
            "@{r1.id}",
            "@{r1[0].id}",
            "@{",
            "Account",
            "Contact",
            "r2",
            "/services/data/v62.0/query?q=SELECT+Id+FROM+Account",
        ])
        .prop_map(Json::from),
    ];
    let key = prop::sample::select(vec![
        "allOrNone",
        "compositeRequest",
        "graphs",
        "graphId",
        "batchRequests",
        "records",
        "method",
        "url",
        "referenceId",
        "body",
        "richInput",
        "httpHeaders",
        "attributes",
        "type",
        "Name",
        "LastName",
        "Contacts",
        "Id",
        "id",
        "haltOnError",
        "ids",
        "fields",
    ]);
    scalar.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|members| {
                let members = members
                    .into_iter()
                    .map(|(name, json)| (name.to_owned(), json));
                Json::Object(members.collect())
            }),
        ]
    })
}

static STOCKED: LazyLock<Mutex<Fixture>> = LazyLock::new(|| {
    let mut f = Fixture::new();
    for n in 0..5 {
        let id = f.account(serde_json::json!({"Name": format!("a{n}"), "Tags__c": "large"}));
        let contact = serde_json::json!({"LastName": "x", "AccountId": id});
        f.send("POST", "sobjects/Contact", &contact);
    }
    Mutex::new(f)
});

proptest! {
    #[test]
    fn nearly_valid_statements_run_or_get_query_codes(text in statement()) {
        let mut f = STOCKED.lock().unwrap();
        let response = f.call("GET", &format!("query?q={}", encoded(&text)));
        let json: Json = serde_json::from_slice(&response.body).unwrap();
        if response.status == 200 {
            prop_assert!(json["totalSize"].is_u64(), "{}: {}", text, json);
        } else {
            let code = json[0]["errorCode"].as_str().unwrap_or_default();
            prop_assert_eq!(response.status, 400);
            prop_assert!(QUERY_CODES.contains(&code), "{}: {}", text, json);
        }
    }

    #[test]
    fn composite_resources_answer_any_json(
        json in body(),
        path in prop::sample::select(vec![
            "composite", "composite/batch", "composite/graph", "composite/tree/Account",
            "composite/sobjects", "composite/sobjects/Account", "sobjects/Account",
        ]),
    ) {
        let mut f = STOCKED.lock().unwrap();
        let response = f.send("POST", path, &json);
        prop_assert!(matches!(response.status, 200 | 201 | 400), "{} {}", path, response.status);
        let answer: Json = serde_json::from_slice(&response.body).unwrap();
        let refused = answer[0]["errorCode"].is_string() || answer["hasErrors"].is_boolean();
        prop_assert!(response.status != 400 || refused, "{}: {}", path, answer);
    }
}
