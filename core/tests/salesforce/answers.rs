//! Answers that a Salesforce org should not give: none of them is taken for more than it says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use syncline::model::ids::SalesforceId;
use syncline::ports::salesforce::{Lane, ReadBy, SalesforcePort, WriteOutcome, WriteTarget};
use syncline::salesforce::{
    GrpcBody, GrpcFailure, HttpFailure, HttpSalesforce, Login, MemoryTokenStore, SalesforceOptions,
    Transport,
};

use crate::stand::{TIMEOUT, account, by_id, fields, object, text, word};

const RECORD: &str = "001D000000IqhSLIAZ";
const OTHER: &str = "001D000000IqhSMIAZ";

/// Gives these answers in turn, whatever is asked.
struct Prepared(Mutex<VecDeque<String>>);

#[async_trait]
impl Transport for Prepared {
    async fn send(
        &self,
        _: http::Request<Bytes>,
        _: Duration,
    ) -> Result<http::Response<Bytes>, HttpFailure> {
        let next = self.0.lock().unwrap().pop_front();
        let body = next.ok_or_else(|| HttpFailure::broken("there is no further answer"))?;
        Ok(http::Response::new(Bytes::from(body)))
    }

    async fn open(
        &self,
        _: http::Request<GrpcBody>,
    ) -> Result<http::Response<GrpcBody>, GrpcFailure> {
        Err("there are no streams".into())
    }
}

/// Returns a client that is signed in, and gets these answers.
fn client(answers: &[Json]) -> HttpSalesforce {
    let token = json!({
        "access_token": "00D!token", "instance_url": "https://acme.my.salesforce.com",
        "id": "https://login.salesforce.com/id/00DRM000000Gv5X2AS/005D0000001LjdWIAS",
    });
    let answers = std::iter::once(&token).chain(answers);
    let prepared = Prepared(Mutex::new(answers.map(Json::to_string).collect()));
    let login = Login::ClientCredentials {
        secret: SecretString::from("secret"),
    };
    let options = SalesforceOptions::new("https://login.salesforce.com", "client", login, "62.0");
    let tokens = Arc::new(MemoryTokenStore::default());
    HttpSalesforce::over(Arc::new(prepared), options, tokens).unwrap()
}

fn describe() -> Json {
    json!({"name": "Account", "keyPrefix": "001", "fields": [
        {"name": "Id", "type": "id"}, {"name": "Name", "type": "string", "length": 255},
    ]})
}

fn id(text: &str) -> SalesforceId {
    SalesforceId::parse(text).unwrap()
}

#[tokio::test]
async fn query_that_goes_on_nowhere_is_not_complete() {
    for next in [
        json!(null),
        json!("https://elsewhere.example/services/data/v62.0/query/01g"),
    ] {
        let page = json!({"totalSize": 2, "done": false, "nextRecordsUrl": next,
            "records": [{"Id": RECORD, "Name": "Acme"}]});
        let client = client(&[describe(), page]);
        let names = fields(&["Name"]);
        let scanned = client.scan(&object("Account"), &names, None, None).await;
        assert_eq!(scanned.unwrap_err().code, "unreadable_answer", "{next}");
    }
}

#[tokio::test]
async fn row_without_an_id_is_not_left_out() {
    let page = json!({"totalSize": 2, "done": true,
        "records": [{"Id": RECORD, "Name": "Acme"}, {"Id": "?", "Name": "Borg"}]});
    let client = client(&[describe(), page]);
    let by = ReadBy::Id(vec![id(RECORD), id(OTHER)]);
    let read = client
        .read(&object("Account"), &by, &fields(&["Name"]))
        .await;
    assert_eq!(read.unwrap_err().code, "unreadable_answer");
}

#[tokio::test]
async fn success_of_another_record_is_unknown() {
    let results = json!([{"id": OTHER, "success": true}, {"id": OTHER, "success": true}]);
    let client = client(&[results]);
    let writes = [RECORD, OTHER].map(|record| {
        by_id(
            WriteTarget::UpdateById(id(record)),
            &[("Name", text("Acme"))],
        )
    });
    let outcomes = client.write(&writes, Lane::Collections, TIMEOUT).await;
    assert_eq!(
        outcomes.iter().map(word).collect::<Vec<_>>(),
        ["unknown", "applied"]
    );
}

#[tokio::test]
async fn external_id_is_not_taken_for_a_salesforce_id() {
    let like_an_id = "abcde0123456789";
    for (result, expected) in [
        (json!({"success": true}), None),
        (json!({"success": true, "id": RECORD}), Some(id(RECORD))),
    ] {
        let client = client(&[json!([result])]);
        let write = account(like_an_id, &[("Name", text("Acme"))]);
        let outcomes = client.write(&[write], Lane::Collections, TIMEOUT).await;
        let applied = match &outcomes[0] {
            WriteOutcome::Applied { salesforce_id, .. } => Some(salesforce_id.clone()),
            _ => None,
        };
        assert_eq!(applied, expected);
    }
}
