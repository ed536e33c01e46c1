//! Jobs that fail as a whole, at the start or half way, and what their users can still read.

use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, column, error, insert, job, refused, upsert};

/// Returns why a job failed, after checking that it wrote nothing.
fn failure(f: &mut Fixture, body: &Json, csv: impl Into<Vec<u8>>) -> String {
    let before = f.org.count("Account");
    let ended = f.run(body, csv);
    assert_eq!(ended.info["state"], "Failed", "{}", ended.info);
    assert_eq!(
        (
            &ended.info["numberRecordsProcessed"],
            f.org.count("Account")
        ),
        (&json!(0), before)
    );
    ended.info["errorMessage"].as_str().unwrap().to_owned()
}

#[test]
fn invalid_header_fails_the_job_before_any_row() {
    let mut f = Fixture::new();
    for (csv, message) in [
        ("Name,Foo__c\nx,1\n", "Field name not found : Foo__c"),
        ("Name,Foo.Bar\nx,1\n", "Field name not found : Foo.Bar"),
        (
            "Name,Parent.Nope__c\nx,1\n",
            "Field name not found : Parent.Nope__c",
        ),
        (
            "Name,Account:Parent.External_Id__c\nx,1\n",
            "type is not needed for non polymorphic foreign key references: Parent",
        ),
        (
            "Name,Parent:Account.External_Id__c\nx,1\n",
            "Unable to find relationship: Account",
        ),
        (
            "Name,Account:Parent:External_Id__c\nx,1\n",
            "Field name not found : Account:Parent:External_Id__c",
        ),
        ("\u{feff}Name\nx\n", "Field name not found : \u{feff}Name"),
        (
            "\u{feff}\"Name\"\nx\n",
            "Failed to parse CSV. Found unescaped quote. A value with quote should be within a \
             quote",
        ),
        (
            "Name\n\"open\n",
            "Failed to parse CSV. EOF reached before closing an opened quote",
        ),
        ("Name,name\nx,y\n", "Duplicate column name found : name"),
        ("Name\n", "Records not found"),
    ] {
        let expected = format!("InvalidBatch : {message}");
        assert_eq!(failure(&mut f, &insert(), csv), expected, "{csv:?}");
    }
}

#[test]
fn header_must_fit_the_operation() {
    let mut f = Fixture::new();
    for (body, csv, message) in [
        (
            job("delete"),
            "Id,Name\n1,x\n",
            "The 'delete' batch must contain only ids",
        ),
        (
            job("update"),
            "Name\nx\n",
            "The 'update' batch must contain the column Id",
        ),
        (
            upsert(),
            "Name\nx\n",
            "The 'upsert' batch must contain the column External_Id__c",
        ),
    ] {
        let expected = format!("InvalidBatch : {message}");
        assert_eq!(failure(&mut f, &body, csv), expected, "{csv:?}");
    }
}

#[test]
fn line_ending_must_match_the_declared_one() {
    let mut f = Fixture::new();
    let message_for = |ending: &str| {
        format!(
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is \
             {ending}"
        )
    };
    let crlf = json!({"object": "Account", "operation": "insert", "lineEnding": "CRLF"});
    assert_eq!(
        failure(&mut f, &insert(), "Name\r\nx\r\n"),
        message_for("LF")
    );
    assert_eq!(failure(&mut f, &crlf, "Name\nx\n"), message_for("CRLF"));
    assert_eq!(
        failure(&mut f, &insert(), "Name\nx\r\ny\n"),
        message_for("LF")
    );
    assert_eq!(
        failure(&mut f, &crlf, "Name\r\nx\r\ny\n"),
        message_for("CRLF")
    );
    let ended = f.run(&crlf, "Name\r\nx");
    assert_eq!(
        ended.info["state"], "JobComplete",
        "the last row may end with the text"
    );
}

#[test]
fn invalid_utf8_or_empty_text_fails_the_job() {
    let mut f = Fixture::new();
    let message = failure(&mut f, &insert(), b"Name\n\xff\n".to_vec());
    assert!(message.starts_with("ClientInputError : "), "{message}");
    let id = f.open(&insert());
    f.set_state(&id, "UploadComplete");
    f.org.advance_ms(60_000);
    let ended = f.ended(&id);
    assert_eq!(ended.info["state"], "Failed");
    assert_eq!(
        (ended.failed.as_str(), ended.unprocessed.as_str()),
        ("\"sf__Id\",\"sf__Error\"\n", "")
    );
}

#[test]
fn half_failed_job_keeps_written_rows_and_lists_the_rest() {
    let mut f = Fixture::new();
    f.control(
        "faults",
        &json!({"action": "fail_job", "after_rows": 2, "message": "InternalServerError : x"}),
    );
    let csv = "Name,Description\na,\n\"\",\nc,\"1\n2\"\nd,\"say \"\"d\"\"\"\ne,\n";
    let ended = f.run(&insert(), csv);
    assert_eq!(ended.info["state"], "Failed");
    assert_eq!(ended.info["errorMessage"], "InternalServerError : x");
    assert_eq!(
        (
            &ended.info["numberRecordsProcessed"],
            &ended.info["numberRecordsFailed"]
        ),
        (&json!(2), &json!(1))
    );
    assert_eq!(column(&ended.successful, "Name"), ["a"]);
    assert_eq!(
        column(&ended.failed, "sf__Error"),
        ["REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"]
    );
    assert_eq!(
        ended.unprocessed,
        "Name,Description\n\"c\",\"1\n2\"\n\"d\",\"say \"\"d\"\"\"\n\"e\",\"\"\n"
    );
    assert_eq!(f.org.count("Account"), 1);
    let stats = salesforce_org::Request::new("GET", "/_org/stats");
    assert_eq!(
        f.org.request(&stats).to_json()["faults_fired"]["fail_job"],
        json!(1)
    );
    assert_eq!(
        f.run(&insert(), csv).info["state"],
        "JobComplete",
        "the fault fires once"
    );
}

#[test]
fn aborted_job_stops_between_batches() {
    let mut f = Fixture::new();
    f.control(
        "bulk",
        &json!({"batch_rows": 1, "queue_ms": 10, "batch_ms": 10}),
    );
    let id = f.submit(&insert(), "Name\na\nb\nc\n");
    f.org.advance_ms(20);
    assert_eq!(f.info(&id)["state"], "InProgress");
    assert_eq!(f.info(&id)["numberRecordsProcessed"], json!(1));
    let aborted = f.set_state(&id, "Aborted");
    assert_eq!(
        (aborted.status, &aborted.to_json()["state"]),
        (200, &json!("Aborted"))
    );
    f.org.advance_ms(60_000);
    let ended = f.ended(&id);
    assert_eq!(column(&ended.successful, "Name"), ["a"]);
    assert_eq!(ended.unprocessed, "Name\n\"b\"\n\"c\"\n");
    assert_eq!(f.org.count("Account"), 1);
}

#[test]
fn daily_limits_of_batches_and_rows_apply() {
    let mut f = Fixture::new();
    f.control(
        "bulk",
        &json!({"batch_rows": 1, "batches_per_day": 2, "rows_per_day": 4}),
    );
    let ended = f.run(&insert(), "Name\na\nb\nc\n");
    let quota = "ExceededQuota : ApiBatchItems Limit exceeded.";
    assert_eq!(ended.info["errorMessage"], quota);
    assert_eq!(ended.unprocessed, "Name\n\"c\"\n");
    let none = f.send("POST", "jobs/ingest", &insert());
    assert_eq!(refused(&none), error(400, "EXCEEDEDQUOTA", quota));
    f.control("bulk", &json!({"batches_per_day": 100}));
    let message = failure(&mut f, &insert(), "Name\na\nb\n");
    assert!(message.starts_with("ExceededQuota : "), "{message}");
    // The session of the test has also expired by then.
    f.org.advance_ms(25 * 3_600_000);
    f.log_in();
    assert_eq!(
        f.run(&insert(), "Name\na\nb\n").info["state"],
        "JobComplete"
    );
}

#[test]
fn oversized_uploads_are_refused() {
    let mut f = Fixture::new();
    f.control("bulk", &json!({"upload_bytes_max": 10}));
    let id = f.open(&insert());
    assert_eq!(f.put(&id, "Name\nabcdef\n").status, 413);
    assert_eq!(f.put(&id, "Name\nabcd\n").status, 201);
}
