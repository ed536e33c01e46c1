//! Decides what the outcome of a write means for its record.

use crate::model::ids::FieldName;
use crate::planner::policy::{NextStep, Obstacle, Tries, decide, withheld};
use crate::ports::apply_store::{IntendedWrite, SettledOutcome};
use crate::ports::salesforce::{Disposition, Refusal, WriteOutcome};

/// Returns what a write's outcome means for its record. A write cannot do without the field of the
/// external id; `jitter` is any random number.
pub(super) fn settled(
    outcome: WriteOutcome,
    tried: &IntendedWrite,
    external_id: &FieldName,
    jitter: u64,
) -> SettledOutcome {
    match outcome {
        WriteOutcome::Applied { salesforce_id, .. } => SettledOutcome::Applied { salesforce_id },
        WriteOutcome::Unknown { .. } => SettledOutcome::Unknown,
        WriteOutcome::Refused(refusal) => refused(refusal, tried, external_id, jitter),
    }
}

fn refused(
    refusal: Refusal,
    tried: &IntendedWrite,
    external_id: &FieldName,
    jitter: u64,
) -> SettledOutcome {
    let disposition = refusal.disposition;
    let attempt = tried.lease.attempt;
    if disposition == Disposition::RefreshRecord {
        return SettledOutcome::Refresh { refusal };
    }
    if disposition == Disposition::Park
        && let Some(fields) = withheld(
            tried.intent.action,
            &tried.intent.fields,
            &refusal.fields,
            external_id,
            attempt,
        )
    {
        return SettledOutcome::Withhold { refusal, fields };
    }
    let tries = Tries {
        before: attempt,
        jitter,
    };
    match decide(Obstacle::WriteRefused(disposition), tries) {
        NextStep::Wait { delay_ms, .. } => SettledOutcome::RetryLater { refusal, delay_ms },
        NextStep::Refresh { .. } => SettledOutcome::Refresh { refusal },
        NextStep::Park => SettledOutcome::Park { refusal },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::model::ids::{FencingToken, Generation, IntentId, RecordId};
    use crate::model::intent::{Intent, IntentState, WriteAction};
    use crate::model::value::Value;
    use crate::planner::policy::ATTEMPTS_MAX;
    use crate::planner::route::Routable;
    use crate::ports::record::LeasedTask;

    fn field(name: &str) -> FieldName {
        FieldName::parse(name).unwrap()
    }

    fn refusal(disposition: Disposition, fields: &[&str]) -> Refusal {
        Refusal {
            code: "CODE".to_owned(),
            message: String::new(),
            fields: fields.iter().map(|name| (*name).to_owned()).collect(),
            disposition,
        }
    }

    /// A write of these fields, made for the time after so many tries.
    fn tried(action: WriteAction, sent: &[&str], attempt: u32) -> IntendedWrite {
        let record_id = RecordId(Uuid::nil());
        let fields = sent.iter().map(|name| (field(name), Value::text("x")));
        IntendedWrite {
            lease: LeasedTask {
                record_id,
                token: FencingToken(1),
                generation: Generation(1),
                attempt,
                needs_refresh: false,
                salesforce_id: None,
                external_id: "k-1".to_owned(),
                transaction: None,
            },
            intent: Intent {
                intent_id: IntentId(Uuid::nil()),
                record_id,
                fencing_token: FencingToken(1),
                action,
                fields: fields.collect(),
                state: IntentState::Open,
                echoed: BTreeSet::new(),
            },
            salesforce_id: None,
            withheld: Vec::new(),
            routable: Routable {
                at_rest: None,
                contested: false,
                urgent: false,
                has_dependencies: false,
            },
            seen_ms: None,
        }
    }

    /// What follows if a write of `sent` is refused.
    fn outcome(
        (action, sent): (WriteAction, &[&str]),
        refusal: Refusal,
        attempt: u32,
    ) -> SettledOutcome {
        let tried = tried(action, sent, attempt);
        settled(WriteOutcome::Refused(refusal), &tried, &field("Key__c"), 0)
    }

    fn outcome_of(disposition: Disposition, attempt: u32) -> SettledOutcome {
        let sent = (WriteAction::Update, ["Name"].as_slice());
        outcome(sent, refusal(disposition, &[]), attempt)
    }

    #[test]
    fn refused_fields_are_withheld_if_others_remain() {
        use WriteAction::{Create, Delete, Update};
        for (action, sent, named, withheld) in [
            (
                Update,
                ["Name", "Rating"].as_slice(),
                ["rating"].as_slice(),
                ["Rating"].as_slice(),
            ),
            (
                Update,
                &["Name", "Phone", "Rating"],
                &["Rating", "Phone"],
                &["Phone", "Rating"],
            ),
            (Update, &["Rating"], &["Rating"], &[]),
            (Update, &["Name"], &["Rating"], &[]),
            (Update, &["Name", "Rating"], &[], &[]),
            (Update, &["Key__c", "Name"], &["Key__c"], &[]),
            (Create, &["Key__c", "Rating"], &["Rating"], &["Rating"]),
            (Create, &["Key__c", "Name"], &["Key__c", "Name"], &[]),
            (Delete, &[], &["Rating"], &[]),
        ] {
            let refused = |attempt| {
                let refusal = refusal(Disposition::Park, named);
                match outcome((action, sent), refusal, attempt) {
                    SettledOutcome::Withhold { fields, .. } => fields,
                    SettledOutcome::Park { .. } => Vec::new(),
                    other => panic!("{other:?}"),
                }
            };
            let expected: Vec<FieldName> = withheld.iter().map(|name| field(name)).collect();
            assert_eq!(refused(0), expected, "{action:?} {sent:?} {named:?}");
            assert_eq!(refused(ATTEMPTS_MAX), Vec::new(), "it ends");
        }
    }

    #[test]
    fn transient_refusals_retry_permanent_ones_park() {
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
    fn spent_quota_never_parks_a_record() {
        let waits = outcome_of(Disposition::WaitForQuota, 1_000);
        assert!(matches!(waits, SettledOutcome::RetryLater { .. }));
    }

    #[test]
    fn unknown_outcome_stays_unknown() {
        let unknown = WriteOutcome::Unknown {
            reason: "timed out".to_owned(),
        };
        let tried = tried(WriteAction::Update, &[], 0);
        let settled = settled(unknown, &tried, &field("Key__c"), 0);
        assert_eq!(settled, SettledOutcome::Unknown);
    }
}
