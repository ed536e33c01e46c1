//! Settles remote writes: records their outcomes.
//!
//! Link, base and intent are settled if the lease's fencing token is current, so that the base also advances
//! for a record that changes all the time. The task is deleted only if no new work came meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::model::ids::{FieldName, Generation, IntentId, RecordId, SalesforceId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::AutomationOverride;
use crate::model::value::Value;
use crate::planner::observation::settle_applied;
use crate::ports::apply_store::{IntendedWrite, SettledOutcome, Settlement};
use crate::ports::record::{LeaseEnd, LeasedTask, ParkReason, Withheld};
use crate::ports::salesforce::{Disposition, Refusal};
use crate::ports::{MappedObject, StoreError};
use crate::store::error::corrupt;
use crate::store::operations::children::read_cleared;
use crate::store::operations::parents::{former_parents, remote_parents};
use crate::store::operations::record_outcomes::{end_agreement, withheld_end};
use crate::store::tables::discarded_value::{
    NewDiscardedValue, insert_discarded_values, overwritten_value,
};
use crate::store::tables::intent::{
    RefusalLine, SavedRefusal, live_intents, save_intents, save_refusals,
};
use crate::store::tables::journal::{JournalLine, write_journal};
use crate::store::tables::link::{KnownRecord, lock_records, resolve_parents, save_records};
use crate::store::tables::task::{LeaseTime, end_leases, lock_leased_tasks, wake_waiting};
use crate::store::transaction::Tx;

/// Settles remote writes. Returns how many of them came too late: their leases are lost.
pub(crate) async fn settle(
    tx: &mut Tx,
    mapped: &MappedObject,
    settlements: &[Settlement<'_>],
) -> Result<usize, StoreError> {
    let ids: Vec<RecordId> = settlements
        .iter()
        .map(|one| one.write.lease.record_id)
        .collect();
    let known = lock_records(tx, &ids).await?;
    let leases = settlements.iter().map(|one| &one.write.lease);
    let standing = lock_leased_tasks(tx, leases, LeaseTime::Any).await?;
    let intents = live_intents(tx, &ids).await?;
    let intents: BTreeMap<IntentId, Intent> = intents
        .into_values()
        .flatten()
        .map(|intent| (intent.intent_id, intent))
        .collect();
    let parents = parents(tx, mapped, &known, &intents).await?;
    let taken = taken_ids(tx, mapped, settlements).await?;
    let mut settling = Settling {
        mapped,
        parents,
        taken,
        known: known
            .into_iter()
            .map(|known| (known.link.record_id, known))
            .collect(),
        intents,
        writes: SettledWrites::default(),
    };
    let mut lost = 0;
    for one in settlements {
        match standing.get(&(one.write.lease.record_id, one.write.lease.token)) {
            Some(generation) => settling.take(one, *generation),
            None => lost += 1,
        }
    }
    settling.write(tx).await?;
    Ok(lost)
}

/// Returns the parents that remote states and intents reference: by Salesforce id, spelled as in the intents.
async fn parents(
    tx: &mut Tx,
    mapped: &MappedObject,
    known: &[KnownRecord],
    intents: &BTreeMap<IntentId, Intent>,
) -> Result<BTreeMap<SalesforceId, String>, StoreError> {
    let shown = remote_parents(mapped, known);
    let mut parents = resolve_parents(tx, &mapped.tenant, &shown).await?;
    let sent: BTreeSet<(&str, &str)> = intents
        .values()
        .flat_map(|intent| sent_references(mapped, intent))
        .collect();
    if sent.is_empty() {
        return Ok(parents);
    }
    let (objects, external_ids): (Vec<&str>, Vec<&str>) = sent.into_iter().unzip();
    let rows: Vec<(String, String)> = tx
        .rows(
            "resolving parents that were sent",
            sqlx::query_as(
                "select link.salesforce_id, alias.value
                from unnest($2::text[], $3::text[]) as sent (object, external_id)
                join syncline.sync_link_alias as alias
                    on alias.tenant = $1
                    and alias.object = sent.object
                    and alias.kind = 'external_id'
                    and alias.value = sent.external_id
                    and alias.is_current
                join syncline.sync_link as link on link.record_id = alias.record_id
                where link.salesforce_id is not null",
            )
            .bind(mapped.tenant.as_str())
            .bind(objects)
            .bind(external_ids),
        )
        .await?;
    for (id, external_id) in rows {
        let id = SalesforceId::parse(&id).map_err(corrupt)?;
        parents.insert(id, external_id);
    }
    Ok(parents)
}

/// Returns the objects and external ids that an intent's references name.
fn sent_references<'a>(mapped: &'a MappedObject, intent: &'a Intent) -> Vec<(&'a str, &'a str)> {
    mapped
        .sync
        .fields
        .iter()
        .filter_map(|(name, field)| {
            let Some(Value::Text(external_id)) = intent.fields.get(name) else {
                return None;
            };
            Some((field.references.as_ref()?.as_str(), external_id.as_str()))
        })
        .collect()
}

fn sent_parents(mapped: &MappedObject, intent: &Intent) -> Vec<String> {
    sent_references(mapped, intent)
        .into_iter()
        .map(|(_, external_id)| external_id.to_owned())
        .collect()
}

/// Returns the ids among the outcomes that another record already has.
async fn taken_ids(
    tx: &mut Tx,
    mapped: &MappedObject,
    settlements: &[Settlement<'_>],
) -> Result<BTreeMap<SalesforceId, RecordId>, StoreError> {
    let ids: Vec<&str> = settlements
        .iter()
        .filter_map(|one| match &one.outcome {
            SettledOutcome::Applied { salesforce_id, .. } => Some(salesforce_id.as_str()),
            SettledOutcome::Refused { .. } | SettledOutcome::Unknown { .. } => None,
        })
        .collect();
    let rows: Vec<(String, Uuid)> = tx
        .rows(
            "looking for ids that are taken",
            sqlx::query_as(
                "select salesforce_id, record_id
                from syncline.sync_link
                where tenant = $1
                and object = $2
                and salesforce_id = any($3)",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(ids),
        )
        .await?;
    rows.into_iter()
        .map(|(id, record)| {
            let id = SalesforceId::parse(&id).map_err(corrupt)?;
            Ok((id, RecordId(record)))
        })
        .collect()
}

/// Everything that the settlements write.
#[derive(Default)]
struct SettledWrites {
    links: Vec<KnownRecord>,
    intents: Vec<Intent>,
    refusals: Vec<RefusalLine>,
    journal: Vec<JournalLine>,
    discarded: Vec<NewDiscardedValue>,
    ends: Vec<(LeasedTask, LeaseEnd)>,
    /// External ids and Salesforce ids that exist in Salesforce from now on, external ids that are free there, and
    /// the Salesforce ids of records that others have ceased to point to.
    arrived: Vec<String>,
    /// External ids of records that are deleted there.
    gone: Vec<String>,
}

struct Settling<'a> {
    mapped: &'a MappedObject,
    parents: BTreeMap<SalesforceId, String>,
    taken: BTreeMap<SalesforceId, RecordId>,
    known: BTreeMap<RecordId, KnownRecord>,
    intents: BTreeMap<IntentId, Intent>,
    writes: SettledWrites,
}

impl Settling<'_> {
    fn take(&mut self, one: &Settlement<'_>, generation: Option<Generation>) {
        let IntendedWrite {
            lease,
            intent,
            withheld,
            ..
        } = one.write;
        let Some(intent) = self.intents.get(&intent.intent_id).cloned() else {
            let end = LeaseEnd::Done { again: true };
            return self.writes.ends.push((lease.clone(), end));
        };
        let end = match &one.outcome {
            SettledOutcome::Applied {
                salesforce_id,
                found,
            } => {
                let is_all = withheld.reasons.is_empty() && generation == Some(lease.generation);
                match (
                    self.applied(intent, (salesforce_id, *found), is_all),
                    withheld_end(lease, withheld),
                ) {
                    (LeaseEnd::Done { .. }, _) if *found => {
                        LeaseEnd::refresh(0, None, "its create found a record that was unknown")
                    }
                    (LeaseEnd::Done { again: false }, Some(withheld)) => withheld,
                    (end, _) => end,
                }
            }
            SettledOutcome::Refused {
                refusal,
                sent,
                withheld: refused,
                next,
            } => {
                let awaits = match refusal.disposition {
                    Disposition::WaitForParent if refused.is_empty() => {
                        sent_parents(self.mapped, &intent)
                    }
                    // A record that lets go of it names its id.
                    Disposition::WaitForChildren => {
                        let id = one.write.salesforce_id.iter();
                        id.map(ToString::to_string).collect()
                    }
                    _ => Vec::new(),
                };
                self.refused(intent, refusal, refused);
                let end = match LeaseEnd::after(*next, &no_effect(refusal, *sent)) {
                    Some(end) => end.coded(&refusal.code),
                    None => LeaseEnd::park(park_reason_of(withheld, refusal)),
                };
                end.awaiting(awaits)
            }
            SettledOutcome::Unknown { next } => {
                self.set_state(intent, IntentState::Unknown);
                let reason = "the outcome of its write is unknown";
                match LeaseEnd::after(*next, reason) {
                    // It is read first, however long it waits.
                    Some(end) => end.refreshed(),
                    None => LeaseEnd::park(unknown_outcome()),
                }
            }
        };
        self.note(one);
        self.writes.ends.push((lease.clone(), end));
    }

    /// Settles a confirmed write. `found`: a create found a record that was not known; `is_all`: no other work of
    /// the record is left.
    fn applied(
        &mut self,
        intent: Intent,
        (salesforce_id, found): (&SalesforceId, bool),
        is_all: bool,
    ) -> LeaseEnd {
        let record_id = intent.record_id;
        let holder = self.taken.insert(salesforce_id.clone(), record_id);
        if let Some(holder) = holder.filter(|holder| *holder != record_id) {
            self.taken.insert(salesforce_id.clone(), holder);
            self.set_state(intent, IntentState::Confirmed);
            return LeaseEnd::park(ParkReason {
                code: "duplicate_key".to_owned(),
                field: None,
                message: format!(
                    "Salesforce record {salesforce_id} is already linked to another record ({holder})"
                ),
            });
        }
        let Some(mut known) = self.known.remove(&record_id) else {
            return LeaseEnd::Done { again: true };
        };
        let settled = settle_applied(
            &known.link,
            &self.mapped.sync,
            &intent,
            (salesforce_id, found),
            &self.parents,
        );
        let lost = settled.overwritten.into_iter();
        let lost = lost.map(|(field, value)| overwritten_value(record_id, field, &value));
        self.writes.discarded.extend(lost);
        let field = &self.mapped.sync.external_id.field;
        // Another record may take it now.
        let given_up = given_up(&known, &intent, field);
        self.writes.arrived.extend(given_up);
        let before = &known.link.remote_state;
        let former = former_parents(self.mapped, before, &settled.remote_state);
        self.writes.arrived.extend(former);
        known.link.base = settled.base;
        known.link.remote_state = settled.remote_state;
        if is_all && settled.state == IntentState::Confirmed {
            known.keep_sent_times();
            known.postgres_edited.clear();
        }
        let cleared = intent.fields.get(field) == Some(&Value::Null);
        if cleared {
            known.link.base.remove(field);
        }
        match intent.action {
            WriteAction::Delete => {
                self.writes.gone.push(known.link.external_id.clone());
                let base = std::mem::take(&mut known.link.base);
                end_agreement(&mut known, base);
            }
            WriteAction::Create | WriteAction::Update => {
                known.link.agreed |= settled.agreed;
                known.link.salesforce_id = Some(salesforce_id.clone());
                known.generated &= !intent.fields.contains_key(field);
                if intent.action == WriteAction::Create {
                    self.writes.arrived.push(known.link.external_id.clone());
                    self.writes.arrived.push(salesforce_id.to_string());
                }
            }
        }
        self.writes.links.push(known);
        self.set_state(intent, settled.state);
        // An external id that was cleared for an exchange is written next.
        LeaseEnd::Done { again: cleared }
    }

    fn refused(&mut self, intent: Intent, refusal: &Refusal, withheld: &[FieldName]) {
        self.uncount_overrides(&intent);
        self.writes.refusals.push(RefusalLine {
            intent_id: intent.intent_id,
            refusal: SavedRefusal::of(refusal, withheld),
        });
        self.set_state(intent, IntentState::Refused);
    }

    /// Automation has not changed back what had no effect: the plan of the write has counted it.
    fn uncount_overrides(&mut self, intent: &Intent) {
        let Some(known) = self.known.get_mut(&intent.record_id) else {
            return;
        };
        let overrides = &mut known.link.automation_overrides;
        if AutomationOverride::uncount(overrides, intent.fields.keys()) {
            self.writes.links.push(known.clone());
        }
    }

    fn set_state(&mut self, mut intent: Intent, state: IntentState) {
        intent.state = state;
        self.writes.intents.push(intent);
    }

    fn note(&mut self, one: &Settlement<'_>) {
        let status = match &one.outcome {
            SettledOutcome::Applied { .. } => "applied".to_owned(),
            SettledOutcome::Refused { refusal, sent, .. } => match sent {
                true => format!("refused: {}", refusal.code),
                false => format!("not sent: {}", refusal.code),
            },
            SettledOutcome::Unknown { .. } => "unknown".to_owned(),
        };
        self.writes.journal.push(JournalLine {
            tenant: self.mapped.tenant.to_string(),
            object: self.mapped.sync.object.to_string(),
            record_id: Some(one.write.lease.record_id),
            source: "settlement",
            operation: "write".to_owned(),
            external_id: Some(one.write.lease.external_id.clone()),
            cursor: Some(one.write.intent.intent_id.to_string()),
            org_epoch: Some(self.mapped.org_epoch.0),
            status: Some(status),
            config_hash: Some(self.mapped.config_hash.to_string()),
            ..JournalLine::default()
        });
    }

    async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        let writes = self.writes;
        save_records(tx, &writes.links).await?;
        save_intents(tx, &writes.intents).await?;
        save_refusals(tx, &writes.refusals).await?;
        write_journal(tx, &writes.journal).await?;
        let config_hash = &self.mapped.config_hash;
        insert_discarded_values(tx, &writes.discarded, config_hash).await?;
        end_leases(tx, self.mapped, &writes.ends).await?;
        wake_waiting(tx, &writes.arrived).await?;
        let gone: Vec<&str> = writes.gone.iter().map(String::as_str).collect();
        read_cleared(tx, self.mapped, &gone).await
    }
}

/// Returns the external id that the record gives up by this write.
fn given_up(known: &KnownRecord, intent: &Intent, field: &FieldName) -> Option<String> {
    intent.fields.get(field)?;
    match &known.link.remote_state.fields.get(field)?.value {
        Value::Text(before) => Some(before.clone()),
        Value::Null | Value::Boolean(_) | Value::Number(_) => None,
    }
}

fn no_effect(refusal: &Refusal, sent: bool) -> String {
    match sent {
        true => format!("Salesforce refused the write ({})", refusal.code),
        false => format!("the write was not sent ({})", refusal.code),
    }
}

fn unknown_outcome() -> ParkReason {
    ParkReason {
        code: "unknown_outcome".to_owned(),
        field: None,
        message: "Salesforce never answered a write of the record completely, and a read showed each time that it \
                  had no effect: look at the network and the status of the org, then replay it"
            .to_owned(),
    }
}

/// A withheld field is the likelier cause of a refusal, so it is named first.
fn park_reason_of(withheld: &Withheld, refusal: &Refusal) -> ParkReason {
    match withheld.park_reason() {
        Some(withheld) => ParkReason {
            message: format!(
                "{}; {}: {}",
                withheld.message, refusal.code, refusal.message
            ),
            ..withheld
        },
        None => park_reason(refusal),
    }
}

/// A name that is not a mapped field (for example a path through a lookup) is kept in the message.
fn park_reason(refusal: &Refusal) -> ParkReason {
    let named = refusal.fields.first();
    let field = named.and_then(|name| FieldName::parse(name).ok());
    let message = match (named, &field) {
        (Some(name), None) => format!("{name}: {}", refusal.message),
        (Some(_), Some(_)) | (None, _) => refusal.message.clone(),
    };
    ParkReason {
        code: refusal.code.clone(),
        field,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::salesforce::Disposition;

    #[test]
    fn refused_field_is_kept_or_quoted() {
        let parked = |fields: &[&str]| {
            let reason = park_reason(&Refusal {
                code: "INVALID".to_owned(),
                message: "no".to_owned(),
                fields: fields.iter().map(|&field| field.to_owned()).collect(),
                disposition: Disposition::Park,
            });
            (reason.field.map(|field| field.to_string()), reason.message)
        };
        assert_eq!(
            parked(&["Name"]),
            (Some("Name".to_owned()), "no".to_owned())
        );
        assert_eq!(parked(&["a name"]), (None, "a name: no".to_owned()));
        assert_eq!(parked(&[]), (None, "no".to_owned()));
    }
}
