//! Bulk API 1.0: jobs below `/services/async/XX.X/job`, used by clients older than Bulk API 2.0.
//!
//! A job is written in JSON or XML, whichever its creator used. Its batches and results are JSON if
//! the batches are JSON, otherwise XML and CSV. A query batch runs when it is added. A load batch
//! is processed like a job of Bulk API 2.0, as the org's clock advances. Source: Bulk API 1.0 and
//! 2.0 Developer Guide, "Bulk API 1.0".

mod batch;
mod chunks;
mod serialize;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::message::{Request, Response};
use super::soap::element;
use super::{VERSION_MAX, VERSION_MIN, client_tag};
use crate::Org;
use crate::bulk::Aim;
use crate::bulk::job::Operation;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::unconfirmed::{ASYNC_SESSION_REFUSAL_STATUS, ASYNC_VERSION_CONFLICT_CODE};
use batch::Batch;
use serialize::Notation;

/// How long a job is kept.
const RETENTION_MS: i64 = 7 * 86_400_000;

/// All jobs of the org.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AsyncJobs {
    jobs: BTreeMap<RecordId, Job>,
    /// Number of batches of all jobs so far.
    batches: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    id: RecordId,
    user: RecordId,
    version: u32,
    /// The change origin of the job's writes.
    origin: String,
    object: String,
    task: Task,
    content: Content,
    /// The notation of its creator.
    notation: Notation,
    /// Whether each batch waits for the previous one to end.
    serial: bool,
    external_id: Option<String>,
    assignment_rule: Option<String>,
    state: JobState,
    created_ms: i64,
    changed_ms: i64,
    batches: Vec<Batch>,
}

/// The work of a job's batches.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Task {
    Query(QueryTask),
    Load(Aim),
}

/// A query job.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct QueryTask {
    with_deleted: bool,
    /// Number of records in a chunk, if the job splits its queries.
    chunk_rows: Option<u32>,
}

/// The format of batches and their results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Content {
    Csv,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum JobState {
    Open,
    Closed,
    Aborted,
}

/// HTTP status, code and text of a refusal.
#[derive(Debug)]
struct Refusal(u16, &'static str, String);

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(400, code, message.into())
    }
}

type Answer = Result<Response, Refusal>;

/// One authenticated call.
struct AsyncCall<'a> {
    request: &'a Request,
    user: RecordId,
    version: u32,
}

impl Org {
    /// Handles a path below `/services/async/`, or returns `None` for another path.
    pub(super) fn dataload(&mut self, request: &Request, path: &str) -> Option<Response> {
        let rest = path.strip_prefix("/services/async/")?;
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let answer = self.dataload_call(request, &parts);
        Some(answer.unwrap_or_else(|refusal| {
            let notation = Notation::of(request).unwrap_or(Notation::Xml);
            serialize::refusal(notation, refusal)
        }))
    }

    fn dataload_call(&mut self, request: &Request, parts: &[&str]) -> Answer {
        let session = request.get("x-sfdc-session").unwrap_or_default();
        let user = self.user_of_token(session).ok_or_else(|| {
            let message = "Invalid session id".to_owned();
            Refusal(ASYNC_SESSION_REFUSAL_STATUS, "InvalidSessionId", message)
        })?;
        let method = request.method.as_str();
        self.count_call(template(parts), method);
        if !self.usage.spend(self.now_ms()) {
            let message = "TotalRequests Limit exceeded.";
            return Err(Refusal::new("ExceededQuota", message));
        }
        let call = AsyncCall {
            request,
            user,
            version: version_of(parts)?,
        };
        match (method, &parts[1..]) {
            ("POST", ["job"]) => self.create_async_job(&call),
            ("GET", ["job", id]) => self.job_response(200, request, id),
            ("POST", ["job", id]) => self.change_async_job(request, id),
            ("POST", ["job", id, "batch"]) => {
                self.check_version(&call, id)?;
                self.add_batch(&call, id)
            }
            ("GET", ["job", id, "batch"]) => self.batches_response(id),
            ("GET", ["job", id, "batch", batch]) => self.batch_response(200, id, batch),
            ("GET", ["job", id, "batch", batch, "request"]) => self.batch_data_response(id, batch),
            ("GET", ["job", id, "batch", batch, "result"]) => self.results_response(id, batch),
            ("GET", ["job", id, "batch", batch, "result", result]) => {
                self.rows_response(id, batch, result)
            }
            _ => Err(Refusal::new("InvalidUrl", "Destination URL not supported")),
        }
    }

    /// Refuses a batch whose address has another API version than its job.
    fn check_version(&self, call: &AsyncCall<'_>, id: &str) -> Result<(), Refusal> {
        let expected = self.async_job(id)?.version;
        if call.version == expected {
            return Ok(());
        }
        let message = format!("The job was created with API version {expected}.0");
        Err(Refusal::new(ASYNC_VERSION_CONFLICT_CODE, message))
    }

    fn create_async_job(&mut self, call: &AsyncCall<'_>) -> Answer {
        let members = members_of(call.request)
            .ok_or_else(|| Refusal::new("InvalidJob", "Unable to parse Job"))?;
        let member = |name: &str| members.get(name).and_then(Json::as_str);
        let name = member("object").unwrap_or_default();
        let object = self
            .model
            .view(call.user)
            .find_object(name)
            .ok_or_else(|| Refusal::new("InvalidJob", format!("Unable to find object: {name}")))?;
        let content = match member("contentType").unwrap_or("XML") {
            "CSV" => Content::Csv,
            "JSON" => Content::Json,
            other => {
                let message = format!("Content type {other} is not supported here");
                return Err(Refusal::new("InvalidJob", message));
            }
        };
        let word = member("operation").unwrap_or_default();
        let task = match (word, Operation::named(word)) {
            ("query" | "queryAll", _) => Task::Query(QueryTask {
                with_deleted: word == "queryAll",
                chunk_rows: chunks::chunk_rows(call.request),
            }),
            (_, Some(operation)) => {
                self.check_bulk_object(object).map_err(refused)?;
                self.check_hard_delete(call.user, operation)
                    .map_err(refused)?;
                let key = self
                    .upsert_key(call.user, object, operation, member("externalIdFieldName"))
                    .map_err(refused)?;
                Task::Load(Aim {
                    object,
                    operation,
                    key,
                })
            }
            (other, None) => {
                let message = format!("Operation {other:?} is not supported here");
                return Err(Refusal::new("InvalidJob", message));
            }
        };
        let key = match task {
            Task::Load(aim) => aim.key,
            Task::Query(_) => None,
        };
        let now_ms = self.now_ms();
        let job = Job {
            id: self.bulk.next_id(),
            user: call.user,
            version: call.version,
            origin: origin(call),
            object: self.model.object(object).name.clone(),
            task,
            content,
            notation: Notation::of(call.request).unwrap_or(Notation::Xml),
            // Clients send the mode by name or by number.
            serial: matches!(members.get("concurrencyMode"), Some(mode) if *mode == "Serial" || *mode == 1),
            external_id: key.map(|key| self.model.field(object, key).name.clone()),
            assignment_rule: member("assignmentRuleId").map(str::to_owned),
            state: JobState::Open,
            created_ms: now_ms,
            changed_ms: now_ms,
            batches: Vec::new(),
        };
        let id = job.id;
        self.async_jobs.jobs.insert(id, job);
        self.job_response(201, call.request, &id.to_string())
    }

    fn change_async_job(&mut self, request: &Request, id: &str) -> Answer {
        let members = members_of(request).unwrap_or_default();
        let state = match members.get("state").and_then(Json::as_str) {
            Some("Closed") => JobState::Closed,
            Some("Aborted") => JobState::Aborted,
            _ => return Err(Refusal::new("InvalidJobState", "Unknown job state")),
        };
        let now_ms = self.now_ms();
        let job = self.async_job_mut(id)?;
        match (job.state, state) {
            (JobState::Open, _) | (JobState::Closed, JobState::Aborted) => {}
            (known, _) => {
                let message = format!("Job is {} already", known.name());
                return Err(Refusal::new("InvalidJobState", message));
            }
        }
        (job.state, job.changed_ms) = (state, now_ms);
        if state == JobState::Aborted {
            self.abort_batches(id)?;
        }
        self.job_response(200, request, id)
    }

    /// Returns a job resource.
    fn job_response(&self, status: u16, request: &Request, id: &str) -> Answer {
        let job = self.async_job(id)?;
        let notation = Notation::of(request).unwrap_or(job.notation);
        Ok(serialize::job(status, notation, &self.job_info(job)))
    }

    fn job_info(&self, job: &Job) -> Json {
        let batches: Vec<_> = job
            .batches
            .iter()
            .map(|batch| self.progress(batch))
            .collect();
        let in_state = |state: &str| batches.iter().filter(|one| one.state == state).count();
        let processed: usize = batches.iter().map(|one| one.processed).sum();
        let failed: usize = batches.iter().map(|one| one.failed).sum();
        let busy_ms: i64 = batches.iter().map(|one| one.busy_ms).sum();
        json!({
            "apexProcessingTime": 0,
            "apiActiveProcessingTime": busy_ms,
            "apiVersion": f64::from(job.version),
            "assignmentRuleId": job.assignment_rule,
            "concurrencyMode": if job.serial { "Serial" } else { "Parallel" },
            "contentType": job.content.name(),
            "createdById": job.user,
            "createdDate": serialize::moment(job.created_ms),
            "externalIdFieldName": job.external_id,
            "fastPathEnabled": false,
            "id": job.id,
            "numberBatchesCompleted": in_state("Completed"),
            "numberBatchesFailed": in_state("Failed"),
            "numberBatchesInProgress": in_state("InProgress"),
            "numberBatchesQueued": in_state("Queued"),
            "numberBatchesTotal": batches.len(),
            "numberRecordsFailed": failed,
            "numberRecordsProcessed": processed,
            "numberRetries": 0,
            "object": job.object,
            "operation": job.task.name(),
            "state": job.state.name(),
            "systemModstamp": serialize::moment(job.changed_ms),
            "totalProcessingTime": busy_ms,
        })
    }

    fn async_job(&self, id: &str) -> Result<&Job, Refusal> {
        let found = RecordId::parse(id).and_then(|id| self.async_jobs.jobs.get(&id));
        let kept = |job: &&Job| job.created_ms + RETENTION_MS >= self.now_ms();
        found.filter(kept).ok_or_else(|| no_job(id))
    }

    fn async_job_mut(&mut self, id: &str) -> Result<&mut Job, Refusal> {
        let id = self.async_job(id)?.id;
        let found = self.async_jobs.jobs.get_mut(&id);
        found.ok_or_else(|| no_job(&id.to_string()))
    }
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Query(query) if query.with_deleted => "queryAll",
            Self::Query(_) => "query",
            Self::Load(aim) => aim.operation.name(),
        }
    }
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Json => "JSON",
        }
    }
}

impl JobState {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Closed => "Closed",
            Self::Aborted => "Aborted",
        }
    }
}

/// Returns the members of a request body in either notation.
fn members_of(request: &Request) -> Option<Map<String, Json>> {
    if Notation::of(request) != Some(Notation::Xml) {
        return serde_json::from_slice(&request.body).ok();
    }
    let text = std::str::from_utf8(&request.body).ok()?;
    let names = [
        "operation",
        "object",
        "externalIdFieldName",
        "concurrencyMode",
        "assignmentRuleId",
        "contentType",
        "state",
    ];
    let found = names.iter().filter_map(|name| {
        let value = element(text, name)?;
        Some(((*name).to_owned(), Json::from(value)))
    });
    text.contains("jobInfo").then(|| found.collect())
}

/// Returns the change origin of a job's writes.
fn origin(call: &AsyncCall<'_>) -> String {
    let version = call.version;
    match client_tag(call.request) {
        Some(client) => format!("com/salesforce/api/bulkapi/{version}.0;client={client}"),
        None => format!("com/salesforce/api/bulkapi/{version}.0"),
    }
}

/// Parses `61.0`.
fn version_of(parts: &[&str]) -> Result<u32, Refusal> {
    let text = parts.first().copied().unwrap_or_default();
    let number = text
        .strip_suffix(".0")
        .and_then(|digits| digits.parse().ok());
    let known = number.filter(|number| (VERSION_MIN..=VERSION_MAX).contains(number));
    known.ok_or_else(|| Refusal::new("InvalidVersion", format!("Invalid API version {text}")))
}

/// Converts an error of Bulk API 2.0 into one of this API. If its message starts with a code, that
/// code is used.
fn refused(error: SfError) -> Refusal {
    let codes = ["InvalidEntity", "FeatureNotEnabled", "InvalidJob"];
    let (code, message) = error.message().split_once(" : ").unwrap_or_default();
    match codes.into_iter().find(|known| *known == code) {
        Some(code) => Refusal::new(code, message),
        None => Refusal::new("InvalidJob", error.message()),
    }
}

/// Returns the path with placeholders for its variable parts, used for counting.
fn template(parts: &[&str]) -> &'static str {
    match parts {
        [_, "job"] => "/async/job",
        [_, "job", _] => "/async/job/{id}",
        [_, "job", _, "batch"] => "/async/job/{id}/batch",
        [_, "job", _, "batch", _] => "/async/job/{id}/batch/{id}",
        [_, "job", _, "batch", _, "request"] => "/async/job/{id}/batch/{id}/request",
        [_, "job", _, "batch", _, "result"] => "/async/job/{id}/batch/{id}/result",
        [_, "job", _, "batch", _, "result", _] => "/async/job/{id}/batch/{id}/result/{id}",
        _ => "(unknown)",
    }
}

fn no_job(id: &str) -> Refusal {
    Refusal::new("InvalidJob", format!("Unable to find job for id: {id}"))
}
