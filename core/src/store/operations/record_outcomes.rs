//! Records the outcomes of a batch: links, bases, conflicts, discarded values, journal, intents and tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use crate::model::ids::{FieldName, RecordId};
use crate::model::intent::Intent;
use crate::model::link::{AutomationOverride, Presence};
use crate::model::value::Payload;
use crate::planner::facts::RecordFacts;
use crate::planner::policy::{NextStep, Obstacle, Tries, decide};
use crate::planner::record::{Agreement, Confirmation, RecordPlan};
use crate::planner::route::Routable;
use crate::ports::apply_store::{
    IntendedWrite, PlanRules, PlannedRecord, PostgresSettlement, RecordDecision,
};
use crate::ports::record::{LeasedTask, ParkReason, PostgresRow};
use crate::ports::{MappedObject, StoreError};
use crate::store::enum_text::enum_text;
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::shape::key_form;
use crate::store::mapped_table::write::RowOutcome;
use crate::store::operations::candidate::Candidate;
use crate::store::operations::parents::references;
use crate::store::tables::alias::{RawAlias, add_raw_aliases};
use crate::store::tables::conflict::{ConflictRow, write_conflicts};
use crate::store::tables::discarded_value::{DiscardedValue, insert_discarded_values};
use crate::store::tables::intent::insert_intents;
use crate::store::tables::journal::{JournalLine, write_journal};
use crate::store::tables::link::{KnownRecord, free_keys, save_records};
use crate::store::tables::rules::keep_rules;
use crate::store::tables::task::{LeaseEnd, NewWork, add_work, end_leases, wake_children};
use crate::store::transaction::Tx;

/// A record and its outcome.
pub(crate) struct Planned<'c> {
    /// The record as it was.
    pub(crate) candidate: &'c Candidate,
    /// The outcome.
    pub(crate) outcome: Outcome,
}

/// The outcome of planning and writing a record.
pub(crate) enum Outcome {
    /// Postgres refused its row.
    Refused(RowRefusal),
    /// The planner decided, and the row was written accordingly.
    PlannedRow {
        /// Whether there was a row before.
        row_stood: bool,
        /// That row.
        before: Option<PostgresRow>,
        /// The planner's decision.
        decision: Box<RecordDecision>,
        /// The outcome of the write, if the row was written.
        row: Option<RowOutcome>,
        /// The comparison of the row with the write.
        settlement: Option<PostgresSettlement>,
    },
}

/// Everything that a batch writes.
#[derive(Default)]
struct BatchWrites {
    planned: Vec<PlannedRecord>,
    links: Vec<KnownRecord>,
    moved: Vec<RecordId>,
    aliases: Vec<RawAlias>,
    intents: Vec<Intent>,
    conflicts: Vec<ConflictRow>,
    /// Records that were planned again.
    replanned: Vec<Uuid>,
    lost: Vec<DiscardedValue>,
    journal: Vec<JournalLine>,
    /// The rules of the decisions in the journal, by hash.
    rules: BTreeMap<String, Arc<PlanRules>>,
    ends: Vec<(LeasedTask, LeaseEnd)>,
    again: Vec<NewWork>,
    /// External ids of rows that exist from now on.
    arrived: Vec<String>,
}

/// Writes the outcomes of the batch, and returns them to the engine.
pub(crate) async fn record_outcomes(
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
    insert_discarded_values(tx, &writes.lost, &mapped.config_hash).await?;
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
                        reason: "it is refreshed first".to_owned(),
                        awaits: Vec::new(),
                    },
                ),
                RecordDecision::Park(reason) => self.park(candidate, reason, false),
                RecordDecision::Planned {
                    plan,
                    postgres: _,
                    intent,
                    automation_overrides,
                    facts,
                    rules,
                    withheld,
                } => {
                    let done = Done {
                        row_stood,
                        before,
                        plan,
                        facts,
                        rules,
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

    fn park(&mut self, candidate: &Candidate, reason: ParkReason, wrote_row: bool) {
        self.planned.push(PlannedRecord::Parked {
            record_id: candidate.lease.record_id,
            code: reason.code.clone(),
            wrote_row,
        });
        self.ends
            .push((candidate.lease.clone(), LeaseEnd::Park(reason)));
    }

    fn refused(&mut self, mapped: &MappedObject, candidate: &Candidate, refusal: &RowRefusal) {
        let parked = park_reason(mapped, refusal);
        let (obstacle, reason, awaits) = match refusal.kind {
            RefusalKind::Contended => {
                let reason = "another transaction holds a lock";
                return self.later(
                    candidate,
                    shortly(Obstacle::RowContended, candidate, reason),
                );
            }
            RefusalKind::ParentMissing => (
                Obstacle::MissingParent,
                "the row that it references does not exist yet",
                candidate.parents.values().cloned().collect(),
            ),
            RefusalKind::StillReferenced => (
                Obstacle::StillReferenced,
                "rows that are not gone yet point to its row",
                Vec::new(),
            ),
            RefusalKind::ValueTaken => (
                Obstacle::ValueTaken,
                "another row has a value of it that must be unique",
                Vec::new(),
            ),
            RefusalKind::TimedOut => (
                Obstacle::StatementTimeout,
                "the statement for its row took too long",
                Vec::new(),
            ),
            RefusalKind::ValueRejected | RefusalKind::ConstraintRejected | RefusalKind::Raised => {
                (Obstacle::RowRefused, "", Vec::new())
            }
        };
        match wait(obstacle, candidate) {
            Some((delay_ms, counts)) => {
                let end = LeaseEnd::Later {
                    delay_ms,
                    counts,
                    needs_refresh: false,
                    code: Some(parked.code),
                    reason: reason.to_owned(),
                    awaits,
                };
                self.later(candidate, end);
            }
            None => self.park(candidate, parked, false),
        }
    }

    fn planned(&mut self, mapped: &MappedObject, candidate: &Candidate, done: Done) {
        match done.row {
            Some(RowOutcome::KeyTaken) => {
                let reason = "a row with its key has appeared meanwhile";
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
        let park = withheld_fields(&done.withheld);
        match (done.intent, park) {
            (Some(intent), _) => {
                if altered {
                    self.again.push(NewWork {
                        record_id: candidate.lease.record_id,
                        needs_refresh: false,
                        xid: None,
                    });
                }
                self.intents.push(intent.clone());
                let write = Box::new(IntendedWrite {
                    lease: candidate.lease.clone(),
                    intent,
                    salesforce_id: known.link.salesforce_id.clone(),
                    withheld: done.withheld,
                    routable: Routable::of(&done.plan),
                    seen_ms: done.facts.changed_at_ms.salesforce,
                });
                self.planned
                    .push(PlannedRecord::Intended { write, wrote_row });
            }
            (None, Some(reason)) if !altered => self.park(candidate, reason, wrote_row),
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
        let rules = &done.rules;
        self.replanned.push(record_id.0);
        self.conflicts.extend(ConflictRow::all(
            mapped,
            &candidate.known.link,
            done.before.as_ref(),
            (&rules.mapping, &done.plan),
        ));
        self.lost
            .extend(done.plan.discarded.iter().map(|discarded| DiscardedValue {
                record_id,
                field: rules.mapping.name(discarded.field).clone(),
                side: enum_text(discarded.side),
                value: [discarded.value.to_json()],
                rule: enum_text(discarded.rule),
            }));
        if done.plan.is_settled() && done.plan.base_advance.is_empty() {
            return;
        }
        self.rules.insert(rules.hash.clone(), Arc::clone(rules));
        self.journal.push(JournalLine {
            tenant: mapped.tenant.to_string(),
            object: mapped.sync.object.to_string(),
            record_id: Some(record_id),
            source: "decision",
            operation: enum_text(done.plan.explanation.record),
            external_id: Some(candidate.known.link.external_id.clone()),
            salesforce_id: candidate
                .known
                .link
                .salesforce_id
                .as_ref()
                .map(ToString::to_string),
            org_epoch: Some(mapped.org_epoch.0),
            payload: serde_json::to_value(DecisionLine::of(candidate, done)).ok(),
            config_hash: Some(mapped.config_hash.to_string()),
            ..JournalLine::default()
        });
    }
}

/// Returns how long to wait because of an obstacle, and whether the attempt counts; `None` if the record
/// must not wait any more.
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

/// Returns the Salesforce ids in the record's remote state that have no link.
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

/// Returns why a refused row is parked. The message names the constraint or column.
pub(crate) fn park_reason(mapped: &MappedObject, refusal: &RowRefusal) -> ParkReason {
    let code = match refusal.kind {
        RefusalKind::ValueRejected => "invalid_value",
        RefusalKind::ConstraintRejected => "constraint_violation",
        RefusalKind::Raised => "row_refused",
        RefusalKind::ParentMissing => "missing_parent",
        RefusalKind::StillReferenced => "still_referenced",
        RefusalKind::ValueTaken => "duplicate_value",
        RefusalKind::Contended => "row_contended",
        RefusalKind::TimedOut => "statement_timeout",
    };
    let field = mapped
        .sync
        .fields
        .iter()
        .find(|(_, mapped)| refusal.column.as_deref() == Some(mapped.column.as_str()))
        .map(|(name, _)| name.clone());
    let place = refusal
        .place
        .as_ref()
        .map_or_else(String::new, |place| format!(" ({place})"));
    let message = format!(
        "table {}.{} refuses the row{place}: {}",
        mapped.sync.table.schema, mapped.sync.table.table, refusal.message
    );
    ParkReason {
        code: code.to_owned(),
        field,
        message,
    }
}

/// Returns why withheld fields are parked: the code and field of the first, and the messages of all.
pub(crate) fn withheld_fields(withheld: &[ParkReason]) -> Option<ParkReason> {
    let first = withheld.first()?;
    let messages: Vec<&str> = withheld
        .iter()
        .map(|reason| reason.message.as_str())
        .collect();
    Some(ParkReason {
        message: messages.join("; "),
        ..first.clone()
    })
}

fn suppressed(mapped: &MappedObject) -> ParkReason {
    ParkReason {
        code: "row_write_suppressed".to_owned(),
        field: None,
        message: format!(
            "a trigger or rule of table {}.{} prevents the write of the row",
            mapped.sync.table.schema, mapped.sync.table.table
        ),
    }
}

/// A decision in the journal: the plan and its inputs.
#[derive(Serialize)]
struct DecisionLine<'d> {
    #[serde(flatten)]
    plan: RecordPlan<FieldName>,
    input: RecordFacts<FieldName>,
    rules: &'d str,
}

impl<'d> DecisionLine<'d> {
    /// Names the fields of a decision. What is known of fields that are no longer mapped is kept as
    /// evidence too, although no plan reads it.
    fn of(candidate: &Candidate, done: &'d Done) -> Self {
        let Done { facts, rules, .. } = done;
        let sides = (**facts).clone().named(&rules.mapping);
        let known = RecordFacts::of(
            &candidate.known.link,
            &candidate.intents,
            candidate.clock_skew_ms,
            |field| Some(field.clone()),
        );
        Self {
            plan: (*done.plan).clone().named(&rules.mapping),
            input: RecordFacts {
                base: known.base,
                late_writes: known.late_writes,
                automation_overrides: known.automation_overrides,
                under_way: known.under_way,
                ..sides
            },
            rules: &rules.hash,
        }
    }
}

/// A plan whose row write was performed.
struct Done {
    row_stood: bool,
    before: Option<PostgresRow>,
    plan: Box<RecordPlan>,
    facts: Box<RecordFacts>,
    rules: Arc<PlanRules>,
    intent: Option<Intent>,
    automation_overrides: BTreeMap<FieldName, AutomationOverride>,
    withheld: Vec<ParkReason>,
    row: Option<RowOutcome>,
    settlement: Option<PostgresSettlement>,
}

impl Done {
    /// Returns the record after the plan, with confirmed changes only.
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
        for (field, advance) in self.plan.base_advance.iter() {
            if advance.after == Confirmation::Agreed {
                let name = self.rules.mapping.name(*field).clone();
                known.link.base.insert(name, advance.value.clone());
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

    /// Takes over the row's external id, which also confirms a generated one.
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

/// Ends the agreement of both sides: clears the base, so that the record may be created again.
pub(crate) fn end_agreement(known: &mut KnownRecord) {
    known.link.base = Payload::new();
    known.link.agreed = false;
    known.link.automation_overrides.clear();
    match known.link.remote_state.presence {
        // The Salesforce record still exists, and may match the filter again.
        Presence::Present | Presence::FilteredOut => {}
        Presence::Unseen | Presence::Deleted => known.link.salesforce_id = None,
    }
}

/// Moves aside records that still have an external id which a confirmed rename gives to another record, and
/// refreshes them. Their row cannot have it, because the table would have refused the rename.
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
                    updated_at = syncline.clock()
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
