//! Asks the policy what the outcome of a write means for its record.

use crate::model::ids::FieldName;
use crate::model::intent::{Intent, WriteAction};
use crate::planner::policy::{
    BACKOFF_MS_MIN, Cause, NextStep, Tries, decide, decide_refusal, withheld, withheld_lookups,
};
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
        WriteOutcome::Unknown { disposition, .. } => SettledOutcome::Unknown {
            next: match disposition.concerns_tenant() {
                true => decide_refusal(disposition, tries, org_wait_ms),
                false => decide(Cause::Unknown, tries),
            },
        },
        WriteOutcome::NotSent(refusal) => SettledOutcome::Refused {
            next: match refusal.disposition {
                // Our own time was up: the record is not the cause.
                Disposition::RetryLater => NextStep::Wait {
                    delay_ms: BACKOFF_MS_MIN,
                    cause: None,
                },
                other => decide_refusal(other, tries, org_wait_ms),
            },
            refusal,
            sent: false,
            withheld: Vec::new(),
        },
        WriteOutcome::Refused(refusal) => {
            refused(refusal, tried, external_id, (tries, org_wait_ms))
        }
    }
}

fn refused(
    mut refusal: Refusal,
    tried: &IntendedWrite,
    external_id: &FieldName,
    (tries, org_wait_ms): (Tries<'_>, i64),
) -> SettledOutcome {
    let disposition = disposition_of(&refusal, external_id);
    let mut next = decide_refusal(disposition, tries, org_wait_ms);
    let Intent { action, fields, .. } = &tried.intent;
    let withheld = match (next, disposition) {
        (NextStep::Park, Disposition::Park | Disposition::WaitForValue) => {
            withheld(*action, fields, &refusal.fields, external_id, tries.before)
        }
        (NextStep::Park, Disposition::WaitForParent) => {
            withheld_lookups(fields, &refusal.fields, external_id)
        }
        (_, _) => Vec::new(),
    };
    if !withheld.is_empty() {
        if disposition == Disposition::WaitForParent {
            MISSING_PARENT.clone_into(&mut refusal.code);
        }
        next = NextStep::Wait {
            delay_ms: 0,
            cause: Some(Cause::Refused),
        };
    }
    SettledOutcome::Refused {
        refusal,
        sent: true,
        withheld,
        next,
    }
}

/// Returns what to do about the refusal. A record that has our external id may be our own.
fn disposition_of(refusal: &Refusal, external_id: &FieldName) -> Disposition {
    let names_external_id = || {
        let mut fields = refusal.fields.iter();
        fields.any(|name| name.eq_ignore_ascii_case(external_id.as_str()))
    };
    match refusal.disposition {
        Disposition::WaitForValue if names_external_id() => Disposition::RefreshRecord,
        disposition => disposition,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::model::ids::{FencingToken, Generation, IntentId, RecordId};
    use crate::model::intent::IntentState;
    use crate::model::value::Value;
    use crate::planner::policy::{ATTEMPTS_MAX, Attempts, VALUE_ATTEMPTS_MAX};
    use crate::planner::route::Routable;
    use crate::ports::record::{LeasedTask, Withheld};

    /// How long the tenant waits for its org.
    const ORG_WAIT_MS: i64 = 77;
    const ORG_WAITS: NextStep = NextStep::Wait {
        delay_ms: ORG_WAIT_MS,
        cause: None,
    };

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
                attempts: [
                    Cause::Parent,
                    Cause::Refused,
                    Cause::Unknown,
                    Cause::ValueTaken,
                ]
                .into_iter()
                .fold(Attempts::default(), |attempts, cause| {
                    attempts.with(cause, count)
                }),
                needs_refresh: false,
                salesforce_id: None,
                external_id: "k-1".to_owned(),
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
            withheld: Withheld::default(),
            routable: Routable {
                at_rest: None,
                discards_edit: false,
                may_overwrite: false,
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
        settled(
            WriteOutcome::Refused(refusal),
            &tried,
            &field("Key__c"),
            (0, ORG_WAIT_MS),
        )
    }

    fn next_of(disposition: Disposition, attempt: u32) -> NextStep {
        let sent = (WriteAction::Update, ["Name"].as_slice());
        match outcome(sent, refusal(disposition, &[]), attempt) {
            SettledOutcome::Refused { next, sent, .. } => {
                assert!(sent);
                next
            }
            other => panic!("{other:?}"),
        }
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
                    SettledOutcome::Refused { withheld, next, .. } => {
                        assert_eq!(next == NextStep::Park, withheld.is_empty());
                        withheld
                    }
                    other => panic!("{other:?}"),
                }
            };
            let expected: Vec<FieldName> = withheld.iter().map(|name| field(name)).collect();
            assert_eq!(refused(0), expected, "{action:?} {sent:?} {named:?}");
            assert_eq!(refused(ATTEMPTS_MAX), Vec::new(), "it ends");
        }
    }

    #[test]
    fn taken_value_waits_then_only_its_field_is_withheld() {
        use WriteAction::Update;
        let taken = |sent: &[&str], name, attempt| {
            let refusal = refusal(Disposition::WaitForValue, &[name]);
            match outcome((Update, sent), refusal, attempt) {
                SettledOutcome::Refused { withheld, next, .. } => (withheld, next),
                other => panic!("{other:?}"),
            }
        };
        let sent = ["Key__c", "Name", "Tax__c"];
        let (withheld, next) = taken(&sent, "Tax__c", 0);
        assert!(withheld.is_empty());
        assert!(
            matches!(next, NextStep::Wait { cause, .. } if cause == Some(Cause::ValueTaken)),
            "{next:?}"
        );
        let (withheld, _) = taken(&sent, "Tax__c", VALUE_ATTEMPTS_MAX);
        assert_eq!(withheld, [field("Tax__c")]);
        let (_, alone) = taken(&["Tax__c"], "Tax__c", VALUE_ATTEMPTS_MAX);
        assert_eq!(alone, NextStep::Park);
        // The record that has the external id may be this one.
        let (_, external_id) = taken(&sent, "key__c", 0);
        assert!(matches!(external_id, NextStep::Refresh { .. }));
    }

    #[test]
    fn transient_refusals_retry_permanent_ones_park() {
        for disposition in [Disposition::RetryLater, Disposition::WaitForParent] {
            assert!(matches!(
                next_of(disposition, 0),
                NextStep::Wait { cause: Some(_), .. }
            ));
            assert_eq!(next_of(disposition, 1_000), NextStep::Park);
        }
    }

    #[test]
    fn what_concerns_the_tenant_counts_for_no_record() {
        for disposition in [
            Disposition::WaitForQuota,
            Disposition::WaitForOrg,
            Disposition::RefreshSession,
        ] {
            assert_eq!(next_of(disposition, 1_000), ORG_WAITS);
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
            SettledOutcome::Unknown {
                next: NextStep::Refresh { delay_ms, cause },
            } => {
                assert_eq!(cause, Cause::Unknown);
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
        let next = NextStep::Park;
        assert_eq!(last, SettledOutcome::Unknown { next });
        let maintenance = unknown(Disposition::WaitForOrg, 1_000);
        assert_eq!(maintenance, SettledOutcome::Unknown { next: ORG_WAITS });
    }

    #[test]
    fn write_that_was_not_sent_counts_no_attempt() {
        let not_sent = |disposition| {
            let outcome = WriteOutcome::NotSent(refusal(disposition, &["Name"]));
            let tried = tried(WriteAction::Update, &["Name", "Phone"], 1_000);
            match settled(outcome, &tried, &field("Key__c"), (0, ORG_WAIT_MS)) {
                SettledOutcome::Refused {
                    sent: false, next, ..
                } => next,
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(
            not_sent(Disposition::RetryLater),
            NextStep::Wait { cause: None, .. }
        ));
        assert_eq!(not_sent(Disposition::WaitForOrg), ORG_WAITS);
        let changed = not_sent(Disposition::RefreshRecord);
        assert!(
            matches!(changed, NextStep::Refresh { cause, .. } if cause == Cause::Changed),
            "{changed:?}"
        );
    }
}
