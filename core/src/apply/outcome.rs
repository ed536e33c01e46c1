//! Decides what the outcome of a write means for its record.

use crate::model::ids::FieldName;
use crate::planner::policy::{NextStep, Obstacle, Tries, decide, withheld};
use crate::ports::apply_store::{NewIntent, SettledOutcome};
use crate::ports::salesforce::{Disposition, Refusal, WriteOutcome};

/// The write that an outcome belongs to.
#[derive(Clone, Copy)]
pub(super) struct Tried<'a> {
    /// What was written.
    pub(super) intent: &'a NewIntent,
    /// The external id field, which every write needs.
    pub(super) external_id: &'a FieldName,
    /// How many attempts there were before.
    pub(super) attempt: u32,
}

/// Returns what a write's outcome means for its record. `jitter` is any random number.
pub(super) fn settled(outcome: WriteOutcome, tried: Tried<'_>, jitter: u64) -> SettledOutcome {
    match outcome {
        WriteOutcome::Applied { salesforce_id, .. } => SettledOutcome::Applied { salesforce_id },
        WriteOutcome::Unknown { .. } => SettledOutcome::Unknown,
        WriteOutcome::Refused(refusal) => refused(refusal, tried, jitter),
    }
}

fn refused(refusal: Refusal, tried: Tried<'_>, jitter: u64) -> SettledOutcome {
    let disposition = refusal.disposition;
    if disposition == Disposition::RefreshRecord {
        return SettledOutcome::Refresh { refusal };
    }
    if disposition == Disposition::Park
        && let Some(fields) = withheld(
            tried.intent.action,
            &tried.intent.fields,
            &refusal.fields,
            tried.external_id,
            tried.attempt,
        )
    {
        return SettledOutcome::Withhold { refusal, fields };
    }
    let tries = Tries {
        before: tried.attempt,
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
    use uuid::Uuid;

    use super::*;
    use crate::model::ids::IntentId;
    use crate::model::intent::WriteAction;
    use crate::model::value::{Payload, Value};
    use crate::planner::policy::ATTEMPTS_MAX;
    use crate::planner::route::ApplyLane;

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

    /// Returns the outcome of a refused write of `sent`.
    fn outcome(
        (action, sent): (WriteAction, &[&str]),
        refusal: Refusal,
        attempt: u32,
    ) -> SettledOutcome {
        let intent = NewIntent {
            intent_id: IntentId(Uuid::nil()),
            action,
            fields: sent
                .iter()
                .map(|name| (field(name), Value::text("x")))
                .collect::<Payload>(),
            lane: ApplyLane::Rest,
        };
        let tried = Tried {
            intent: &intent,
            external_id: &field("Key__c"),
            attempt,
        };
        settled(WriteOutcome::Refused(refusal), tried, 0)
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
        let intent = NewIntent {
            intent_id: IntentId(Uuid::nil()),
            action: WriteAction::Update,
            fields: Payload::new(),
            lane: ApplyLane::Rest,
        };
        let tried = Tried {
            intent: &intent,
            external_id: &field("Key__c"),
            attempt: 0,
        };
        assert_eq!(settled(unknown, tried, 0), SettledOutcome::Unknown);
    }
}
