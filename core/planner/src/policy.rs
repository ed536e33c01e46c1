//! Decides what to do when a record cannot continue: wait, refresh it, or park it.
//!
//! Only [`decide`] makes this decision, whether Salesforce refused a write, Postgres refused a row, or something
//! else was in the way. [`withheld`] decides which fields of a refused write are left out so that the
//! others can be written. [`delete_guard`] decides when there are so many deletes that they need approval,
//! [`freshness`] when a record is read before it is written.

pub mod attempts;
pub mod delete_guard;
pub mod freshness;

pub use self::attempts::{
    ATTEMPTS_MAX, Attempts, BACKOFF_MS_MAX, BACKOFF_MS_MIN, Cause, LOOKUP_ATTEMPTS_MAX,
    PARENT_ATTEMPTS_MAX, VALUE_ATTEMPTS_MAX,
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

/// The code of records whose row is missing although no delete of it was captured.
pub const ROW_MISSING: &str = "row_missing";

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
    /// Wait until the parent exists, for at most [`PARENT_ATTEMPTS_MAX`] attempts.
    WaitForParent,
    /// Wait until another record lets go of the value of the named field, for at most [`VALUE_ATTEMPTS_MAX`] attempts.
    WaitForValue,
    /// Wait until no record points to this one any more, for at most [`PARENT_ATTEMPTS_MAX`] attempts.
    WaitForChildren,
    /// Stop this record with the reason.
    Park,
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
/// Waits between attempts grow exponentially, with jitter. Each cause has its own count and maximum.
///
/// ```
/// use syncline_planner::policy::{Attempts, Cause, NextStep, Tries, decide};
/// let before = Attempts::default();
/// let first = decide(Cause::Refused, Tries { before: &before, jitter: 7 });
/// assert_eq!(first, NextStep::Wait { delay_ms: 1_007, cause: Some(Cause::Refused) });
/// let before = before.with(Cause::Refused, 11);
/// assert_eq!(decide(Cause::Refused, Tries { before: &before, jitter: 7 }), NextStep::Park);
/// ```
pub fn decide(cause: Cause, tries: Tries<'_>) -> NextStep {
    if cause.limits().is_last(tries.before.of(cause)) {
        return NextStep::Park;
    }
    let delay_ms = wait_ms(cause, tries);
    match cause {
        Cause::Changed | Cause::Unknown => NextStep::Refresh { delay_ms, cause },
        Cause::Refused
        | Cause::Parent
        | Cause::Lookup
        | Cause::RowBusy
        | Cause::KeyTaken
        | Cause::ValueTaken
        | Cause::RowAltered
        | Cause::RowMissing
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

/// Decides what to do when Salesforce refused a record's write. What concerns the tenant, as a spent quota or a
/// refused sign-in, never counts: the record waits `org_wait_ms`, until the org is tried again.
pub fn decide_refusal(disposition: Disposition, tries: Tries<'_>, org_wait_ms: i64) -> NextStep {
    match disposition {
        Disposition::Park => NextStep::Park,
        Disposition::RetryLater => decide(Cause::Refused, tries),
        Disposition::RefreshRecord => decide(Cause::Changed, tries),
        Disposition::WaitForParent => decide(Cause::Parent, tries),
        Disposition::WaitForValue => decide(Cause::ValueTaken, tries),
        Disposition::WaitForChildren => decide(Cause::Referenced, tries),
        Disposition::WaitForQuota | Disposition::WaitForOrg | Disposition::RefreshSession => {
            NextStep::Wait {
                delay_ms: org_wait_ms,
                cause: None,
            }
        }
    }
}

/// Returns how long a record waits after the next failure on this cause. For records that are never parked for it,
/// because others are the cause.
pub fn wait_ms(cause: Cause, tries: Tries<'_>) -> i64 {
    cause.limits().wait_ms(tries.before.of(cause), tries.jitter)
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
        | Disposition::WaitForValue
        | Disposition::WaitForChildren
        | Disposition::Park => attempts::Limits {
            at_once_first: false,
            wait_ms_min: ORG_WAIT_MS_MIN,
            wait_ms_max: ORG_WAIT_MS_MAX,
            attempts_max: None,
        },
    };
    limits.wait_ms(before, jitter)
}

/// Returns the fields of a refused write to leave out so that the others can be written; none if the whole write
/// stops.
///
/// `named` are the fields that the refusal names. Each such attempt leaves out at least one field more, so
/// their number is limited. The external id cannot be left out.
pub fn withheld(
    action: WriteAction,
    sent: &Payload,
    named: &[String],
    external_id: &FieldName,
    before: &Attempts,
) -> Vec<FieldName> {
    let left_out = withheld_lookups(sent, named, external_id);
    let something_remains = match action {
        WriteAction::Create => true,
        WriteAction::Update => left_out.len() < sent.len(),
        WriteAction::Delete => false,
    };
    match something_remains && before.of(Cause::Refused) < ATTEMPTS_MAX {
        true => left_out,
        false => Vec::new(),
    }
}

/// Returns the lookups of a refused write to leave out because their parents do not come, even if nothing else is
/// left to write; none if the refusal names none of them, or the external id.
pub fn withheld_lookups(
    sent: &Payload,
    named: &[String],
    external_id: &FieldName,
) -> Vec<FieldName> {
    let is_named = |field: &FieldName| {
        let names = |name: &String| name.eq_ignore_ascii_case(field.as_str());
        named.iter().any(names)
    };
    if is_named(external_id) {
        return Vec::new();
    }
    let fields = sent.keys();
    fields.filter(|field| is_named(field)).cloned().collect()
}

impl Disposition {
    /// Returns whether the cause lies with the tenant, not with a record: no record is blamed, and the whole
    /// tenant waits.
    pub fn concerns_tenant(self) -> bool {
        match self {
            // The client has renewed the session once already, and the new one was refused too.
            Self::WaitForQuota | Self::WaitForOrg | Self::RefreshSession => true,
            Self::RetryLater
            | Self::RefreshRecord
            | Self::WaitForParent
            | Self::WaitForValue
            | Self::WaitForChildren
            | Self::Park => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::Value;

    const EVERY_DISPOSITION: [Disposition; 9] = [
        Disposition::RetryLater,
        Disposition::WaitForQuota,
        Disposition::WaitForOrg,
        Disposition::RefreshSession,
        Disposition::RefreshRecord,
        Disposition::WaitForParent,
        Disposition::WaitForValue,
        Disposition::WaitForChildren,
        Disposition::Park,
    ];

    fn tries(before: &Attempts) -> Tries<'_> {
        Tries { before, jitter: 7 }
    }

    fn after(cause: Cause, failed_on: Cause, count: u32) -> NextStep {
        decide(cause, tries(&Attempts::default().with(failed_on, count)))
    }

    #[test]
    fn only_what_concerns_the_tenant_waits_without_limit() {
        let spent = [
            Cause::Refused,
            Cause::Changed,
            Cause::Parent,
            Cause::ValueTaken,
            Cause::Referenced,
        ]
        .into_iter()
        .fold(Attempts::default(), |all, cause| all.with(cause, u32::MAX));
        for disposition in EVERY_DISPOSITION {
            let step = decide_refusal(disposition, tries(&spent), 77);
            let waits = NextStep::Wait {
                delay_ms: 77,
                cause: None,
            };
            let expected = match disposition.concerns_tenant() {
                true => waits,
                false => NextStep::Park,
            };
            assert_eq!(step, expected, "{disposition:?}");
        }
    }

    #[test]
    fn attempts_of_another_cause_do_not_count() {
        let last = PARENT_ATTEMPTS_MAX - 1;
        let parent = Cause::Parent;
        assert_ne!(after(parent, Cause::RowBusy, u32::MAX), NextStep::Park);
        assert_ne!(after(parent, parent, last - 1), NextStep::Park);
        assert_eq!(after(parent, parent, last), NextStep::Park);
    }

    #[test]
    fn changed_or_doubtful_record_is_refreshed_at_once_then_later() {
        for cause in [Cause::Changed, Cause::Unknown] {
            assert_eq!(
                after(cause, cause, 0),
                NextStep::Refresh { delay_ms: 0, cause }
            );
            let later = after(cause, cause, 1);
            assert!(
                matches!(later, NextStep::Refresh { delay_ms, .. } if delay_ms >= BACKOFF_MS_MIN)
            );
            assert_eq!(after(cause, cause, ATTEMPTS_MAX - 1), NextStep::Park);
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
                &["Rating"][..],
            ),
            (Update, &["Rating"], &["Rating"], &[]),
            (Update, &["Name", "Rating"], &[], &[]),
            (Update, &["Key__c", "Name"], &["Key__c"], &[]),
            (Create, &["Key__c", "Rating"], &["Rating"], &["Rating"]),
            (Delete, &[], &["Rating"], &[]),
        ] {
            let payload: Payload = sent.iter().map(|name| (field(name), Value::Null)).collect();
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            let asked = |count| {
                let before = Attempts::default().with(Cause::Refused, count);
                withheld(action, &payload, &named, &field("Key__c"), &before)
            };
            let expected: Vec<FieldName> = left_out.iter().map(|name| field(name)).collect();
            assert_eq!(asked(0), expected, "{action:?} {sent:?} {named:?}");
            assert_eq!(asked(ATTEMPTS_MAX), [], "it ends");
        }
    }
}
