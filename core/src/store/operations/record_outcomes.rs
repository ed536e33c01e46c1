//! Records the outcomes of a batch: links, bases, conflicts, discarded values, journal, intents and tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use crate::model::Side;
use crate::model::ids::{FieldName, RecordId};
use crate::model::intent::Intent;
use crate::model::link::Presence;
use crate::model::value::Payload;
use crate::planner::facts::{BySide, RecordFacts};
use crate::planner::observation::base_after_delete;
use crate::planner::policy::{Cause, Tries, wait_ms};
use crate::planner::record::{Agreement, Confirmation, RecordPlan};
use crate::planner::route::Routable;
use crate::ports::apply_store::{
    IntendedWrite, PlanRules, PlannedBatch, PlannedPostgres, PlannedRecord, PostgresSettlement,
};
use crate::ports::record::{LeaseEnd, LeasedTask, MISSING_PARENT, PostgresRow, Withheld};
use crate::ports::{MappedObject, RecordPlanner, StoreError};
use crate::store::enum_text::enum_text;
use crate::store::mapped_table::shape::key_form;
use crate::store::mapped_table::write::RowOutcome;
use crate::store::operations::children::Consequences;
use crate::store::operations::leased_record::LeasedRecord;
use crate::store::operations::refused_row::{key_taken, row_altered, suppressed};
use crate::store::tables::alias::{RawAlias, add_raw_aliases};
use crate::store::tables::conflict::{ConflictRow, write_conflicts};
use crate::store::tables::discarded_value::{NewDiscardedValue, insert_discarded_values};
use crate::store::tables::intent::insert_intents;
use crate::store::tables::journal::{JournalLine, write_journal};
use crate::store::tables::link::{KnownRecord, free_keys, save_records};
use crate::store::tables::rules::keep_rules;
use crate::store::tables::task::{NewWork, add_work, end_leases, wake_waiting};
use crate::store::transaction::Tx;

/// Everything that a batch writes.
#[derive(Default)]
struct BatchWrites {
    planned: PlannedBatch,
    links: Vec<KnownRecord>,
    moved: Vec<RecordId>,
    aliases: Vec<RawAlias>,
    intents: Vec<Intent>,
    conflicts: Vec<ConflictRow>,
    /// Records that were planned again.
    replanned: Vec<Uuid>,
    lost: Vec<NewDiscardedValue>,
    journal: Vec<JournalLine>,
    /// The rules of the decisions in the journal, by hash.
    rules: BTreeMap<String, Arc<PlanRules>>,
    ends: Vec<(LeasedTask, LeaseEnd)>,
    again: Vec<NewWork>,
    /// External ids of rows for which other records wait: they exist from now on, reference another row, or are gone.
    awaited: Vec<String>,
    /// What the writes did to rows of other records.
    consequences: Consequences,
}

/// Writes the outcomes of the batch, and returns them to the engine.
pub(super) async fn record_outcomes(
    tx: &mut Tx,
    mapped: &MappedObject,
    planner: &dyn RecordPlanner,
    records: Vec<LeasedRecord>,
) -> Result<PlannedBatch, StoreError> {
    let mut writes = BatchWrites::default();
    for record in records {
        writes.take(mapped, planner, record);
    }
    make_room(tx, mapped, &mut writes).await?;
    free_keys(tx, &writes.moved).await?;
    save_records(tx, &writes.links).await?;
    add_raw_aliases(tx, &writes.aliases).await?;
    insert_intents(tx, mapped, &writes.intents).await?;
    write_conflicts(tx, mapped, &writes.conflicts, &writes.replanned).await?;
    insert_discarded_values(tx, &writes.lost, &mapped.config_hash).await?;
    write_journal(tx, &writes.journal).await?;
    keep_rules(tx, writes.rules.values()).await?;
    add_work(tx, &writes.again).await?;
    end_leases(tx, mapped, &writes.ends).await?;
    writes.consequences.record(tx, mapped).await?;
    wake_waiting(tx, &writes.awaited).await?;
    Ok(writes.planned)
}

impl BatchWrites {
    fn take(
        &mut self,
        mapped: &MappedObject,
        planner: &dyn RecordPlanner,
        mut record: LeasedRecord,
    ) {
        let written = matches!(record.row, Some(RowOutcome::Stands(_) | RowOutcome::Gone));
        self.consequences
            .add(std::mem::take(&mut record.children), written);
        let planned = match (&record.plan, &record.row) {
            (Ok(_), Some(RowOutcome::KeyTaken)) => {
                let end = key_taken(mapped, &record.lease);
                return self.end(record.lease, end);
            }
            (Ok(_), Some(RowOutcome::Suppressed)) => {
                return self.end(record.lease, LeaseEnd::park(suppressed(mapped)));
            }
            (Ok(planned), Some(RowOutcome::Stands(_) | RowOutcome::Gone) | None) => planned,
            (Err(end), _) => {
                let end = end.clone();
                return self.end(record.lease, end);
            }
        };
        let settlement = record
            .returned()
            .map(|returned| planner.settle_postgres(&record.observed, planned, returned));
        let known = record.after(mapped, planned, settlement.as_ref());
        self.names(mapped, &record, &known);
        self.evidence(mapped, &record, planned);
        self.planned.rows_written += usize::from(record.row.is_some());
        let altered = settlement.is_some_and(|row| row.altered);
        let withheld = withheld_end(&record.lease, &planned.withheld);
        match (&planned.intent, withheld) {
            (Some(intent), _) => {
                if altered {
                    self.again.push(NewWork {
                        record_id: record.lease.record_id,
                        needs_refresh: false,
                    });
                }
                self.intents.push(intent.clone());
                self.planned.writes.push(IntendedWrite {
                    lease: record.lease.clone(),
                    intent: intent.clone(),
                    salesforce_id: known.link.salesforce_id.clone(),
                    withheld: planned.withheld.clone(),
                    routable: Routable::of(&planned.plan, &planned.rules.mapping),
                    seen_ms: planned.facts.changed_at_ms.salesforce,
                });
            }
            (None, Some(end)) if !altered => self.end(record.lease.clone(), end),
            (None, _) if altered => {
                // Its withheld lookups still wait for their parents.
                let end = row_altered(mapped, &record.lease);
                let end = end.awaiting(planned.withheld.awaits.clone());
                self.end(record.lease.clone(), end);
            }
            (None, _) => self.end(record.lease.clone(), LeaseEnd::Done { again: false }),
        }
        self.links.push(known);
    }

    fn end(&mut self, lease: LeasedTask, end: LeaseEnd) {
        match &end {
            LeaseEnd::Done { .. } => self.planned.settled += 1,
            LeaseEnd::Later { .. } => self.planned.requeued += 1,
            LeaseEnd::Park { reason, .. } => self.planned.parked.push(reason.code.clone()),
        }
        self.ends.push((lease, end));
    }

    fn names(&mut self, mapped: &MappedObject, record: &LeasedRecord, known: &KnownRecord) {
        let record_id = known.link.record_id;
        if known.link.canonical_id != record.observed.known.link.canonical_id {
            self.moved.push(record_id);
        }
        let before = &record.observed.known;
        if !before.generated {
            self.consequences
                .rename(&before.link.external_id, &known.link.external_id);
        }
        if record.lets_others_go(mapped) {
            self.awaited.push(before.link.external_id.clone());
        }
        if let Some(RowOutcome::Stands(row)) = &record.row
            && let Some(raw) = &row.external_id
        {
            if record.observed.rows.is_empty() {
                self.awaited.push(raw.clone());
            }
            self.aliases.push(RawAlias {
                record_id,
                value: raw.clone(),
            });
        }
    }

    fn evidence(&mut self, mapped: &MappedObject, record: &LeasedRecord, planned: &PlannedRecord) {
        let link = &record.observed.known.link;
        let PlannedRecord { plan, rules, .. } = planned;
        self.replanned.push(link.record_id.0);
        self.conflicts.extend(ConflictRow::all(
            mapped,
            link,
            record.observed.rows.first(),
            (&rules.mapping, plan),
        ));
        self.lost
            .extend(plan.discarded.iter().map(|discarded| NewDiscardedValue {
                record_id: link.record_id,
                field: rules.mapping.name(discarded.field).clone(),
                side: enum_text(discarded.side),
                value: [discarded.value.to_json()],
                rule: enum_text(discarded.rule),
                edited: Some(discarded.edited).filter(|edited| *edited != BySide::default()),
            }));
        if plan.is_settled() && plan.base_advance.is_empty() {
            return;
        }
        self.rules.insert(rules.hash.clone(), Arc::clone(rules));
        self.journal.push(JournalLine {
            tenant: mapped.tenant.to_string(),
            object: mapped.sync.object.to_string(),
            record_id: Some(link.record_id),
            source: "decision",
            operation: enum_text(plan.explanation.record),
            external_id: Some(link.external_id.clone()),
            salesforce_id: link.salesforce_id.as_ref().map(ToString::to_string),
            org_epoch: Some(mapped.org_epoch.0),
            payload: serde_json::to_value(DecisionLine::of(record, planned)).ok(),
            config_hash: Some(mapped.config_hash.to_string()),
            ..JournalLine::default()
        });
    }
}

/// Returns how a lease ends whose work is done but for withheld fields; `None` if there are none. Lookups wait for
/// their parents, other fields are parked.
pub(super) fn withheld_end(lease: &LeasedTask, withheld: &Withheld) -> Option<LeaseEnd> {
    let reason = withheld.park_reason()?;
    let mut reasons = withheld.reasons.iter();
    if withheld.awaits.is_empty() || reasons.any(|one| one.code != MISSING_PARENT) {
        return Some(LeaseEnd::park(reason));
    }
    // Everything else of the record is synchronised, so it is never parked for it; its parent wakes it.
    let cause = Cause::Lookup;
    let delay_ms = wait_ms(cause, Tries::of(lease.record_id, &lease.attempts));
    let waits = "a record that it points to is not synchronised; that lookup is withheld";
    let end = LeaseEnd::wait(delay_ms, Some(cause), waits);
    Some(end.coded(&reason.code).awaiting(withheld.awaits.clone()))
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
    fn of(record: &LeasedRecord, planned: &'d PlannedRecord) -> Self {
        let PlannedRecord { facts, rules, .. } = planned;
        let sides = facts.clone().named(&rules.mapping);
        let known = RecordFacts::of(
            &record.observed.known.link,
            &record.observed.intents,
            record.observed.clock_skew_ms,
            |field| Some(field.clone()),
        );
        Self {
            plan: planned.plan.clone().named(&rules.mapping),
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

impl LeasedRecord {
    /// Returns its row as the write left it, if the write was made and the row still exists.
    pub(super) fn returned(&self) -> Option<&PostgresRow> {
        match &self.row {
            Some(RowOutcome::Stands(row)) => Some(row),
            Some(RowOutcome::Gone | RowOutcome::KeyTaken | RowOutcome::Suppressed) | None => None,
        }
    }

    /// Returns whether its row may not reference the row of another record any more.
    fn lets_others_go(&self, mapped: &MappedObject) -> bool {
        match (&self.row, &self.plan) {
            (Some(RowOutcome::Gone), _) => true,
            (Some(RowOutcome::Stands(_)), Ok(planned)) => {
                let columns = planned.postgres.as_ref().and_then(PlannedPostgres::columns);
                let lookups = mapped.sync.fields.values();
                let mut lookups = lookups.filter(|field| field.references.is_some());
                lookups.any(|field| {
                    columns.is_some_and(|columns| columns.contains_key(field.column.as_str()))
                })
            }
            (Some(_) | None, _) => false,
        }
    }

    /// Returns the record after the plan, with confirmed changes only.
    fn after(
        &self,
        mapped: &MappedObject,
        planned: &PlannedRecord,
        settlement: Option<&PostgresSettlement>,
    ) -> KnownRecord {
        let PlannedRecord { plan, rules, .. } = planned;
        let mut known = self.observed.known.clone();
        let confirmed = |after| match after {
            Confirmation::Agreed => true,
            Confirmation::Postgres => self.row.is_some(),
            Confirmation::Salesforce => false,
        };
        known
            .link
            .automation_overrides
            .clone_from(&planned.automation_overrides);
        for (field, advance) in plan.base_advance.iter() {
            if advance.after == Confirmation::Agreed {
                let name = rules.mapping.name(*field).clone();
                known.link.base.insert(name, advance.value.clone());
            }
        }
        if let Some(settlement) = settlement {
            known.link.base.extend(settlement.base.clone());
        }
        match plan.agreement {
            Agreement::Stays => {}
            Agreement::Begins(after) => known.link.agreed |= confirmed(after),
            Agreement::Ends(after) if confirmed(after) => {
                let base = base_after_delete(&known.link, &mapped.sync);
                end_agreement(&mut known, base);
            }
            Agreement::Ends(_) => {}
        }
        for field in planned.plan.decided_overwritten(&planned.facts) {
            let name = rules.mapping.name(field);
            if let Some(remote) = known.link.remote_state.fields.get_mut(name) {
                remote.overwritten = None;
            }
        }
        self.forget_edits(planned, settlement, &mut known);
        known.postgres_presence = self.presence(&known);
        self.take_name(mapped, &mut known);
        known
    }

    /// Forgets when fields were edited that both sides agree on from now on. Those of a write whose echo is awaited
    /// stay: an edit in Salesforce that it replaced may still become known.
    fn forget_edits(
        &self,
        planned: &PlannedRecord,
        settlement: Option<&PostgresSettlement>,
        known: &mut KnownRecord,
    ) {
        known.keep_sent_times();
        let PlannedRecord { facts, rules, .. } = planned;
        let row = facts.held(Side::Postgres);
        let is_agreed = |name: &FieldName| {
            let is_settled = settlement.is_some_and(|settled| settled.base.contains_key(name));
            let in_row = || row?.get(&rules.mapping.field(name)?);
            is_settled
                || known
                    .link
                    .base
                    .get(name)
                    .is_none_or(|base| in_row() == Some(base))
        };
        let is_awaited = |name: &FieldName| {
            let mut writes = self.observed.intents.iter();
            writes.any(|intent| intent.is_pending() && intent.fields.contains_key(name))
        };
        known
            .postgres_edited
            .retain(|name, _| !is_agreed(name) || is_awaited(name));
        let advanced = planned.plan.base_advance.iter();
        let advanced = advanced.filter(|(_, advance)| advance.after == Confirmation::Agreed);
        let advanced = advanced.map(|(field, _)| rules.mapping.name(*field));
        let settled = settlement
            .into_iter()
            .flat_map(|settled| settled.base.keys());
        for name in advanced.chain(settled) {
            if let Some(remote) = known.link.remote_state.fields.get_mut(name) {
                remote.edited = None;
            }
        }
    }

    fn presence(&self, known: &KnownRecord) -> Presence {
        let before = known.postgres_presence;
        match (&self.row, !self.observed.rows.is_empty()) {
            // That a row is not there shows no delete while both sides agree on it.
            (None, false) if known.link.agreed => before,
            (Some(RowOutcome::Gone), _) => Presence::Deleted,
            (Some(RowOutcome::Stands(_)), _) | (None, true) => Presence::Present,
            (None | Some(RowOutcome::KeyTaken | RowOutcome::Suppressed), _) => match before {
                Presence::Unseen => Presence::Unseen,
                Presence::Present
                | Presence::Deleted
                | Presence::FilteredOut
                | Presence::Unreadable => Presence::Deleted,
            },
        }
    }

    /// Takes over the row's external id, which also confirms a generated one.
    fn take_name(&self, mapped: &MappedObject, known: &mut KnownRecord) {
        let standing = match &self.row {
            Some(_) => self.returned(),
            None => self.observed.rows.first(),
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

/// Ends the agreement of both sides, so that the record may be created again; `base` is what is kept of the base.
pub(crate) fn end_agreement(known: &mut KnownRecord, base: Payload) {
    known.link.base = base;
    known.link.agreed = false;
    known.link.automation_overrides.clear();
    match known.link.remote_state.presence {
        // The Salesforce record still exists, or may, and may be seen again.
        Presence::Present | Presence::FilteredOut | Presence::Unreadable => {}
        Presence::Unseen | Presence::Deleted => known.link.salesforce_id = None,
    }
}

/// Moves aside records that still have an external id which a confirmed rename gives to another record, and
/// refreshes them. Their row cannot have it, because the table would have refused the rename.
async fn make_room(
    tx: &mut Tx,
    mapped: &MappedObject,
    writes: &mut BatchWrites,
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
    // One that is a record of the batch, too, is saved after this.
    for known in &mut writes.links {
        if holders.contains(&known.link.record_id.0) {
            known.link.external_id = known.link.record_id.to_string();
            known.link.canonical_id = known.link.record_id.to_string();
            known.generated = true;
        }
    }
    let work: Vec<NewWork> = holders
        .into_iter()
        .map(|record| NewWork {
            record_id: RecordId(record),
            needs_refresh: true,
        })
        .collect();
    add_work(tx, &work).await
}
