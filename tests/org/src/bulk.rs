//! Bulk jobs: the list of jobs, their daily limits, and how they advance with the clock.
//!
//! A job has no thread. It records when its next step is due, and [`Org::run_jobs`] runs the steps
//! that the org's clock has passed. A test moves the clock itself; in a running server the jobs
//! finish on their own. `ingest` runs one step of an upload, `query` one step of a query.

mod csv_text;
pub(crate) mod form;
mod header;
mod ingest;
pub(crate) mod job;
pub(crate) mod query;
mod results;
pub(crate) mod stored;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Org;
use crate::model::id::RecordId;
use crate::rest::usage::Usage;
pub(crate) use header::Aim;
use job::{Head, Ingest, Job, JobError, State, Work};
pub(crate) use results::ResultSet;

/// Error of a job when the daily limit of batches is reached.
pub(crate) const NO_BATCHES_LEFT: &str = "ExceededQuota : ApiBatchItems Limit exceeded.";

/// Id prefix of jobs, and of Bulk API 1.0 batches, whose loads are stored as jobs.
const JOB_PREFIX: [u8; 3] = *b"750";
pub(crate) const BATCH_PREFIX: [u8; 3] = *b"751";

/// How long a job is kept.
const RETENTION_MS: i64 = 7 * 86_400_000;

/// Maximum number of steps per move of the clock, so that no setting loops for ever.
const STEPS_MAX: usize = 1_000_000;

/// How jobs behave. `POST /_org/bulk` changes it. Limits are Salesforce's, delays are short.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// How long a job is queued before it is in progress.
    pub(crate) queue_ms: i64,
    /// How long one batch takes.
    pub(crate) batch_ms: i64,
    /// Number of rows in a batch.
    pub(crate) batch_rows: usize,
    /// Number of query rows written in one step. Small, because other calls wait during a step.
    pub(crate) query_rows: usize,
    /// Number of rows in a page of query results, unless the request sets it.
    pub(crate) page_rows: usize,
    /// Maximum size of an upload, in bytes.
    pub(crate) upload_bytes_max: usize,
    /// Users with the permission to hard delete.
    pub(crate) hard_delete: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_ms: 50,
            batch_ms: 50,
            batch_rows: 10_000,
            query_rows: 50_000,
            page_rows: 50_000,
            // Salesforce allows 150 MB after it has encoded the upload as base64.
            upload_bytes_max: 150_000_000 / 4 * 3,
            hard_delete: Vec::new(),
        }
    }
}

/// The body of `POST /_org/bulk`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsRequest {
    queue_ms: Option<u32>,
    batch_ms: Option<u32>,
    batch_rows: Option<usize>,
    query_rows: Option<usize>,
    page_rows: Option<usize>,
    upload_bytes_max: Option<usize>,
    batches_per_day: Option<u64>,
    rows_per_day: Option<u64>,
    query_jobs_per_day: Option<u64>,
    hard_delete: Option<Vec<String>>,
}

/// All jobs of the org.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bulk {
    pub(crate) settings: Settings,
    pub(crate) batches: Usage,
    pub(crate) rows: Usage,
    pub(crate) queries: Usage,
    jobs: BTreeMap<RecordId, Job>,
    /// Derived from the jobs.
    #[serde(skip)]
    due: BTreeSet<(i64, RecordId)>,
    opened: u32,
}

impl Default for Bulk {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            batches: Usage::new(15_000),
            rows: Usage::new(150_000_000),
            queries: Usage::new(10_000),
            jobs: BTreeMap::new(),
            due: BTreeSet::new(),
            opened: 0,
        }
    }
}

impl Bulk {
    /// Rebuilds the schedule of the jobs after a restore.
    pub(crate) fn schedule(&mut self) {
        let due = |(id, job): (&RecordId, &Job)| Some((job.head.due_ms?, *id));
        self.due = self.jobs.iter().filter_map(due).collect();
    }

    /// Returns the id of the next job.
    pub(crate) fn next_id(&mut self) -> RecordId {
        self.opened += 1;
        RecordId::numbered(JOB_PREFIX, self.opened)
    }

    /// Stores a job and returns it.
    pub(crate) fn keep(&mut self, job: Job) -> &Job {
        let id = job.head.id;
        self.due.extend(job.head.due_ms.map(|ms| (ms, id)));
        self.jobs.entry(id).insert_entry(job).into_mut()
    }

    /// Returns a job.
    pub(crate) fn job(&self, id: RecordId) -> Option<&Job> {
        self.jobs.get(&id).filter(|_| id.prefix() == JOB_PREFIX)
    }

    /// Returns the load of a Bulk API 1.0 batch.
    pub(crate) fn load(&self, batch: RecordId) -> Option<(&Head, &Ingest)> {
        let job = self.jobs.get(&batch)?;
        match &job.work {
            Work::Ingest(ingest) => Some((&job.head, ingest)),
            Work::Query(_) => None,
        }
    }

    /// Removes a job, either to change it and [`Bulk::keep`] it again, or for good.
    pub(crate) fn take(&mut self, id: RecordId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if let Some(ms) = job.head.due_ms {
            self.due.remove(&(ms, id));
        }
        Some(job)
    }

    /// Returns the jobs after this one, in order of creation.
    pub(crate) fn after(&self, id: Option<RecordId>) -> impl Iterator<Item = &Job> {
        let jobs = self.jobs.iter();
        jobs.filter(move |(known, _)| {
            known.prefix() == JOB_PREFIX && id.is_none_or(|id| **known > id)
        })
        .map(|(_, job)| job)
    }

    /// Returns when the next job is due.
    pub(crate) fn due_ms(&self) -> Option<i64> {
        self.due.first().map(|(ms, _)| *ms)
    }

    /// Changes the settings.
    pub(crate) fn change_settings(&mut self, request: SettingsRequest) -> &Settings {
        fn put<T>(place: &mut T, wanted: Option<T>) {
            if let Some(wanted) = wanted {
                *place = wanted;
            }
        }
        let settings = &mut self.settings;
        put(&mut settings.queue_ms, request.queue_ms.map(i64::from));
        put(&mut settings.batch_ms, request.batch_ms.map(i64::from));
        put(
            &mut settings.batch_rows,
            request.batch_rows.map(|n| n.max(1)),
        );
        put(
            &mut settings.query_rows,
            request.query_rows.map(|n| n.max(1)),
        );
        put(&mut settings.page_rows, request.page_rows.map(|n| n.max(1)));
        put(&mut settings.upload_bytes_max, request.upload_bytes_max);
        put(&mut settings.hard_delete, request.hard_delete);
        put(&mut self.batches.max, request.batches_per_day);
        put(&mut self.rows.max, request.rows_per_day);
        put(&mut self.queries.max, request.query_jobs_per_day);
        &self.settings
    }

    fn forget_old(&mut self, now_ms: i64) {
        for prefix in [JOB_PREFIX, BATCH_PREFIX] {
            let first = RecordId::numbered(prefix, 0);
            while let Some((id, job)) = self.jobs.range(first..).next()
                && id.prefix() == prefix
                && job.head.created_ms + RETENTION_MS < now_ms
            {
                let id = *id;
                self.take(id);
            }
        }
    }
}

impl Org {
    /// Runs every job step that is due.
    pub(crate) fn run_jobs(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.run_one_job() {
                break;
            }
        }
    }

    /// Runs the step that has been due the longest. Returns `false` if no step is due.
    pub(crate) fn run_one_job(&mut self) -> bool {
        let now_ms = self.now_ms();
        self.bulk.forget_old(now_ms);
        let Some((due_ms, id)) = self
            .bulk
            .due
            .first()
            .copied()
            .filter(|(ms, _)| *ms <= now_ms)
        else {
            return false;
        };
        let Some(mut job) = self.bulk.take(id) else {
            return false;
        };
        job.head.due_ms = None;
        let took_ms = self.bulk.settings.batch_ms;
        match self.step(&mut job) {
            Ok(State::InProgress) => {
                job.head.due_ms = Some(due_ms + took_ms);
                job.head.state = State::InProgress;
            }
            Ok(state) => job.head.state = state,
            Err(JobError(message)) => {
                job.head.state = State::Failed;
                job.head.error = Some(message);
            }
        }
        job.head.changed_ms = now_ms;
        let ended = job.head.state.is_final();
        self.bulk.keep(job);
        if ended && id.prefix() == BATCH_PREFIX {
            self.begin_next_batch(id);
        }
        true
    }

    /// Runs the next step of a job and returns its new state.
    fn step(&mut self, job: &mut Job) -> Result<State, JobError> {
        let Job { head, work } = job;
        let begins = head.state == State::UploadComplete;
        if begins {
            let (object, now_ms) = (&head.object_name, self.now_ms());
            head.fault = self.faults.fire_job(object, work.operation(), now_ms);
        } else {
            head.busy_ms += self.bulk.settings.batch_ms;
        }
        match work {
            Work::Ingest(ingest) if begins => {
                self.begin_ingest(head, ingest)?;
                Ok(State::InProgress)
            }
            Work::Ingest(ingest) => self.run_batch(head, ingest),
            Work::Query(_) if begins => Ok(State::InProgress),
            Work::Query(query) => {
                if let Some(fault) = &head.fault {
                    return Err(JobError(fault.message.clone()));
                }
                self.run_query(head, query, self.bulk.settings.query_rows)
            }
        }
    }
}

impl Head {
    /// Sets the job's state and when its next step is due.
    pub(crate) fn move_to(&mut self, state: State, now_ms: i64, due_ms: Option<i64>) {
        self.state = state;
        self.changed_ms = now_ms;
        self.due_ms = due_ms;
    }
}
