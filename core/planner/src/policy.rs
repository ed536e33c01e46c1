//! Decides what to do when a record cannot continue: wait, refresh it, or park it.
//!
//! Only [`decide`] makes this decision, whether Salesforce refused a write, Postgres refused a row, or an
//! obstacle was found before. [`withheld`] decides which fields of a refused write are left out so that the
//! others can be written. [`delete_guard`] decides when there are so many deletes that they need approval,
//! [`freshness`] when a record is read before it is written.

pub mod attempts;
pub mod delete_guard;
pub mod freshness;

pub use self::attempts::{
    ATTEMPTS_MAX, Attempts, BACKOFF_MS_MAX, BACKOFF_MS_MIN, Cause, LOOKUP_WAITS_MAX,
    PARENT_WAITS_MAX, VALUE_WAITS_MAX,
};

use crate::model::ids::{FieldName, RecordId};
use crate::model::intent::WriteAction;
use crate::model::value::Payload;

/// First and longest wait for an org that refuses every sign-in: long enough that failed sign-ins do not lock our user
/// out, short enough that work goes on soon after the cause has gone.
const ORG_WAIT_MS_MIN: i64 = 2_000;
const ORG_WAIT_MS_MAX: i64 = 5 * 60 * 1_000;

/// The code of records that our user cannot read any more, without evidence of a delete.
pub const UNREADABLE_RECORD: &str = "unreadable_record";

/// First wait for API calls, which become available within the hour; a minute keeps the log short.
const QUOTA_WAIT_MS_MIN: i64 = 60_000;

/// What to do about an error of Salesforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    /// Try again later, with jitter.
    RetryLater,
    /// Wait until the org has API calls left.
    WaitForQuota,
    /// Wait until the org can be used: sign-in, maintenance, API access.
    WaitForOrg,
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
    /// A lookup points to a record that is not synchronised, perhaps not yet.
    UnknownLookup,
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
    /// It is not known whether its write took effect.
    OutcomeUnknown,
    /// The workers that leased it did not end their leases.
    WorkerLost,
}

impl Obstacle {
    /// Returns what the attempt failed on; `None` if it does not count as one.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::WriteRefused(disposition) => match disposition {
                // A refusal that stands ends the attempts.
                Disposition::RetryLater | Disposition::Park => Some(Cause::Refused),
                Disposition::RefreshRecord => Some(Cause::Changed),
                Disposition::WaitForParent => Some(Cause::Parent),
                Disposition::WaitForQuota
                | Disposition::WaitForOrg
                | Disposition::RefreshSession => None,
            },
            Self::MissingParent => Some(Cause::Parent),
            Self::UnknownLookup => Some(Cause::Lookup),
            Self::RowLocked | Self::RowContended => Some(Cause::RowBusy),
            Self::KeyTaken => Some(Cause::KeyTaken),
            Self::ValueTaken => Some(Cause::ValueTaken),
            Self::StillReferenced => Some(Cause::Referenced),
            Self::StatementTimeout => Some(Cause::Timeout),
            Self::RowRefused => Some(Cause::Refused),
            Self::WriteUnderWay => Some(Cause::InFlight),
            Self::OutcomeUnknown => Some(Cause::Unknown),
            Self::WorkerLost => Some(Cause::Abandoned),
        }
    }
}

/// The earlier attempts of a record, and its jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries<'a> {
    /// Earlier attempts that failed.
    pub before: &'a Attempts,
    /// Any number, which spreads the waits.
    pub jitter: u64,
}

impl<'a> Tries<'a> {
    /// Returns the attempts of a record, with its id as jitter: planning uses no random numbers.
    pub fn of(record: RecordId, before: &'a Attempts) -> Self {
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
        /// What the attempt counts as; `None` if it does not count.
        cause: Option<Cause>,
    },
    /// Refresh the record after a wait, then plan it. The attempt counts.
    Refresh {
        /// From now.
        delay_ms: i64,
        /// What the attempt counts as.
        cause: Cause,
    },
    /// Stop the record with the reason.
    Park,
}

/// Decides what to do when a record cannot continue.
///
/// Waits between attempts grow exponentially, with jitter. Each cause has its own count and maximum. What
/// concerns the tenant, as a spent quota or a refused sign-in, never counts.
///
/// ```
/// use syncline_planner::policy::{Attempts, Cause, Disposition, NextStep, Obstacle, Tries, decide};
/// let refused = Obstacle::WriteRefused(Disposition::RetryLater);
/// let before = Attempts::default();
/// let first = decide(refused, Tries { before: &before, jitter: 7 });
/// assert_eq!(first, NextStep::Wait { delay_ms: 1_007, cause: Some(Cause::Refused) });
/// let before = before.with(Cause::Refused, 11);
/// assert_eq!(decide(refused, Tries { before: &before, jitter: 7 }), NextStep::Park);
/// ```
pub fn decide(obstacle: Obstacle, tries: Tries<'_>) -> NextStep {
    match obstacle {
        Obstacle::RowRefused | Obstacle::WriteRefused(Disposition::Park) => return NextStep::Park,
        Obstacle::WriteRefused(_)
        | Obstacle::MissingParent
        | Obstacle::UnknownLookup
        | Obstacle::RowLocked
        | Obstacle::RowContended
        | Obstacle::KeyTaken
        | Obstacle::ValueTaken
        | Obstacle::StillReferenced
        | Obstacle::StatementTimeout
        | Obstacle::WriteUnderWay
        | Obstacle::OutcomeUnknown
        | Obstacle::WorkerLost => {}
    }
    let Some(cause) = obstacle.cause() else {
        // The tenant's own wait decides when the record is tried again.
        return NextStep::Wait {
            delay_ms: 0,
            cause: None,
        };
    };
    let before = tries.before.of(cause);
    let limits = cause.limits();
    if limits.is_last(before) {
        return NextStep::Park;
    }
    let delay_ms = limits.wait_ms(before, tries.jitter);
    match cause {
        Cause::Changed | Cause::Unknown => NextStep::Refresh { delay_ms, cause },
        Cause::Refused
        | Cause::Parent
        | Cause::Lookup
        | Cause::RowBusy
        | Cause::KeyTaken
        | Cause::ValueTaken
        | Cause::Referenced
        | Cause::Timeout
        | Cause::InFlight
        | Cause::Unreadable
        | Cause::Abandoned => NextStep::Wait {
            delay_ms,
            cause: Some(cause),
        },
    }
}

/// Returns how long a record waits that could not be read in Salesforce, and what the attempt counts as. The
/// record is not the cause, so it is never parked for it.
pub fn unreadable_wait(tries: Tries<'_>) -> (i64, Cause) {
    let cause = Cause::Unreadable;
    let wait_ms = cause.limits().wait_ms(tries.before.of(cause), tries.jitter);
    (wait_ms, cause)
}

/// Returns how long a record waits until a lookup is tried again that was withheld, and what the attempt counts
/// as. Everything else of the record is synchronised, so it is never parked for it; its parent wakes it.
pub fn withheld_lookup_wait(tries: Tries<'_>) -> (i64, Cause) {
    let cause = Cause::Lookup;
    let wait_ms = cause.limits().wait_ms(tries.before.of(cause), tries.jitter);
    (wait_ms, cause)
}

/// Returns how long a record waits whose row cannot be deleted while rows of other records reference it, and what the
/// attempt counts as. Those records are the cause, so it is never parked for it; each of them wakes it.
pub fn children_wait(tries: Tries<'_>) -> (i64, Cause) {
    let cause = Cause::Referenced;
    let wait_ms = cause.limits().wait_ms(tries.before.of(cause), tries.jitter);
    (wait_ms, cause)
}

/// Returns how long a tenant waits until its org is tried again, after `before` failures in a row.
pub fn org_wait_ms(disposition: Disposition, before: u32, jitter: u64) -> i64 {
    let limits = match disposition {
        Disposition::WaitForQuota => attempts::Limits {
            at_once_first: false,
            wait_ms_min: QUOTA_WAIT_MS_MIN,
            wait_ms_max: BACKOFF_MS_MAX,
            attempts_max: None,
        },
        Disposition::RetryLater
        | Disposition::WaitForOrg
        | Disposition::RefreshSession
        | Disposition::RefreshRecord
        | Disposition::WaitForParent
        | Disposition::Park => attempts::Limits {
            at_once_first: false,
            wait_ms_min: ORG_WAIT_MS_MIN,
            wait_ms_max: ORG_WAIT_MS_MAX,
            attempts_max: None,
        },
    };
    limits.wait_ms(before, jitter)
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
    before: &Attempts,
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
        && before.of(Cause::Refused) < ATTEMPTS_MAX
        && !named.is_empty()
        && !is_named(external_id);
    goes_on.then(|| named.into_iter().cloned().collect())
}

impl Disposition {
    /// Returns whether the cause lies with the tenant, not with a record: no record is blamed, and the whole
    /// tenant waits.
    pub fn concerns_tenant(self) -> bool {
        match self {
            // The client has renewed the session once already, and the new one was refused too.
            Self::WaitForQuota | Self::WaitForOrg | Self::RefreshSession => true,
            Self::RetryLater | Self::RefreshRecord | Self::WaitForParent | Self::Park => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::Value;

    const EVERY_DISPOSITION: [Disposition; 7] = [
        Disposition::RetryLater,
        Disposition::WaitForQuota,
        Disposition::WaitForOrg,
        Disposition::RefreshSession,
        Disposition::RefreshRecord,
        Disposition::WaitForParent,
        Disposition::Park,
    ];

    fn after(obstacle: Obstacle, cause: Cause, count: u32) -> NextStep {
        let before = Attempts::default().with(cause, count);
        let tries = Tries {
            before: &before,
            jitter: 7,
        };
        decide(obstacle, tries)
    }

    #[test]
    fn only_what_concerns_the_tenant_waits_without_limit() {
        for disposition in EVERY_DISPOSITION {
            let refused = Obstacle::WriteRefused(disposition);
            let cause = refused.cause().unwrap_or(Cause::Refused);
            let parks = after(refused, cause, u32::MAX) == NextStep::Park;
            assert_ne!(parks, disposition.concerns_tenant(), "{disposition:?}");
            assert_ne!(refused.cause().is_some(), disposition.concerns_tenant());
        }
    }

    #[test]
    fn attempts_of_another_cause_do_not_count() {
        let missing = Obstacle::MissingParent;
        let last = PARENT_WAITS_MAX - 1;
        assert_ne!(after(missing, Cause::RowBusy, u32::MAX), NextStep::Park);
        assert_ne!(after(missing, Cause::Parent, last - 1), NextStep::Park);
        assert_eq!(after(missing, Cause::Parent, last), NextStep::Park);
    }

    #[test]
    fn changed_or_doubtful_record_is_refreshed_at_once_then_later() {
        for (obstacle, cause) in [
            (
                Obstacle::WriteRefused(Disposition::RefreshRecord),
                Cause::Changed,
            ),
            (Obstacle::OutcomeUnknown, Cause::Unknown),
        ] {
            assert_eq!(
                after(obstacle, cause, 0),
                NextStep::Refresh { delay_ms: 0, cause }
            );
            let later = after(obstacle, cause, 1);
            assert!(
                matches!(later, NextStep::Refresh { delay_ms, .. } if delay_ms >= BACKOFF_MS_MIN)
            );
            assert_eq!(after(obstacle, cause, ATTEMPTS_MAX - 1), NextStep::Park);
        }
    }

    #[test]
    fn tenant_waits_longer_each_time_up_to_its_maximum() {
        for (disposition, longest_ms) in [
            (Disposition::WaitForOrg, ORG_WAIT_MS_MAX),
            (Disposition::RefreshSession, ORG_WAIT_MS_MAX),
            (Disposition::WaitForQuota, BACKOFF_MS_MAX),
        ] {
            let waits: Vec<i64> = (0..20)
                .map(|before| org_wait_ms(disposition, before, u64::MAX))
                .collect();
            assert!(waits.is_sorted() && waits[0] > 0, "{waits:?}");
            assert_eq!(waits.last(), Some(&longest_ms), "{disposition:?}");
        }
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
            let asked = |count| {
                let before = Attempts::default().with(Cause::Refused, count);
                withheld(action, &payload, &named, &field("Key__c"), &before)
            };
            let expected =
                left_out.map(|names| names.iter().map(|name| field(name)).collect::<Vec<_>>());
            assert_eq!(asked(0), expected, "{action:?} {sent:?} {named:?}");
            assert_eq!(asked(ATTEMPTS_MAX), None, "it ends");
        }
    }
}
