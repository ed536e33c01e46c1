//! Accounts for the scenarios.

use salesforce_org::local::PERSON;
use serde_json::json;
use syncline_clients::Stage;

/// Two full pages of a query, a part of a third, and one record for the recycle bin.
const ACCOUNTS: usize = 4_100;

/// Starts an org with 4,100 accounts, numbered in their names; the last one is deleted.
pub(crate) async fn numbered() -> Stage {
    let stage = Stage::start().await;
    stage.with_org(|org| {
        let mut last = None;
        for number in 0..ACCOUNTS {
            let fields = json!({"Name": format!("Account {number:04}"), "Industry": "Media"});
            last = Some(org.insert_as(PERSON, "Account", &fields).unwrap());
        }
        org.delete_as(PERSON, last.unwrap()).unwrap();
    });
    stage
}
