//! Bulk API 2.0: jobs that upsert, their results, and a job that queries.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value as Json;

use crate::airport;
use crate::target::Target;

/// Largest upload of a job: Salesforce takes 150 MB once it has made base64 of it, and advises 100.
const UPLOAD_BYTES_MAX: usize = 100_000_000;

/// How long to wait between two looks at a job.
const POLL: Duration = Duration::from_millis(200);

/// How often a job is looked at before it is given up: half an hour.
const POLLS_MAX: usize = 9_000;

/// Upserts so many rows, whose records exist, in as many jobs as their bytes need; returns the ids
/// of the jobs.
pub(crate) async fn upsert(org: &Target, rows: usize) -> anyhow::Result<Vec<String>> {
    let mut jobs = Vec::new();
    let mut csv = airport::CSV_HEADER.to_owned();
    for n in 0..rows {
        let row = airport::csv_row(n, ("bulk", airport::MANY));
        if csv.len() + row.len() > UPLOAD_BYTES_MAX {
            let full = std::mem::replace(&mut csv, airport::CSV_HEADER.to_owned());
            jobs.push(upload(org, full).await?);
        }
        csv.push_str(&row);
    }
    jobs.push(upload(org, csv).await?);
    let mut processed = 0;
    for job in &jobs {
        let told = finished(org, "ingest", job).await?;
        anyhow::ensure!(told["numberRecordsFailed"] == 0, "{told}");
        processed += told["numberRecordsProcessed"].as_u64().unwrap_or_default();
    }
    anyhow::ensure!(processed == rows as u64, "{processed} of {rows} rows");
    Ok(jobs)
}

async fn upload(org: &Target, csv: String) -> anyhow::Result<String> {
    let order = r#"{"object":"Account","operation":"upsert","externalIdFieldName":"External_Id__c",
        "contentType":"CSV","lineEnding":"LF"}"#;
    let job = create(org, "ingest", order).await?;
    let path = format!("jobs/ingest/{job}");
    let csv = ("text/csv", csv);
    org.send(Method::PUT, &format!("{path}/batches"), csv)
        .await?;
    let close = r#"{"state":"UploadComplete"}"#.to_owned();
    org.call(Method::PATCH, &path, close).await?;
    Ok(job)
}

async fn create(org: &Target, kind: &str, order: &str) -> anyhow::Result<String> {
    let path = format!("jobs/{kind}");
    let answer = org.call(Method::POST, &path, order.to_owned()).await?;
    let told = answer.json()?;
    Ok(told["id"]
        .as_str()
        .context("a job without an id")?
        .to_owned())
}

/// Waits until a job is complete and returns what it tells of itself.
async fn finished(org: &Target, kind: &str, job: &str) -> anyhow::Result<Json> {
    for _ in 0..POLLS_MAX {
        let path = format!("jobs/{kind}/{job}");
        let told = org.call(Method::GET, &path, String::new()).await?.json()?;
        match told["state"].as_str().unwrap_or_default() {
            "JobComplete" => return Ok(told),
            "UploadComplete" | "InProgress" => tokio::time::sleep(POLL).await,
            _ => anyhow::bail!("the job ended badly: {told}"),
        }
    }
    anyhow::bail!("the job {job} does not end")
}

/// Reads what became of the rows, and forgets the jobs.
pub(crate) async fn results(org: &Target, jobs: &[String], rows: usize) -> anyhow::Result<()> {
    let mut read = 0;
    for job in jobs {
        let path = format!("jobs/ingest/{job}");
        let results = format!("{path}/successfulResults");
        let answer = org.call(Method::GET, &results, String::new()).await?;
        read += answer.body.lines().count().saturating_sub(1);
        org.call(Method::DELETE, &path, String::new()).await?;
    }
    anyhow::ensure!(read == rows, "{read} results of {rows} rows");
    Ok(())
}

/// Queries all accounts, reads page after page, and returns how many rows there were.
pub(crate) async fn query(org: &Target) -> anyhow::Result<usize> {
    let columns = airport::CSV_HEADER.trim_end();
    let order = format!(
        r#"{{"operation":"query","query":"SELECT Id, {columns}, SystemModstamp FROM Account"}}"#
    );
    let job = create(org, "query", &order).await?;
    let told = finished(org, "query", &job).await?;
    let mut read = 0;
    let mut locator = String::new();
    loop {
        let path = format!("jobs/query/{job}/results{locator}");
        let answer = org.call(Method::GET, &path, String::new()).await?;
        read += answer.body.lines().count().saturating_sub(1);
        let next = answer.headers.get("sforce-locator");
        match next.context("no locator")?.to_str()? {
            "null" => break,
            next => locator = format!("?locator={next}"),
        }
    }
    anyhow::ensure!(
        told["numberRecordsProcessed"] == read,
        "{told}: {read} rows"
    );
    Ok(read)
}
