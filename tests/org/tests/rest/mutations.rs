//! Valid requests that were damaged: each gets a documented answer, and the org keeps working as if
//! it had never arrived.

use std::sync::{LazyLock, Mutex};

use proptest::prelude::*;
use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{Org, Request, Response};
use serde_json::Value as Json;

/// Requests to damage: method, path, content type and body.
const CORPUS: [(&str, &str, &str, &str); 22] = [
    (
        "POST",
        "sobjects/Account",
        JSON,
        r#"{"Name":"Acme","AnnualRevenue":1.5e3,"Parent":{"External_Id__c":"p"}}"#,
    ),
    (
        "PATCH",
        "sobjects/Account/External_Id__c/k%2F1",
        JSON,
        r#"{"Name":"x","Opened__c":"2026-05-01"}"#,
    ),
    (
        "POST",
        "composite/sobjects",
        JSON,
        r#"{"allOrNone":true,"records":[{"attributes":{"type":"Account"},"Name":"a"},{"attributes":{"type":"Contact"},"LastName":"b"}]}"#,
    ),
    (
        "PATCH",
        "composite/sobjects/Account/External_Id__c",
        JSON,
        r#"{"records":[{"attributes":{"type":"Account"},"External_Id__c":"u","Name":null}]}"#,
    ),
    (
        "DELETE",
        "composite/sobjects?ids=0015g0000000001AAA,0035g0000000001AAA&allOrNone=true",
        JSON,
        "",
    ),
    (
        "POST",
        "composite/sobjects/Account",
        JSON,
        r#"{"ids":["0015g0000000001AAA"],"fields":["Id","Name"]}"#,
    ),
    (
        "POST",
        "composite",
        JSON,
        r#"{"allOrNone":true,"compositeRequest":[{"method":"POST","url":"/services/data/v62.0/sobjects/Account","referenceId":"a","body":{"Name":"A"}},{"method":"GET","url":"/services/data/v62.0/sobjects/Account/@{a.id}","referenceId":"b"}]}"#,
    ),
    (
        "POST",
        "composite/graph",
        JSON,
        r#"{"graphs":[{"graphId":"g1","compositeRequest":[{"method":"POST","url":"/services/data/v62.0/sobjects/Account","referenceId":"a","body":{"Name":"A"}}]}]}"#,
    ),
    (
        "POST",
        "composite/batch",
        JSON,
        r#"{"haltOnError":true,"batchRequests":[{"method":"PATCH","url":"v62.0/sobjects/Account/0015g0000000001AAA","richInput":{"Name":"N"}}]}"#,
    ),
    (
        "POST",
        "composite/tree/Account",
        JSON,
        r#"{"records":[{"attributes":{"type":"Account","referenceId":"r1"},"Name":"n","Contacts":{"records":[{"attributes":{"type":"Contact","referenceId":"r2"},"LastName":"l"}]}}]}"#,
    ),
    (
        "POST",
        "jobs/ingest",
        JSON,
        r#"{"object":"Account","operation":"upsert","externalIdFieldName":"External_Id__c","lineEnding":"LF","columnDelimiter":"COMMA"}"#,
    ),
    (
        "POST",
        "jobs/ingest",
        "multipart/form-data; boundary=B",
        "--B\r\nContent-Disposition: form-data; name=\"job\"\r\nContent-Type: application/json\r\n\r\n{\"object\":\"Account\",\"operation\":\"insert\"}\r\n--B\r\nContent-Disposition: form-data; name=\"content\"; filename=\"c\"\r\nContent-Type: text/csv\r\n\r\nName\nx\n--B--\r\n",
    ),
    (
        "POST",
        "jobs/query",
        JSON,
        r#"{"operation":"queryAll","query":"SELECT Id FROM Account"}"#,
    ),
    (
        "POST",
        "tooling/sobjects/PlatformEventChannel",
        JSON,
        r#"{"FullName":"Sales__chn","Metadata":{"channelType":"data","label":"Sales"}}"#,
    ),
    (
        "POST",
        "tooling/sobjects/PlatformEventChannelMember",
        JSON,
        r#"{"FullName":"M","Metadata":{"eventChannel":"Sales__chn","selectedEntity":"AccountChangeEvent","filterExpression":"Name = 'x'"}}"#,
    ),
    (
        "GET",
        "sobjects/Account/updated/?start=2026-05-01T00%3A00%3A00Z&end=2026-05-01T09%3A00%3A00%2B00%3A00",
        "",
        "",
    ),
    (
        "GET",
        "query?q=SELECT+Id,(SELECT+Id+FROM+Contacts)+FROM+Account+WHERE+Name+LIKE+'a%25'+ORDER+BY+Name+NULLS+LAST+LIMIT+5",
        "",
        "",
    ),
    (
        "GET",
        "query?q=SELECT+CALENDAR_YEAR(CreatedDate)+y,COUNT(Id)+FROM+Account+GROUP+BY+CALENDAR_YEAR(CreatedDate)+HAVING+COUNT(Id)%3E0",
        "",
        "",
    ),
    (
        "POST",
        "/services/oauth2/token",
        FORM,
        "grant_type=client_credentials&client_id=local-only-client-id&client_secret=local-only-client-secret",
    ),
    (
        "POST",
        "/services/Soap/u/62.0",
        "text/xml",
        "<e:Envelope><e:Body><login><username>a@b</username><password>p&amp;q</password></login></e:Body></e:Envelope>",
    ),
    (
        "POST",
        "/services/async/61.0/job",
        "application/xml",
        "<?xml version=\"1.0\"?><jobInfo><operation>insert</operation><object>Account</object><contentType>CSV</contentType></jobInfo>",
    ),
    (
        "POST",
        "/_org/user_edit",
        JSON,
        r#"{"action":"insert","user":"kim@acme.example","object":"Account","fields":{"Name":"x"}}"#,
    ),
];

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Fragments that often break parsers.
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u00e9",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"null",
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"%",
    b"%00",
    b"@{a.id}",
    b"<",
    b"&",
    b"(",
    b"\r\n",
];

/// One edit of a text. Positions are fractions of its length.
#[derive(Clone, Debug)]
enum Damage {
    Insert(u16, usize),
    Remove(u16, u8),
    Repeat(u16, u8),
    Flip(u16, u8),
    Cut(u16),
}

impl Damage {
    fn apply(&self, text: &mut Vec<u8>) {
        let place = |share: u16| usize::from(share) * text.len() / (usize::from(u16::MAX) + 1);
        match *self {
            Self::Insert(share, piece) => {
                let at = place(share);
                text.splice(at..at, PIECES[piece % PIECES.len()].iter().copied());
            }
            Self::Remove(share, length) => {
                let at = place(share);
                let end = text.len().min(at + usize::from(length));
                text.drain(at..end);
            }
            Self::Repeat(share, length) => {
                let at = place(share);
                let end = text.len().min(at + usize::from(length));
                let part = text[at..end].to_vec();
                text.splice(end..end, part);
            }
            Self::Flip(share, mask) => {
                let at = place(share);
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= mask;
                }
            }
            Self::Cut(share) => text.truncate(place(share)),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<u16>;
    prop_oneof![
        4 => (place(), any::<usize>()).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        2 => (place(), 1..9_u8).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => (place(), 1..30_u8).prop_map(|(at, length)| Damage::Repeat(at, length)),
        2 => (place(), 1..=255_u8).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        1 => place().prop_map(Damage::Cut),
    ]
}

/// An org with a few records and a session.
struct Target {
    org: Org,
    token: String,
    calls: usize,
}

/// Number of calls before a fresh org replaces the old one: well below its daily limit.
const CALLS_MAX: usize = 20_000;

impl Target {
    fn new() -> Self {
        let mut org = Org::default();
        let token = org.open_session(INTEGRATION_USER).unwrap();
        Self {
            org,
            token,
            calls: 0,
        }
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Response {
        self.calls += 1;
        if self.calls > CALLS_MAX {
            *self = Self::new();
        }
        let target = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/services/data/v62.0/{path}")
        };
        let request = Request::new(method, &target)
            .bearer(&self.token)
            .header("x-sfdc-session", &self.token);
        let request = if kind.is_empty() {
            request
        } else {
            request.body(kind, body)
        };
        self.org.request(&request)
    }
}

static TARGET: LazyLock<Mutex<Target>> = LazyLock::new(|| Mutex::new(Target::new()));

/// Returns whether a refusal has the documented form of its endpoint.
fn is_documented(path: &str, response: &Response) -> bool {
    let json = response.to_json();
    let text = String::from_utf8_lossy(&response.body);
    let array = json[0]["errorCode"].is_string();
    match response.status {
        200..300 => true,
        // An ambiguous key lists its records.
        300 => json.is_array(),
        414 | 431 => response.body.is_empty(),
        _ if path.starts_with("/services/oauth2") => json["error"].is_string() || array,
        _ if path.starts_with("/services/Soap") => text.contains("faultstring") || array,
        _ if path.starts_with("/services/async") => text.contains("exceptionCode") || array,
        _ if path.starts_with("/_org/") => json["error"].is_string(),
        // Trees and batches report each record.
        400..500 => array || json["hasErrors"].is_boolean(),
        // A refused SOAP login has status 500.
        _ => false,
    }
}

/// Returns a path with one first slash, as the org reads it.
fn with_one_slash(path: &str) -> String {
    match path.strip_prefix("//") {
        Some(rest) => format!("/{}", rest.trim_start_matches('/')),
        None => path.to_owned(),
    }
}

proptest! {
    // `PROPTEST_CASES=100000` searches longer.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1_500)))]

    #[test]
    fn damaged_requests_get_documented_answers(
        (method, path, kind, body) in prop::sample::select(&CORPUS[..]),
        damages in prop::collection::vec(damage(), 1..5),
        in_path in prop::bool::weighted(0.2),
    ) {
        let mut target = TARGET.lock().unwrap();
        let damaged = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            for damage in &damages {
                damage.apply(&mut bytes);
            }
            bytes
        };
        let (path, body) = if in_path || body.is_empty() {
            (String::from_utf8_lossy(&damaged(path)).into_owned(), body.as_bytes().to_vec())
        } else {
            (path.to_owned(), damaged(body))
        };
        let shown = String::from_utf8_lossy(&body).into_owned();
        let response = target.send(method, &path, kind, body);
        let path = with_one_slash(&path);
        let answer = String::from_utf8_lossy(&response.body).into_owned();
        let soap = path.starts_with("/services/Soap") && response.status == 500;
        prop_assert!(
            is_documented(&path, &response) || soap && answer.contains("faultstring"),
            "{method} {path}\n{shown}\n{}: {answer}", response.status
        );
        let alive: Json = target.send("GET", "limits", "", Vec::new()).to_json();
        prop_assert!(alive["DailyApiRequests"].is_object(), "{alive}");
    }
}
