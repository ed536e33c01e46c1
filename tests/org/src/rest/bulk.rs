//! The resources of Bulk API 2.0: jobs below `/jobs/ingest` and `/jobs/query`.

mod create;
mod multipart;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value as Json, json};

use super::message::Response;
use super::resource::Resource;
use super::{Call, method_not_allowed};
use crate::Org;
use crate::bulk::ResultSet;
use crate::bulk::job::{Ingest, Job, Query, State, View, Work};
use crate::bulk::query::Page;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::unconfirmed::{
    BULK_NOT_OPEN_MESSAGE, BULK_RESULTS_NOT_READY_MESSAGE, BULK_UPLOAD_TOO_LARGE_CODE,
    BULK_VERSION_CONFLICT_CODE,
};

/// Number of jobs on a page of a list.
const JOBS_PER_PAGE: usize = 1_000;

/// Number of result pages in one answer for parallel download.
const RESULT_PAGES_MAX: usize = 5;

/// A resource below `/jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkResource<'a> {
    Jobs(Kind),
    Job(Kind, &'a str),
    Batches(&'a str),
    Results(&'a str, ResultSet),
    QueryResults(&'a str),
    ResultPages(&'a str),
}

/// The two kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ingest,
    Query,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Query => "query",
        }
    }

    fn of(job: &Job) -> Self {
        match job.work {
            Work::Ingest(_) => Self::Ingest,
            Work::Query(_) => Self::Query,
        }
    }

    /// Returns the `jobType` of these jobs.
    fn job_type(self) -> &'static str {
        match self {
            Self::Ingest => "V2Ingest",
            Self::Query => "V2Query",
        }
    }
}

impl<'a> BulkResource<'a> {
    /// Returns the resource for these path segments below `/jobs`.
    pub(crate) fn of(segments: &[&'a str]) -> Option<Self> {
        let set = |name: &str| match name.to_ascii_lowercase().as_str() {
            "successfulresults" => Some(ResultSet::Successful),
            "failedresults" => Some(ResultSet::Failed),
            "unprocessedrecords" => Some(ResultSet::Unprocessed),
            _ => None,
        };
        Some(match *segments {
            ["ingest"] => Self::Jobs(Kind::Ingest),
            ["query"] => Self::Jobs(Kind::Query),
            ["ingest", id] => Self::Job(Kind::Ingest, id),
            ["query", id] => Self::Job(Kind::Query, id),
            ["ingest", id, "batches"] => Self::Batches(id),
            ["ingest", id, name] => Self::Results(id, set(name)?),
            ["query", id, "results"] => Self::QueryResults(id),
            ["query", id, "resultPages"] => Self::ResultPages(id),
            _ => return None,
        })
    }

    /// Returns the path with placeholders for its variable parts, used for counting.
    pub(crate) fn template(&self) -> &'static str {
        match self {
            Self::Jobs(Kind::Ingest) => "/jobs/ingest",
            Self::Jobs(Kind::Query) => "/jobs/query",
            Self::Job(Kind::Ingest, _) => "/jobs/ingest/{id}",
            Self::Job(Kind::Query, _) => "/jobs/query/{id}",
            Self::Batches(_) => "/jobs/ingest/{id}/batches",
            Self::Results(_, ResultSet::Successful) => "/jobs/ingest/{id}/successfulResults",
            Self::Results(_, ResultSet::Failed) => "/jobs/ingest/{id}/failedResults",
            Self::Results(_, ResultSet::Unprocessed) => "/jobs/ingest/{id}/unprocessedrecords",
            Self::QueryResults(_) => "/jobs/query/{id}/results",
            Self::ResultPages(_) => "/jobs/query/{id}/resultPages",
        }
    }

    /// Returns the first API version that has the resource.
    pub(crate) fn since(&self) -> u32 {
        match self {
            Self::Jobs(Kind::Ingest)
            | Self::Job(Kind::Ingest, _)
            | Self::Batches(_)
            | Self::Results(..) => 41,
            Self::Jobs(Kind::Query) | Self::Job(Kind::Query, _) | Self::QueryResults(_) => 47,
            Self::ResultPages(_) => 58,
        }
    }

    /// Returns the methods that the resource answers.
    pub(crate) fn allowed(&self) -> &'static [&'static str] {
        match self {
            Self::Jobs(_) => &["GET", "HEAD", "POST"],
            Self::Job(..) => &["GET", "HEAD", "PATCH", "DELETE"],
            Self::Batches(_) => &["PUT"],
            Self::Results(..) | Self::QueryResults(_) | Self::ResultPages(_) => &["GET", "HEAD"],
        }
    }
}

impl Org {
    /// Handles a call to a resource below `/jobs`.
    pub(crate) fn bulk_call(
        &mut self,
        call: &Call<'_>,
        resource: BulkResource<'_>,
        method: &str,
    ) -> Result<Response, SfError> {
        match (resource, method) {
            (BulkResource::Jobs(kind), "GET") => self.list_jobs(call, kind),
            (BulkResource::Jobs(Kind::Ingest), "POST") => self.create_ingest_job(call),
            (BulkResource::Jobs(Kind::Query), "POST") => self.create_query_job(call),
            (BulkResource::Job(kind, id), "GET") => {
                let job = self.bulk_job(kind, id)?;
                Ok(job_response(job, View::Whole))
            }
            (BulkResource::Job(kind, id), "PATCH") => self.change_job(call, kind, id),
            (BulkResource::Job(kind, id), "DELETE") => self.delete_job(kind, id),
            (BulkResource::Batches(id), "PUT") => self.upload(call, id),
            (BulkResource::Results(id, set), "GET") => self.ingest_results(id, set),
            (BulkResource::QueryResults(id), "GET") => self.query_results(call, id),
            (BulkResource::ResultPages(id), "GET") => self.result_pages(call, id),
            (resource, method) => Err(method_not_allowed(method, &Resource::Bulk(resource))),
        }
    }

    fn bulk_job(&self, kind: Kind, id: &str) -> Result<&Job, SfError> {
        let id = RecordId::parse(id).ok_or_else(SfError::not_found)?;
        let job = self.bulk.job(id).ok_or_else(SfError::not_found)?;
        if Kind::of(job) == kind {
            Ok(job)
        } else {
            Err(SfError::not_found())
        }
    }

    fn list_jobs(&self, call: &Call<'_>, kind: Kind) -> Result<Response, SfError> {
        let after =
            match call.request.param("queryLocator") {
                None => None,
                Some(text) => Some(RecordId::parse(&text).ok_or_else(|| {
                    SfError::new("INVALID_QUERY_LOCATOR", "invalid query locator")
                })?),
            };
        let chunked = call.request.param("isPkChunkingEnabled");
        let wanted = call.request.param("jobType");
        let none = chunked.is_some_and(|text| text == "true")
            || wanted.is_some_and(|wanted| wanted != kind.job_type());
        let mut jobs = self
            .bulk
            .after(after)
            .filter(|job| !none && Kind::of(job) == kind)
            .peekable();
        let mut records = Vec::new();
        let mut last = None;
        while records.len() < JOBS_PER_PAGE
            && let Some(job) = jobs.next()
        {
            records.push(info_json(job, View::Listed));
            last = Some(job.head.id);
        }
        let next = jobs.peek().and(last).map(|last| {
            let (version, path) = (&call.version, kind.path());
            format!("/services/data/{version}/jobs/{path}?queryLocator={last}")
        });
        let body = json!({"done": next.is_none(), "records": records, "nextRecordsUrl": next});
        Ok(Response::json(200, body.to_string()))
    }

    fn upload(&mut self, call: &Call<'_>, id: &str) -> Result<Response, SfError> {
        let head = &self.bulk_job(Kind::Ingest, id)?.head;
        if head.state != State::Open {
            return Err(SfError::new("INVALIDJOBSTATE", BULK_NOT_OPEN_MESSAGE));
        }
        let kind = call.request.get("content-type").unwrap_or("text/csv");
        if !kind.to_ascii_lowercase().starts_with("text/csv") {
            let message = format!("Content-Type {kind} is not supported by this resource");
            return Err(SfError::new("UNSUPPORTED_MEDIA_TYPE", message));
        }
        let max = self.bulk.settings.upload_bytes_max;
        if call.request.body.len() > max {
            let message = format!("The uploaded data is larger than {max} bytes");
            return Err(SfError::new(BULK_UPLOAD_TOO_LARGE_CODE, message).with_status(413));
        }
        let id = head.id;
        self.change_ingest(id, |ingest| ingest.add_upload(call.request.body.clone()));
        Ok(Response::empty(201))
    }

    fn change_ingest(&mut self, id: RecordId, change: impl FnOnce(&mut Ingest)) {
        if let Some(mut job) = self.bulk.take(id) {
            if let Work::Ingest(ingest) = &mut job.work {
                change(ingest);
            }
            self.bulk.keep(job);
        }
    }

    fn change_job(&mut self, call: &Call<'_>, kind: Kind, id: &str) -> Result<Response, SfError> {
        let members = call.members()?;
        let job = self.bulk_job(kind, id)?;
        let wanted = members
            .get("state")
            .and_then(Json::as_str)
            .unwrap_or_default();
        let wanted = State::named(wanted).ok_or_else(|| create::invalid_value("state", wanted))?;
        check_move(job, wanted)?;
        let (id, now_ms) = (job.head.id, self.now_ms());
        let due_ms = match wanted {
            State::UploadComplete => Some(now_ms + self.bulk.settings.queue_ms),
            State::Open
            | State::InProgress
            | State::JobComplete
            | State::Failed
            | State::Aborted => None,
        };
        let mut job = self.bulk.take(id).ok_or_else(SfError::not_found)?;
        job.head.move_to(wanted, now_ms, due_ms);
        Ok(job_response(self.bulk.keep(job), View::Changed))
    }

    fn delete_job(&mut self, kind: Kind, id: &str) -> Result<Response, SfError> {
        let job = self.bulk_job(kind, id)?;
        let waits = kind == Kind::Ingest && job.head.state == State::UploadComplete;
        if !(job.head.state.is_final() || waits) {
            let message =
                "Error encountered when deleting the job because the job is not terminated";
            return Err(SfError::new("API_ERROR", message));
        }
        let id = job.head.id;
        self.bulk.take(id);
        Ok(Response::empty(204))
    }

    fn ingest_results(&self, id: &str, set: ResultSet) -> Result<Response, SfError> {
        let job = self.bulk_job(Kind::Ingest, id)?;
        match &job.work {
            Work::Ingest(ingest) if job.head.state.is_final() => {
                Ok(csv_response(ingest.results(&self.model, &job.head, set)))
            }
            Work::Ingest(_) | Work::Query(_) => Err(not_ready()),
        }
    }

    /// Returns a query job whose results this call may read.
    fn finished_query(&self, call: &Call<'_>, id: &str) -> Result<(RecordId, &Query), SfError> {
        let job = self.bulk_job(Kind::Query, id)?;
        if job.head.version != call.version_number {
            let message = format!(
                "The results of this job can be read with API version {}.0 only",
                job.head.version
            );
            return Err(SfError::new(BULK_VERSION_CONFLICT_CODE, message).with_status(409));
        }
        match &job.work {
            Work::Query(query) if job.head.state == State::JobComplete => Ok((job.head.id, query)),
            Work::Ingest(_) | Work::Query(_) => Err(not_ready()),
        }
    }

    fn query_results(&self, call: &Call<'_>, id: &str) -> Result<Response, SfError> {
        let (_, query) = self.finished_query(call, id)?;
        let start = start_of(call)?;
        let max = match call.request.param("maxRecords") {
            None => self.bulk.settings.page_rows,
            Some(text) => text
                .parse()
                .ok()
                .filter(|max| *max > 0)
                .ok_or_else(|| create::invalid_value("maxRecords", &text))?,
        };
        let Page { csv, rows, next } = query.found().page(start, max).ok_or_else(no_locator)?;
        let next = next.map_or_else(|| "null".to_owned(), locator);
        Ok(csv_response(csv)
            .with_header("sforce-numberofrecords", &rows.to_string())
            .with_header("sforce-locator", &next))
    }

    fn result_pages(&self, call: &Call<'_>, id: &str) -> Result<Response, SfError> {
        let (id, query) = self.finished_query(call, id)?;
        let (size, count) = (self.bulk.settings.page_rows, query.found().count());
        let first = start_of(call)?;
        if first > 0 && first >= count {
            return Err(no_locator());
        }
        let version = &call.version;
        let url = |resource: &str, start: usize| {
            let start = locator(start);
            format!("/services/data/{version}/jobs/query/{id}/{resource}?locator={start}")
        };
        let mut starts = (first..count.max(1)).step_by(size);
        let pages: Vec<Json> = starts
            .by_ref()
            .take(RESULT_PAGES_MAX)
            .map(|start| json!({"resultUrl": url("results", start)}))
            .collect();
        let next = starts.next().map(|start| url("resultPages", start));
        let body = json!({"resultPages": pages, "nextRecordsUrl": next, "done": next.is_none()});
        Ok(Response::json(200, body.to_string()))
    }
}

/// Refuses state changes that a user may not make, or not in the current state.
fn check_move(job: &Job, wanted: State) -> Result<(), SfError> {
    let refused = |message: String| Err(SfError::new("INVALIDJOBSTATE", message));
    let state = match job.head.state {
        State::JobComplete => "Completed",
        other => other.name(),
    };
    match (wanted, Kind::of(job)) {
        (State::Aborted, _) if job.head.state.is_final() => {
            refused(format!("Aborting already {state} Job not allowed"))
        }
        (State::Aborted, _) => Ok(()),
        (State::UploadComplete, Kind::Ingest) if job.head.state != State::Open => {
            refused(format!("Closing already {state} Job not allowed"))
        }
        (State::UploadComplete, Kind::Ingest) => match &job.work {
            Work::Ingest(ingest) if ingest.uploads > 1 => {
                let id = job.head.id.short();
                let message = format!(
                    "Found multipe contents for job: <{id}>, please 'Close' / 'Abort' / 'Delete' \
                     the current Job then create a new Job and make sure you only do 'PUT' once \
                     on a given Job."
                );
                Err(SfError::new("INVALIDJOB", message))
            }
            Work::Ingest(_) | Work::Query(_) => Ok(()),
        },
        (
            State::UploadComplete
            | State::Open
            | State::InProgress
            | State::JobComplete
            | State::Failed,
            _,
        ) => refused(format!("InvalidJobState : {} cannot be set", wanted.name())),
    }
}

fn not_ready() -> SfError {
    SfError::new("INVALIDJOBSTATE", BULK_RESULTS_NOT_READY_MESSAGE)
}

fn no_locator() -> SfError {
    SfError::new("INVALID_QUERY_LOCATOR", "invalid query locator")
}

/// Returns the opaque locator of a row number.
fn locator(row: usize) -> String {
    STANDARD_NO_PAD.encode(row.to_string())
}

/// Returns the row number of the request's locator.
fn start_of(call: &Call<'_>) -> Result<usize, SfError> {
    let Some(text) = call.request.param("locator") else {
        return Ok(0);
    };
    let number = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let number = number.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    number.ok_or_else(no_locator)
}

fn csv_response(csv: Vec<u8>) -> Response {
    Response {
        status: 200,
        body: csv,
        ..Response::default()
    }
    .with_header("content-type", "text/csv; charset=UTF-8")
}

fn info_json(job: &Job, view: View) -> Json {
    serde_json::to_value(job.info(view)).expect("job resources are plain values")
}

fn job_response(job: &Job, view: View) -> Response {
    let body = serde_json::to_string(&job.info(view)).expect("job resources are plain values");
    Response::json(200, body)
}
