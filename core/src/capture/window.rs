//! How long one capture runs: while there are changes, then while it keeps polling, never past its deadline.

use std::time::Duration;

use crate::job::Job;
use crate::job::deadline::Deadline;
use crate::job::error::Error;

use super::{CaptureOptions, Idle};

/// The most time that a capture needs to finish its current batch and release its lease.
const CLOSING_MARGIN: Duration = Duration::from_secs(2);

/// The time one capture has.
pub(super) struct Window {
    end: Deadline,
    poll_until: Deadline,
}

impl Window {
    /// Opens the window now. For an idle tenant there is no polling, unless the options ask for it.
    pub(super) async fn open(job: &Job<'_>, options: &CaptureOptions) -> Result<Self, Error> {
        if options.idle == Idle::Return && !options.keep_polling.is_zero() {
            job.tenant.learn_activity(job.now_ms()).await?;
        }
        let end = options.deadline.earlier_by(CLOSING_MARGIN);
        let poll_until = Deadline::after(job.now_ms(), options.keep_polling);
        Ok(Self {
            end,
            poll_until: poll_until.min(end),
        })
    }

    /// Returns true while another batch may begin.
    pub(super) fn is_open(&self, job: &Job<'_>) -> bool {
        !job.shared.stopping() && !self.end.remaining(job.now_ms()).is_zero()
    }

    /// Returns how long to wait for more changes, at most `wait`; `None` if the capture is over.
    pub(super) fn wait(
        &self,
        job: &Job<'_>,
        options: &CaptureOptions,
        wait: Duration,
    ) -> Option<Duration> {
        let now_ms = job.now_ms();
        let keeps_polling = match options.idle {
            Idle::Stay => true,
            Idle::Return => job.tenant.is_active(now_ms),
        };
        let left = self.poll_until.remaining(now_ms);
        (keeps_polling && !left.is_zero() && !job.shared.stopping()).then(|| left.min(wait))
    }
}
