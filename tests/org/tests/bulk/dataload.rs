//! Bulk API 1.0 query jobs, and behaviour common to all jobs.

use salesforce_org::local::{INTEGRATION_USER, PERSON};
use salesforce_org::{Org, Request, Response};
use serde_json::{Value as Json, json};

struct Caller {
    org: Org,
    session: String,
}

impl Caller {
    fn new() -> Self {
        let mut org = Org::default();
        let session = org.open_session(INTEGRATION_USER).unwrap();
        for name in ["Acme", "Borg"] {
            org.insert_as(PERSON, "Account", &json!({"Name": name}))
                .unwrap();
        }
        Self { org, session }
    }

    fn call(&mut self, method: &str, path: &str, body: &str) -> Response {
        let target = format!("/services/async/61.0/{path}");
        let request = Request::new(method, &target)
            .header("X-SFDC-Session", &self.session)
            .body("application/json", body);
        self.org.request(&request)
    }

    fn job(&mut self) -> String {
        self.job_with("CSV")
    }

    fn job_with(&mut self, content: &str) -> String {
        let body = json!({"operation": "query", "object": "Account", "contentType": content});
        let answer = self.call("POST", "job", &body.to_string());
        assert_eq!(answer.status, 201);
        answer.to_json()["id"].as_str().unwrap().to_owned()
    }

    /// Adds a query to a job and returns the id of its batch.
    fn batch(&mut self, job: &str, soql: &str) -> String {
        let answer = self.call("POST", &format!("job/{job}/batch"), soql);
        assert_eq!(answer.status, 201);
        element(&text(&answer), "id")
    }
}

fn text(answer: &Response) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

fn element(xml: &str, name: &str) -> String {
    let (_, after) = xml.split_once(&format!("<{name}>")).unwrap();
    after.split('<').next().unwrap().to_owned()
}

fn refused(answer: &Response) -> (u16, Json) {
    (answer.status, answer.to_json()["exceptionCode"].clone())
}

#[test]
fn query_batches_give_csv_results() {
    let mut caller = Caller::new();
    let job = caller.job();
    let batch = caller.batch(&job, "SELECT Name FROM Account ORDER BY Name");
    let place = format!("job/{job}/batch/{batch}");
    let info = text(&caller.call("GET", &place, ""));
    assert_eq!(element(&info, "state"), "Completed");
    assert_eq!(element(&info, "numberRecordsProcessed"), "2");
    let listed = text(&caller.call("GET", &format!("job/{job}/batch"), ""));
    assert_eq!(element(&listed, "id"), batch);
    let results = text(&caller.call("GET", &format!("{place}/result"), ""));
    let result = element(&results, "result");
    let rows = caller.call("GET", &format!("{place}/result/{result}"), "");
    assert_eq!(rows.header("content-type"), Some("text/csv;charset=UTF-8"));
    assert_eq!(text(&rows), "\"Name\"\n\"Acme\"\n\"Borg\"\n");
    let info = caller.call("GET", &format!("job/{job}"), "").to_json();
    assert_eq!(info["numberBatchesCompleted"], 1);
    assert_eq!(info["numberRecordsProcessed"], 2);
}

#[test]
fn query_in_chunks_is_a_batch_for_each_range_of_ids() {
    let mut caller = Caller::new();
    for number in 0..5 {
        let fields = json!({"Name": format!("More {number}")});
        caller.org.insert_as(PERSON, "Account", &fields).unwrap();
    }
    let body = json!({"operation": "query", "object": "Account", "contentType": "CSV"});
    let request = Request::new("POST", "/services/async/61.0/job")
        .header("X-SFDC-Session", &caller.session)
        .header("Sforce-Enable-PKChunking", "chunkSize=3")
        .json(&body);
    let job = caller.org.request(&request).to_json()["id"].clone();
    let job = job.as_str().unwrap();
    let soql = "SELECT Name FROM Account WHERE Name LIKE 'M%' OR Name LIKE 'B%'";
    let first = caller.batch(job, soql);
    let listed = text(&caller.call("GET", &format!("job/{job}/batch"), ""));
    let batches: Vec<&str> = listed.split("<batchInfo>").skip(1).collect();
    assert_eq!(element(batches[0], "id"), first);
    assert_eq!(element(batches[0], "state"), "NotProcessed");
    let rows: Vec<String> = batches[1..]
        .iter()
        .map(|batch| element(batch, "numberRecordsProcessed"))
        .collect();
    assert_eq!(rows, ["2", "3", "1"]);
}

#[test]
fn batch_has_the_api_version_of_its_job() {
    let mut caller = Caller::new();
    let job = caller.job();
    let request = Request::new("POST", &format!("/services/async/60.0/job/{job}/batch"))
        .header("X-SFDC-Session", &caller.session)
        .body("application/json", "SELECT Id FROM Account");
    let refusal = caller.org.request(&request);
    assert_eq!(refused(&refusal), (400, json!("InvalidVersion")));
}

#[test]
fn json_results_have_times_in_milliseconds() {
    let mut caller = Caller::new();
    let job = caller.job_with("JSON");
    let place = format!("job/{job}/batch");
    let soql = "SELECT CreatedDate FROM Account WHERE Name = 'Acme'";
    let batch = caller.call("POST", &place, soql).to_json();
    let place = format!("{place}/{}/result", batch["id"].as_str().unwrap());
    let results = caller.call("GET", &place, "").to_json();
    let result = results[0].as_str().unwrap();
    let rows = caller
        .call("GET", &format!("{place}/{result}"), "")
        .to_json();
    assert_eq!(rows[0]["CreatedDate"], caller.org.now_ms(), "{rows}");
}

#[test]
fn invalid_queries_fail_their_batch_not_the_job() {
    let mut caller = Caller::new();
    let job = caller.job();
    let batch = caller.batch(&job, "SELECT Nope__c FROM Account WHERE Name < 'a'");
    let info = text(&caller.call("GET", &format!("job/{job}/batch/{batch}"), ""));
    assert_eq!(element(&info, "state"), "Failed");
    let message = element(&info, "stateMessage");
    assert!(message.contains("INVALID_FIELD"), "{message}");
    let good = caller.batch(&job, "SELECT Id FROM Account");
    let info = text(&caller.call("GET", &format!("job/{job}/batch/{good}"), ""));
    assert_eq!(element(&info, "state"), "Completed");
}

#[test]
fn closed_jobs_refuse_batches() {
    let mut caller = Caller::new();
    let job = caller.job();
    let closed = caller.call("POST", &format!("job/{job}"), r#"{"state":"Closed"}"#);
    assert_eq!(closed.to_json()["state"], "Closed");
    let late = caller.call(
        "POST",
        &format!("job/{job}/batch"),
        "SELECT Id FROM Account",
    );
    assert_eq!(refused(&late), (400, json!("InvalidJobState")));
}

#[test]
fn unknown_or_invalid_requests_are_refused_by_code() {
    let mut caller = Caller::new();
    for (method, path, body, code) in [
        ("GET", "job/7505g0000000zzzAAA", "", "InvalidJob"),
        ("GET", "job/nonsense/batch/1/result", "", "InvalidJob"),
        ("POST", "job", "{", "InvalidJob"),
        (
            "POST",
            "job",
            r#"{"operation":"devour","object":"Account","contentType":"CSV"}"#,
            "InvalidJob",
        ),
        (
            "POST",
            "job",
            r#"{"operation":"upsert","object":"Account","contentType":"CSV"}"#,
            "InvalidJob",
        ),
        (
            "POST",
            "job",
            r#"{"operation":"hardDelete","object":"Account","contentType":"CSV"}"#,
            "FeatureNotEnabled",
        ),
        (
            "POST",
            "job",
            r#"{"operation":"insert","object":"Account","contentType":"ZIP_CSV"}"#,
            "InvalidJob",
        ),
        (
            "POST",
            "job",
            r#"{"operation":"query","object":"Accout","contentType":"CSV"}"#,
            "InvalidJob",
        ),
        ("DELETE", "job", "", "InvalidUrl"),
    ] {
        let answer = caller.call(method, path, body);
        assert_eq!(
            refused(&answer),
            (400, json!(code)),
            "{method} {path} {body}"
        );
    }
    caller.session = "dead".to_owned();
    let dead = caller.call("GET", "job/7505g0000000zzzAAA", "");
    assert_eq!(refused(&dead), (400, json!("InvalidSessionId")));
    assert_eq!(dead.header("content-type"), Some("application/json"));
}
