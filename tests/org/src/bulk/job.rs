//! One job: what was requested, its progress, and what a job resource shows of it.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::form::{Form, LineEnding};
use super::header::{Aim, Header};
use super::query::Rendered;
use crate::faults::JobFault;
use crate::model::id::RecordId;
use crate::model::stamp;
use crate::model::table::RowNo;
use crate::rest::save::Saved;
use crate::unconfirmed::{BULK_INVALID_UTF8_MESSAGE, BULK_NO_DATA_MESSAGE};

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

impl State {
    /// Returns the name that job resources show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::UploadComplete => "UploadComplete",
            Self::InProgress => "InProgress",
            Self::JobComplete => "JobComplete",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
        }
    }

    /// Returns the state of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [
            Self::Open,
            Self::UploadComplete,
            Self::InProgress,
            Self::JobComplete,
            Self::Failed,
            Self::Aborted,
        ]
        .into_iter()
        .find(|known| known.name() == name)
    }

    /// Returns whether the job can no longer change.
    pub(crate) fn is_final(self) -> bool {
        match self {
            Self::Open | Self::UploadComplete | Self::InProgress => false,
            Self::JobComplete | Self::Failed | Self::Aborted => true,
        }
    }
}

/// What an ingest job does with each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    Insert,
    Update,
    Upsert,
    Delete,
    HardDelete,
}

impl Operation {
    const ALL: [Self; 5] = [
        Self::Insert,
        Self::Update,
        Self::Upsert,
        Self::Delete,
        Self::HardDelete,
    ];

    /// Returns the operation of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Returns the name that job resources show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
            Self::HardDelete => "hardDelete",
        }
    }
}

/// Why a whole job fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobError(pub(crate) String);

impl JobError {
    /// Returns the error of an invalid batch.
    pub(super) fn invalid_batch(message: impl std::fmt::Display) -> Self {
        Self(format!("InvalidBatch : {message}"))
    }

    pub(super) fn no_data() -> Self {
        Self(BULK_NO_DATA_MESSAGE.to_owned())
    }

    pub(super) fn no_utf8() -> Self {
        Self(BULK_INVALID_UTF8_MESSAGE.to_owned())
    }

    pub(super) fn unescaped_quote() -> Self {
        Self::invalid_batch(format!("Failed to parse CSV. {UNESCAPED_QUOTE}"))
    }

    pub(super) fn line_ending(wanted: LineEnding) -> Self {
        Self(format!(
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is \
             {}",
            wanted.name()
        ))
    }
}

/// Salesforce's message for a misplaced quote.
pub(super) const UNESCAPED_QUOTE: &str =
    "Found unescaped quote. A value with quote should be within a quote";

/// What all jobs have in common.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: RecordId,
    pub(crate) user: RecordId,
    /// The change origin of this job's writes in change events.
    pub(crate) origin: String,
    pub(crate) version: u32,
    pub(crate) object_name: String,
    pub(crate) form: Form,
    pub(crate) state: State,
    pub(crate) error: Option<String>,
    pub(crate) created_ms: i64,
    pub(crate) changed_ms: i64,
    /// When the next step is due. `None` if the job waits for its user or has ended.
    pub(crate) due_ms: Option<i64>,
    /// Processing time by the org's clock.
    pub(crate) busy_ms: i64,
    /// The declared fault that makes the job fail.
    pub(crate) fault: Option<JobFault>,
}

/// One job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) head: Head,
    pub(crate) work: Work,
}

/// The work of a job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    Ingest(Box<Ingest>),
    Query(Box<Query>),
}

impl Work {
    /// Returns the name of the operation.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::Ingest(ingest) => ingest.aim.operation.name(),
            Self::Query(query) if query.with_deleted => "queryAll",
            Self::Query(_) => "query",
        }
    }
}

/// An upload and the results of its rows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ingest {
    pub(super) aim: Aim,
    pub(crate) external_id: Option<String>,
    pub(crate) assignment_rule: Option<String>,
    pub(crate) uploads: u32,
    #[serde(with = "super::stored")]
    pub(super) csv: Bytes,
    /// Set once the job is in progress.
    pub(super) header: Option<Header>,
    /// Offset at which the next batch starts.
    pub(super) read_to: usize,
    /// Results of the processed rows, in order. The remaining rows are unprocessed.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) failed: usize,
    /// Maximum number of rows; `None` means no limit.
    pub(crate) rows_max: Option<u64>,
}

/// The result of one row, as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Saved(Saved),
    Failed {
        id: Option<RecordId>,
        error: Box<str>,
    },
}

/// The result of one row, as other modules read it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RowResult<'a> {
    Saved {
        id: RecordId,
        created: bool,
    },
    Failed {
        id: Option<RecordId>,
        /// `CODE:message:FIELDS --`.
        error: &'a str,
    },
}

/// A query and its results.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Query {
    pub(crate) soql: String,
    pub(crate) with_deleted: bool,
    pub(super) found: Rendered,
    /// The rows that are still to be written; `None` before the query starts.
    pub(super) rest: Option<VecDeque<RowNo>>,
}

impl Ingest {
    /// Returns an upload that has not started.
    pub(crate) fn new(aim: Aim) -> Self {
        Self {
            aim,
            external_id: None,
            assignment_rule: None,
            uploads: 0,
            csv: Bytes::new(),
            header: None,
            read_to: 0,
            outcomes: Vec::new(),
            failed: 0,
            rows_max: None,
        }
    }

    /// Returns the number of processed rows and the number of failed ones.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.outcomes.len(), self.failed)
    }

    /// Returns the results of the processed rows, in order.
    pub(crate) fn row_results(&self) -> impl Iterator<Item = RowResult<'_>> {
        self.outcomes.iter().map(|outcome| match outcome {
            Outcome::Saved(saved) => RowResult::Saved {
                id: saved.id,
                created: saved.created,
            },
            Outcome::Failed { id, error } => RowResult::Failed { id: *id, error },
        })
    }

    /// Stores an upload. Only one is allowed; a second one fails the job when it is closed.
    pub(crate) fn add_upload(&mut self, csv: Bytes) {
        self.uploads += 1;
        self.csv = csv;
    }
}

/// A job resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobInfo<'a> {
    id: String,
    operation: &'static str,
    object: &'a str,
    created_by_id: String,
    created_date: String,
    system_modstamp: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id_field_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignment_rule_id: Option<&'a str>,
    concurrency_mode: &'static str,
    content_type: &'static str,
    api_version: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_ending: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column_delimiter: Option<&'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress<'a>>,
}

/// The part of [`JobInfo`] that only the resource of a single job shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress<'a> {
    number_records_processed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_records_failed: Option<usize>,
    retries: u32,
    total_processing_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_active_processing_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apex_processing_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_pk_chunking_supported: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
}

/// How much of a job is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The response to its creation.
    Created,
    /// The response to a change of its state.
    Changed,
    /// One entry of a list.
    Listed,
    /// The job resource itself.
    Whole,
}

impl Job {
    /// Returns what a job resource shows.
    pub(crate) fn info(&self, view: View) -> JobInfo<'_> {
        let head = &self.head;
        let text_of = |ms: i64| {
            let mut text = String::new();
            stamp::push_datetime(&mut text, stamp::floor_to_second(ms));
            text
        };
        let (external_id, assignment_rule, content_url, kind) = match &self.work {
            Work::Ingest(ingest) => (
                ingest.external_id.as_deref(),
                ingest.assignment_rule.as_deref(),
                (head.state == State::Open && view != View::Changed).then(|| head.content_url()),
                "V2Ingest",
            ),
            Work::Query(_) => (None, None, None, "V2Query"),
        };
        let shows_form = match view {
            View::Created | View::Whole | View::Listed => true,
            View::Changed => false,
        };
        JobInfo {
            id: head.id.to_string(),
            operation: self.work.operation(),
            object: &head.object_name,
            created_by_id: head.user.to_string(),
            created_date: text_of(head.created_ms),
            system_modstamp: text_of(head.changed_ms),
            state: head.state.name(),
            external_id_field_name: external_id,
            assignment_rule_id: assignment_rule,
            concurrency_mode: "Parallel",
            content_type: "CSV",
            api_version: f64::from(head.version),
            job_type: matches!(view, View::Whole | View::Listed).then_some(kind),
            content_url,
            line_ending: shows_form.then(|| head.form.line_ending.name()),
            column_delimiter: shows_form.then(|| head.form.delimiter.name()),
            progress: (view == View::Whole).then(|| self.progress()),
        }
    }

    fn progress(&self) -> Progress<'_> {
        let head = &self.head;
        match &self.work {
            Work::Ingest(ingest) => Progress {
                number_records_processed: ingest.outcomes.len(),
                number_records_failed: Some(ingest.failed),
                retries: 0,
                total_processing_time: head.busy_ms,
                api_active_processing_time: Some(head.busy_ms),
                apex_processing_time: Some(0),
                is_pk_chunking_supported: None,
                error_message: head.error.as_deref(),
            },
            Work::Query(query) => Progress {
                number_records_processed: query.found.count(),
                number_records_failed: None,
                retries: 0,
                total_processing_time: head.busy_ms,
                api_active_processing_time: None,
                apex_processing_time: None,
                is_pk_chunking_supported: Some(query.chunks_by_id()),
                error_message: head.error.as_deref(),
            },
        }
    }
}

impl Head {
    /// Returns the path of the upload, without a leading slash.
    pub(crate) fn content_url(&self) -> String {
        let (version, id) = (self.version, self.id);
        format!("services/data/v{version}.0/jobs/ingest/{id}/batches")
    }
}
