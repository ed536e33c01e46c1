//! How long records wait, and how often, before they stop with a reason.

use crate::engine::ports::IdSource;

/// A row that somebody else holds is free again when their transaction ends.
pub(super) const ROW_LOCKED_MS: i64 = 500;

/// A write that is under way ends with its lease at the latest.
pub(super) const WRITE_UNDER_WAY_MS: i64 = 5_000;

/// How often a record waits for its parent: with the delays below, about forty minutes.
pub(super) const PARENT_WAITS_MAX: u32 = 14;

/// First and longest wait for a parent, doubling between them.
const PARENT_MS_MIN: i64 = 500;
const PARENT_MS_MAX: i64 = 5 * 60 * 1_000;

/// Returns how long the wait after `attempt` earlier ones lasts.
pub(super) fn for_parent_ms(attempt: u32) -> i64 {
    PARENT_MS_MIN
        .saturating_mul(1_i64 << attempt.min(20))
        .min(PARENT_MS_MAX)
}

/// How long everything waits when the org has no calls to give.
pub(super) const QUOTA_MS: i64 = 60_000;

/// First and longest wait after a refusal that will pass, doubling between them.
const RETRY_MS_MIN: i64 = 1_000;
const RETRY_MS_MAX: i64 = 10 * 60 * 1_000;

/// Returns how long to wait after `attempt` earlier tries: between half of the step and all of it, so
/// that records refused together do not come back together.
pub(super) fn for_retry_ms(attempt: u32, ids: &dyn IdSource) -> i64 {
    let step = RETRY_MS_MIN
        .saturating_mul(1_i64 << attempt.min(20))
        .min(RETRY_MS_MAX);
    let jitter = ids.jitter(u64::try_from(step / 2).unwrap_or(0));
    step / 2 + i64::try_from(jitter).unwrap_or(0)
}
