//! Queries, pages, typed records.

use force::api::RestOperation as _;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::claim::{equal, refused};
use crate::{connect, credentials};

/// The harness has created 4,100 accounts, numbered in their names; the last one is deleted.
const LIVE: usize = 4_099;

#[derive(Debug, Deserialize)]
struct Account {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Owner")]
    owner: Owner,
}

#[derive(Debug, Deserialize)]
struct Owner {
    #[serde(rename = "Name")]
    name: String,
}

pub(crate) async fn play() -> anyhow::Result<()> {
    let client = connect(credentials(), "v62.0").await?;
    let rest = client.rest();
    let soql = "SELECT Name, Owner.Name FROM Account ORDER BY Name";

    let first = rest.query::<Account>(soql).await?;
    equal(first.total_size, LIVE, "all that is found")?;
    equal(first.records.len(), 2_000, "a page")?;
    equal(first.done, false, "the first page is not the last")?;
    let next = first.next_records_url.expect("more pages have an address");
    let second = rest.query_more::<Account>(&next).await?;
    equal(
        second.records[0].name.as_str(),
        "Account 2000",
        "the next page",
    )?;

    let mut stream = rest.query_stream::<Account>(soql);
    let mut seen = 0;
    while let Some(account) = stream.next().await? {
        equal(account.name, format!("Account {seen:04}"), "in order")?;
        equal(account.owner.name.is_empty(), false, "the owner's name")?;
        seen += 1;
    }
    equal(seen, LIVE, "a stream brings all pages")?;

    let count = rest.query::<Json>("SELECT COUNT() FROM Account").await?;
    equal(count.total_size, LIVE, "COUNT()")?;
    let column = rest.query::<Json>("SELECT Nope__c FROM Account").await;
    refused(column, "INVALID_FIELD", "no such column")?;
    let object = rest.query::<Json>("SELECT Id FROM Accout").await;
    refused(object, "INVALID_TYPE", "no such object")?;
    let calls = rest.limits().await?.daily_api_requests;
    let calls = calls.expect("the limits have the day's API calls");
    equal(calls.is_above_threshold(100.0), false, "limits are read")
}
