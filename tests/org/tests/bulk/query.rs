//! Query jobs: what they refuse, what they find, and how results are read.

use salesforce_org::Response;
use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, column, error, refused};

fn body(soql: &str) -> Json {
    json!({"operation": "query", "query": soql})
}

fn created(f: &mut Fixture, body: &Json) -> Json {
    let response = f.send("POST", "jobs/query", body);
    assert_eq!(response.status, 200, "{}", response.to_json());
    response.to_json()
}

/// Creates a job, runs it to its end and returns its id.
fn finished(f: &mut Fixture, body: &Json) -> String {
    let id = created(f, body)["id"].as_str().unwrap().to_owned();
    f.org.advance_ms(60_000);
    let info = f.call("GET", &format!("jobs/query/{id}")).to_json();
    assert_eq!(info["state"], "JobComplete", "{info}");
    id
}

fn page(f: &mut Fixture, id: &str, parameters: &str) -> Response {
    f.call("GET", &format!("jobs/query/{id}/results{parameters}"))
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

fn three_accounts(f: &mut Fixture) {
    for name in ["Acme", "Borg", "Cyberdyne"] {
        f.account(&json!({"Name": name, "AnnualRevenue": 12_500_000}));
    }
}

#[test]
fn large_queries_see_changes_made_during_the_job() {
    let mut f = Fixture::new();
    f.control("bulk", &json!({"query_rows": 2}));
    let ids = ["a", "b", "c", "d"].map(|name| f.account(&json!({"Name": name})));
    let info = created(&mut f, &body("select Name from Account"));
    let id = info["id"].as_str().unwrap().to_owned();
    f.org.advance_ms(100);
    let info = f.call("GET", &format!("jobs/query/{id}")).to_json();
    assert_eq!(info["state"], "InProgress");
    assert_eq!(info["numberRecordsProcessed"], 2);
    assert_eq!(page(&mut f, &id, "").status, 400);
    f.call("DELETE", &format!("sobjects/Account/{}", ids[1]));
    f.call("DELETE", &format!("sobjects/Account/{}", ids[2]));
    let renamed = f.send(
        "PATCH",
        &format!("sobjects/Account/{}", ids[3]),
        &json!({"Name": "e"}),
    );
    assert_eq!(renamed.status, 204);
    let mut dump = Vec::new();
    f.org.dump(&mut dump).unwrap();
    f.org.restore(&mut dump.as_slice()).unwrap();
    f.org.advance_ms(50);
    let info = f.call("GET", &format!("jobs/query/{id}")).to_json();
    assert_eq!(info["state"], "JobComplete");
    assert_eq!(info["numberRecordsProcessed"], 3);
    assert_eq!(
        column(text(&page(&mut f, &id, "")), "Name"),
        ["a", "b", "e"]
    );
}

#[test]
fn query_job_runs_with_the_clock_and_reports_its_count() {
    let mut f = Fixture::new();
    three_accounts(&mut f);
    let info = created(&mut f, &body("select Id from Account"));
    let id = info["id"].as_str().unwrap().to_owned();
    let mut expected = json!({
        "id": id, "operation": "query", "object": "Account", "createdById": info["createdById"],
        "createdDate": "2026-05-01T09:30:00.000+0000",
        "systemModstamp": "2026-05-01T09:30:00.000+0000", "state": "UploadComplete",
        "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": 62.0,
        "lineEnding": "LF", "columnDelimiter": "COMMA",
    });
    assert_eq!(info.to_string(), expected.to_string());
    assert_eq!(
        page(&mut f, &id, "").to_json()[0]["errorCode"],
        "INVALIDJOBSTATE"
    );
    f.org.advance_ms(50);
    assert_eq!(
        f.call("GET", &format!("jobs/query/{id}")).to_json()["state"],
        "InProgress"
    );
    f.org.advance_ms(50);
    for (name, value) in [
        ("state", json!("JobComplete")),
        ("jobType", json!("V2Query")),
        ("numberRecordsProcessed", json!(3)),
        ("retries", json!(0)),
        ("totalProcessingTime", json!(50)),
        ("isPkChunkingSupported", json!(true)),
    ] {
        expected
            .as_object_mut()
            .unwrap()
            .insert(name.to_owned(), value);
    }
    assert_eq!(
        f.call("GET", &format!("jobs/query/{id}")).to_json(),
        expected
    );
}

#[test]
fn results_are_quoted_csv_in_select_order() {
    let mut f = Fixture::new();
    let parent = f.account(&json!({"Name": "say \"hi\"", "External_Id__c": "p"}));
    let id = f.account(
        &json!({"Name": "child", "ParentId": parent, "AnnualRevenue": 1.5,
        "NumberOfEmployees": 7, "Active__c": true, "Opened__c": "2020-02-29",
        "Checked_At__c": "2026-05-01T10:00:00.123+02:00", "Description": "a\nb"}),
    );
    let soql = "SELECT parent.name, Id, AnnualRevenue, NumberOfEmployees, Active__c, Opened__c, \
                Checked_At__c, Description, Parent.External_Id__c, Phone FROM account \
                WHERE Name = 'child'";
    let job = finished(&mut f, &body(soql));
    let results = page(&mut f, &job, "");
    assert_eq!(
        text(&results),
        format!(
            "\"Parent.Name\",\"Id\",\"AnnualRevenue\",\"NumberOfEmployees\",\"Active__c\",\
             \"Opened__c\",\"Checked_At__c\",\"Description\",\"Parent.External_Id__c\",\"Phone\"\n\
             \"say \"\"hi\"\"\",\"{id}\",\"1.5\",\"7\",\"true\",\"2020-02-29\",\
             \"2026-05-01T08:00:00.000Z\",\"a\nb\",\"p\",\"\"\n"
        )
    );
    assert_eq!(
        results.header("content-type"),
        Some("text/csv; charset=UTF-8")
    );
    let form = json!({"operation": "query", "query": "SELECT Name, Phone FROM Account \
        WHERE Name = 'child'", "columnDelimiter": "PIPE", "lineEnding": "CRLF"});
    let job = finished(&mut f, &form);
    assert_eq!(
        text(&page(&mut f, &job, "")),
        "\"Name\"|\"Phone\"\r\n\"child\"|\"\"\r\n"
    );
}

#[test]
fn pages_are_linked_by_locators_until_null() {
    let mut f = Fixture::new();
    three_accounts(&mut f);
    let job = finished(
        &mut f,
        &body("SELECT Name, AnnualRevenue FROM Account ORDER BY Name"),
    );
    let first = page(&mut f, &job, "?maxRecords=2");
    assert_eq!(
        text(&first),
        "\"Name\",\"AnnualRevenue\"\n\"Acme\",\"1.25E7\"\n\"Borg\",\"1.25E7\"\n"
    );
    assert_eq!(first.header("sforce-numberofrecords"), Some("2"));
    let locator = first.header("sforce-locator").unwrap().to_owned();
    assert_eq!(locator, "Mg", "it is opaque, and base64 without padding");
    for _ in 0..2 {
        let last = page(&mut f, &job, &format!("?maxRecords=2&locator={locator}"));
        assert_eq!(column(text(&last), "Name"), ["Cyberdyne"]);
        assert_eq!(last.header("sforce-locator"), Some("null"));
    }
    for parameters in [
        "?locator=null",
        "?locator=OTk",
        "?maxRecords=0",
        "?maxRecords=x",
    ] {
        assert_eq!(page(&mut f, &job, parameters).status, 400, "{parameters}");
    }
}

#[test]
fn empty_results_are_only_a_header_row() {
    let mut f = Fixture::new();
    let job = finished(&mut f, &body("SELECT Id FROM Account"));
    let results = page(&mut f, &job, "");
    assert_eq!(text(&results), "\"Id\"\n");
    assert_eq!(results.header("sforce-numberofrecords"), Some("0"));
    assert_eq!(results.header("sforce-locator"), Some("null"));
}

#[test]
fn results_are_fixed_and_query_all_sees_deleted_records() {
    let mut f = Fixture::new();
    let id = f.account(&json!({"Name": "Acme"}));
    let job = finished(&mut f, &body("SELECT Name FROM Account"));
    f.call("DELETE", &format!("sobjects/Account/{id}"));
    assert_eq!(text(&page(&mut f, &job, "")), "\"Name\"\n\"Acme\"\n");
    let all = json!({"operation": "queryAll", "query": "SELECT IsDeleted FROM Account"});
    let job = finished(&mut f, &all);
    assert_eq!(text(&page(&mut f, &job, "")), "\"IsDeleted\"\n\"true\"\n");
    let job = finished(&mut f, &body("SELECT Name FROM Account"));
    assert_eq!(text(&page(&mut f, &job, "")), "\"Name\"\n");
}

#[test]
fn result_pages_are_listed_five_at_a_time() {
    let mut f = Fixture::new();
    for number in 0..7 {
        f.account(&json!({"Name": format!("a{number}")}));
    }
    f.control("bulk", &json!({"page_rows": 1}));
    let job = finished(&mut f, &body("SELECT Name FROM Account ORDER BY Name"));
    let list = |f: &mut Fixture, path: &str| {
        let path = path.strip_prefix("/services/data/v62.0/").unwrap_or(path);
        let json = f.call("GET", path).to_json();
        let pages = json["resultPages"].as_array().unwrap().iter();
        let urls: Vec<String> = pages
            .map(|page| page["resultUrl"].as_str().unwrap().to_owned())
            .collect();
        (urls, json["nextRecordsUrl"].clone(), json["done"].clone())
    };
    let (mut urls, next, done) = list(&mut f, &format!("jobs/query/{job}/resultPages"));
    assert_eq!((urls.len(), done), (5, json!(false)));
    let (more, next, done) = list(&mut f, next.as_str().unwrap());
    assert_eq!((more.len(), next, done), (2, Json::Null, json!(true)));
    urls.extend(more);
    let mut names = Vec::new();
    for url in urls.iter().rev() {
        let results = f.call("GET", url.strip_prefix("/services/data/v62.0/").unwrap());
        names.extend(column(text(&results), "Name"));
    }
    names.sort();
    assert_eq!(names, ["a0", "a1", "a2", "a3", "a4", "a5", "a6"]);
}

#[test]
fn results_need_the_job_version() {
    let mut f = Fixture::new();
    let job = finished(&mut f, &body("SELECT Id FROM Account"));
    for (version, status) in [("v62.0", 200), ("v61.0", 409)] {
        for resource in ["results", "resultPages"] {
            let response = f.call_version(version, "GET", &format!("jobs/query/{job}/{resource}"));
            assert_eq!(response.status, status, "{version} {resource}");
        }
    }
    assert_eq!(
        f.call_version("v61.0", "GET", &format!("jobs/query/{job}"))
            .status,
        200
    );
}

#[test]
fn unsupported_bulk_queries_are_refused_at_creation() {
    let mut f = Fixture::new();
    for (soql, code, message) in [
        (
            "SELECT BillingAddress FROM Account",
            "API_ERROR",
            "Selecting compound data not supported in Bulk Query",
        ),
        (
            "SELECT Id FROM Account LIMIT 1 OFFSET 1",
            "API_ERROR",
            "Offset not supported in Bulk Query",
        ),
        (
            "SELECT COUNT() FROM Account",
            "API_ERROR",
            "Aggregate functions not supported in Bulk Query",
        ),
        (
            "SELECT Industry, SUM(AnnualRevenue) FROM Account GROUP BY Industry",
            "API_ERROR",
            "Aggregate functions not supported in Bulk Query",
        ),
        (
            "SELECT Id, (SELECT Id FROM Contacts) FROM Account",
            "API_ERROR",
            "Aggregate Relationships not supported in Bulk Query with CSV content type",
        ),
    ] {
        let response = f.send("POST", "jobs/query", &body(soql));
        assert_eq!(refused(&response), error(400, code, message), "{soql}");
    }
    for (soql, code) in [
        ("SELECT Nope FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT FROM Account", "MALFORMED_QUERY"),
        ("", "MALFORMED_QUERY"),
    ] {
        let response = f.send("POST", "jobs/query", &body(soql));
        assert_eq!(
            (response.status, &response.to_json()[0]["errorCode"]),
            (400, &json!(code)),
            "{soql}"
        );
    }
    let insert = json!({"operation": "insert", "query": "SELECT Id FROM Account"});
    assert_eq!(f.send("POST", "jobs/query", &insert).status, 400);
    assert_eq!(f.call("GET", "jobs/query").to_json()["records"], json!([]));
}

#[test]
fn query_jobs_are_aborted_deleted_listed_and_counted() {
    let mut f = Fixture::new();
    f.control("bulk", &json!({"query_jobs_per_day": 2}));
    let soql = body("SELECT Id FROM Account");
    let id = created(&mut f, &soql)["id"].as_str().unwrap().to_owned();
    let path = format!("jobs/query/{id}");
    assert_eq!(
        f.call("DELETE", &path).to_json()[0]["errorCode"],
        "API_ERROR"
    );
    let aborted = f
        .send("PATCH", &path, &json!({"state": "Aborted"}))
        .to_json();
    assert_eq!(aborted["state"], "Aborted");
    f.org.advance_ms(60_000);
    assert_eq!(f.call("GET", &path).to_json()["state"], "Aborted");
    let closed = f.send("PATCH", &path, &json!({"state": "UploadComplete"}));
    assert_eq!(closed.to_json()[0]["errorCode"], "INVALIDJOBSTATE");
    let done = finished(&mut f, &soql);
    assert_eq!(
        refused(&f.send(
            "PATCH",
            &format!("jobs/query/{done}"),
            &json!({"state": "Aborted"})
        )),
        error(
            400,
            "INVALIDJOBSTATE",
            "Aborting already Completed Job not allowed"
        )
    );
    let listed = f.call("GET", "jobs/query?jobType=V2Query").to_json();
    assert_eq!(listed["records"].as_array().unwrap().len(), 2);
    assert_eq!(
        refused(&f.send("POST", "jobs/query", &soql)),
        error(
            400,
            "LIMIT_EXCEEDED",
            "Max bulk v2 query jobs (2) per 24 hrs has been reached (3)"
        )
    );
    assert_eq!(
        (f.call("DELETE", &path).status, f.call("GET", &path).status),
        (204, 404)
    );
    assert_eq!(
        f.call("GET", "limits").to_json()["DailyBulkV2QueryJobs"],
        json!({"Max": 2, "Remaining": 0})
    );
}
