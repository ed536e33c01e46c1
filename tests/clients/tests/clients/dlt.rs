//! dlt's Salesforce source.

use syncline_clients::{Client, Stage};

use crate::tap_salesforce;

#[tokio::test]
#[ignore = "the client is large: make clients"]
async fn dlt_loads_everything_then_only_what_changed() {
    let stage = Stage::start().await;
    stage.with_org(tap_salesforce::two_accounts);
    let calls = stage.play(Client::Dlt, "dlt_salesforce.py").await;
    // Four objects first, one of them again.
    assert_eq!(calls.made("POST /async/job"), 5);
    assert_eq!(calls.made("GET /sobjects/{object}/describe"), 5);
    assert_eq!(stage.records("SELECT Id FROM Account").len(), 2);
}
