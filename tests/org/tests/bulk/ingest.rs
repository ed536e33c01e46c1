//! Each operation, from the upload to the records, results and change events.

use serde_json::json;

use crate::fixture::{Fixture, column, insert, job, upsert};

#[test]
fn insert_creates_each_row_and_returns_ids() {
    let mut f = Fixture::new();
    let ended = f.run(&insert(), "Name,External_Id__c\nAcme,a\n\"Borg, Inc\",b\n");
    let ids = column(&ended.successful, "sf__Id");
    assert_eq!(
        ended.successful,
        format!(
            "\"sf__Id\",\"sf__Created\",Name,External_Id__c\n\"{}\",\"true\",\"Acme\",\"a\"\n\
             \"{}\",\"true\",\"Borg, Inc\",\"b\"\n",
            ids[0], ids[1]
        )
    );
    assert_eq!(
        ended.failed,
        "\"sf__Id\",\"sf__Error\",Name,External_Id__c\n"
    );
    assert_eq!(ended.unprocessed, "Name,External_Id__c\n");
    assert_eq!(f.value(&ids[1], "Name").as_deref(), Some("Borg, Inc"));
    assert_eq!(
        (
            &ended.info["numberRecordsProcessed"],
            &ended.info["numberRecordsFailed"]
        ),
        (&json!(2), &json!(0))
    );
}

#[test]
fn job_resource_shows_its_settings_and_content_url() {
    let mut f = Fixture::new();
    let created = f.send("POST", "jobs/ingest", &upsert()).to_json();
    let id = created["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("750") && id.len() == 18);
    let user = created["createdById"].as_str().unwrap().to_owned();
    let mut expected = json!({
        "id": id, "operation": "upsert", "object": "Account", "createdById": user,
        "createdDate": "2026-05-01T09:30:00.000+0000",
        "systemModstamp": "2026-05-01T09:30:00.000+0000", "state": "Open",
        "externalIdFieldName": "External_Id__c", "concurrencyMode": "Parallel",
        "contentType": "CSV", "apiVersion": 62.0,
        "contentUrl": format!("services/data/v62.0/jobs/ingest/{id}/batches"),
        "lineEnding": "LF", "columnDelimiter": "COMMA",
    });
    assert_eq!(created.to_string(), expected.to_string());
    assert!(created.to_string().contains("\"apiVersion\":62.0"));
    f.put(&id, "Name,External_Id__c\nx,1\n");
    f.set_state(&id, "UploadComplete");
    f.org.advance_ms(60_000);
    let members = expected.as_object_mut().unwrap();
    members.remove("contentUrl");
    for (name, value) in [
        ("state", json!("JobComplete")),
        ("systemModstamp", json!("2026-05-01T09:31:00.000+0000")),
        ("jobType", json!("V2Ingest")),
        ("numberRecordsProcessed", json!(1)),
        ("numberRecordsFailed", json!(0)),
        ("retries", json!(0)),
        ("totalProcessingTime", json!(50)),
        ("apiActiveProcessingTime", json!(50)),
        ("apexProcessingTime", json!(0)),
    ] {
        members.insert(name.to_owned(), value);
    }
    assert_eq!(f.info(&id), expected);
}

#[test]
fn empty_cell_keeps_the_field_and_null_word_clears_it() {
    let mut f = Fixture::new();
    let id = f.account(&json!({"Name": "Acme", "Phone": "1", "Industry": "Media",
        "External_Id__c": "a"}));
    let ended = f.run(&job("update"), format!("Id,Phone,Industry\n{id},,#N/A\n"));
    assert_eq!(column(&ended.successful, "sf__Created"), ["false"]);
    assert_eq!(f.value(&id, "Phone").as_deref(), Some("1"));
    assert_eq!(f.value(&id, "Industry"), None);
    let event = f.events().pop().unwrap();
    assert_eq!(event.nulled_fields, ["Industry"]);
}

#[test]
fn upsert_creates_updates_and_refuses_by_external_id() {
    let mut f = Fixture::new();
    let id = f.account(&json!({"Name": "Acme", "External_Id__c": "a"}));
    let csv = "External_Id__c,Name\nA,renamed\nb,Borg\n,nameless\nc,one\nC,two\n";
    let ended = f.run(&upsert(), csv);
    assert_eq!(column(&ended.successful, "sf__Created"), ["false", "true"]);
    assert_eq!(column(&ended.successful, "sf__Id")[0], id);
    assert_eq!(f.value(&id, "Name").as_deref(), Some("renamed"));
    assert_eq!(
        column(&ended.failed, "sf__Error"),
        [
            "MISSING_ARGUMENT:External_Id__c not specified:External_Id__c --",
            "DUPLICATE_VALUE:Duplicate external id specified: c:External_Id__c --",
            "DUPLICATE_VALUE:Duplicate external id specified: C:External_Id__c --",
        ]
    );
    assert_eq!(
        (
            &ended.info["numberRecordsProcessed"],
            &ended.info["numberRecordsFailed"]
        ),
        (&json!(5), &json!(3))
    );
    assert_eq!(ended.info["state"], "JobComplete");
}

#[test]
fn upsert_by_id_inserts_rows_without_id() {
    let mut f = Fixture::new();
    let id = f.account(&json!({"Name": "Acme"}));
    let body = json!({"object": "Account", "operation": "upsert", "externalIdFieldName": "Id"});
    let csv = format!(
        "Id,Name\n{},renamed\n,new\n0015g00000000zzAAA,lost\n",
        &id[..15]
    );
    let ended = f.run(&body, csv);
    assert_eq!(column(&ended.successful, "sf__Created"), ["false", "true"]);
    assert_eq!(f.value(&id, "Name").as_deref(), Some("renamed"));
    assert_eq!(
        column(&ended.failed, "sf__Error"),
        ["INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--"]
    );
}

#[test]
fn delete_takes_only_ids_and_reports_failures() {
    let mut f = Fixture::new();
    let id = f.account(&json!({"Name": "Acme"}));
    let csv = format!("Id\n{id}\n{id}\nnonsense\n0015g00000000zzAAA\n\n");
    let ended = f.run(&job("delete"), csv);
    assert_eq!(column(&ended.successful, "sf__Created"), ["false"]);
    assert_eq!(
        column(&ended.failed, "sf__Error"),
        [
            "ENTITY_IS_DELETED:entity is deleted:--",
            "MALFORMED_ID:malformed id nonsense:Id --",
            "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--",
        ]
    );
    let ids = column(&ended.failed, "sf__Id");
    assert_eq!((ids[0].as_str(), ids[1].as_str()), (id.as_str(), ""));
    assert_eq!(f.org.count("Account"), 0);
    assert_eq!(
        f.value(&id, "Name").as_deref(),
        Some("Acme"),
        "it is in the recycle bin"
    );
    assert_eq!(f.events().pop().unwrap().change_type, "DELETE");
}

#[test]
fn hard_delete_needs_permission_and_sends_no_event() {
    let mut f = Fixture::new();
    let id = f.account(&json!({"Name": "Acme"}));
    let refused = f.send("POST", "jobs/ingest", &job("hardDelete"));
    assert_eq!(refused.status, 400);
    assert_eq!(refused.to_json()[0]["errorCode"], "FEATURENOTENABLED");
    f.control(
        "bulk",
        &json!({"hard_delete": ["integration@acme.example"]}),
    );
    let events = f.events().len();
    let ended = f.run(&job("hardDelete"), format!("Id\n{id}\n"));
    assert_eq!(column(&ended.successful, "sf__Id"), [id.as_str()]);
    assert_eq!((f.value(&id, "Name"), f.events().len()), (None, events));
    let all = f.call("GET", "queryAll?q=SELECT+Id+FROM+Account");
    assert_eq!(all.to_json()["totalSize"], 0);
}

#[test]
fn references_find_parents_but_not_sibling_rows() {
    let mut f = Fixture::new();
    let parent = f.account(&json!({"Name": "Parent", "External_Id__c": "p"}));
    let csv = "External_Id__c,Name,Parent.External_Id__c\na,A,P\nb,B,\nc,C,b\nd,D,#N/A\n";
    let ended = f.run(&upsert(), csv);
    let ids = column(&ended.successful, "sf__Id");
    assert_eq!(f.value(&ids[0], "ParentId"), Some(parent));
    assert_eq!(f.value(&ids[1], "ParentId"), None);
    assert_eq!(
        column(&ended.failed, "sf__Error"),
        [
            "INVALID_FIELD:Foreign key external ID: b not found for field External_Id__c in entity \
          Account:--"
        ]
    );
}

#[test]
fn bulk_events_come_in_transactions_of_two_hundred() {
    let mut f = Fixture::new();
    f.control("unconfirmed", &json!({"merged_events": "always"}));
    let mut csv = String::from("Name,External_Id__c\n");
    for number in 0..401 {
        csv.push_str(&format!("same,{number}\n"));
    }
    let ended = f.run(&upsert(), csv);
    let ids = column(&ended.successful, "sf__Id");
    let events = f.raw_events();
    assert_eq!(events.len(), 401);
    let [first, last, next, end] = [0, 199, 200, 400].map(|at| f.org.decode(&events[at]));
    assert_eq!(first.transaction_key, last.transaction_key);
    assert_ne!(last.transaction_key, next.transaction_key);
    assert_ne!(next.transaction_key, end.transaction_key);
    assert_eq!(
        first.change_origin,
        "com/salesforce/api/bulkapi/62.0;client=syncline"
    );
    let mut csv = String::from("Id,Name\n");
    for id in &ids {
        csv.push_str(&format!("{id},other\n"));
    }
    f.run(&job("update"), csv);
    let updates: Vec<usize> = f.raw_events()[401..]
        .iter()
        .map(|event| f.org.decode(event).record_ids.len())
        .collect();
    assert_eq!(
        updates,
        [200, 200, 1],
        "equal changes of a transaction share an event"
    );
}

#[test]
fn multipart_request_creates_uploads_and_closes() {
    let mut f = Fixture::new();
    let post = |f: &mut Fixture, csv: &str| {
        let body = format!(
            "--B\r\nContent-Type: application/json\r\nContent-Disposition: form-data; \
             name=\"job\"\r\n\r\n{}\r\n--B\r\nContent-Type: text/csv\r\nContent-Disposition: \
             form-data; name=\"content\"; filename=\"content\"\r\n\r\n{csv}\r\n--B--\r\n",
            insert()
        );
        let request = f.request("POST", "jobs/ingest");
        let request = request.body("multipart/form-data; boundary=B", body);
        f.org.request(&request)
    };
    let created = post(&mut f, "Name\nAcme\n");
    assert_eq!(
        (created.status, &created.to_json()["state"]),
        (200, &json!("UploadComplete"))
    );
    f.org.advance_ms(60_000);
    assert_eq!(f.org.count("Account"), 1);
    let long = post(&mut f, &format!("Name\n{}\n", "x".repeat(100_001)));
    assert_eq!((long.status, f.org.count("Account")), (400, 1));
}

#[test]
fn row_faults_and_flows_apply_to_bulk_rows() {
    let mut f = Fixture::new();
    f.control(
        "faults",
        &json!({"action": "row_error", "external_id": "b", "match": {"path_contains": "/jobs/"}}),
    );
    f.control(
        "flow",
        &json!({"object": "Account", "set": {"Industry": "Media"}}),
    );
    let csv = "Name,External_Id__c\nA,a\nB,b\n";
    let ended = f.run(&upsert(), csv);
    assert_eq!(
        column(&ended.failed, "sf__Error"),
        ["UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--"]
    );
    let id = column(&ended.successful, "sf__Id").remove(0);
    assert_eq!(f.value(&id, "Industry").as_deref(), Some("Media"));
    assert!(column(&f.run(&upsert(), csv).failed, "sf__Error").is_empty());
}

#[test]
fn every_bulk_call_is_counted() {
    let mut f = Fixture::new();
    f.control("unconfirmed", &json!({"limit_info": "exact"}));
    let ended = f.run(&insert(), "Name\nx\n");
    let limits = f.call("GET", "limits").to_json();
    assert_eq!(
        limits["DailyBulkApiBatches"],
        json!({"Max": 15_000, "Remaining": 14_999})
    );
    let requests = &limits["DailyApiRequests"];
    let used = requests["Max"].as_u64().unwrap() - requests["Remaining"].as_u64().unwrap();
    // Create, upload, close, three result sets, one job status, and the limits themselves.
    assert_eq!(used, 8, "{}", ended.id);
}
