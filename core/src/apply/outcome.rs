//! Decides what the outcome of a write means for its record.

use crate::model::ids::FieldName;
use crate::model::intent::WriteAction;
use crate::planner::policy::{NextStep, Obstacle, Tries, decide, withheld};
use crate::ports::apply_store::{IntendedWrite, SettledOutcome};
use crate::ports::record::MISSING_PARENT;
use crate::ports::salesforce::{Disposition, Refusal, WriteOutcome};

/// Returns what a write's outcome means for its record. A write cannot do without the field of the
/// external id; `jitter` is any random number.
///
/// What concerns the tenant counts as no attempt: the record waits for `org_wait_ms`, until the org is tried again.
pub(super) fn settled(
    outcome: WriteOutcome,
    tried: &IntendedWrite,
    external_id: &FieldName,
    (jitter, org_wait_ms): (u64, i64),
) -> SettledOutcome {
    let tries = Tries {
        before: &tried.lease.attempts,
        jitter,
    };
    match outcome {
        WriteOutcome::Applied {
            salesforce_id,
            created,
        } => SettledOutcome::Applied {
            salesforce_id,
            found: tried.intent.action == WriteAction::Create && created == Some(false),
        },
        WriteOutcome::Unknown { disposition, .. } if disposition.concerns_tenant() => {
            SettledOutcome::Unknown {
                delay_ms: org_wait_ms,
                cause: None,
            }
        }
        WriteOutcome::Unknown { .. } => match decide(Obstacle::OutcomeUnknown, tries) {
            NextStep::Wait { delay_ms, cause } => SettledOutcome::Unknown { delay_ms, cause },
            NextStep::Refresh { delay_ms, cause } => SettledOutcome::Unknown {
                delay_ms,
                cause: Some(cause),
            },
            NextStep::Park => SettledOutcome::Lost,
        },
        WriteOutcome::Refused(refusal) if refusal.disposition.concerns_tenant() => {
            SettledOutcome::RetryLater {
                refusal,
                delay_ms: org_wait_ms,
                cause: None,
            }
        }
        WriteOutcome::Refused(refusal) => refused(refusal, tried, external_id, tries),
    }
}

fn refused(
    refusal: Refusal,
    tried: &IntendedWrite,
    external_id: &FieldName,
    tries: Tries<'_>,
) -> SettledOutcome {
    let disposition = refusal.disposition;
    if disposition == Disposition::Park
        && let Some(fields) = withheld(
            tried.intent.action,
            &tried.intent.fields,
            &refusal.fields,
            external_id,
            tries.before,
        )
    {
        return SettledOutcome::Withhold { refusal, fields };
    }
    match decide(Obstacle::WriteRefused(disposition), tries) {
        NextStep::Wait { delay_ms, cause } => SettledOutcome::RetryLater {
            refusal,
            delay_ms,
            cause,
        },
        NextStep::Refresh { delay_ms, cause } => SettledOutcome::Refresh {
            refusal,
            delay_ms,
            cause,
        },
        NextStep::Park if disposition == Disposition::WaitForParent => {
            without_lookups(refusal, tried, external_id)
        }
        NextStep::Park => SettledOutcome::Park { refusal },
    }
}

/// Returns the outcome of a write whose parent does not come: the lookups that point to it are withheld, if the
/// refusal names them, even if nothing else is left to write.
fn without_lookups(
    refusal: Refusal,
    tried: &IntendedWrite,
    external_id: &FieldName,
) -> SettledOutcome {
    let is_named = |field: &FieldName| {
        let names = |name: &String| name.eq_ignore_ascii_case(field.as_str());
        refusal.fields.iter().any(names)
    };
    let sent = tried.intent.fields.keys();
    let fields: Vec<FieldName> = sent.filter(|field| is_named(field)).cloned().collect();
    if fields.is_empty() || fields.contains(external_id) {
        return SettledOutcome::Park { refusal };
    }
    SettledOutcome::Withhold {
        refusal: Refusal {
            code: MISSING_PARENT.to_owned(),
            ..refusal
        },
        fields,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::model::ids::{FencingToken, Generation, IntentId, RecordId};
    use crate::model::intent::{Intent, IntentState};
    use crate::model::value::Value;
    use crate::planner::policy::{ATTEMPTS_MAX, Attempts, Cause};
    use crate::planner::route::Routable;
    use crate::ports::record::LeasedTask;

    /// How long the tenant waits for its org.
    const ORG_WAIT_MS: i64 = 77;

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

    /// A write of these fields, after so many failures of each kind.
    fn tried(action: WriteAction, sent: &[&str], count: u32) -> IntendedWrite {
        let record_id = RecordId(Uuid::nil());
        let fields = sent.iter().map(|name| (field(name), Value::text("x")));
        IntendedWrite {
            lease: LeasedTask {
                record_id,
                token: FencingToken(1),
                generation: Generation(1),
                attempts: [Cause::Refused, Cause::Parent, Cause::Unknown]
                    .into_iter()
                    .fold(Attempts::default(), |attempts, cause| {
                        attempts.with(cause, count)
                    }),
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
            awaits: Vec::new(),
            routable: Routable {
                at_rest: None,
                contested: false,
                urgent: false,
                has_dependencies: false,
            },
            seen_ms: None,
            may_run_over: false,
        }
    }

    /// What follows if a write of `sent` is refused.
    fn outcome(
        (action, sent): (WriteAction, &[&str]),
        refusal: Refusal,
        attempt: u32,
    ) -> SettledOutcome {
        let tried = tried(action, sent, attempt);
        settled(
            WriteOutcome::Refused(refusal),
            &tried,
            &field("Key__c"),
            (0, ORG_WAIT_MS),
        )
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
        for disposition in [Disposition::RetryLater, Disposition::WaitForParent] {
            assert!(matches!(outcome_of(disposition, 0), RetryLater { .. }));
            assert!(matches!(outcome_of(disposition, 1_000), Park { .. }));
        }
    }

    #[test]
    fn what_concerns_the_tenant_counts_for_no_record() {
        for disposition in [
            Disposition::WaitForQuota,
            Disposition::WaitForOrg,
            Disposition::RefreshSession,
        ] {
            let waits = outcome_of(disposition, 1_000);
            assert!(matches!(
                waits,
                SettledOutcome::RetryLater {
                    delay_ms: ORG_WAIT_MS,
                    cause: None,
                    ..
                }
            ));
        }
    }

    #[test]
    fn unknown_outcomes_wait_longer_and_end() {
        let unknown = |disposition, count| {
            let outcome = WriteOutcome::Unknown {
                reason: "timed out".to_owned(),
                disposition,
            };
            let tried = tried(WriteAction::Update, &["Name"], count);
            settled(outcome, &tried, &field("Key__c"), (0, ORG_WAIT_MS))
        };
        let delay_ms = |count| match unknown(Disposition::RetryLater, count) {
            SettledOutcome::Unknown { delay_ms, cause } => {
                assert_eq!(cause, Some(Cause::Unknown));
                delay_ms
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            delay_ms(0),
            0,
            "a read may show at once that it took effect"
        );
        assert!(delay_ms(1) > 0);
        let last = unknown(Disposition::RetryLater, ATTEMPTS_MAX - 1);
        assert_eq!(last, SettledOutcome::Lost);
        let maintenance = unknown(Disposition::WaitForOrg, 1_000);
        let waits = SettledOutcome::Unknown {
            delay_ms: ORG_WAIT_MS,
            cause: None,
        };
        assert_eq!(maintenance, waits);
    }
}
