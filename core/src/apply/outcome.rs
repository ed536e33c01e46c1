//! What follows from the outcome of a write.

use crate::engine::ports::IdSource;
use crate::engine::ports::salesforce::{Disposition, Refusal, WriteOutcome};
use crate::engine::ports::store::SettledOutcome;

use super::waits;

/// Returns what a write's outcome means for its record, which was tried `attempt` times before.
pub(super) fn settled(
    outcome: WriteOutcome,
    attempt: u32,
    ids: &dyn IdSource,
) -> SettledOutcome {
    match outcome {
        WriteOutcome::Applied { salesforce_id, .. } => SettledOutcome::Applied { salesforce_id },
        WriteOutcome::Unknown { .. } => SettledOutcome::Unknown,
        WriteOutcome::Refused(refusal) => refused(refusal, attempt, ids),
    }
}

/// Returns what a refusal means.
fn refused(refusal: Refusal, attempt: u32, ids: &dyn IdSource) -> SettledOutcome {
    match refusal.disposition {
        // What the client could not refresh is refreshed by the time of the next try.
        Disposition::RetryLater | Disposition::RefreshSession => {
            let delay_ms = waits::for_retry_ms(attempt, ids);
            SettledOutcome::RetryLater { refusal, delay_ms }
        }
        Disposition::WaitForQuota => SettledOutcome::RetryLater {
            refusal,
            delay_ms: waits::QUOTA_MS,
        },
        Disposition::WaitForParent if attempt < waits::PARENT_WAITS_MAX => {
            SettledOutcome::RetryLater {
                refusal,
                delay_ms: waits::for_parent_ms(attempt),
            }
        }
        Disposition::Reread => SettledOutcome::Reread { refusal },
        Disposition::WaitForParent | Disposition::Park => SettledOutcome::Park { refusal },
    }
}
