//! Bulk API 2.0: ingest jobs and a query job.

use std::time::Duration;

use force::api::bulk::{
    BulkPollPolicy, CreateJobRequest, IngestJob, JobComplete, JobOperation, JobState,
};
use force::auth::ClientCredentials;
use force::client::ForceClient;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::claim::{equal, fails};
use crate::{connect, credentials};

type Client = ForceClient<ClientCredentials>;
type Done = IngestJob<JobComplete, ClientCredentials>;

/// Polls often, because the org's jobs take no time.
const POLL: BulkPollPolicy =
    BulkPollPolicy::new(400, Duration::from_millis(20), Duration::from_millis(100));

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Account {
    #[serde(rename = "External_Id__c")]
    key: String,
    #[serde(rename = "Name")]
    name: String,
}

pub(crate) async fn play() -> anyhow::Result<()> {
    let client = connect(credentials(), "v62.0").await?;
    let csv = "External_Id__c,Name,Industry\nb-1,\"One, \"\"first\"\"\",Media\nb-2,Two,\nb-3,,\n";
    let job = ingest(&client, JobOperation::Insert, None, csv).await?;
    let done = rows(&job.successful_results().await?)?;
    equal(column(&done, "External_Id__c"), ["b-1", "b-2"], "inserted")?;
    equal(
        column(&done, "Name"),
        ["One, \"first\"", "Two"],
        "uploaded columns come back",
    )?;
    let failed = rows(&job.failed_results().await?)?;
    equal(column(&failed, "External_Id__c"), ["b-3"], "refused")?;
    equal(
        rows(&job.unprocessed_results().await?)?.len(),
        0,
        "nothing is left over",
    )?;
    let info = client.bulk().get_job(job.job_id()).await?;
    equal(info.state, JobState::JobComplete, "state")?;
    equal(
        info.number_records_processed,
        Some(3),
        "processed rows, with the failed one",
    )?;
    equal(info.number_records_failed, Some(1), "failed rows")?;

    let key = Some("External_Id__c".to_owned());
    let csv = "External_Id__c,Name\nb-1,One\nb-4,Four\n";
    let job = ingest(&client, JobOperation::Upsert, key, csv).await?;
    let upserted = rows(&job.successful_results().await?)?;
    equal(
        column(&upserted, "sf__Created"),
        ["false", "true"],
        "updated and created",
    )?;

    let ids = column(&upserted, "sf__Id");
    let update = format!("Id,Name,Industry\n{},One again,#N/A\n", ids[0]);
    let job = ingest(&client, JobOperation::Update, None, &update).await?;
    equal(rows(&job.successful_results().await?)?.len(), 1, "updated")?;
    let deleted = client.bulk().delete("Account", &ids[1..]).await?;
    equal(deleted.number_records_processed, Some(1), "deleted")?;

    found(&client).await?;
    abandoned(&client).await
}

async fn found(client: &Client) -> anyhow::Result<()> {
    let soql = "SELECT External_Id__c, Name FROM Account ORDER BY External_Id__c";
    let bulk = client.bulk();
    let mut stream = bulk.bulk_query_with_policy::<Account>(soql, POLL).await?;
    let mut accounts = Vec::new();
    while let Some(account) = stream.next().await? {
        accounts.push((account.key, account.name));
    }
    let expected = [("b-1", "One again"), ("b-2", "Two")];
    let expected = expected.map(|(key, name)| (key.to_owned(), name.to_owned()));
    equal(accounts, expected, "what a query job finds")?;
    let wrong = bulk.bulk_query_with_policy::<Json>("SELECT Nope__c FROM Account", POLL);
    fails(wrong.await.map(drop), "", "no such column")
}

/// An aborted job, and a job whose CSV has an unknown column.
async fn abandoned(client: &Client) -> anyhow::Result<()> {
    let bulk = client.bulk();
    let request = CreateJobRequest::new("Account", JobOperation::Insert);
    let job = bulk.create_job(request).await?;
    equal(job.state, JobState::Open, "a new job")?;
    IngestJob::create(&bulk, "Account", JobOperation::Insert, None)
        .await?
        .abort()
        .await?;
    let wrong = ingest(client, JobOperation::Insert, None, "Nope__c\n1\n").await;
    equal(
        wrong.is_err(),
        true,
        "a column that is not there fails the job",
    )
}

/// Runs one ingest job to its end.
async fn ingest(
    client: &Client,
    operation: JobOperation,
    key: Option<String>,
    csv: &str,
) -> anyhow::Result<Done> {
    let job = IngestJob::create(&client.bulk(), "Account", operation, key).await?;
    let job = job.upload(csv.to_owned()).await?.close().await?;
    Ok(job.poll_until_complete_with_policy(POLL).await?)
}

type Row = std::collections::BTreeMap<String, String>;

fn rows(csv: &[u8]) -> Result<Vec<Row>, csv::Error> {
    csv::Reader::from_reader(csv).deserialize().collect()
}

/// Returns one column in the order of the external ids, because results have no order.
fn column(rows: &[Row], name: &str) -> Vec<String> {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| row.get("External_Id__c"));
    rows.iter().map(|row| row[name].clone()).collect()
}
