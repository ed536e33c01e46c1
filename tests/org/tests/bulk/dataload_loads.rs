//! Bulk API 1.0 load jobs.

use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{Org, Position, Request, Response};
use serde_json::{Value as Json, json};

const XML: &str = "application/xml; charset=UTF-8";
const JSON: &str = "application/json";
const CSV: &str = "text/csv";

/// Longer than any job of these tests.
const LONG_MS: i64 = 60_000;

struct Caller {
    org: Org,
    session: String,
}

impl Caller {
    fn new() -> Self {
        let mut org = Org::default();
        let session = org.open_session(INTEGRATION_USER).unwrap();
        Self { org, session }
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: &str) -> Response {
        let target = format!("/services/async/61.0/{path}");
        let mut request = Request::new(method, &target)
            .header("X-SFDC-Session", &self.session)
            .header("Sforce-Call-Options", "client=old");
        if !kind.is_empty() {
            request = request.body(kind, body);
        }
        self.org.request(&request)
    }

    fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, "", "")
    }

    /// Creates a JSON job with these extra members and returns its id.
    fn job(&mut self, members: &Json) -> String {
        let mut body = json!({"object": "Account", "contentType": "CSV"});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = self.send("POST", "job", JSON, &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.to_json());
        answer.to_json()["id"].as_str().unwrap().to_owned()
    }

    /// Adds a CSV batch and returns its path.
    fn batch(&mut self, job: &str, csv: &str) -> String {
        let answer = self.send("POST", &format!("job/{job}/batch"), CSV, csv);
        assert_eq!(answer.status, 201, "{}", text(&answer));
        format!("job/{job}/batch/{}", element(&text(&answer), "id"))
    }

    fn state(&mut self, batch: &str) -> String {
        element(&text(&self.get(batch)), "state")
    }

    /// Runs one CSV batch to its end and returns its results.
    fn load(&mut self, members: &Json, csv: &str) -> String {
        let job = self.job(members);
        let batch = self.batch(&job, csv);
        self.org.advance_ms(LONG_MS);
        assert_eq!(self.state(&batch), "Completed");
        text(&self.get(&format!("{batch}/result")))
    }
}

fn text(answer: &Response) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

fn element(xml: &str, name: &str) -> String {
    let (_, after) = xml.split_once(&format!("<{name}>")).expect(xml);
    after.split('<').next().unwrap().to_owned()
}

fn rows(csv: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(
        reader.headers().unwrap(),
        vec!["Id", "Success", "Created", "Error"]
    );
    let cells = |row: csv::StringRecord| row.iter().map(str::to_owned).collect();
    reader.records().map(|row| cells(row.unwrap())).collect()
}

#[test]
fn batches_move_through_their_states_and_report_each_row() {
    let mut caller = Caller::new();
    let job = caller.job(&json!({"operation": "insert"}));
    let batch = caller.batch(&job, "Name,External_Id__c\nAcme,a-1\n,a-2\nBorg,a-3\n");
    assert_eq!(caller.state(&batch), "Queued");
    let early = caller.get(&format!("{batch}/result"));
    assert_eq!(early.status, 400);
    assert_eq!(element(&text(&early), "exceptionCode"), "InvalidBatch");
    caller.org.advance_ms(50);
    assert_eq!(caller.state(&batch), "InProgress");
    caller.org.advance_ms(50);
    let info = text(&caller.get(&batch));
    let shown = ["state", "numberRecordsProcessed", "numberRecordsFailed"];
    assert_eq!(
        shown.map(|name| element(&info, name)),
        ["Completed", "3", "1"]
    );
    let results = caller.get(&format!("{batch}/result"));
    assert_eq!(
        results.header("content-type"),
        Some("text/csv;charset=UTF-8")
    );
    let found = rows(&text(&results));
    assert_eq!(found[0][1..], ["true", "true", ""]);
    let error = "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --";
    assert_eq!(found[1], ["", "false", "false", error]);
    assert!(found[2][0].starts_with("001"));
    let request = caller.get(&format!("{batch}/request"));
    assert!(text(&request).contains("Borg,a-3"));
    let close = r#"{"state":"Closed"}"#;
    let closed = caller
        .send("POST", &format!("job/{job}"), JSON, close)
        .to_json();
    let counts = [
        "numberBatchesCompleted",
        "numberRecordsProcessed",
        "numberRecordsFailed",
    ];
    assert_eq!(
        counts.map(|name| closed[name].clone()),
        [1, 3, 1].map(Json::from)
    );
    let events = caller
        .org
        .fetch("/data/ChangeEvents", &Position::Earliest, 9)
        .unwrap();
    let origin = caller.org.decode(&events.events[0]).change_origin;
    assert_eq!(origin, "com/salesforce/api/bulkapi/61.0;client=old");
}

#[test]
fn every_load_operation_works() {
    let mut caller = Caller::new();
    let upsert = json!({"operation": "upsert", "externalIdFieldName": "External_Id__c"});
    let made = rows(&caller.load(
        &upsert,
        "External_Id__c,Name,Industry\na,A,Media\nb,B,Media\n",
    ));
    assert_eq!(
        made.iter().map(|row| &*row[2]).collect::<Vec<_>>(),
        ["true", "true"]
    );
    let again = rows(&caller.load(&upsert, "External_Id__c,Name\na,A2\n"));
    assert_eq!(
        again,
        [vec![
            made[0][0].clone(),
            "true".into(),
            "false".into(),
            String::new()
        ]]
    );
    let update = json!({"operation": "update"});
    let csv = format!("Id,Industry,Name\n{},#N/A,\n", made[1][0]);
    assert_eq!(rows(&caller.load(&update, &csv))[0][1], "true");
    let id = salesforce_org::RecordId::parse(&made[1][0]).unwrap();
    assert_eq!(caller.org.value_of(id, "Industry"), None, "#N/A clears");
    assert_eq!(
        caller.org.value_of(id, "Name").as_deref(),
        Some("B"),
        "an empty cell keeps the value"
    );
    let delete = json!({"operation": "delete"});
    caller.load(&delete, &format!("Id\n{}\n", made[0][0]));
    assert_eq!(caller.org.count("Account"), 1);
}

#[test]
fn json_batches_support_parents_and_nulls() {
    let mut caller = Caller::new();
    caller.load(
        &json!({"operation": "insert"}),
        "Name,External_Id__c\nParent,p-1\n",
    );
    let contact = json!({"operation": "insert", "object": "Contact", "contentType": "JSON"});
    let job = caller.job(&contact);
    let records = json!([
        {"attributes": {"type": "Contact"}, "LastName": "Ito", "Title": null,
         "Account": {"External_Id__c": "p-1"}},
        {"LastName": "Lost", "Account": {"External_Id__c": "nowhere"}},
    ]);
    let path = format!("job/{job}/batch");
    let added = caller.send("POST", &path, JSON, &records.to_string());
    assert_eq!(
        (added.status, &added.to_json()["state"]),
        (201, &json!("Queued"))
    );
    assert_eq!(added.to_json()["jobId"], job);
    let batch = format!("{path}/{}", added.to_json()["id"].as_str().unwrap());
    caller.org.advance_ms(LONG_MS);
    let results = caller.get(&format!("{batch}/result")).to_json();
    assert_eq!(results[0]["success"], true);
    assert_eq!(results[0]["errors"], json!([]));
    let error = &results[1]["errors"][0];
    assert_eq!(
        (&results[1]["id"], &error["statusCode"]),
        (&Json::Null, &json!("INVALID_FIELD"))
    );
    let message =
        "Foreign key external ID: nowhere not found for field External_Id__c in entity Account";
    assert_eq!(error["message"], message);
}

#[test]
fn json_queries_give_records() {
    let mut caller = Caller::new();
    caller.load(&json!({"operation": "insert"}), "Name\nAcme\n");
    let job = caller.job(&json!({"operation": "query", "contentType": "JSON"}));
    let path = format!("job/{job}/batch");
    let added = caller
        .send("POST", &path, JSON, "SELECT Name FROM Account")
        .to_json();
    let batch = format!("{path}/{}", added["id"].as_str().unwrap());
    let list = caller.get(&format!("{batch}/result")).to_json();
    let rows = caller.get(&format!("{batch}/result/{}", list[0].as_str().unwrap()));
    assert_eq!(rows.to_json()[0]["Name"], "Acme");
    assert_eq!(rows.to_json()[0]["attributes"]["type"], "Account");
}

#[test]
fn xml_jobs_get_xml_answers_and_refusals() {
    let mut caller = Caller::new();
    let body = "<?xml version=\"1.0\"?><jobInfo xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\">\
        <operation>insert</operation><object>Account</object><contentType>CSV</contentType></jobInfo>";
    let opened = caller.send("POST", "job", XML, body);
    assert_eq!(
        (opened.status, opened.header("content-type")),
        (201, Some("application/xml"))
    );
    let shown = [
        "operation",
        "object",
        "state",
        "concurrencyMode",
        "apiVersion",
    ];
    let opened = text(&opened);
    let values = shown.map(|name| element(&opened, name));
    assert_eq!(values, ["insert", "Account", "Open", "Parallel", "61.0"]);
    let job = element(&opened, "id");
    assert_eq!(
        element(&text(&caller.get(&format!("job/{job}"))), "id"),
        job
    );
    let unknown = caller.send("POST", "job", XML, &body.replace("Account", "Accout"));
    assert_eq!(element(&text(&unknown), "exceptionCode"), "InvalidJob");
    caller.session = "dead".to_owned();
    let dead = caller.get(&format!("job/{job}"));
    assert_eq!(dead.status, 400);
    assert!(text(&dead).contains("<exceptionCode>InvalidSessionId</exceptionCode>"));
}

#[test]
fn unreadable_batches_fail_alone() {
    let mut caller = Caller::new();
    let job = caller.job(&json!({"operation": "insert"}));
    let wrong = caller.batch(&job, "Nope__c\n1\n");
    let right = caller.batch(&job, "Name\nAcme\n");
    caller.org.advance_ms(LONG_MS);
    let info = text(&caller.get(&wrong));
    assert_eq!(element(&info, "state"), "Failed");
    let message = "InvalidBatch : Field name not found : Nope__c";
    assert_eq!(element(&info, "stateMessage"), message);
    assert_eq!(caller.state(&right), "Completed");
    let long = format!("Name\n{}", "x\n".repeat(10_001));
    let long = caller.batch(&job, &long);
    caller.org.advance_ms(LONG_MS);
    assert_eq!(caller.state(&long), "Failed");
    assert_eq!(caller.org.count("Account"), 1);
}

#[test]
fn aborted_jobs_process_no_more_rows() {
    let mut caller = Caller::new();
    let job = caller.job(&json!({"operation": "insert"}));
    let done = caller.batch(&job, "Name\nAcme\n");
    caller.org.advance_ms(LONG_MS);
    let waiting = caller.batch(&job, "Name\nBorg\n");
    let abort = r#"{"state":"Aborted"}"#;
    let aborted = caller.send("POST", &format!("job/{job}"), JSON, abort);
    assert_eq!(aborted.to_json()["state"], "Aborted");
    caller.org.advance_ms(LONG_MS);
    assert_eq!(caller.state(&done), "Completed");
    assert_eq!(caller.state(&waiting), "NotProcessed");
    assert_eq!(caller.org.count("Account"), 1);
    let late = caller.send("POST", &format!("job/{job}/batch"), CSV, "Name\nX\n");
    assert_eq!(element(&text(&late), "exceptionCode"), "InvalidJobState");
}

#[test]
fn serial_batches_run_in_turn_parallel_ones_together() {
    for (mode, second) in [("Serial", "Queued"), ("Parallel", "InProgress")] {
        let mut caller = Caller::new();
        let job = caller.job(&json!({"operation": "insert", "concurrencyMode": mode}));
        let batches = ["Name\nA\n", "Name\nB\n"].map(|csv| caller.batch(&job, csv));
        caller.org.advance_ms(50);
        assert_eq!(caller.state(&batches[0]), "InProgress");
        assert_eq!(caller.state(&batches[1]), second, "{mode}");
        caller.org.advance_ms(LONG_MS);
        caller.org.advance_ms(LONG_MS);
        assert_eq!(caller.state(&batches[1]), "Completed", "{mode}");
    }
}

#[test]
fn batches_are_not_listed_as_bulk_api_2_jobs() {
    let mut caller = Caller::new();
    let job = caller.job(&json!({"operation": "insert"}));
    let batch = caller.batch(&job, "Name\nA\n");
    let id = batch.rsplit('/').next().unwrap();
    for (path, expected) in [
        ("jobs/ingest".to_owned(), 200),
        (format!("jobs/ingest/{id}"), 404),
    ] {
        let target = format!("/services/data/v61.0/{path}");
        let answer = caller
            .org
            .request(&Request::new("GET", &target).bearer(&caller.session));
        assert_eq!(answer.status, expected);
        assert!(!text(&answer).contains(id));
    }
}

#[test]
fn batch_may_end_its_lines_either_way() {
    let mut caller = Caller::new();
    let job = caller.job(&json!({"operation": "insert"}));
    for (ending, name) in [("\n", "A"), ("\r\n", "B")] {
        let csv = format!("Name,Site{ending}{name},x{ending}");
        let batch = caller.batch(&job, &csv);
        caller.org.advance_ms(LONG_MS);
        assert_eq!(caller.state(&batch), "Completed", "{name}");
    }
    assert_eq!(caller.org.count("Account"), 2);
}
