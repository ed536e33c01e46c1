//! A local org and a client for it.

use std::sync::Arc;
use std::time::Duration;

use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET, PERSON};
use salesforce_org::server::{Options, Running, start};
use salesforce_org::{Fault, FaultAction, Org, RecordId};
use secrecy::SecretString;
use serde_json::Value as Json;
use syncline::model::ids::{FieldName, IntentId, ObjectName, SalesforceId};
use syncline::model::value::Value;
use syncline::ports::salesforce::{
    Disposition, FieldWrite, Lane, SalesforcePort, Write, WriteOutcome, WriteTarget,
};
use syncline::salesforce::{HttpSalesforce, Login, MemoryTokenStore, SalesforceOptions};
use uuid::Uuid;

/// A running org and a client that logs in with the client credentials flow.
pub(crate) struct Stand {
    pub(crate) running: Running,
    pub(crate) client: HttpSalesforce,
    http: reqwest::Client,
}

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

impl Stand {
    pub(crate) async fn new() -> Self {
        Self::of(Org::default()).await
    }

    pub(crate) async fn of(org: Org) -> Self {
        let options = Options {
            keep_alive: Duration::from_millis(50),
            ..Options::default()
        };
        let running = start(org, &options).await.unwrap();
        let client = client_of(options_of(&running));
        Self {
            running,
            client,
            http: reqwest::Client::new(),
        }
    }

    /// Calls a control endpoint of the org.
    pub(crate) async fn control(&self, path: &str, body: Json) {
        let url = format!("{}/_org/{path}", self.running.http_url());
        let answer = self
            .http
            .post(url)
            .header("Content-Type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = answer.status();
        assert_eq!(status, 200, "{}", answer.text().await.unwrap());
    }

    /// Makes the org fail in this way.
    pub(crate) fn fault(&self, fault: &Fault) {
        self.running.with_org(|org| org.declare(fault));
    }

    /// Returns the number of calls to resources whose name contains `part`.
    pub(crate) async fn calls(&self, part: &str) -> u64 {
        let url = format!("{}/_org/stats", self.running.http_url());
        let text = self.http.get(url).send().await.unwrap().text();
        let stats: Json = serde_json::from_str(&text.await.unwrap()).unwrap();
        let calls = stats["calls"].as_object().unwrap();
        calls
            .iter()
            .filter(|(name, _)| name.contains(part))
            .map(|(_, count)| count.as_u64().unwrap())
            .sum()
    }

    /// Creates an account as a Salesforce user.
    pub(crate) fn person_inserts(&self, fields: &Json) -> SalesforceId {
        let id = self
            .running
            .with_org(|org| org.insert_as(PERSON, "Account", fields))
            .unwrap();
        SalesforceId::parse(&id.to_string()).unwrap()
    }

    /// Updates an account as a Salesforce user.
    pub(crate) fn person_updates(&self, id: &SalesforceId, fields: &Json) {
        self.running
            .with_org(|org| org.update_as(PERSON, record(id), fields))
            .unwrap();
    }

    /// Deletes an account as a Salesforce user.
    pub(crate) fn person_deletes(&self, id: &SalesforceId) {
        self.running
            .with_org(|org| org.delete_as(PERSON, record(id)))
            .unwrap();
    }

    pub(crate) fn value_of(&self, id: &SalesforceId, field: &str) -> Option<String> {
        self.running.with_org(|org| org.value_of(record(id), field))
    }

    pub(crate) fn accounts(&self) -> usize {
        self.running.with_org(|org| org.count("Account"))
    }

    /// Writes in collection calls.
    pub(crate) async fn write(&self, writes: &[Write]) -> Vec<WriteOutcome> {
        self.client.write(writes, Lane::Collections, TIMEOUT).await
    }

    /// Creates accounts `a-0`, `a-1`, … and returns their ids.
    pub(crate) async fn create_accounts(&self, count: usize) -> Vec<SalesforceId> {
        let writes: Vec<Write> = (0..count)
            .map(|n| {
                account(
                    &format!("a-{n}"),
                    &[("Name", text(&format!("Account {n}")))],
                )
            })
            .collect();
        self.write(&writes).await.iter().map(applied).collect()
    }
}

pub(crate) fn options_of(running: &Running) -> SalesforceOptions {
    let login = Login::ClientCredentials {
        secret: SecretString::from(CLIENT_SECRET),
    };
    let mut options = SalesforceOptions::new(&running.http_url(), CLIENT_ID, login, "62.0");
    options.pubsub_url = running.grpc_url();
    options
}

pub(crate) fn client_of(options: SalesforceOptions) -> HttpSalesforce {
    HttpSalesforce::new(options, Arc::new(MemoryTokenStore::default())).unwrap()
}

pub(crate) fn object(name: &str) -> ObjectName {
    ObjectName::parse(name).unwrap()
}

pub(crate) fn field(name: &str) -> FieldName {
    FieldName::parse(name).unwrap()
}

pub(crate) fn fields(names: &[&str]) -> Vec<FieldName> {
    names.iter().map(|name| field(name)).collect()
}

pub(crate) fn text(text: &str) -> FieldWrite {
    FieldWrite::Value(Value::text(text))
}

/// Returns an upsert of an account.
pub(crate) fn account(external_id: &str, values: &[(&str, FieldWrite)]) -> Write {
    Write {
        intent_id: IntentId(Uuid::nil()),
        object: object("Account"),
        target: WriteTarget::UpsertByExternalId {
            field: field("External_Id__c"),
            value: external_id.to_owned(),
        },
        fields: values
            .iter()
            .map(|(name, write)| (field(name), write.clone()))
            .collect(),
        auto_assign: false,
        allow_duplicates: false,
        unmodified_since_ms: None,
    }
}

/// Returns a write of an account by its id.
pub(crate) fn by_id(target: WriteTarget, values: &[(&str, FieldWrite)]) -> Write {
    Write {
        target,
        ..account("unused", values)
    }
}

pub(crate) fn applied(outcome: &WriteOutcome) -> SalesforceId {
    match outcome {
        WriteOutcome::Applied { salesforce_id, .. } => salesforce_id.clone(),
        other => panic!("it was not applied: {other:?}"),
    }
}

/// Returns the outcome as a short text: `applied`, `unknown`, or code and disposition.
pub(crate) fn word(outcome: &WriteOutcome) -> String {
    match outcome {
        WriteOutcome::Applied { .. } => "applied".to_owned(),
        WriteOutcome::Refused(refusal) | WriteOutcome::NotSent(refusal) => {
            let what: Disposition = refusal.disposition;
            format!("{} {what:?}", refusal.code)
        }
        WriteOutcome::Unknown { .. } => "unknown".to_owned(),
    }
}

pub(crate) fn words(outcomes: &[WriteOutcome]) -> Vec<String> {
    outcomes.iter().map(word).collect()
}

/// Makes the org refuse the next write of this record because it is locked.
pub(crate) fn locked(external_id: &str) -> Fault {
    let refused = FaultAction::RejectRow {
        external_id: external_id.to_owned(),
        code: "UNABLE_TO_LOCK_ROW".to_owned(),
        message: "unable to obtain exclusive access to this record".to_owned(),
    };
    refused.once()
}

/// Makes the org refuse a call with this error.
pub(crate) fn reject(status: u16, code: &str, message: &str) -> FaultAction {
    FaultAction::Reject {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

fn record(id: &SalesforceId) -> RecordId {
    RecordId::parse(id.as_str()).unwrap()
}
