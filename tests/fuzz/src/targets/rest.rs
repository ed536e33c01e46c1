//! The answers of an org to REST calls: the first line is the status, the rest is the body.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;
use syncline::model::canonical;
use syncline::model::ids::{IntentId, SalesforceId};
use syncline::model::schema::ObjectSchema;
use syncline::model::value::Value;
use syncline::ports::salesforce::{
    FieldWrite, Lane, ReadBy, SalesforceError, SalesforcePort, SalesforceRecord, Write,
    WriteOutcome, WriteTarget,
};
use syncline::salesforce::{Fault, MemoryTokenStore};
use uuid::Uuid;

use crate::json::{assert_is_short, assert_quotes_nothing, document};
use crate::stand::{
    Answers, Stand, TOKEN, account, client_without_session, field, finished, id, mapped, new_stand,
    object, response, stand,
};

const RECORD: &str = "001D000000IqhSLIAZ";
const OTHER: &str = "001D000000IqhSMIAZ";

/// An external id that could be a Salesforce id.
const LIKE_AN_ID: &str = "abcde0123456789";

/// Where an error of the org says itself what is wrong.
const SAID: [&str; 6] = [
    "errorCode",
    "statusCode",
    "error",
    "error_description",
    "message",
    "fields",
];

/// Returns the status and the body that an input is.
fn answer(bytes: &[u8]) -> (u16, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let status = end.and_then(|end| {
        let status: u16 = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
        (200..600)
            .contains(&status)
            .then_some((status, &bytes[end + 1..]))
    });
    status.unwrap_or((200, bytes))
}

/// An error for logs is short, has a code of one word, and quotes nothing of the answer.
fn check_error(error: &SalesforceError, body: &[u8]) {
    let shown = error.to_string();
    assert_is_short(&shown);
    check_code(&error.code);
    assert!(!shown.contains(TOKEN), "the error has the token");
    if let Some(json) = document(body) {
        assert_quotes_nothing(&shown, &json, &SAID);
    }
}

fn check_code(code: &str) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    assert!(
        !code.is_empty() && code.len() <= 100,
        "a code of {} bytes",
        code.len()
    );
    assert!(code.chars().all(is_word), "{code:?} is not a code");
}

/// A describe is a schema that can be stored, or an error.
pub(crate) fn describe(bytes: &[u8]) {
    let (status, body) = answer(bytes);
    let Stand { answers, org } = new_stand();
    answers.prepare([response(status, body)]);
    org.forget_schema(&object("Account"));
    match finished(org.describe(&object("Account"))) {
        Ok(schema) => {
            assert_eq!(status, 200);
            let text = serde_json::to_string(&schema).expect("a schema is JSON");
            let again: ObjectSchema = serde_json::from_str(&text).expect("it was just written");
            assert_eq!(again, schema);
            for (name, field) in &schema.fields {
                assert_eq!(name, &field.name);
            }
        }
        Err(error) => check_error(&error, body),
    }
    if let Err(error) = finished(org.describe_with_access(&object("Account"))) {
        check_error(&error, body);
    }
    if let Err(error) = finished(org.objects()) {
        check_error(&error, body);
    }
}

/// An answer to a query is all of its records, or an error: no record is lost in silence.
pub(crate) fn query(bytes: &[u8]) {
    let (status, body) = answer(bytes);
    let account = object("Account");
    let stand = queried(status, body);
    let scanned = finished(stand.org.scan(&account, mapped(), None, None));
    let scanned = scanned.map(|page| page.records);
    check_records(&scanned, body, stand.answers.requests().len());
    let stand = queried(status, body);
    let by = ReadBy::Id(vec![id(RECORD), id(OTHER)]);
    match finished(stand.org.read(&account, &by, mapped())) {
        Ok(records) => {
            let known: BTreeMap<SalesforceId, SalesforceRecord> = scanned
                .expect("the same answer was read")
                .into_iter()
                .map(|record| (record.salesforce_id.clone(), record))
                .collect();
            assert_eq!(records, known.into_values().collect::<Vec<_>>());
        }
        Err(error) => check_error(&error, body),
    }
    query_others(status, body);
}

/// A stand where the client gets the answer, and an empty last page if it asks for another one.
fn queried(status: u16, body: &[u8]) -> Rc<Stand> {
    let last = br#"{"totalSize":0,"done":true,"records":[]}"#;
    let stand = stand();
    let answers = [response(status, body), response(200, last)];
    stand.answers.prepare(answers);
    // An answer may have made the client forget it.
    stand.org.know_schema(account());
    stand
}

fn check_records(
    records: &Result<Vec<SalesforceRecord>, SalesforceError>,
    body: &[u8],
    pages: usize,
) {
    let json = document(body).unwrap_or_default();
    let records = match records {
        Ok(records) => records,
        Err(error) => return check_error(error, body),
    };
    let rows = json["records"]
        .as_array()
        .expect("what was read has records");
    assert_eq!(records.len(), rows.len(), "a record was lost");
    let is_last = json["done"]
        .as_bool()
        .expect("what was read says whether it is the last page");
    assert!(is_last || pages > 1, "the query was not read to its end");
    let schema = account();
    for (record, row) in records.iter().zip(rows) {
        let read = record.fields.len() + record.unreadable.len();
        let asked = mapped()
            .iter()
            .filter(|name| row.get(name.as_str()).is_some());
        assert_eq!(read, asked.count(), "a field was lost");
        for (name, value) in &record.fields {
            let field_type = &schema.fields[name].field_type;
            let json = &row[name.as_str()];
            assert_eq!(
                canonical::from_salesforce_json(field_type, json).as_ref(),
                Ok(value)
            );
        }
        for reason in record.unreadable.values() {
            assert_is_short(reason);
            assert_quotes_nothing(reason, row, &[]);
        }
    }
}

/// The other reads: each ends, and an error quotes nothing.
fn query_others(status: u16, body: &[u8]) {
    let account = object("Account");
    let stand = queried(status, body);
    let org = &stand.org;
    let ids = [id(RECORD)];
    let lookup = &crate::stand::account().cascades[0];
    let errors = finished(async {
        [
            org.count(&account, None, None).await.err(),
            org.deleted_since(&account, 0, 1_000).await.err(),
            org.modified_at(&account, &ids).await.err(),
            org.referenced(lookup, None, &ids).await.err(),
            org.changed_since(&account, mapped(), 0, None).await.err(),
            org.sees_encrypted_text().await.err(),
            org.try_filter(&account, mapped(), "Name != null")
                .await
                .err(),
            org.probe().await.err(),
        ]
    });
    errors
        .iter()
        .flatten()
        .for_each(|error| check_error(error, body));
}

/// A write is applied to its own record, refused or unknown; nothing that may have failed is applied.
pub(crate) fn write(bytes: &[u8]) {
    let (status, body) = answer(bytes);
    let writes = [
        upsert("a-1"),
        upsert(LIKE_AN_ID),
        to(WriteTarget::UpdateById(id(RECORD))),
        to(WriteTarget::DeleteById(id(OTHER))),
    ];
    for lane in [Lane::Single, Lane::Collections] {
        check_outcomes(
            &outcomes(status, body, &writes, lane),
            &writes,
            status,
            body,
        );
    }
    let together = [
        to(WriteTarget::UpdateById(id(RECORD))),
        to(WriteTarget::UpdateById(id(OTHER))),
    ];
    let ended = outcomes(status, body, &together, Lane::Collections);
    check_outcomes(&ended, &together, status, body);
    let Some(Json::Array(results)) = document(body) else {
        return;
    };
    for (outcome, result) in ended.iter().zip(&results) {
        let is_applied = matches!(outcome, WriteOutcome::Applied { .. });
        assert!(
            !is_applied || result["success"] == true,
            "a failure was applied"
        );
    }
}

fn outcomes(status: u16, body: &[u8], writes: &[Write], lane: Lane) -> Vec<WriteOutcome> {
    let stand = queried(status, body);
    stand.answers.prepare([response(status, body)]);
    finished(stand.org.write(writes, lane, Duration::from_secs(30)))
}

fn check_outcomes(outcomes: &[WriteOutcome], writes: &[Write], status: u16, body: &[u8]) {
    assert_eq!(outcomes.len(), writes.len());
    for (outcome, write) in outcomes.iter().zip(writes) {
        match (outcome, &write.target) {
            (
                WriteOutcome::Applied { salesforce_id, .. },
                WriteTarget::UpdateById(id) | WriteTarget::DeleteById(id),
            ) => assert_eq!(salesforce_id, id, "a write was applied to another record"),
            (
                WriteOutcome::Applied { salesforce_id, .. },
                WriteTarget::UpsertByExternalId { .. },
            ) => {
                let shown = String::from_utf8_lossy(body).to_lowercase();
                let id = salesforce_id.as_str()[..15].to_lowercase();
                assert!(shown.contains(&id), "the id of a record was made up");
            }
            (WriteOutcome::Refused(refusal) | WriteOutcome::NotSent(refusal), _) => {
                assert!(status < 500 || document(body).is_some_and(|json| json.is_array()));
                check_code(&refusal.code);
            }
            (WriteOutcome::Unknown { reason, .. }, _) => {
                assert_is_short(reason);
                if let Some(json) = document(body) {
                    assert_quotes_nothing(reason, &json, &SAID);
                }
            }
        }
    }
}

fn to(target: WriteTarget) -> Write {
    let value = FieldWrite::Value(Value::text("Acme"));
    Write {
        intent_id: IntentId(Uuid::nil()),
        object: object("Account"),
        target,
        fields: BTreeMap::from([(field("Name"), value)]),
        auto_assign: false,
        allow_duplicates: false,
        unmodified_since_ms: None,
    }
}

fn upsert(external_id: &str) -> Write {
    to(WriteTarget::UpsertByExternalId {
        field: field("External_Id__c"),
        value: external_id.to_owned(),
    })
}

/// An error body is a fault with a code of one word, whose text for logs is short.
pub(crate) fn refusal(bytes: &[u8]) {
    let (status, body) = answer(bytes);
    let fault = Fault::from_body(status, body);
    assert_eq!(fault.status, Some(status));
    assert_eq!(Fault::from_body(status, body), fault);
    check_code(&fault.code);
    let disposition = fault.disposition();
    let message = fault.message.clone();
    let error = fault.into_error("reading Account");
    assert_eq!(error.disposition, disposition);
    check_error(&error, body);
    let is_of_a_record =
        error.code.starts_with("FIELD_") && error.code == error.code.to_uppercase();
    assert!(!is_of_a_record || message.len() < 20 || !error.message.contains(&message));
}

/// A login is a session in an org with TLS, or an error without a token. Token response and user info are separated by
/// a NUL.
pub(crate) fn login(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let (status, token) = answer(&bytes[..end]);
    let info = bytes.get(end + 1..).unwrap_or_default();
    let answers = Arc::new(Answers::default());
    answers.prepare([response(status, token), response(200, info)]);
    let org = client_without_session(&answers, MemoryTokenStore::default());
    match finished(org.identity()) {
        Ok(identity) => {
            assert!(
                identity.instance_url.starts_with("https://"),
                "{}",
                identity.instance_url
            );
            if let Err(error) = finished(org.probe()) {
                check_error(&error, info);
            }
            let requests = answers.requests();
            let calls = requests.iter().skip(1);
            let is_there = |call: &String| call.starts_with("https://");
            assert!(calls.into_iter().all(is_there), "a call without TLS");
        }
        Err(error) => {
            check_error(&error, token);
            check_error(&error, info);
        }
    }
    let shown = format!("{org:?}");
    if let Some(token) =
        document(token).and_then(|token| Some(token.get("access_token")?.as_str()?.to_owned()))
    {
        assert!(token.len() < 8 || !shown.contains(&token));
    }
}

/// Any headers are a time and a count of calls, or none. The first line is `Date`, the second `Sforce-Limit-Info`.
pub(crate) fn headers(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut answer = http::Response::builder().status(200);
    for name in ["date", "sforce-limit-info"] {
        let value = http::HeaderValue::from_bytes(lines.next().unwrap_or_default());
        let Ok(value) = value else { return };
        answer = answer.header(name, value);
    }
    let answer = answer
        .body(Bytes::from_static(b"{}"))
        .expect("the headers are valid");
    let Stand { answers, org } = new_stand();
    answers.prepare([answer]);
    for _ in 0..3 {
        finished(org.probe()).expect("the answer is complete");
    }
    if let Some(clock) = org.clock() {
        assert!(clock.uncertainty_ms >= 500);
    }
    if let Some(usage) = org.api_usage() {
        assert!(usage.max >= 0);
    }
}

/// Any text is asked for as itself: a literal of SOQL ends where we end it.
pub(crate) fn literal(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let page = br#"{"totalSize":0,"done":true,"records":[]}"#;
    let stand = queried(200, page);
    let by = ReadBy::ExternalId {
        field: field("External_Id__c"),
        values: vec![text.to_owned()],
    };
    let read = finished(stand.org.read(&object("Account"), &by, &[]));
    let requests = stand.answers.requests();
    match requests.as_slice() {
        [] => assert!(text.is_empty() || read.is_err(), "nothing was asked"),
        [one] => {
            let statement = decoded(one.split_once("?q=").expect("it is a query").1);
            let literal = statement.split_once(" IN (").expect("it has a list").1;
            assert_eq!(unquoted(literal).as_deref(), Some(text), "{statement}");
        }
        several => panic!("one literal was asked for in {} calls", several.len()),
    }
}

/// Returns a query parameter as a server reads it.
fn decoded(query: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = query.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| {
                    let digit = char::from(digit.expect("two digits follow"));
                    digit.to_digit(16).expect("it is hexadecimal")
                });
                bytes.push((digits[0] * 16 + digits[1]) as u8);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("a statement is text")
}

/// Returns the text of a quoted literal that a parenthesis and the end follow (SOQL and SOSL Reference, "Quoted String
/// Escape Sequences").
fn unquoted(literal: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = literal.strip_prefix('\'')?.chars();
    loop {
        match rest.next()? {
            '\'' => return (rest.as_str() == ")").then_some(text),
            '\\' => text.push(match rest.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                same @ ('"' | '\'' | '\\') => same,
                _ => return None,
            }),
            other => text.push(other),
        }
    }
}
