//! Concurrent calls over real sockets.

use reqwest::Client;
use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::server::{Options, Running, start};
use salesforce_org::{FaultAction, Org};
use serde_json::{Value as Json, json};

struct Caller {
    client: Client,
    base: String,
    token: String,
}

impl Caller {
    fn of(running: &Running) -> Self {
        Self {
            client: Client::new(),
            base: running.http_url(),
            token: running.with_org(|org| org.open_session(INTEGRATION_USER).unwrap()),
        }
    }

    async fn control(&self, path: &str, body: &Json) {
        let url = format!("{}/_org/{path}", self.base);
        let answer = self.client.post(url).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Waits until an action has fired this many times.
    async fn fired(&self, action: &str, times: u64) {
        let url = format!("{}/_org/stats", self.base);
        loop {
            let stats: Json = self
                .client
                .get(&url)
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            if stats["faults_fired"][action] == times {
                return;
            }
        }
    }

    /// Creates contacts under accounts named by external id and returns the error codes.
    async fn contacts(&self, accounts: &[&str]) -> Vec<String> {
        let record = |key: &&str| {
            json!({"attributes": {"type": "Contact"}, "LastName": "Ito",
                   "Account": {"External_Id__c": key}})
        };
        let records: Vec<Json> = accounts.iter().map(record).collect();
        let url = format!("{}/services/data/v62.0/composite/sobjects", self.base);
        let request = self.client.post(url).bearer_auth(&self.token);
        let request = request.json(&json!({"records": records}));
        let results: Json = request.send().await.unwrap().json().await.unwrap();
        let code = |result: &Json| {
            let code = result["errors"][0]["statusCode"].as_str();
            code.unwrap_or_default().to_owned()
        };
        results.as_array().unwrap().iter().map(code).collect()
    }
}

/// Serves an org with the accounts `shared` and `other`, where calls contend and the first one is
/// held.
async fn contended() -> (Running, Caller) {
    let mut org = Org::default();
    for key in ["shared", "other"] {
        let fields = json!({"Name": key, "External_Id__c": key});
        org.insert_as(INTEGRATION_USER, "Account", &fields).unwrap();
    }
    let running = start(org, &Options::default()).await.unwrap();
    let caller = Caller::of(&running);
    let contend =
        json!({"action": "contend", "count": 1_000, "match": {"path_contains": "composite"}});
    caller.control("faults", &contend).await;
    running.with_org(|org| org.declare(&FaultAction::HoldResponse.once().on("composite")));
    (running, caller)
}

#[tokio::test]
async fn concurrent_calls_contend_for_a_shared_parent() {
    let (running, caller) = contended().await;
    let second = async {
        caller.fired("hold", 1).await;
        let seen = caller.contacts(&["shared", "other"]).await;
        assert_eq!(seen, ["UNABLE_TO_LOCK_ROW", ""]);
        running.with_org(Org::release_responses);
    };
    let shared = ["shared"];
    let (first, ()) = tokio::join!(caller.contacts(&shared), second);
    assert_eq!(first, [""]);
    assert_eq!(caller.contacts(&["shared"]).await, [""]);
}

#[tokio::test]
async fn disconnected_callers_release_their_locks() {
    let (running, caller) = contended().await;
    let gone = Caller::of(&running);
    let held = tokio::spawn(async move { gone.contacts(&["shared"]).await });
    caller.fired("hold", 1).await;
    assert_eq!(caller.contacts(&["shared"]).await, ["UNABLE_TO_LOCK_ROW"]);
    held.abort();
    // Locks are released when the server detects that the connection is closed.
    while caller.contacts(&["shared"]).await != [""] {}
    assert_eq!(running.with_org(|org| org.count("Contact")), 2);
}

#[tokio::test]
async fn reset_releases_held_answers() {
    let (running, caller) = contended().await;
    let reset = async {
        caller.fired("hold", 1).await;
        running.with_org(Org::reset);
    };
    let shared = ["shared"];
    let (first, ()) = tokio::join!(caller.contacts(&shared), reset);
    assert_eq!(first, [""]);
}
