//! Recording what a batch came to: links, bases, conflicts, lost values, journal, intents and tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::apply::{Candidate, park_reason};
use super::capture::key_form;
use super::conflicts::{ConflictRow, write_conflicts};
use super::error::{RefusalKind, RowRefusal};
use super::journal::{JournalLine, keep_rules, write_journal};
use super::links::{RawAlias, add_raw_aliases};
use super::observations::references;
use super::records::{KnownRecord, LostValue, free_keys, log_lost_values, save_records, word_of};
use super::tasks::{LeaseEnd, NewWork, Parking, add_work, end_leases, wake_children};
use super::transaction::{Tx, recordset};
use super::write_rows::RowOutcome;
use crate::engine::ports::store::{
    LeasedTask, NewIntent, ParkReason, PlanEvidence, PlanRules, PlannedRecord, PostgresRow,
    PostgresSettlement, RecordDecision,
};
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::{FencingToken, RecordId};
use crate::model::link::Presence;
use crate::model::value::Payload;
use crate::planner::facts::RecordFacts;
use crate::planner::policy::{NextStep, Obstacle, Tries, decide};
use crate::planner::record::{Agreement, Confirmation, RecordPlan};

/// A record and what became of it.
pub(super) struct Planned<'c> {
    /// The record as it was.
    pub(super) candidate: &'c Candidate,
    /// What became of it.
    pub(super) outcome: Outcome,
}

/// What became of a record.
pub(super) enum Outcome {
    /// Postgres refused its row.
    Refused(RowRefusal),
    /// The planner spoke, and its row was written as it new.
    PlannedRow {
        /// There was a row before.
        row_stood: bool,
        /// That row.
        before: Option<PostgresRow>,
        /// The planner's word.
        decision: Box<RecordDecision>,
        /// What became of the row; none if none was written.
        row: Option<RowOutcome>,
        /// What the row says of the write.
        settlement: Option<PostgresSettlement>,
    },
}

/// Everything a batch leaves behind.
#[derive(Default)]
struct BatchWrites {
    planned: Vec<PlannedRecord>,
    links: Vec<KnownRecord>,
    moved: Vec<RecordId>,
    aliases: Vec<RawAlias>,
    intents: Vec<IntentLine>,
    conflicts: Vec<ConflictRow>,
    /// Records whose conflicts were judged anew.
    replanned: Vec<Uuid>,
    lost: Vec<LostValue>,
    journal: Vec<JournalLine>,
    /// The rules of the decisions in the journal, by hash.
    rules: BTreeMap<String, Arc<PlanRules>>,
    ends: Vec<(LeasedTask, LeaseEnd)>,
    again: Vec<NewWork>,
    /// External ids of rows that stand from now on.
    arrived: Vec<String>,
}

/// Writes what the batch came to, and says it in the engine's terms.
pub(super) async fn record_outcomes(
    tx: &mut Tx,
    mapped: &MappedObject,
    outcomes: Vec<Planned<'_>>,
) -> Result<Vec<PlannedRecord>, StoreError> {
    let mut writes = BatchWrites::default();
    for planned in outcomes {
        writes.take(mapped, planned);
    }
    make_room(tx, mapped, &writes).await?;
    free_keys(tx, &writes.moved).await?;
    save_records(tx, &writes.links, &mapped.config_hash).await?;
    add_raw_aliases(tx, &writes.aliases).await?;
    insert_intents(tx, mapped, &writes.intents).await?;
    write_conflicts(tx, mapped, &writes.conflicts, &writes.replanned).await?;
    log_lost_values(tx, &writes.lost, &mapped.config_hash).await?;
    write_journal(tx, &writes.journal).await?;
    keep_rules(tx, writes.rules.values()).await?;
    add_work(tx, &writes.again).await?;
    end_leases(tx, mapped, &writes.ends).await?;
    wake_children(tx, &writes.arrived).await?;
    Ok(writes.planned)
}

impl BatchWrites {
    fn take(&mut self, mapped: &MappedObject, planned: Planned<'_>) {
        let candidate = planned.candidate;
        match planned.outcome {
            Outcome::Refused(refusal) => self.refused(mapped, candidate, &refusal),
            Outcome::PlannedRow {
                row_stood,
                before,
                decision,
                row,
                settlement,
            } => match *decision {
                RecordDecision::Wait {
                    reason,
                    delay_ms,
                    counts,
                } => self.later(
                    candidate,
                    LeaseEnd::Later {
                        delay_ms,
                        counts,
                        needs_refresh: false,
                        code: None,
                        reason,
                        awaits: unknown_parents(mapped, candidate),
                    },
                ),
                RecordDecision::Refresh => self.later(
                    candidate,
                    LeaseEnd::Later {
                        delay_ms: 0,
                        counts: false,
                        needs_refresh: true,
                        code: None,
                        reason: "it is read in Salesforce first".to_owned(),
                        awaits: Vec::new(),
                    },
                ),
                RecordDecision::Park(reason) => self.park(candidate, reason.into(), false),
                RecordDecision::Planned {
                    plan,
                    postgres: _,
                    intent,
                    automation_overrides,
                    evidence,
                    withheld,
                } => {
                    let done = Done {
                        row_stood,
                        before,
                        plan,
                        evidence,
                        intent,
                        automation_overrides,
                        withheld,
                        row,
                        settlement,
                    };
                    self.planned(mapped, candidate, done);
                }
            },
        }
    }

    fn later(&mut self, candidate: &Candidate, end: LeaseEnd) {
        self.planned.push(PlannedRecord::Requeued {
            record_id: candidate.lease.record_id,
        });
        self.ends.push((candidate.lease.clone(), end));
    }

    fn park(&mut self, candidate: &Candidate, parking: Parking, wrote_row: bool) {
        self.planned.push(PlannedRecord::Parked {
            record_id: candidate.lease.record_id,
            code: parking.code.clone(),
            wrote_row,
        });
        self.ends
            .push((candidate.lease.clone(), LeaseEnd::Park(parking)));
    }

    fn refused(&mut self, mapped: &MappedObject, candidate: &Candidate, refusal: &RowRefusal) {
        let (code, field, message) = park_reason(mapped, refusal);
        let (obstacle, reason, awaits) = match refusal.kind {
            RefusalKind::Contended => {
                let reason = "another transaction is in the way";
                return self.later(
                    candidate,
                    shortly(Obstacle::RowContended, candidate, reason),
                );
            }
            RefusalKind::ParentMissing => (
                Obstacle::MissingParent,
                "the row it points to is not there yet",
                candidate.parents.values().cloned().collect(),
            ),
            RefusalKind::ValueRejected | RefusalKind::ConstraintRejected => {
                (Obstacle::RowRefused, "", Vec::new())
            }
        };
        match wait(obstacle, candidate) {
            Some((delay_ms, counts)) => {
                let end = LeaseEnd::Later {
                    delay_ms,
                    counts,
                    needs_refresh: false,
                    code: Some(code),
                    reason: reason.to_owned(),
                    awaits,
                };
                self.later(candidate, end);
            }
            None => self.park(
                candidate,
                Parking {
                    code,
                    field,
                    message,
                    payload: None,
                },
                false,
            ),
        }
    }

    fn planned(&mut self, mapped: &MappedObject, candidate: &Candidate, done: Done) {
        match done.row {
            Some(RowOutcome::KeyTaken) => {
                let reason = "a row with its key appeared meanwhile";
                return self.later(candidate, shortly(Obstacle::KeyTaken, candidate, reason));
            }
            Some(RowOutcome::Suppressed) => {
                return self.park(candidate, suppressed(mapped), false);
            }
            Some(RowOutcome::Stands(_) | RowOutcome::Gone) | None => {}
        }
        let known = done.leave(mapped, candidate);
        self.names(candidate, &known, &done);
        self.evidence(mapped, candidate, &done);
        let altered = done.settlement.as_ref().is_some_and(|row| row.altered);
        let wrote_row = done.row.is_some();
        let parking = withheld_fields(&done.withheld);
        match (done.intent, parking) {
            (Some(intent), _) => {
                if altered {
                    self.again.push(NewWork {
                        record_id: candidate.lease.record_id,
                        needs_refresh: false,
                        xid: None,
                    });
                }
                self.intents.push(IntentLine::of(&candidate.lease, &intent));
                self.planned.push(PlannedRecord::Intended {
                    lease: candidate.lease.clone(),
                    intent,
                    salesforce_id: known.link.salesforce_id.clone(),
                    wrote_row,
                    withheld: done.withheld,
                });
            }
            (None, Some(parking)) if !altered => self.park(candidate, parking, wrote_row),
            (None, _) => {
                let end = LeaseEnd::Done { again: altered };
                self.ends.push((candidate.lease.clone(), end));
                self.planned.push(PlannedRecord::Settled {
                    record_id: candidate.lease.record_id,
                    wrote_row,
                });
            }
        }
        self.links.push(known);
    }

    fn names(&mut self, candidate: &Candidate, known: &KnownRecord, done: &Done) {
        let record_id = known.link.record_id;
        if known.link.canonical_id != candidate.known.link.canonical_id {
            self.moved.push(record_id);
        }
        if let Some(RowOutcome::Stands(row)) = &done.row
            && let Some(raw) = &row.external_id
        {
            if !done.row_stood {
                self.arrived.push(raw.clone());
            }
            self.aliases.push(RawAlias {
                record_id,
                value: raw.clone(),
            });
        }
    }

    fn evidence(&mut self, mapped: &MappedObject, candidate: &Candidate, done: &Done) {
        let record_id = candidate.lease.record_id;
        self.replanned.push(record_id.0);
        self.conflicts.extend(ConflictRow::all(
            mapped,
            &candidate.known.link,
            done.before.as_ref(),
            &done.plan,
        ));
        self.lost
            .extend(done.plan.discarded.iter().map(|discarded| LostValue {
                record_id,
                field: discarded.field.clone(),
                side: word_of(discarded.side),
                value: [discarded.value.to_json()],
                rule: word_of(discarded.rule),
            }));
        if done.plan.is_settled() && done.plan.base_advance.is_empty() {
            return;
        }
        let rules = &done.evidence.rules;
        self.rules.insert(rules.hash.clone(), Arc::clone(rules));
        self.journal.push(JournalLine {
            tenant: mapped.tenant.to_string(),
            object: mapped.sync.object.to_string(),
            record_id: Some(record_id),
            source: "decision",
            operation: word_of(done.plan.explanation.record),
            external_id: Some(candidate.known.link.external_id.clone()),
            salesforce_id: candidate
                .known
                .link
                .salesforce_id
                .as_ref()
                .map(ToString::to_string),
            org_epoch: Some(mapped.org_epoch.0),
            payload: serde_json::to_value(DecisionLine::of(done)).ok(),
            config_hash: Some(mapped.config_hash.to_string()),
            ..JournalLine::default()
        });
    }
}

/// Returns the wait that an obstacle calls for and whether the try counts, or none if it is the end.
fn wait(obstacle: Obstacle, candidate: &Candidate) -> Option<(i64, bool)> {
    let lease = &candidate.lease;
    match decide(obstacle, Tries::of(lease.record_id, lease.attempt)) {
        NextStep::Wait { delay_ms, counts } => Some((delay_ms, counts)),
        NextStep::Refresh { delay_ms } => Some((delay_ms, true)),
        NextStep::Park => None,
    }
}

fn shortly(obstacle: Obstacle, candidate: &Candidate, reason: &str) -> LeaseEnd {
    let (delay_ms, counts) = wait(obstacle, candidate).unwrap_or_default();
    LeaseEnd::Later {
        delay_ms,
        counts,
        needs_refresh: false,
        code: None,
        reason: reason.to_owned(),
        awaits: Vec::new(),
    }
}

/// Returns the Salesforce ids that the record's remote state points to and no link knows.
fn unknown_parents(mapped: &MappedObject, candidate: &Candidate) -> Vec<String> {
    let remote_state = &candidate.known.link.remote_state.fields;
    references(mapped, |field| {
        remote_state.get(field).map(|field| &field.value)
    })
    .into_iter()
    .filter(|(_, id)| !candidate.parents.contains_key(id))
    .map(|(_, id)| id.to_string())
    .collect()
}

/// Returns why the fields that cannot be written stop; the first is named, all are told.
pub(super) fn withheld_fields(withheld: &[ParkReason]) -> Option<Parking> {
    let first = withheld.first()?;
    let told: Vec<&str> = withheld
        .iter()
        .map(|reason| reason.message.as_str())
        .collect();
    Some(Parking {
        message: told.join("; "),
        ..first.clone().into()
    })
}

fn suppressed(mapped: &MappedObject) -> Parking {
    Parking {
        code: "row_write_suppressed".to_owned(),
        field: None,
        message: format!(
            "a trigger or rule of table {}.{} prevents the write of the row",
            mapped.sync.table.schema, mapped.sync.table.table
        ),
        payload: None,
    }
}

/// A decision as the journal keeps it: the plan, and what is needed to make it again.
#[derive(Serialize)]
struct DecisionLine<'d> {
    #[serde(flatten)]
    plan: &'d RecordPlan,
    input: &'d RecordFacts,
    rules: &'d str,
}

impl<'d> DecisionLine<'d> {
    fn of(done: &'d Done) -> Self {
        Self {
            plan: &done.plan,
            input: &done.evidence.facts,
            rules: &done.evidence.rules.hash,
        }
    }
}

/// A plan that was carried out on the row.
struct Done {
    row_stood: bool,
    before: Option<PostgresRow>,
    plan: Box<RecordPlan>,
    evidence: Box<PlanEvidence>,
    intent: Option<NewIntent>,
    automation_overrides: std::collections::BTreeMap<
        crate::model::ids::FieldName,
        crate::model::link::AutomationOverride,
    >,
    withheld: Vec<ParkReason>,
    row: Option<RowOutcome>,
    settlement: Option<PostgresSettlement>,
}

impl Done {
    /// Returns the record as the plan leaves it: what is confirmed by now, nothing that is not.
    fn leave(&self, mapped: &MappedObject, candidate: &Candidate) -> KnownRecord {
        let mut known = candidate.known.clone();
        let confirmed = |after| match after {
            Confirmation::Agreed => true,
            Confirmation::Postgres => self.row.is_some(),
            Confirmation::Salesforce => false,
        };
        known
            .link
            .automation_overrides
            .clone_from(&self.automation_overrides);
        for (field, advance) in &self.plan.base_advance {
            if advance.after == Confirmation::Agreed {
                known.link.base.insert(field.clone(), advance.value.clone());
            }
        }
        if let Some(settlement) = &self.settlement {
            known.link.base.extend(settlement.base.clone());
        }
        match self.plan.agreement {
            Agreement::Stays => {}
            Agreement::Begins(after) => known.link.agreed |= confirmed(after),
            Agreement::Ends(after) if confirmed(after) => end_agreement(&mut known),
            Agreement::Ends(_) => {}
        }
        known.postgres_presence = self.presence(known.postgres_presence);
        self.take_name(mapped, &mut known);
        known
    }

    fn presence(&self, before: Presence) -> Presence {
        match (&self.row, self.row_stood) {
            (Some(RowOutcome::Gone), _) => Presence::Deleted,
            (Some(RowOutcome::Stands(_)), _) | (None, true) => Presence::Present,
            (None | Some(RowOutcome::KeyTaken | RowOutcome::Suppressed), _) => match before {
                Presence::Unseen => Presence::Unseen,
                Presence::Present | Presence::Deleted | Presence::FilteredOut => Presence::Deleted,
            },
        }
    }

    /// The row carries an external id now: the record goes by that one, and a generated one is
    /// confirmed.
    fn take_name(&self, mapped: &MappedObject, known: &mut KnownRecord) {
        let standing = match &self.row {
            Some(RowOutcome::Stands(row)) => Some(row),
            Some(RowOutcome::Gone | RowOutcome::KeyTaken | RowOutcome::Suppressed) => None,
            None => self.before.as_ref(),
        };
        let Some(raw) = standing.and_then(|row| row.external_id.as_ref()) else {
            return;
        };
        let Ok(canonical) = key_form(mapped).canonical(raw) else {
            return;
        };
        known.generated = false;
        known.key_conflict = false;
        known.link.local_key = None;
        if matches!(self.row, Some(RowOutcome::Stands(_))) || canonical == known.link.canonical_id {
            known.link.external_id.clone_from(raw);
            known.link.canonical_id = canonical;
        }
    }
}

/// Both sides are done with the record: what they agreed on is forgotten, so that it may be created
/// again.
pub(super) fn end_agreement(known: &mut KnownRecord) {
    known.link.base = Payload::new();
    known.link.agreed = false;
    known.link.automation_overrides.clear();
    match known.link.remote_state.presence {
        // The Salesforce record stands, and may come back into the filter.
        Presence::Present | Presence::FilteredOut => {}
        Presence::Unseen | Presence::Deleted => known.link.salesforce_id = None,
    }
}

/// Another record may still go by an external id that a confirmed rename brings here. Its row cannot
/// (the table would have refused), so it is moved aside, and looked at.
async fn make_room(
    tx: &mut Tx,
    mapped: &MappedObject,
    writes: &BatchWrites,
) -> Result<(), StoreError> {
    let moved: BTreeSet<RecordId> = writes.moved.iter().copied().collect();
    if moved.is_empty() {
        return Ok(());
    }
    let (records, keys): (Vec<Uuid>, Vec<&str>) = writes
        .links
        .iter()
        .filter(|known| moved.contains(&known.link.record_id))
        .map(|known| (known.link.record_id.0, known.link.canonical_id.as_str()))
        .unzip();
    let holders: Vec<Uuid> = tx
        .values(
            "making room for a rename",
            sqlx::query_scalar(
                "update syncline.sync_link as link
                set external_id = link.record_id::text,
                    canonical_id = link.record_id::text,
                    generated = true,
                    version = link.version + 1,
                    updated_at = now()
                where link.tenant = $1
                and link.object = $2
                and link.canonical_id = any($3)
                and link.record_id <> all($4)
                returning link.record_id",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(keys)
            .bind(records),
        )
        .await?;
    let work: Vec<NewWork> = holders
        .into_iter()
        .map(|record| NewWork {
            record_id: RecordId(record),
            needs_refresh: true,
            xid: None,
        })
        .collect();
    add_work(tx, &work).await
}

#[derive(Serialize)]
struct IntentLine {
    intent_id: crate::model::ids::IntentId,
    record_id: RecordId,
    token: FencingToken,
    action: String,
    fields: Payload,
    lane: String,
}

impl IntentLine {
    fn of(lease: &LeasedTask, intent: &NewIntent) -> Self {
        Self {
            intent_id: intent.intent_id,
            record_id: lease.record_id,
            token: lease.token,
            action: word_of(intent.action),
            fields: intent.fields.clone(),
            lane: word_of(intent.lane),
        }
    }
}

/// Says the writes before they are made. Each must be made before its lease ends.
async fn insert_intents(
    tx: &mut Tx,
    mapped: &MappedObject,
    intents: &[IntentLine],
) -> Result<(), StoreError> {
    if intents.is_empty() {
        return Ok(());
    }
    tx.run(
        "saying intents",
        sqlx::query(
            "insert into syncline.sync_intent (
                intent_id, record_id, tenant, object, fencing_token, action, fields, lane, deadline, config_hash
            )
            select
                new.intent_id, task.record_id, task.tenant, task.object, new.token, new.action, new.fields,
                new.lane, task.lease_until, $2
            from jsonb_to_recordset($1) as new (
                intent_id uuid, record_id uuid, token bigint, action text, fields jsonb, lane text
            )
            join syncline.sync_task as task using (record_id)",
        )
        .bind(recordset(intents))
        .bind(&*mapped.config_hash),
    )
    .await?;
    Ok(())
}
