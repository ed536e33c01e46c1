//! A restored org behaves exactly like the org that was dumped.

use std::sync::LazyLock;

use proptest::prelude::*;
use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET, PERSON, REFRESH_TOKEN};
use salesforce_org::{Org, Position, RecordId, Request, Response};
use serde_json::{Value as Json, json};

use crate::stand::Stand;

/// More accounts than one query page, and more contacts per account than one page of children.
const STOCK: usize = 205;

/// One action of a client. Numbers choose among the existing things.
#[derive(Clone, Debug)]
enum Step {
    Upsert(u8, Option<String>),
    Update(usize, String),
    Delete(usize),
    Undelete(usize),
    Children(usize, u8),
    Composite(u8),
    Query(&'static str),
    More(usize),
    OpenJob(&'static str),
    Upload(usize, u8),
    CloseJob(usize, &'static str),
    QueryJob(&'static str),
    LookAtJob(usize, &'static str),
    Replicate(&'static str),
    LogIn(&'static str),
    LogOut(usize),
    Tooling(usize),
    Control(&'static str, Json),
    Lock(usize),
    OldJob(&'static str),
    OldBatch(usize, u8),
    OldLook(usize, &'static str),
    Advance(i64),
}

const QUERIES: [&str; 4] = [
    "SELECT Id, Name, LastModifiedDate FROM Account ORDER BY Name",
    "SELECT Id, (SELECT Id, LastName FROM Contacts) FROM Account",
    "SELECT Id, Account.Name FROM Contact",
    "SELECT COUNT(Id) n, Industry FROM Account GROUP BY Industry",
];

const JOB_QUERIES: [&str; 2] = [
    "SELECT Id, Name, AnnualRevenue FROM Account",
    "SELECT Id, AccountId FROM Contact ORDER BY Id",
];

/// The channels, members and subscriptions to set up, in order of dependency.
const SETUP: [(&str, &str); 4] = [
    (
        "PlatformEventChannel",
        r#"{"FullName":"Sales__chn","Metadata":{"channelType":"data","label":"Sales"}}"#,
    ),
    (
        "PlatformEventChannelMember",
        r#"{"FullName":"Sales_Account","Metadata":{"eventChannel":"Sales__chn",
            "selectedEntity":"AccountChangeEvent","filterExpression":"Industry = 'Media'",
            "enrichedFields":[{"name":"External_Id__c"}]}}"#,
    ),
    (
        "PlatformEventChannelMember",
        r#"{"FullName":"All_Contact","Metadata":{"eventChannel":"ChangeEvents",
            "selectedEntity":"ContactChangeEvent","filterExpression":"LastName != 'x'"}}"#,
    ),
    (
        "ManagedEventSubscription",
        r#"{"FullName":"Mine","Metadata":{"topicName":"/data/ChangeEvents","label":"Mine",
            "defaultReplay":"EARLIEST","errorRecoveryReplay":"LATEST","state":"RUN"}}"#,
    ),
];

fn control() -> impl Strategy<Value = Step> {
    let orders = vec![
        (
            "faults",
            json!({"action": "row_error", "probability": 0.3, "seed": 7}),
        ),
        (
            "faults",
            json!([{"action": "status", "count": 2, "match": {"operation": "query"}}]),
        ),
        ("faults", json!({"action": "fail_job", "after_rows": 1})),
        (
            "flow",
            json!({"object": "Account", "set": {"Industry": "Media"}}),
        ),
        (
            "flow",
            json!({"object": "Account", "field": "Name", "transform": "uppercase"}),
        ),
        (
            "schema",
            json!({"object": "Account", "add_field":
            {"name": "Later__c", "type": "int", "default": 5, "external_id": true}}),
        ),
        (
            "schema",
            json!({"object": "Account", "convert_field":
            {"name": "Elevation__c", "type": "string", "length": 20}}),
        ),
        (
            "schema",
            json!({"object": "Contact", "add_validation_rule":
            {"name": "No_X", "formula": "LastName = 'x'", "message": "No x.", "field": "LastName"}}),
        ),
        (
            "schema",
            json!({"object": "Contact", "change_events": false}),
        ),
        ("events/gap", json!({"object": "Account", "next": 2})),
        (
            "events/limits",
            json!({"event_bytes": 900, "changes_per_transaction": 3}),
        ),
        ("events/positions/lose", Json::Null),
        (
            "permissions",
            json!({"user": PERSON, "cannot_view_all": ["Contact"],
            "hidden_fields": ["Account.Phone"]}),
        ),
        (
            "bulk",
            json!({"batch_rows": 2, "page_rows": 3, "query_rows": 90, "batches_per_day": 9}),
        ),
        ("latency", json!({"ms": 3})),
        (
            "relays",
            json!({"name": "R", "channel": "ChangeEvents", "url": "http://127.0.0.1:9/",
            "state": "PAUSE"}),
        ),
        ("recycle_bin/empty", json!({})),
    ];
    prop::sample::select(orders).prop_map(|(path, order)| Step::Control(path, order))
}

fn step() -> impl Strategy<Value = Step> {
    let any_one = any::<usize>();
    prop_oneof![
        4 => (any::<u8>(), prop::option::of("[a-c]{1,3}")).prop_map(|(k, n)| Step::Upsert(k % 12, n)),
        2 => (any_one, "[a-z ]{0,4}").prop_map(|(at, name)| Step::Update(at, name)),
        2 => any_one.prop_map(Step::Delete),
        1 => any_one.prop_map(Step::Undelete),
        2 => (any_one, 1..5_u8).prop_map(|(at, n)| Step::Children(at, n)),
        1 => (0..12_u8).prop_map(Step::Composite),
        3 => prop::sample::select(&QUERIES[..]).prop_map(Step::Query),
        3 => any_one.prop_map(Step::More),
        2 => prop::sample::select(vec!["insert", "upsert", "delete"]).prop_map(Step::OpenJob),
        3 => (any_one, 1..6_u8).prop_map(|(at, rows)| Step::Upload(at, rows)),
        3 => (any_one, prop::sample::select(vec!["UploadComplete", "UploadComplete", "Aborted"]))
            .prop_map(|(at, state)| Step::CloseJob(at, state)),
        1 => prop::sample::select(&JOB_QUERIES[..]).prop_map(Step::QueryJob),
        4 => (any_one, prop::sample::select(vec!["", "/successfulResults", "/failedResults",
            "/unprocessedrecords", "/results", "/results?maxRecords=2"]))
            .prop_map(|(at, what)| Step::LookAtJob(at, what)),
        1 => prop::sample::select(vec!["updated", "deleted"]).prop_map(Step::Replicate),
        2 => prop::sample::select(vec!["client_credentials", "refresh_token"])
            .prop_map(Step::LogIn),
        1 => any_one.prop_map(Step::LogOut),
        2 => (0..SETUP.len()).prop_map(Step::Tooling),
        4 => control(),
        1 => any_one.prop_map(Step::Lock),
        2 => prop::sample::select(vec!["insert", "query"]).prop_map(Step::OldJob),
        3 => (any_one, 1..4_u8).prop_map(|(at, rows)| Step::OldBatch(at, rows)),
        2 => (any_one, prop::sample::select(vec!["", "/result", "/request"]))
            .prop_map(|(at, what)| Step::OldLook(at, what)),
        2 => prop::sample::select(vec![10, 60, 1_001, 30_000, 7_300_000, 300_000_000])
            .prop_map(Step::Advance),
    ]
}

/// Values that clients keep from earlier answers.
#[derive(Clone, Debug, Default)]
struct Memory {
    tokens: Vec<String>,
    records: Vec<String>,
    jobs: Vec<String>,
    pages: Vec<String>,
    /// Paths of jobs and batches of Bulk API 1.0.
    old_jobs: Vec<String>,
    old_batches: Vec<String>,
}

fn one(known: &[String], number: usize) -> String {
    match known.len() {
        0 => "nothing".to_owned(),
        count => known[number % count].clone(),
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A composite call that creates the same account twice, so it fails only as a whole.
fn twins(key: u8) -> Json {
    let body = json!({"Name": "c", "External_Id__c": format!("k{key}")});
    let part = |name: &str| {
        json!({"method": "POST", "referenceId": name, "body": body,
               "url": "/services/data/v62.0/sobjects/Account"})
    };
    json!({"allOrNone": true, "compositeRequest": [part("a"), part("b")]})
}

impl Step {
    /// Returns the request of the step.
    fn request(&self, memory: &Memory) -> Request {
        let token = memory.tokens.last().cloned().unwrap_or_default();
        let at = |method: &str, path: &str| {
            let target = format!("/services/data/v62.0/{path}");
            Request::new(method, &target)
                .bearer(&token)
                .header("sforce-query-options", "batchSize=200")
        };
        let record = |number: &usize| one(&memory.records, *number);
        let job = |number: &usize| one(&memory.jobs, *number);
        match self {
            Self::Upsert(key, industry) => {
                let path = format!("sobjects/Account/External_Id__c/k{key}");
                at("PATCH", &path).json(&json!({"Name": format!("n{key}"), "Industry": industry}))
            }
            Self::Update(number, name) => at("PATCH", &format!("sobjects/Account/{}", record(number)))
                .json(&json!({"Name": name, "Phone": "1"})),
            Self::Delete(number) => at("DELETE", &format!("composite/sobjects?ids={}", record(number))),
            Self::Children(number, count) => {
                let child = json!({"attributes": {"type": "Contact"}, "LastName": "x",
                    "AccountId": record(number)});
                let records = vec![child; usize::from(*count)];
                at("POST", "composite/sobjects").json(&json!({"records": records}))
            }
            Self::Composite(key) => at("POST", "composite").json(&twins(*key)),
            Self::Query(text) => at("GET", &format!("query?q={}", encoded(text))),
            Self::More(number) => {
                let page = one(&memory.pages, *number);
                at("GET", page.trim_start_matches("/services/data/v62.0/"))
            }
            Self::OpenJob(operation) => at("POST", "jobs/ingest").json(&json!({"object": "Account",
                "operation": operation, "externalIdFieldName": (*operation == "upsert").then_some("External_Id__c")})),
            Self::Upload(number, rows) => {
                let rows = (0..*rows).map(|row| format!("k{row},bulk \"{row}\"\n"));
                let csv = format!("External_Id__c,Name\n{}", rows.collect::<String>());
                at("PUT", &format!("jobs/ingest/{}/batches", job(number))).body("text/csv", csv)
            }
            Self::CloseJob(number, state) => {
                let path = format!("jobs/ingest/{}", job(number));
                at("PATCH", &path).json(&json!({"state": state}))
            }
            Self::QueryJob(text) => at("POST", "jobs/query")
                .json(&json!({"operation": "query", "query": text})),
            Self::LookAtJob(number, what) => {
                let kind = if what.starts_with("/results") { "query" } else { "ingest" };
                at("GET", &format!("jobs/{kind}/{}{what}", job(number)))
            }
            Self::Replicate(what) => {
                let window = "start=2026-05-01T00%3A00%3A00Z&end=2026-05-05T00%3A00%3A00Z";
                at("GET", &format!("sobjects/Account/{what}/?{window}"))
            }
            Self::Tooling(place) => {
                let (kind, body) = SETUP[*place];
                at("POST", &format!("tooling/sobjects/{kind}"))
                    .body("application/json", body.as_bytes())
            }
            Self::Undelete(_)
            | Self::LogIn(_)
            | Self::LogOut(_)
            | Self::Control(..)
            | Self::Lock(_)
            | Self::OldJob(_)
            | Self::OldBatch(..)
            | Self::OldLook(..)
            | Self::Advance(_) => self.request_elsewhere(memory),
        }
    }

    /// Returns the request of a step at a control endpoint, a login or Bulk API 1.0.
    fn request_elsewhere(&self, memory: &Memory) -> Request {
        let to = |path: &str| Request::new("POST", &format!("/_org/{path}"));
        let record = |number: &usize| one(&memory.records, *number);
        let session = memory.tokens.last().cloned().unwrap_or_default();
        let old = |method: &str, path: &str| {
            let target = format!("/services/async/62.0/{path}");
            Request::new(method, &target).header("x-sfdc-session", &session)
        };
        let form = |path: &str, text: String| {
            Request::new("POST", path).body("application/x-www-form-urlencoded", text)
        };
        match self {
            Self::LogIn(grant) => form(
                "/services/oauth2/token",
                format!(
                    "grant_type={grant}&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}\
                     &refresh_token={REFRESH_TOKEN}"
                ),
            ),
            Self::LogOut(number) => {
                let token = encoded(&one(&memory.tokens, *number));
                form("/services/oauth2/revoke", format!("token={token}"))
            }
            Self::Undelete(number) => to("user_edit")
                .json(&json!({"action": "undelete", "user": PERSON, "id": record(number)})),
            Self::Control(path, order) => to(path).json(order),
            Self::Lock(number) => to("locks").json(&json!({"id": record(number), "ms": 90_000})),
            Self::OldJob(operation) => old("POST", "job")
                .json(&json!({"operation": operation, "object": "Account", "contentType": "CSV"})),
            Self::OldBatch(number, rows) => {
                let path = format!("{}/batch", one(&memory.old_jobs, *number));
                let rows = (0..*rows).map(|row| format!("n{row},k{row}\n"));
                let csv = format!("Name,External_Id__c\n{}", rows.collect::<String>());
                old("POST", &path).body("text/csv", csv)
            }
            Self::OldLook(number, what) => {
                let batch = one(&memory.old_batches, *number);
                old("GET", &format!("{batch}{what}"))
            }
            Self::Advance(ms) => to("clock").json(&json!({"advance_ms": ms})),
            _ => to("stats"),
        }
    }

    /// Stores the values of an answer that later steps use.
    fn remember(&self, memory: &mut Memory, response: &Response) {
        let answer = response.to_json();
        if let (Self::LogIn(_), Some(token)) = (self, answer["access_token"].as_str()) {
            memory.tokens.push(token.to_owned());
        }
        collect(&answer, "nextRecordsUrl", &mut memory.pages);
        if let (Self::OldJob(_), Some(id)) = (self, answer["id"].as_str()) {
            memory.old_jobs.push(format!("job/{id}"));
        }
        if let Self::OldBatch(..) = self {
            let text = String::from_utf8_lossy(&response.body).into_owned();
            let element = |name: &str| {
                let (_, behind) = text.split_once(&format!("<{name}>"))?;
                behind.split('<').next().map(str::to_owned)
            };
            if let (Some(id), Some(job)) = (element("id"), element("jobId")) {
                memory.old_batches.push(format!("job/{job}/batch/{id}"));
            }
        }
        let mut ids = Vec::new();
        collect(&answer, "id", &mut ids);
        for id in ids {
            match &id.as_bytes()[..3] {
                b"001" | b"003" => memory.records.push(id),
                b"750" => memory.jobs.push(id),
                _ => {}
            }
        }
    }
}

/// Collects the texts of all members with that name, at any depth.
fn collect(json: &Json, name: &str, found: &mut Vec<String>) {
    match json {
        Json::Object(members) => {
            for (known, value) in members {
                match value {
                    Json::String(text) if known == name => found.push(text.clone()),
                    value => collect(value, name, found),
                }
            }
        }
        Json::Array(values) => values.iter().for_each(|value| collect(value, name, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Returns the parts of an answer that a client sees.
fn seen(response: Response) -> (u16, Vec<(String, String)>, String) {
    let body = String::from_utf8_lossy(&response.body).into_owned();
    (response.status, response.headers, body)
}

fn dumped(org: &Org) -> String {
    let mut text = Vec::new();
    org.dump(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn restored(text: &str) -> Org {
    let mut org = Org::default();
    org.restore(&mut text.as_bytes()).unwrap();
    org
}

/// The dump of an org with many records, and its sessions.
static STOCKED: LazyLock<(String, Memory)> = LazyLock::new(|| {
    let mut stand = Stand::new();
    let keys: Vec<String> = (0..STOCK).map(|n| format!("s{n}")).collect();
    for keys in keys.chunks(200) {
        stand.upsert_all(keys);
    }
    let parent = stand.account("parent");
    for count in [200, 5] {
        stand.contacts(&vec![parent; count]);
    }
    let memory = Memory {
        tokens: vec![stand.token().to_owned()],
        records: vec![parent.to_string()],
        ..Memory::default()
    };
    (dumped(&stand.org), memory)
});

proptest! {
    // Each case creates three orgs with hundreds of records.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn restored_org_answers_like_the_dumped_one(
        before in prop::collection::vec(step(), 0..25),
        after in prop::collection::vec(step(), 1..15),
    ) {
        let (text, memory) = &*STOCKED;
        let (mut dumped_org, mut memory) = (restored(text), memory.clone());
        for step in &before {
            let response = dumped_org.request(&step.request(&memory));
            step.remember(&mut memory, &response);
        }
        let text = dumped(&dumped_org);
        let mut restored_org = restored(&text);
        for step in &after {
            let request = step.request(&memory);
            let response = dumped_org.request(&request);
            step.remember(&mut memory, &response);
            prop_assert_eq!(seen(restored_org.request(&request)), seen(response), "{:?}", step);
        }
        for topic in ["/data/ChangeEvents", "/data/Sales__chn"] {
            let all = |org: &Org| org.fetch(topic, &Position::Earliest, 10_000);
            prop_assert_eq!(all(&restored_org), all(&dumped_org));
        }
        let stats = Request::new("GET", "/_org/stats");
        prop_assert_eq!(seen(restored_org.request(&stats)), seen(dumped_org.request(&stats)));
        prop_assert_eq!(dumped(&restored_org), dumped(&dumped_org));
    }
}

#[test]
fn added_field_and_both_schemas_survive_a_restore() {
    let mut stand = Stand::new();
    stand.account("a");
    let field = json!({"name": "Later__c", "type": "int", "default": 5});
    let order = json!({"object": "Account", "add_field": field});
    assert_eq!(stand.control("POST", "schema", &order).status, 200);
    let id: RecordId = stand.account("b");
    let org = restored(&dumped(&stand.org));
    assert_eq!(org.value_of(id, "Later__c").as_deref(), Some("5"));
    let events = org
        .fetch("/data/ChangeEvents", &Position::Earliest, 10)
        .unwrap();
    let later = |place: usize| {
        org.decode(&events.events[place])
            .fields
            .get("Later__c")
            .cloned()
    };
    assert_eq!((later(0), later(1)), (None, Some(json!(5))));
}

#[test]
fn dump_from_another_org_file_is_refused() {
    let text = dumped(&Org::default());
    let mut other = Org::from_toml("[[object]]\nname = \"Invoice__c\"").unwrap();
    let error = other.restore(&mut text.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains("line 1: the dump is of an org with other objects"),
        "{error}"
    );
}
