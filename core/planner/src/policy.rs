//! Decides what to do when a record cannot continue: wait, refresh it, or park it.
//!
//! Only [`decide`] makes this decision, whether Salesforce refused a write, Postgres refused a row, or an
//! obstacle was found before. [`withheld`] decides which fields of a refused write are left out so that the
//! others can be written. [`delete_guard`] decides when there are so many deletes that they need approval,
//! [`freshness`] when a record is read before it is written.

pub mod delete_guard;
pub mod freshness;

use crate::model::ids::{FieldName, RecordId};
use crate::model::intent::WriteAction;
use crate::model::value::Payload;

/// Attempts after which a record is parked: with the waits between them, after 45 minutes at most.
pub const ATTEMPTS_MAX: u32 = 12;

/// Waits for a missing parent after which a record is parked.
pub const PARENT_WAITS_MAX: u32 = 10;

/// Waits for another row to release a unique value, after which the value's field is parked.
pub const VALUE_WAITS_MAX: u32 = 4;

/// The code of records that our user cannot read any more, without evidence of a delete.
pub const UNREADABLE_RECORD: &str = "unreadable_record";

/// Shortest wait between two attempts.
pub const BACKOFF_MS_MIN: i64 = 1_000;

/// Longest wait: the longest delay that one SQS message may have (SQS quotas, "DelaySeconds").
pub const BACKOFF_MS_MAX: i64 = 15 * 60 * 1_000;

/// Wait for a row that another transaction has locked; it is free when that transaction ends.
const ROW_LOCKED_MS: i64 = 500;

/// Wait for a row that another transaction writes; it can be read when that transaction ends.
const ROW_CONTENDED_MS: i64 = 300;

/// Wait for a write in flight; it ends with its lease at the latest.
const WRITE_UNDER_WAY_MS: i64 = 5_000;

/// Wait for an org that could not be read: short, because the record is not the cause.
const UNREADABLE_MS: i64 = 5_000;

/// Wait for API calls, which become available within the hour; a minute keeps the log short.
const QUOTA_MS: i64 = 60_000;

/// What to do about an error of Salesforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    /// Try again later, with jitter.
    RetryLater,
    /// Wait until the org has API calls left.
    WaitForQuota,
    /// Get a new session, once.
    RefreshSession,
    /// Read the record again, then plan again.
    RefreshRecord,
    /// Wait, at most [`PARENT_WAITS_MAX`] times, until the parent exists.
    WaitForParent,
    /// Stop this record with the reason.
    Park,
}

/// Why a record cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Obstacle {
    /// Salesforce refused the record's write.
    WriteRefused(Disposition),
    /// The parent that it references does not exist yet, on either side.
    MissingParent,
    /// Another transaction has locked its row.
    RowLocked,
    /// Another transaction wrote its row at the same moment.
    RowContended,
    /// A row with its key appeared after the record was planned.
    KeyTaken,
    /// Another row has one of its unique values, and may release it soon.
    ValueTaken,
    /// The row cannot be deleted yet: other rows reference it.
    StillReferenced,
    /// The statement for its row timed out.
    StatementTimeout,
    /// Postgres refused its row: a value, a constraint or a trigger.
    RowRefused,
    /// A write of the record is in flight.
    WriteUnderWay,
}

/// The earlier attempts of a record, and its jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Earlier attempts that counted.
    pub before: u32,
    /// Any number, which spreads the waits.
    pub jitter: u64,
}

impl Tries {
    /// Returns the attempts of a record, with its id as jitter: planning uses no random numbers.
    pub fn of(record: RecordId, before: u32) -> Self {
        Self {
            before,
            jitter: record.0.as_u64_pair().1,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Plan the record again after a wait.
    Wait {
        /// From now.
        delay_ms: i64,
        /// The attempt counts towards the maximum.
        counts: bool,
    },
    /// Refresh the record after a wait, then plan it. The attempt counts.
    Refresh {
        /// From now.
        delay_ms: i64,
    },
    /// Stop the record with the reason.
    Park,
}

/// Decides what to do when a record cannot continue.
///
/// Waits between attempts grow exponentially with full jitter: any wait from the shortest to the current
/// maximum, which doubles. A spent quota and another transaction's lock never count.
///
/// ```
/// use syncline_planner::policy::{Disposition, NextStep, Obstacle, Tries, decide};
/// let refused = Obstacle::WriteRefused(Disposition::RetryLater);
/// let first = decide(refused, Tries { before: 0, jitter: 7 });
/// assert_eq!(first, NextStep::Wait { delay_ms: 1_007, counts: true });
/// assert_eq!(decide(refused, Tries { before: 11, jitter: 7 }), NextStep::Park);
/// ```
pub fn decide(obstacle: Obstacle, tries: Tries) -> NextStep {
    match obstacle {
        Obstacle::WriteRefused(disposition) => after_refusal(disposition, tries),
        Obstacle::MissingParent => counted(PARENT_WAITS_MAX, tries),
        Obstacle::RowLocked => uncounted(ROW_LOCKED_MS),
        Obstacle::RowContended => uncounted(ROW_CONTENDED_MS),
        Obstacle::KeyTaken => NextStep::Wait {
            delay_ms: ROW_CONTENDED_MS,
            counts: true,
        },
        Obstacle::ValueTaken => counted(VALUE_WAITS_MAX, tries),
        Obstacle::StillReferenced => counted(PARENT_WAITS_MAX, tries),
        Obstacle::StatementTimeout => counted(ATTEMPTS_MAX, tries),
        Obstacle::RowRefused => NextStep::Park,
        Obstacle::WriteUnderWay => uncounted(WRITE_UNDER_WAY_MS),
    }
}

/// Returns how long records wait when Salesforce could not be read. The attempts do not count, because the
/// records are not the cause.
pub fn unreadable_wait_ms(disposition: Disposition) -> i64 {
    match disposition {
        Disposition::WaitForQuota => QUOTA_MS,
        Disposition::RetryLater
        | Disposition::RefreshSession
        | Disposition::RefreshRecord
        | Disposition::WaitForParent
        | Disposition::Park => UNREADABLE_MS,
    }
}

/// Returns the fields of a refused write to leave out so that the others can be written, or `None` if the
/// whole write stops.
///
/// `named` are the fields that the refusal names. Each such attempt leaves out at least one field more, so
/// their number is limited. The external id cannot be left out.
pub fn withheld(
    action: WriteAction,
    sent: &Payload,
    named: &[String],
    external_id: &FieldName,
    tries_before: u32,
) -> Option<Vec<FieldName>> {
    let is_named = |field: &FieldName| {
        let names = |name: &String| name.eq_ignore_ascii_case(field.as_str());
        named.iter().any(names)
    };
    let (named, others): (Vec<&FieldName>, Vec<&FieldName>) =
        sent.keys().partition(|field| is_named(field));
    let something_remains = match action {
        WriteAction::Create => true,
        WriteAction::Update => !others.is_empty(),
        WriteAction::Delete => false,
    };
    let goes_on = something_remains
        && tries_before < ATTEMPTS_MAX
        && !named.is_empty()
        && !is_named(external_id);
    goes_on.then(|| named.into_iter().cloned().collect())
}

impl Disposition {
    /// Returns whether the attempt counts. Waiting for the quota does not.
    pub fn counts(self) -> bool {
        match self {
            Self::WaitForQuota => false,
            Self::RetryLater
            | Self::RefreshSession
            | Self::RefreshRecord
            | Self::WaitForParent
            | Self::Park => true,
        }
    }
}

fn after_refusal(disposition: Disposition, tries: Tries) -> NextStep {
    match disposition {
        // A session that the client could not refresh may be refreshed by the next attempt.
        Disposition::RetryLater | Disposition::RefreshSession => counted(ATTEMPTS_MAX, tries),
        Disposition::WaitForQuota => uncounted(backoff_ms(tries)),
        Disposition::WaitForParent => counted(PARENT_WAITS_MAX, tries),
        // At once the first time; a record that is refused again waits longer each time and then parks.
        Disposition::RefreshRecord => match counted(ATTEMPTS_MAX, tries) {
            NextStep::Wait { .. } if tries.before == 0 => NextStep::Refresh { delay_ms: 0 },
            NextStep::Wait { delay_ms, .. } | NextStep::Refresh { delay_ms } => {
                NextStep::Refresh { delay_ms }
            }
            NextStep::Park => NextStep::Park,
        },
        Disposition::Park => NextStep::Park,
    }
}

fn counted(attempts_max: u32, tries: Tries) -> NextStep {
    if tries.before.saturating_add(1) >= attempts_max {
        return NextStep::Park;
    }
    NextStep::Wait {
        delay_ms: backoff_ms(tries),
        counts: true,
    }
}

fn uncounted(delay_ms: i64) -> NextStep {
    NextStep::Wait {
        delay_ms,
        counts: false,
    }
}

fn backoff_ms(tries: Tries) -> i64 {
    let doublings = tries.before.saturating_add(1).min(20);
    let ceiling_ms = BACKOFF_MS_MIN
        .saturating_mul(1 << doublings)
        .min(BACKOFF_MS_MAX);
    let spread_ms = (ceiling_ms - BACKOFF_MS_MIN + 1).unsigned_abs();
    BACKOFF_MS_MIN.saturating_add_unsigned(tries.jitter % spread_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::Value;

    const EVERY_DISPOSITION: [Disposition; 6] = [
        Disposition::RetryLater,
        Disposition::WaitForQuota,
        Disposition::RefreshSession,
        Disposition::RefreshRecord,
        Disposition::WaitForParent,
        Disposition::Park,
    ];

    fn refused(disposition: Disposition, before: u32) -> NextStep {
        let tries = Tries { before, jitter: 7 };
        decide(Obstacle::WriteRefused(disposition), tries)
    }

    #[test]
    fn only_a_spent_quota_waits_without_limit() {
        for disposition in EVERY_DISPOSITION {
            let parks = refused(disposition, u32::MAX) == NextStep::Park;
            assert_eq!(parks, disposition != Disposition::WaitForQuota);
            assert_eq!(parks, disposition.counts(), "{disposition:?}");
        }
    }

    #[test]
    fn waits_stay_within_their_limits() {
        for before in 0..ATTEMPTS_MAX - 1 {
            for jitter in [0, 1, u64::MAX] {
                let obstacle = Obstacle::WriteRefused(Disposition::RetryLater);
                let next = decide(obstacle, Tries { before, jitter });
                let NextStep::Wait { delay_ms, counts } = next else {
                    panic!("{next:?}")
                };
                assert!((BACKOFF_MS_MIN..=BACKOFF_MS_MAX).contains(&delay_ms) && counts);
            }
        }
        let last = |obstacle, most: u32| {
            let tries = |before| Tries { before, jitter: 0 };
            assert_ne!(decide(obstacle, tries(most - 2)), NextStep::Park);
            assert_eq!(decide(obstacle, tries(most - 1)), NextStep::Park);
        };
        last(
            Obstacle::WriteRefused(Disposition::RetryLater),
            ATTEMPTS_MAX,
        );
        last(Obstacle::MissingParent, PARENT_WAITS_MAX);
    }

    #[test]
    fn changed_record_is_refreshed_at_once() {
        assert_eq!(
            refused(Disposition::RefreshRecord, 0),
            NextStep::Refresh { delay_ms: 0 }
        );
        let later = refused(Disposition::RefreshRecord, 1);
        assert!(matches!(later, NextStep::Refresh { delay_ms } if delay_ms >= BACKOFF_MS_MIN));
    }

    #[test]
    fn named_fields_are_left_out_if_others_remain() {
        use WriteAction::{Create, Delete, Update};
        let field = |name: &str| FieldName::parse(name).unwrap();
        for (action, sent, named, left_out) in [
            (
                Update,
                &["Name", "Rating"][..],
                &["rating"][..],
                Some(&["Rating"][..]),
            ),
            (Update, &["Rating"], &["Rating"], None),
            (Update, &["Name", "Rating"], &[], None),
            (Update, &["Key__c", "Name"], &["Key__c"], None),
            (
                Create,
                &["Key__c", "Rating"],
                &["Rating"],
                Some(&["Rating"]),
            ),
            (Delete, &[], &["Rating"], None),
        ] {
            let payload: Payload = sent.iter().map(|name| (field(name), Value::Null)).collect();
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            let asked = |before| withheld(action, &payload, &named, &field("Key__c"), before);
            let expected =
                left_out.map(|names| names.iter().map(|name| field(name)).collect::<Vec<_>>());
            assert_eq!(asked(0), expected, "{action:?} {sent:?} {named:?}");
            assert_eq!(asked(ATTEMPTS_MAX), None, "it ends");
        }
    }
}
