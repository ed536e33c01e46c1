//! Bulk API 1.0, as far as queries go: jobs below `/services/async/XX.X/job`.
//!
//! Clients from before Bulk API 2.0 read by it. A job is told in JSON, its batches (a batch is one
//! query) are told in XML, their results are CSV. A batch runs as soon as it is added, so whoever
//! asks for it finds it completed: its clients poll every twenty seconds. Source: Bulk API 1.0 and
//! 2.0 Developer Guide, "Bulk API 1.0".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::message::{Request, Response};
use super::soap::escaped;
use crate::Org;
use crate::bulk::form::Form;
use crate::model::id::RecordId;
use crate::model::stamp;
use crate::unconfirmed::ASYNC_SESSION_REFUSAL_STATUS;

const NAMESPACE: &str = "http://www.force.com/2009/06/asyncapi/dataload";

/// All jobs of the org.
#[derive(Debug, Default)]
pub(crate) struct AsyncJobs {
    jobs: BTreeMap<RecordId, Job>,
    /// Batches so far, of all jobs.
    batches: u32,
}

#[derive(Debug)]
struct Job {
    id: RecordId,
    user: RecordId,
    version: String,
    object: String,
    with_deleted: bool,
    state: &'static str,
    created_ms: i64,
    batches: Vec<Batch>,
}

#[derive(Debug)]
struct Batch {
    id: RecordId,
    result: RecordId,
    created_ms: i64,
    /// The rows and how many they are, or why there are none.
    outcome: Result<(Vec<u8>, usize), String>,
}

/// Code and text of a refusal.
struct Refusal(u16, &'static str, String);

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(400, code, message.into())
    }
}

type Answer = Result<Response, Refusal>;

impl Org {
    /// Answers what stands below `/services/async/`; `None` if the path is none of it.
    pub(super) fn dataload(&mut self, request: &Request, path: &str) -> Option<Response> {
        let rest = path.strip_prefix("/services/async/")?;
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let answer = self.dataload_call(request, &parts);
        Some(answer.unwrap_or_else(|Refusal(status, code, message)| {
            let error = json!({"exceptionCode": code, "exceptionMessage": message});
            told_in_json(status, &error)
        }))
    }

    fn dataload_call(&mut self, request: &Request, parts: &[&str]) -> Answer {
        let session = request.get("x-sfdc-session").unwrap_or_default();
        let user = self.user_behind(session).ok_or_else(|| {
            let message = "Invalid session id".to_owned();
            Refusal(ASYNC_SESSION_REFUSAL_STATUS, "InvalidSessionId", message)
        })?;
        let method = request.method.as_str();
        self.count_call(template(parts), method);
        if !self.usage.spend(self.now_ms()) {
            let message = "TotalRequests Limit exceeded.";
            return Err(Refusal::new("ExceededQuota", message));
        }
        match (method, parts) {
            ("POST", [version, "job"]) => self.create_async_job(request, version, user),
            ("GET", [_, "job", id]) => Ok(told_in_json(200, &self.async_job(id)?.info())),
            ("POST", [_, "job", id]) => self.change_async_job(request, id),
            ("POST", [_, "job", id, "batch"]) => self.add_batch(request, id),
            ("GET", [_, "job", id, "batch"]) => {
                let job = self.async_job(id)?;
                let batches: String = job.batches.iter().map(|one| one.xml(job, "")).collect();
                let list =
                    format!("<batchInfoList xmlns=\"{NAMESPACE}\">{batches}</batchInfoList>");
                Ok(told_in_xml(200, &list))
            }
            ("GET", [_, "job", id, "batch", batch]) => {
                let (job, batch) = self.async_batch(id, batch)?;
                Ok(told_in_xml(200, &batch.xml(job, NAMESPACE)))
            }
            ("GET", [_, "job", id, "batch", batch, "result"]) => {
                let (_, batch) = self.async_batch(id, batch)?;
                let result = batch.result;
                let list = format!(
                    "<result-list xmlns=\"{NAMESPACE}\"><result>{result}</result></result-list>"
                );
                Ok(told_in_xml(200, &list))
            }
            ("GET", [_, "job", id, "batch", batch, "result", result]) => {
                self.async_rows(id, batch, result)
            }
            _ => Err(Refusal::new("InvalidUrl", "Destination URL not supported")),
        }
    }

    fn create_async_job(&mut self, request: &Request, version: &str, user: RecordId) -> Answer {
        let body: Json = serde_json::from_slice(&request.body)
            .map_err(|_| Refusal::new("InvalidJob", "Unable to parse Job"))?;
        let member = |name: &str| body[name].as_str().unwrap_or_default();
        let with_deleted = match member("operation") {
            "query" => false,
            "queryAll" => true,
            other => {
                let message = format!("Operation {other:?} is not supported here");
                return Err(Refusal::new("InvalidJob", message));
            }
        };
        if member("contentType") != "CSV" {
            let message = "Content type is not supported here";
            return Err(Refusal::new("InvalidJob", message));
        }
        let no = self.model.object_named(member("object")).map_err(|_| {
            let message = format!("Unable to find object: {}", member("object"));
            Refusal::new("InvalidJob", message)
        })?;
        let job = Job {
            id: self.bulk.next_id(),
            user,
            version: version.to_owned(),
            object: self.model.object(no).name.clone(),
            with_deleted,
            state: "Open",
            created_ms: self.now_ms(),
            batches: Vec::new(),
        };
        let info = job.info();
        self.async_jobs.jobs.insert(job.id, job);
        Ok(told_in_json(201, &info))
    }

    fn change_async_job(&mut self, request: &Request, id: &str) -> Answer {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let state = match body["state"].as_str() {
            Some("Closed") => "Closed",
            Some("Aborted") => "Aborted",
            _ => return Err(Refusal::new("InvalidJobState", "Unknown job state")),
        };
        let job = self.async_job_mut(id)?;
        if job.state != "Open" {
            let message = format!("Job is {} already", job.state);
            return Err(Refusal::new("InvalidJobState", message));
        }
        job.state = state;
        Ok(told_in_json(200, &job.info()))
    }

    fn add_batch(&mut self, request: &Request, id: &str) -> Answer {
        let (open, with_deleted) = {
            let job = self.async_job(id)?;
            (job.state == "Open", job.with_deleted)
        };
        if !open {
            let message = "Closed job cannot accept new batch";
            return Err(Refusal::new("InvalidJobState", message));
        }
        let now_ms = self.now_ms();
        if !self.bulk.batches.spend(now_ms) {
            let message = "ApiBatchItems Limit exceeded.";
            return Err(Refusal::new("ExceededQuota", message));
        }
        let soql = String::from_utf8_lossy(&request.body).into_owned();
        let outcome = self.run_async_query(&soql, with_deleted);
        self.async_jobs.batches += 1;
        let number = self.async_jobs.batches;
        let batch = Batch {
            id: RecordId::numbered(*b"751", number),
            result: RecordId::numbered(*b"752", number),
            created_ms: now_ms,
            outcome,
        };
        let job = self.async_job_mut(id)?;
        let xml = batch.xml(job, NAMESPACE);
        job.batches.push(batch);
        Ok(told_in_xml(201, &xml))
    }

    fn run_async_query(&self, soql: &str, with_deleted: bool) -> Result<(Vec<u8>, usize), String> {
        let failed = |text: String| format!("InvalidBatch : Failed to process query: {text}");
        self.check_bulk_query(soql)
            .map_err(|error| failed(format!("{}: {}", error.code(), error.message())))?;
        let found = self
            .render(Form::default(), soql, with_deleted)
            .map_err(|error| failed(error.0))?;
        let page = found.page(0, usize::MAX);
        Ok(page.map(|page| (page.csv, page.rows)).unwrap_or_default())
    }

    fn async_rows(&self, id: &str, batch: &str, result: &str) -> Answer {
        let (_, batch) = self.async_batch(id, batch)?;
        let known = RecordId::parse(result) == Some(batch.result);
        match &batch.outcome {
            Ok((csv, _)) if known => Ok(Response {
                status: 200,
                body: csv.clone(),
                ..Response::default()
            }
            .with_header("content-type", "text/csv;charset=UTF-8")),
            Ok(_) | Err(_) => Err(Refusal::new("InvalidBatch", "No such result")),
        }
    }

    fn async_job(&self, id: &str) -> Result<&Job, Refusal> {
        let found = RecordId::parse(id).and_then(|id| self.async_jobs.jobs.get(&id));
        found.ok_or_else(|| no_job(id))
    }

    fn async_job_mut(&mut self, id: &str) -> Result<&mut Job, Refusal> {
        let found = RecordId::parse(id).and_then(|id| self.async_jobs.jobs.get_mut(&id));
        found.ok_or_else(|| no_job(id))
    }

    fn async_batch(&self, id: &str, batch: &str) -> Result<(&Job, &Batch), Refusal> {
        let job = self.async_job(id)?;
        let wanted = RecordId::parse(batch);
        let found = job.batches.iter().find(|one| Some(one.id) == wanted);
        let message = format!("Unable to find batch for id: {batch}");
        let batch = found.ok_or_else(|| Refusal::new("InvalidBatch", message))?;
        Ok((job, batch))
    }
}

impl Job {
    fn info(&self) -> Json {
        let completed = self.batches.iter().filter(|one| one.outcome.is_ok());
        let completed = completed.count();
        let rows: usize = self.batches.iter().map(Batch::rows).sum();
        json!({
            "apexProcessingTime": 0,
            "apiActiveProcessingTime": 0,
            "apiVersion": self.version.parse::<f64>().unwrap_or_default(),
            "assignmentRuleId": null,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "createdById": self.user.to_string(),
            "createdDate": moment(self.created_ms),
            "externalIdFieldName": null,
            "fastPathEnabled": false,
            "id": self.id.to_string(),
            "numberBatchesCompleted": completed,
            "numberBatchesFailed": self.batches.len() - completed,
            "numberBatchesInProgress": 0,
            "numberBatchesQueued": 0,
            "numberBatchesTotal": self.batches.len(),
            "numberRecordsFailed": 0,
            "numberRecordsProcessed": rows,
            "numberRetries": 0,
            "object": self.object,
            "operation": if self.with_deleted { "queryAll" } else { "query" },
            "state": self.state,
            "systemModstamp": moment(self.created_ms),
            "totalProcessingTime": 0,
        })
    }
}

impl Batch {
    fn rows(&self) -> usize {
        self.outcome.as_ref().map_or(0, |(_, rows)| *rows)
    }

    /// Returns what a batch resource shows; in a list the namespace stands at the list.
    fn xml(&self, job: &Job, namespace: &str) -> String {
        let mut xml = String::from("<batchInfo");
        let mut put = |text: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = xml.write_fmt(text);
        };
        if !namespace.is_empty() {
            put(format_args!(" xmlns=\"{namespace}\""));
        }
        put(format_args!(
            "><id>{}</id><jobId>{}</jobId>",
            self.id, job.id
        ));
        match &self.outcome {
            Ok(_) => put(format_args!("<state>Completed</state>")),
            Err(message) => {
                let message = escaped(message);
                put(format_args!(
                    "<state>Failed</state><stateMessage>{message}</stateMessage>"
                ));
            }
        }
        let at = moment(self.created_ms).replace("+0000", "Z");
        let rows = self.rows();
        put(format_args!(
            "<createdDate>{at}</createdDate><systemModstamp>{at}</systemModstamp>\
             <numberRecordsProcessed>{rows}</numberRecordsProcessed>\
             <numberRecordsFailed>0</numberRecordsFailed>\
             <totalProcessingTime>0</totalProcessingTime>\
             <apiActiveProcessingTime>0</apiActiveProcessingTime>\
             <apexProcessingTime>0</apexProcessingTime></batchInfo>"
        ));
        xml
    }
}

/// Returns the path with its variable parts named, for counting.
fn template(parts: &[&str]) -> &'static str {
    match parts {
        [_, "job"] => "/async/job",
        [_, "job", _] => "/async/job/{id}",
        [_, "job", _, "batch"] => "/async/job/{id}/batch",
        [_, "job", _, "batch", _] => "/async/job/{id}/batch/{id}",
        [_, "job", _, "batch", _, "result"] => "/async/job/{id}/batch/{id}/result",
        [_, "job", _, "batch", _, "result", _] => "/async/job/{id}/batch/{id}/result/{id}",
        _ => "(unknown)",
    }
}

fn no_job(id: &str) -> Refusal {
    Refusal::new("InvalidJob", format!("Unable to find job for id: {id}"))
}

fn moment(ms: i64) -> String {
    let mut text = String::new();
    stamp::push_datetime(&mut text, stamp::floor_to_second(ms));
    text
}

/// No character set is named: clients compare the whole header.
fn told_in_json(status: u16, json: &Json) -> Response {
    Response {
        status,
        body: json.to_string().into_bytes(),
        ..Response::default()
    }
    .with_header("content-type", "application/json")
}

fn told_in_xml(status: u16, xml: &str) -> Response {
    Response {
        status,
        body: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{xml}").into_bytes(),
        ..Response::default()
    }
    .with_header("content-type", "application/xml")
}
