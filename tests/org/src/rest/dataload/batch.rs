//! Batches: queries that run when they are added, and loads that run as the clock advances.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::{Answer, AsyncCall, Content, Job, JobState, QueryTask, Refusal, Task, serialize};
use crate::Org;
use crate::bulk::form::{Form, LineEnding};
use crate::bulk::job::{self, Head, Ingest, RowResult, State, Work};
use crate::bulk::{Aim, BATCH_PREFIX, stored};
use crate::model::Model;
use crate::model::id::RecordId;
use crate::soql::{self, Datetimes, Writer};
use serialize::Notation;

/// Maximum size of a batch, in bytes.
const BYTES_MAX: usize = 10_000_000;

/// Maximum number of records of a batch.
const RECORDS_MAX: u64 = 10_000;

/// The CSV cell that clears a field.
const CLEARED: &str = "#N/A";

/// One batch of a job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) id: RecordId,
    created_ms: i64,
    /// The uploaded data.
    #[serde(with = "stored")]
    request: Bytes,
    /// The result of a query. A load is stored as a job of Bulk API 2.0, under the id of the batch.
    found: Option<Found>,
}

/// The result of a query.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    result: RecordId,
    outcome: Outcome,
}

impl Found {
    fn of(batch: RecordId, outcome: Result<Rows, String>) -> Self {
        Self {
            result: RecordId::numbered(*b"752", batch.number().unwrap_or_default()),
            outcome: match outcome {
                Ok(rows) => Outcome::Rows(rows),
                Err(message) => Outcome::Failed(message),
            },
        }
    }
}

/// How a query batch ended.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    Rows(Rows),
    Failed(String),
    /// Other batches of the job process it in chunks.
    Chunked,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rows {
    count: usize,
    #[serde(with = "stored")]
    text: Vec<u8>,
}

/// The progress of a batch.
pub(super) struct Progress {
    pub(super) state: &'static str,
    message: Option<String>,
    pub(super) processed: usize,
    pub(super) failed: usize,
    pub(super) busy_ms: i64,
    changed_ms: i64,
}

impl Org {
    /// Adds a batch to a job.
    pub(super) fn add_batch(&mut self, call: &AsyncCall<'_>, id: &str) -> Answer {
        let job = self.async_job(id)?;
        if job.state != JobState::Open {
            let message = "Closed job cannot accept new batch";
            return Err(Refusal::new("InvalidJobState", message));
        }
        if call.request.body.len() > BYTES_MAX {
            let message = format!("Failed to read request. Exceeded max size limit of {BYTES_MAX}");
            return Err(Refusal::new("ClientInputError", message));
        }
        let task = job.task;
        let now_ms = self.now_ms();
        if self.bulk.batches.used(now_ms) >= self.bulk.batches.max {
            let message = "ApiBatchItems Limit exceeded.";
            return Err(Refusal::new("ExceededQuota", message));
        }
        match task {
            Task::Query(query) => self.add_query_batches(call, id, query),
            Task::Load(aim) => {
                let batch = self.new_batch(call.request.body.clone());
                self.start_load(id, aim, &batch)?;
                let batch_id = batch.id.to_string();
                self.async_job_mut(id)?.batches.push(batch);
                self.batch_response(201, id, &batch_id)
            }
        }
    }

    fn new_batch(&mut self, request: Bytes) -> Batch {
        self.async_jobs.batches += 1;
        Batch {
            id: RecordId::numbered(BATCH_PREFIX, self.async_jobs.batches),
            created_ms: self.now_ms(),
            request,
            found: None,
        }
    }

    /// Adds a query. With chunks its own batch is not processed, and each chunk is a further batch.
    fn add_query_batches(&mut self, call: &AsyncCall<'_>, id: &str, query: QueryTask) -> Answer {
        let content = self.async_job(id)?.content;
        let now_ms = self.now_ms();
        let text = String::from_utf8_lossy(&call.request.body).into_owned();
        let statements = match query.chunk_rows {
            Some(rows) => self.chunks(&text, rows),
            None => Vec::new(),
        };
        let mut first = self.new_batch(call.request.body.clone());
        let first_id = first.id.to_string();
        let mut added = Vec::with_capacity(statements.len());
        if statements.is_empty() {
            self.bulk.batches.spend(now_ms);
            let outcome = self.run_async_query(call, &text, (query.with_deleted, content));
            first.found = Some(Found::of(first.id, outcome));
        } else {
            first.found = Some(Found {
                result: first.id,
                outcome: Outcome::Chunked,
            });
        }
        for statement in statements {
            self.bulk.batches.spend(now_ms);
            let mut batch = self.new_batch(Bytes::from(statement.clone()));
            let outcome = self.run_async_query(call, &statement, (query.with_deleted, content));
            batch.found = Some(Found::of(batch.id, outcome));
            added.push(batch);
        }
        let batches = &mut self.async_job_mut(id)?.batches;
        batches.push(first);
        batches.extend(added);
        self.batch_response(201, id, &first_id)
    }

    fn run_async_query(
        &self,
        call: &AsyncCall<'_>,
        soql: &str,
        (with_deleted, content): (bool, Content),
    ) -> Result<Rows, String> {
        let (user, version) = (call.user, call.version);
        let failed = |text: String| format!("InvalidBatch : Failed to process query: {text}");
        self.check_bulk_query(user, soql)
            .map_err(|error| failed(format!("{}: {}", error.code(), error.message())))?;
        match content {
            Content::Csv => {
                let found = self
                    .render(user, Form::default(), soql, with_deleted)
                    .map_err(|error| failed(error.0))?;
                let page = found.page(0, usize::MAX);
                Ok(page.map_or_else(
                    || Rows {
                        count: 0,
                        text: Vec::new(),
                    },
                    |page| Rows {
                        count: page.rows,
                        text: page.csv,
                    },
                ))
            }
            Content::Json => self
                .rows_in_json(user, soql, (with_deleted, version))
                .map_err(failed),
        }
    }

    fn rows_in_json(
        &self,
        user: RecordId,
        text: &str,
        (with_deleted, version): (bool, u32),
    ) -> Result<Rows, String> {
        let view = self.model.view(user);
        let bound = soql::parse(text).and_then(|query| soql::bind(view, &query));
        let plan = bound.map_err(|error| error.to_string())?;
        let rows = soql::rows(view, &plan, with_deleted);
        let nodes = plan.select.unwrap_or_default();
        let version = format!("v{version}.0");
        let mut writer = Writer {
            datetimes: Datetimes::Milliseconds,
            ..Writer::whole(view, &version)
        };
        let mut out = String::from("[");
        for (place, row) in rows.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            writer.push_record(&mut out, (plan.object, *row), &nodes);
        }
        out.push(']');
        Ok(Rows {
            count: rows.len(),
            text: out.into_bytes(),
        })
    }

    /// Queues the rows of a batch for processing.
    fn start_load(&mut self, job: &str, aim: Aim, batch: &Batch) -> Result<(), Refusal> {
        let job = self.async_job(job)?;
        let unfinished = |known: &Batch| self.progress(known).is_unfinished();
        let waits = job.serial && job.batches.iter().any(unfinished);
        let (csv, form) = match job.content {
            Content::Csv => (Ok(batch.request.clone()), form_of(&batch.request)),
            Content::Json => (
                csv_of(&self.model, aim, &batch.request).map(Bytes::from),
                Form::default(),
            ),
        };
        let now_ms = self.now_ms();
        let mut head = Head {
            id: batch.id,
            user: job.user,
            origin: job.origin.clone(),
            version: job.version,
            object_name: job.object.clone(),
            form,
            state: State::UploadComplete,
            error: None,
            created_ms: now_ms,
            changed_ms: now_ms,
            due_ms: (!waits).then(|| now_ms + self.bulk.settings.queue_ms),
            busy_ms: 0,
            fault: None,
        };
        let mut ingest = Ingest::new(aim);
        ingest.rows_max = Some(RECORDS_MAX);
        match csv {
            Ok(csv) => ingest.add_upload(csv),
            Err(message) => {
                head.move_to(State::Failed, now_ms, None);
                head.error = Some(message);
            }
        }
        let work = Work::Ingest(Box::new(ingest));
        self.bulk.keep(job::Job { head, work });
        Ok(())
    }

    /// Starts the batch that waited for this one to end.
    pub(crate) fn begin_next_batch(&mut self, ended: RecordId) {
        let jobs = self.async_jobs.jobs.values();
        let of_job = |job: &&Job| job.serial && job.batches.iter().any(|one| one.id == ended);
        let Some(job) = jobs.into_iter().find(of_job) else {
            return;
        };
        let waiting = |batch: &&Batch| self.progress(batch).state == "Queued";
        let Some(next) = job.batches.iter().find(waiting).map(|batch| batch.id) else {
            return;
        };
        let due_ms = self.now_ms() + self.bulk.settings.queue_ms;
        if let Some(mut waiting) = self.bulk.take(next) {
            waiting.head.due_ms = Some(due_ms);
            self.bulk.keep(waiting);
        }
    }

    /// Aborts the unfinished batches of a job.
    pub(super) fn abort_batches(&mut self, id: &str) -> Result<(), Refusal> {
        let batches = self.async_job(id)?.batches.iter();
        let ids: Vec<RecordId> = batches.map(|batch| batch.id).collect();
        let now_ms = self.now_ms();
        for id in ids {
            if let Some(mut load) = self.bulk.take(id) {
                if !load.head.state.is_final() {
                    load.head.move_to(State::Aborted, now_ms, None);
                }
                self.bulk.keep(load);
            }
        }
        Ok(())
    }

    /// Returns the progress of a batch.
    pub(super) fn progress(&self, batch: &Batch) -> Progress {
        let mut progress = Progress {
            state: "Completed",
            message: None,
            processed: 0,
            failed: 0,
            busy_ms: 0,
            changed_ms: batch.created_ms,
        };
        match batch.found.as_ref().map(|found| &found.outcome) {
            Some(Outcome::Rows(rows)) => progress.processed = rows.count,
            Some(Outcome::Failed(message)) => {
                (progress.state, progress.message) = ("Failed", Some(message.clone()));
            }
            Some(Outcome::Chunked) => progress.state = "NotProcessed",
            None => {
                if let Some((head, load)) = self.bulk.load(batch.id) {
                    progress.state = match head.state {
                        State::Open | State::UploadComplete => "Queued",
                        State::InProgress => "InProgress",
                        State::JobComplete => "Completed",
                        State::Failed => "Failed",
                        State::Aborted => "NotProcessed",
                    };
                    progress.message.clone_from(&head.error);
                    (progress.processed, progress.failed) = load.counts();
                    progress.busy_ms = head.busy_ms;
                    progress.changed_ms = head.changed_ms;
                }
            }
        }
        progress
    }

    fn batch_info(&self, job: &Job, batch: &Batch) -> Json {
        let progress = self.progress(batch);
        json!({
            "apexProcessingTime": 0,
            "apiActiveProcessingTime": progress.busy_ms,
            "createdDate": serialize::moment(batch.created_ms),
            "id": batch.id,
            "jobId": job.id,
            "numberRecordsFailed": progress.failed,
            "numberRecordsProcessed": progress.processed,
            "state": progress.state,
            "stateMessage": progress.message,
            "systemModstamp": serialize::moment(progress.changed_ms),
            "totalProcessingTime": progress.busy_ms,
        })
    }

    /// Returns a batch resource.
    pub(super) fn batch_response(&self, status: u16, id: &str, batch: &str) -> Answer {
        let (job, batch) = self.async_batch(id, batch)?;
        let info = self.batch_info(job, batch);
        Ok(serialize::batch(status, job.content.notation(), &info))
    }

    /// Returns all batch resources of a job.
    pub(super) fn batches_response(&self, id: &str) -> Answer {
        let job = self.async_job(id)?;
        let infos = job.batches.iter().map(|batch| self.batch_info(job, batch));
        let infos: Vec<Json> = infos.collect();
        Ok(serialize::batches(job.content.notation(), &infos))
    }

    /// Returns the uploaded data of a batch.
    pub(super) fn batch_data_response(&self, id: &str, batch: &str) -> Answer {
        let (job, batch) = self.async_batch(id, batch)?;
        Ok(serialize::bytes(
            200,
            job.content.kind(),
            batch.request.to_vec(),
        ))
    }

    /// Returns the results of a batch: rows for a load, the list of results for a query.
    pub(super) fn results_response(&self, id: &str, batch: &str) -> Answer {
        let (job, batch) = self.async_batch(id, batch)?;
        if let Some(found) = &batch.found {
            let result = found.result.to_string();
            return Ok(serialize::result_list(job.content.notation(), &result));
        }
        if self.progress(batch).is_unfinished() {
            return Err(Refusal::new("InvalidBatch", "Batch not completed"));
        }
        let load = self.bulk.load(batch.id).map(|(_, load)| load);
        let row_results = load.into_iter().flat_map(Ingest::row_results);
        let body = match job.content {
            Content::Csv => in_csv(row_results),
            Content::Json => {
                let all: Vec<Json> = row_results.map(|result| in_json(&result)).collect();
                json!(all).to_string().into_bytes()
            }
        };
        Ok(serialize::bytes(200, job.content.kind(), body))
    }

    /// Returns the rows that a query found.
    pub(super) fn rows_response(&self, id: &str, batch: &str, result: &str) -> Answer {
        let (job, batch) = self.async_batch(id, batch)?;
        match &batch.found {
            Some(Found {
                result: known,
                outcome: Outcome::Rows(rows),
            }) if RecordId::parse(result) == Some(*known) => {
                Ok(serialize::bytes(200, job.content.kind(), rows.text.clone()))
            }
            Some(_) | None => Err(Refusal::new("InvalidBatch", "No such result")),
        }
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

impl Progress {
    fn is_unfinished(&self) -> bool {
        matches!(self.state, "Queued" | "InProgress")
    }
}

impl Content {
    /// Returns the notation of batches with this content.
    fn notation(self) -> Notation {
        match self {
            Self::Csv => Notation::Xml,
            Self::Json => Notation::Json,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Csv => "text/csv;charset=UTF-8",
            Self::Json => "application/json",
        }
    }
}

/// Returns the form of an uploaded CSV. This API accepts either line ending without being told.
fn form_of(csv: &[u8]) -> Form {
    let header = csv.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Form {
        line_ending: if header.ends_with(b"\r") {
            LineEnding::Crlf
        } else {
            LineEnding::Lf
        },
        ..Form::default()
    }
}

fn in_csv<'a>(row_results: impl Iterator<Item = RowResult<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    let form = Form::default();
    form.push_row(&mut out, ["Id", "Success", "Created", "Error"]);
    for result in row_results {
        let (id, created, error) = match result {
            RowResult::Saved { id, created } => (Some(id), created, None),
            RowResult::Failed { id, error } => (id, false, Some(error)),
        };
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        let success = error.is_none().to_string();
        let created = created.to_string();
        form.push_row(
            &mut out,
            [&*id, &*success, &*created, error.unwrap_or_default()],
        );
    }
    out
}

fn in_json(result: &RowResult<'_>) -> Json {
    match result {
        RowResult::Saved { id, created } => {
            json!({"success": true, "created": created, "id": id, "errors": []})
        }
        RowResult::Failed { id, error } => {
            let (code, rest) = error.split_once(':').unwrap_or((error, ""));
            let (message, fields) = rest.rsplit_once(':').unwrap_or((rest, ""));
            let fields = fields.trim_end_matches("--").split_whitespace();
            let fields: Vec<&str> = fields.collect();
            json!({"success": false, "created": false, "id": id, "errors": [{
                "message": message, "statusCode": code, "fields": fields,
                "extendedErrorDetails": null,
            }]})
        }
    }
}

/// Converts a batch of JSON records to CSV. Parents become columns and null clears a field; fields
/// that a record omits stay unchanged.
fn csv_of(model: &Model, aim: Aim, body: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = || "ClientInputError : Failed to parse JSON".to_owned();
    let records: Vec<Map<String, Json>> = serde_json::from_slice(body).map_err(|_| wrong())?;
    let mut columns: Vec<String> = Vec::new();
    let mut rows: Vec<Vec<(usize, String)>> = Vec::with_capacity(records.len());
    for record in &records {
        let mut row = Vec::with_capacity(record.len());
        for (name, value) in record.iter().filter(|(name, _)| *name != "attributes") {
            let (name, text) = cell(model, aim, name, value).ok_or_else(wrong)?;
            let known = columns.iter().position(|column| *column == name);
            let place = known.unwrap_or_else(|| {
                columns.push(name);
                columns.len() - 1
            });
            row.push((place, text));
        }
        rows.push(row);
    }
    let mut out = Vec::new();
    if columns.is_empty() {
        return Ok(out);
    }
    Form::default().push_row(&mut out, &columns);
    for row in rows {
        let mut cells = vec![String::new(); columns.len()];
        for (place, text) in row {
            cells[place] = text;
        }
        Form::default().push_row(&mut out, &cells);
    }
    Ok(out)
}

/// Returns the column and the cell for a member of a record.
fn cell(model: &Model, aim: Aim, name: &str, value: &Json) -> Option<(String, String)> {
    let plain = |value: &Json| match value {
        Json::Null => Some(CLEARED.to_owned()),
        Json::String(text) if text.is_empty() => Some(CLEARED.to_owned()),
        Json::String(text) => Some(text.clone()),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        Json::Array(_) | Json::Object(_) => None,
    };
    let Json::Object(members) = value else {
        return Some((name.to_owned(), plain(value)?));
    };
    let mut keys = members.iter().filter(|(key, _)| *key != "attributes");
    let (key, value) = keys.next()?;
    let object = model.object(aim.object);
    let hop = object.find_relationship(name);
    let several = hop.is_some_and(|hop| object.field(hop).reference_to.len() > 1);
    let kind = members.get("attributes").and_then(|of| of["type"].as_str());
    let column = match kind.filter(|_| several) {
        Some(kind) => format!("{kind}:{name}.{key}"),
        None => format!("{name}.{key}"),
    };
    keys.next().is_none().then_some((column, plain(value)?))
}
