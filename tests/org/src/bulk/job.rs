//! One job: what was asked for, how far it is, and what a job resource shows of it.

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

/// How far a job is.
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

    /// Tells whether the job will not move any more.
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

/// Why a job as a whole fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobError(pub(crate) String);

impl JobError {
    /// Returns the refusal of a batch.
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

/// What Salesforce says of a quote in the wrong place.
pub(super) const UNESCAPED_QUOTE: &str =
    "Found unescaped quote. A value with quote should be within a quote";

/// What is common to all jobs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: RecordId,
    pub(crate) user: RecordId,
    /// What change events say about the writes of this job.
    pub(crate) origin: String,
    pub(crate) version: u32,
    pub(crate) object_name: String,
    pub(crate) form: Form,
    pub(crate) state: State,
    pub(crate) error: Option<String>,
    pub(crate) created_ms: i64,
    pub(crate) changed_ms: i64,
    /// When the job moves on; `None` if it waits for its user or is at its end.
    pub(crate) due_ms: Option<i64>,
    /// How long it was worked on, as the clock of the org would have it.
    pub(crate) busy_ms: i64,
    /// How the job is to fail.
    pub(crate) fault: Option<JobFault>,
}

/// One job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) head: Head,
    pub(crate) work: Work,
}

/// What a job is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    Ingest(Box<Ingest>),
    Query(Box<Query>),
}

impl Work {
    /// Returns the name of what the job does.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::Ingest(ingest) => ingest.aim.operation.name(),
            Self::Query(query) if query.with_deleted => "queryAll",
            Self::Query(_) => "query",
        }
    }
}

/// An upload and what became of its rows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ingest {
    pub(super) aim: Aim,
    pub(crate) external_id: Option<String>,
    pub(crate) assignment_rule: Option<String>,
    pub(crate) uploads: u32,
    #[serde(with = "super::stored")]
    pub(super) csv: Bytes,
    /// Known once the job is in progress.
    pub(super) header: Option<Header>,
    /// Where in the text the next batch starts.
    pub(super) read_to: usize,
    /// What became of the first rows, in their order; the others are unprocessed.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) failed: usize,
    /// Most rows that are taken; none for as many as there are.
    pub(crate) rows_max: Option<u64>,
}

/// What became of one row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Saved(Saved),
    Failed {
        id: Option<RecordId>,
        error: Box<str>,
    },
}

/// What became of one row, for those who tell of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict<'a> {
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

/// A query and what it found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Query {
    pub(crate) soql: String,
    pub(crate) with_deleted: bool,
    pub(super) found: Rendered,
    /// The rows that are still to be written, once the query has begun.
    pub(super) rest: Option<VecDeque<RowNo>>,
}

impl Ingest {
    /// Returns an upload that has not begun.
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

    /// Returns how many rows were processed, and how many of them failed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.outcomes.len(), self.failed)
    }

    /// Returns what became of the rows that were processed, in their order.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = Verdict<'_>> {
        self.outcomes.iter().map(|outcome| match outcome {
            Outcome::Saved(saved) => Verdict::Saved {
                id: saved.id,
                created: saved.created,
            },
            Outcome::Failed { id, error } => Verdict::Failed { id: *id, error },
        })
    }

    /// Takes an upload; only one is allowed, which the user is told when the job is closed.
    pub(crate) fn add_upload(&mut self, csv: Bytes) {
        self.uploads += 1;
        self.csv = csv;
    }
}

/// What a job resource shows.
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

/// The part of [`JobInfo`] that only a look at one job shows.
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
    /// The answer to its creation.
    Created,
    /// The answer to a change of its state.
    Changed,
    /// One job of a list.
    Listed,
    /// The job itself.
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
    /// Returns where the data goes; no slash in front.
    pub(crate) fn content_url(&self) -> String {
        let (version, id) = (self.version, self.id);
        format!("services/data/v{version}.0/jobs/ingest/{id}/batches")
    }
}
