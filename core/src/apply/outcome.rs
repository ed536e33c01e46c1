//! What follows from the outcome of a write.

use crate::engine::ports::salesforce::{Disposition, Refusal, WriteOutcome};
use crate::engine::ports::store::SettledOutcome;
use crate::plan::retry::{NextAttempt, RetryClass, next_attempt};

/// Returns what a write's outcome means for its record, which was tried `attempt` times before.
/// `jitter` is any random number.
pub(super) fn settled(outcome: WriteOutcome, attempt: u32, jitter: u64) -> SettledOutcome {
    match outcome {
        WriteOutcome::Applied { salesforce_id, .. } => SettledOutcome::Applied { salesforce_id },
        WriteOutcome::Unknown { .. } => SettledOutcome::Unknown,
        WriteOutcome::Refused(refusal) => refused(refusal, attempt, jitter),
    }
}

fn refused(refusal: Refusal, attempt: u32, jitter: u64) -> SettledOutcome {
    let class = match refusal.disposition {
        // A session that the client could not refresh may be refreshed by the next try.
        Disposition::RetryLater | Disposition::RefreshSession => RetryClass::Transient,
        Disposition::WaitForQuota => RetryClass::Quota,
        Disposition::WaitForParent => RetryClass::MissingParent,
        Disposition::Reread => return SettledOutcome::Reread { refusal },
        Disposition::Park => return SettledOutcome::Park { refusal },
    };
    match next_attempt(attempt.saturating_add(1), class, jitter) {
        NextAttempt::Retry { after_ms, .. } => SettledOutcome::RetryLater {
            refusal,
            delay_ms: i64::try_from(after_ms).unwrap_or(i64::MAX),
        },
        NextAttempt::Park => SettledOutcome::Park { refusal },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(disposition: Disposition, attempt: u32) -> SettledOutcome {
        let refusal = Refusal {
            code: "CODE".to_owned(),
            message: String::new(),
            fields: Vec::new(),
            disposition,
        };
        settled(WriteOutcome::Refused(refusal), attempt, 0)
    }

    #[test]
    fn a_refusal_that_passes_is_tried_again_until_the_tries_are_used_up() {
        use SettledOutcome::{Park, RetryLater};
        for disposition in [
            Disposition::RetryLater,
            Disposition::RefreshSession,
            Disposition::WaitForParent,
        ] {
            assert!(matches!(outcome_of(disposition, 0), RetryLater { .. }));
            assert!(matches!(outcome_of(disposition, 1_000), Park { .. }));
        }
    }

    #[test]
    fn a_spent_quota_never_parks_a_record() {
        let outcome = outcome_of(Disposition::WaitForQuota, 1_000);
        assert!(matches!(outcome, SettledOutcome::RetryLater { .. }));
    }

    #[test]
    fn an_unknown_outcome_is_neither_success_nor_failure() {
        let outcome = WriteOutcome::Unknown {
            reason: "timed out".to_owned(),
        };
        assert_eq!(settled(outcome, 0, 0), SettledOutcome::Unknown);
    }
}
