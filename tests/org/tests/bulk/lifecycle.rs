//! States of ingest jobs: transitions by users and by the clock, and lists of jobs.

use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, error, insert, job, refused, upsert};

#[test]
fn jobs_advance_only_with_the_clock() {
    let mut f = Fixture::new();
    f.control(
        "bulk",
        &json!({"batch_rows": 1, "queue_ms": 100, "batch_ms": 10}),
    );
    let id = f.submit(&insert(), "Name\na\nb\n");
    let mut seen = Vec::new();
    for step in [0, 99, 1, 9, 1, 9, 1, 1_000] {
        f.org.advance_ms(step);
        let info = f.info(&id);
        seen.push((
            info["state"].clone(),
            info["numberRecordsProcessed"].clone(),
        ));
    }
    let at = |state: &str, rows: u32| (json!(state), json!(rows));
    assert_eq!(
        seen,
        [
            at("UploadComplete", 0),
            at("UploadComplete", 0),
            at("InProgress", 0),
            at("InProgress", 0),
            at("InProgress", 1),
            at("InProgress", 1),
            at("JobComplete", 2),
            at("JobComplete", 2),
        ]
    );
}

#[test]
fn real_time_runs_one_batch_per_call() {
    let mut f = Fixture::new();
    f.control(
        "bulk",
        &json!({"batch_rows": 1, "queue_ms": 0, "batch_ms": 0}),
    );
    f.submit(&insert(), "Name\na\nb\nc\n");
    let wall_ms = f.org.now_ms();
    let counts: Vec<usize> = (0..5)
        .map(|_| {
            f.org.set_wall_ms(wall_ms);
            f.org.count("Account")
        })
        .collect();
    assert_eq!(counts, [0, 1, 2, 3, 3]);
}

#[test]
fn creation_errors_have_salesforce_texts() {
    let mut f = Fixture::new();
    let mut with = |members: Json, code: &str, message: &str| {
        let mut body = upsert();
        body.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        let response = f.send("POST", "jobs/ingest", &body);
        assert_eq!(refused(&response), error(400, code, message));
    };
    with(
        json!({"object": "Nope"}),
        "INVALIDJOB",
        "InvalidJob : Unable to find object: Nope",
    );
    with(
        json!({"operation": "merge"}),
        "API_ERROR",
        "Invalid value: 'merge' supplied for property: 'operation'",
    );
    with(
        json!({"contentType": "JSON"}),
        "API_ERROR",
        "Invalid value: 'JSON' supplied for property: 'contentType'",
    );
    with(
        json!({"lineEnding": "CR"}),
        "API_ERROR",
        "Invalid value: 'CR' supplied for property: 'lineEnding'",
    );
    with(
        json!({"columnDelimiter": ","}),
        "API_ERROR",
        "Invalid value: ',' supplied for property: 'columnDelimiter'",
    );
    with(
        json!({"externalIdFieldName": "Name"}),
        "INVALIDJOB",
        "InvalidJob : Field name provided, Name does not match an External ID for Account",
    );
    with(
        json!({"externalIdFieldName": null}),
        "INVALIDJOB",
        "InvalidJob : External ID was blank for Account. An External ID must be specified for \
         upsert.",
    );
    with(
        json!({"object": "User", "externalIdFieldName": "Id"}),
        "INVALIDENTITY",
        "InvalidEntity : Entity 'User' is not supported by the Bulk API.",
    );
    with(
        json!({"color": "red"}),
        "JSON_PARSER_ERROR",
        "Unrecognized field \"color\" at [line:1, column:1]",
    );
}

#[test]
fn only_allowed_state_changes_succeed() {
    let mut f = Fixture::new();
    let id = f.open(&insert());
    for state in ["Open", "InProgress", "JobComplete", "Failed"] {
        assert_eq!(
            f.set_state(&id, state).to_json()[0]["errorCode"],
            "INVALIDJOBSTATE"
        );
    }
    assert_eq!(
        refused(&f.set_state(&id, "Done")),
        error(
            400,
            "API_ERROR",
            "Invalid value: 'Done' supplied for property: 'state'"
        )
    );
    f.put(&id, "Name\nx\n");
    let closed = f.set_state(&id, "UploadComplete").to_json();
    assert_eq!(closed["state"], "UploadComplete");
    assert_eq!(
        (&closed["contentUrl"], &closed["lineEnding"]),
        (&Json::Null, &Json::Null)
    );
    assert_eq!(f.set_state(&id, "UploadComplete").status, 400);
    assert_eq!(f.put(&id, "Name\ny\n").status, 400);
    f.org.advance_ms(60_000);
    assert_eq!(
        refused(&f.set_state(&id, "Aborted")),
        error(
            400,
            "INVALIDJOBSTATE",
            "Aborting already Completed Job not allowed"
        )
    );
    let other = f.open(&insert());
    assert_eq!(f.set_state(&other, "Aborted").status, 200);
    assert_eq!(
        refused(&f.set_state(&other, "Aborted")),
        error(
            400,
            "INVALIDJOBSTATE",
            "Aborting already Aborted Job not allowed"
        )
    );
}

#[test]
fn second_upload_fails_the_job_at_close() {
    let mut f = Fixture::new();
    let id = f.open(&insert());
    assert_eq!(
        (
            f.put(&id, "Name\na\n").status,
            f.put(&id, "Name\nb\n").status
        ),
        (201, 201)
    );
    let message = format!(
        "Found multipe contents for job: <{}>, please 'Close' / 'Abort' / 'Delete' the current \
         Job then create a new Job and make sure you only do 'PUT' once on a given Job.",
        &id[..15]
    );
    assert_eq!(
        refused(&f.set_state(&id, "UploadComplete")),
        error(400, "INVALIDJOB", &message)
    );
    assert_eq!(f.set_state(&id, "Aborted").status, 200);
    assert_eq!(f.org.count("Account"), 0);
}

#[test]
fn running_jobs_cannot_be_deleted() {
    let mut f = Fixture::new();
    let path = |id: &str| format!("jobs/ingest/{id}");
    let open = f.open(&insert());
    assert_eq!(
        refused(&f.call("DELETE", &path(&open))),
        error(
            400,
            "API_ERROR",
            "Error encountered when deleting the job because the job is not terminated"
        )
    );
    let waiting = f.submit(&insert(), "Name\nx\n");
    assert_eq!(f.call("DELETE", &path(&waiting)).status, 204);
    f.org.advance_ms(60_000);
    assert_eq!(f.org.count("Account"), 0, "a deleted job stops");
    let done = f.run(&insert(), "Name\nx\n");
    assert_eq!(f.call("DELETE", &path(&done.id)).status, 204);
    assert_eq!(
        refused(&f.call("GET", &path(&done.id))),
        error(404, "NOT_FOUND", "The requested resource does not exist")
    );
    assert_eq!(f.call("GET", "jobs/ingest/nonsense").status, 404);
    assert_eq!(f.call("GET", "jobs/ingest/750/nonsense").status, 404);
}

#[test]
fn results_exist_only_after_the_job_ended() {
    let mut f = Fixture::new();
    let id = f.submit(&insert(), "Name\nx\n");
    let early = f.call("GET", &format!("jobs/ingest/{id}/successfulResults"));
    assert_eq!(early.to_json()[0]["errorCode"], "INVALIDJOBSTATE");
    f.org.advance_ms(60_000);
    for name in [
        "successfulResults/",
        "failedResults",
        "unprocessedRecords",
        "unprocessedrecords",
    ] {
        assert_eq!(
            f.call("GET", &format!("jobs/ingest/{id}/{name}")).status,
            200,
            "{name}"
        );
    }
    assert_eq!(
        f.call("POST", &format!("jobs/ingest/{id}/failedResults"))
            .status,
        405
    );
    assert_eq!(
        f.call("GET", &format!("jobs/query/{id}")).status,
        404,
        "it is not a query job"
    );
}

#[test]
fn job_lists_have_pages_and_a_week_of_jobs() {
    let mut f = Fixture::new();
    let ids: Vec<String> = (0..1_001).map(|_| f.open(&job("delete"))).collect();
    let first = f.call("GET", "jobs/ingest/").to_json();
    assert_eq!(first["done"], json!(false));
    let next = first["nextRecordsUrl"].as_str().unwrap().to_owned();
    let last = f
        .call("GET", next.strip_prefix("/services/data/v62.0/").unwrap())
        .to_json();
    assert_eq!(
        (&last["done"], &last["nextRecordsUrl"]),
        (&json!(true), &Json::Null)
    );
    let listed: Vec<&str> = [&first, &last]
        .iter()
        .flat_map(|page| page["records"].as_array().unwrap())
        .map(|record| record["id"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ids);
    assert_eq!(first["records"][0]["jobType"], "V2Ingest");
    for filter in ["jobType=Classic", "isPkChunkingEnabled=true"] {
        let none = f.call("GET", &format!("jobs/ingest?{filter}")).to_json();
        assert_eq!(none["records"], json!([]), "{filter}");
    }
    assert_eq!(f.call("GET", "jobs/ingest?queryLocator=x").status, 400);
    f.org.advance_ms(7 * 86_400_000 + 1_000);
    f.log_in();
    assert_eq!(f.call("GET", "jobs/ingest").to_json()["records"], json!([]));
}
