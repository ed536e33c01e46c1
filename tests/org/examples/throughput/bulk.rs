//! Bulk API 2.0: upsert jobs, their results, and a query job.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value as Json;

use crate::airport;
use crate::target::Target;

/// Maximum size of an upload. Salesforce accepts 150 MB after base64 encoding and advises 100.
const UPLOAD_BYTES_MAX: usize = 100_000_000;

/// Pause between two requests for a job's state.
const POLL: Duration = Duration::from_millis(200);

/// Maximum number of such requests: half an hour.
const POLLS_MAX: usize = 9_000;

/// Upserts this many existing rows, in as many jobs as their bytes need, and returns the job ids.
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
        let info = finished(org, "ingest", job).await?;
        anyhow::ensure!(info["numberRecordsFailed"] == 0, "{info}");
        processed += info["numberRecordsProcessed"].as_u64().unwrap_or_default();
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
    let info = answer.json()?;
    Ok(info["id"].as_str().context("the job has no id")?.to_owned())
}

/// Waits until a job is complete and returns its resource.
async fn finished(org: &Target, kind: &str, job: &str) -> anyhow::Result<Json> {
    for _ in 0..POLLS_MAX {
        let path = format!("jobs/{kind}/{job}");
        let info = org.call(Method::GET, &path, String::new()).await?.json()?;
        match info["state"].as_str().unwrap_or_default() {
            "JobComplete" => return Ok(info),
            "UploadComplete" | "InProgress" => tokio::time::sleep(POLL).await,
            _ => anyhow::bail!("the job failed: {info}"),
        }
    }
    anyhow::bail!("the job {job} does not end")
}

/// Reads the results of the rows and deletes the jobs.
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

/// Queries all accounts page by page and returns the number of rows.
pub(crate) async fn query(org: &Target) -> anyhow::Result<usize> {
    let columns = airport::CSV_HEADER.trim_end();
    let order = format!(
        r#"{{"operation":"query","query":"SELECT Id, {columns}, SystemModstamp FROM Account"}}"#
    );
    let job = create(org, "query", &order).await?;
    let info = finished(org, "query", &job).await?;
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
        info["numberRecordsProcessed"] == read,
        "{info}: {read} rows"
    );
    Ok(read)
}
