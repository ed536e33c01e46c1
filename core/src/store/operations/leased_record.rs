//! A leased record while it is planned and written: what is known of it, its plan, and what became of its row.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::model::Side;
use crate::model::ids::{FieldName, RecordId};
use crate::model::intent::{Intent, WriteAction};
use crate::model::value::Value;
use crate::planner::policy::Cause;
use crate::planner::record::SideWrite;
use crate::ports::apply_store::{PlannedPostgres, PlannedRecord};
use crate::ports::record::{LeaseEnd, LeasedTask, ObservedRecord, ParkReason};
use crate::ports::{MappedObject, RecordPlanner, StoreError};
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::fit::fit_columns;
use crate::store::mapped_table::keys::RowChange;
use crate::store::mapped_table::read::FoundRows;
use crate::store::mapped_table::rejected_columns::Rejected;
use crate::store::mapped_table::shape::{TableShape, key_form};
use crate::store::mapped_table::write::{RowOutcome, RowWrite};
use crate::store::operations::children::Children;
use crate::store::operations::parents::{parents_of, remote_parents};
use crate::store::operations::refused_row::{park_reason, refused_row, shortly};
use crate::store::tables::intent::{live_intents, refused_values};
use crate::store::tables::link::{KnownRecord, lock_records, resolve_parents};
use crate::store::tables::outbox::RowName;
use crate::store::tables::task::{LeaseTime, lock_leased_tasks};
use crate::store::transaction::Tx;

/// A leased record.
pub(super) struct LeasedRecord {
    /// The lease.
    pub(super) lease: LeasedTask,
    /// The record, locked. Its rows are those of the last plan.
    pub(super) observed: ObservedRecord,
    /// Something came since it was leased that only a read can order: it is not planned before that.
    pub(super) must_be_read: bool,
    /// The plan that was made from exactly these rows; or how the lease ends without one.
    pub(super) plan: Result<PlannedRecord, LeaseEnd>,
    /// What became of its row, if the plan wrote it.
    pub(super) row: Option<RowOutcome>,
    /// Rows of other records that reference its row.
    pub(super) children: Children,
}

/// Locks links and tasks of the leases that are still valid, and loads their intents and parents.
pub(super) async fn load_leased(
    tx: &mut Tx,
    mapped: &MappedObject,
    leases: &[LeasedTask],
    clock_skew_ms: i64,
) -> Result<Vec<LeasedRecord>, StoreError> {
    let ids: Vec<RecordId> = leases.iter().map(|lease| lease.record_id).collect();
    let known = lock_records(tx, &ids).await?;
    let standing = lock_leased_tasks(tx, leases.iter(), LeaseTime::Left).await?;
    let mut intents = live_intents(tx, &ids).await?;
    let mut refused = refused_values(tx, leases).await?;
    let pointed = remote_parents(mapped, &known);
    let parents = resolve_parents(tx, &mapped.tenant, &pointed).await?;
    let in_use = external_ids_in_use(tx, mapped, &known).await?;
    let leases: BTreeMap<RecordId, &LeasedTask> = leases
        .iter()
        .filter(|lease| standing.contains_key(&(lease.record_id, lease.token)))
        .map(|lease| (lease.record_id, lease))
        .collect();
    Ok(known
        .into_iter()
        .filter_map(|known| {
            let mut lease = (*leases.get(&known.link.record_id)?).clone();
            // What came since it was leased is planned now, so it needs no further plan: else the refresh of a
            // record would be work of its own, and end each wait of its retries at once.
            let generation = standing[&(lease.record_id, lease.token)];
            if let Some(generation) = generation {
                lease.generation = generation;
            }
            Some(LeasedRecord {
                observed: ObservedRecord {
                    intents: intents.remove(&lease.record_id).unwrap_or_default(),
                    rows: Vec::new(),
                    row_locked: false,
                    parents: parents_of(mapped, &known, &parents),
                    external_id_in_use: in_use.contains(&lease.record_id),
                    clock_skew_ms,
                    refused: refused.remove(&lease.record_id).unwrap_or_default(),
                    known,
                },
                lease,
                must_be_read: generation.is_none(),
                // Until it is planned, all its work remains.
                plan: Err(LeaseEnd::Done { again: true }),
                row: None,
                children: Children::default(),
            })
        })
        .collect())
}

/// Returns the records that are new or were renamed in Postgres, and whose external id another record still has in
/// Salesforce, which was renamed, too.
pub(super) async fn external_ids_in_use(
    tx: &mut Tx,
    mapped: &MappedObject,
    known: &[KnownRecord],
) -> Result<BTreeSet<RecordId>, StoreError> {
    let field = &mapped.sync.external_id.field;
    let form = key_form(mapped);
    let renamed = known.iter().map(|known| &known.link).filter(|link| {
        let there = link.remote_state.fields.get(field).map(|seen| &seen.value);
        let canonical = match there {
            Some(Value::Text(text)) => form.canonical(text).ok(),
            Some(Value::Number(number)) => form.canonical(&number.to_string()).ok(),
            Some(Value::Null | Value::Boolean(_)) | None => None,
        };
        link.salesforce_id.is_none()
            || there.is_some() && canonical.as_ref() != Some(&link.canonical_id)
    });
    let (ids, external_ids): (Vec<Uuid>, Vec<&str>) = renamed
        .map(|link| (link.record_id.0, link.external_id.as_str()))
        .unzip();
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let held: Vec<Uuid> = tx
        .values(
            "looking for external ids that are still held",
            sqlx::query_scalar(
                "select wanted.record_id
                from unnest($3::uuid[], $4::text[]) as wanted (record_id, external_id)
                join syncline.sync_link_alias as former
                    on former.tenant = $1
                    and former.object = $2
                    and former.kind = 'external_id'
                    and former.value = wanted.external_id
                    and not former.is_current
                    and former.record_id <> wanted.record_id
                join syncline.sync_link as holder on holder.record_id = former.record_id
                where holder.remote_state ->> 'presence' = 'present'
                and holder.remote_state -> 'fields' -> $5 ->> 'value' = wanted.external_id",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(ids)
            .bind(external_ids)
            .bind(field.as_str()),
        )
        .await?;
    Ok(held.into_iter().map(RecordId).collect())
}

impl LeasedRecord {
    /// Takes over its locked rows, and plans it from them.
    pub(super) fn plan(&mut self, found: &mut FoundRows, planner: &dyn RecordPlanner) {
        let record_id = self.lease.record_id;
        let observed = &mut self.observed;
        observed.rows = found.rows.remove(&record_id).unwrap_or_default();
        observed.row_locked = found.locked_elsewhere.contains(&record_id);
        self.row = None;
        self.children = Children::default();
        self.plan = if found.being_renamed.contains(&record_id) {
            let reason = "its row was renamed a moment ago";
            Err(shortly(&self.lease, reason))
        } else if observed.known.key_conflict && observed.rows.is_empty() {
            Err(LeaseEnd::park(key_conflict(observed)))
        } else {
            planner.plan(&self.lease, observed)
        };
    }

    /// Writes to its row, too, how those of these lookups name their parents that the plan sends to Salesforce.
    pub(super) fn write_sent_lookups(
        &mut self,
        mapped: &MappedObject,
        renamed: &Map<String, Json>,
    ) {
        let Ok(planned) = &mut self.plan else {
            return;
        };
        let Some(intent) = &planned.intent else {
            return;
        };
        let sent = mapped
            .sync
            .fields
            .iter()
            .filter(|(name, _)| intent.fields.contains_key(*name));
        let columns = sent.filter_map(|(_, field)| renamed.get_key_value(field.column.as_str()));
        let columns: Map<String, Json> = columns
            .map(|(column, now)| (column.clone(), now.clone()))
            .collect();
        match &mut planned.postgres {
            Some(PlannedPostgres::Insert(written) | PlannedPostgres::Update(written)) => {
                for (column, value) in columns {
                    written.entry(column).or_insert(value);
                }
            }
            Some(PlannedPostgres::Delete | PlannedPostgres::SoftDelete) => {}
            None if columns.is_empty() => {}
            None => planned.postgres = Some(PlannedPostgres::Update(columns)),
        }
    }

    /// Returns its row if the times of edits decided about a field of it.
    pub(super) fn decided_by_time(&self) -> Option<RowName<'_>> {
        let mut discarded = self.plan.as_ref().ok()?.plan.discarded.iter();
        let is_decided = discarded.any(|lost| lost.rule.compares_times());
        let link = &self.observed.known.link;
        let row = self.observed.rows.first().filter(|_| is_decided)?;
        Some(RowName {
            record_id: link.record_id,
            external_id: row.external_id.as_deref(),
            local_key: link.local_key.as_ref(),
        })
    }

    /// Ends its lease because edits of its row are not captured yet.
    pub(super) fn await_capture(&mut self) {
        let reason = "edits of its row are not captured yet";
        self.plan = Err(shortly(&self.lease, reason));
    }

    /// Ends its lease because Postgres refused its row.
    pub(super) fn refuse(&mut self, mapped: &MappedObject, refusal: &RowRefusal) {
        let awaits = match &self.plan {
            Ok(planned) => planned.withheld.awaits.as_slice(),
            Err(_) => &[],
        };
        // A row that a constraint refuses without its withheld lookup waits for the parent.
        let lacks_parent = !awaits.is_empty() && refusal.kind == RefusalKind::ConstraintRejected;
        let kind = match lacks_parent {
            true => RefusalKind::ParentMissing,
            false => refusal.kind,
        };
        let refusal = RowRefusal {
            kind,
            ..refusal.clone()
        };
        let parents = self.observed.parents.values().chain(awaits);
        let end = refused_row(mapped, &self.lease, parents, &refusal);
        self.plan = Err(end);
    }

    /// Returns the planned write to its row, if there is one.
    fn postgres(&self) -> Option<&PlannedPostgres> {
        self.plan.as_ref().ok()?.postgres.as_ref()
    }

    /// Returns the write to its row, if there is one.
    pub(super) fn row_write(&self) -> Option<RowWrite<'_>> {
        Some(RowWrite {
            record_id: self.lease.record_id,
            external_id: &self.observed.known.link.external_id,
            identity: self.observed.rows.first().map(|row| &row.identity),
            write: self.postgres()?,
            // On the first attempt a row may just have appeared; the second attempt shows the reason.
            must_insert: self.lease.attempts.of(Cause::KeyTaken) > 0,
        })
    }

    /// Returns the row before and after the write.
    pub(super) fn change(&self) -> RowChange<'_> {
        let row = self.observed.rows.first();
        RowChange {
            before: row.map(|row| &row.columns),
            identity: row.map(|row| &row.identity),
            patch: self.postgres().and_then(PlannedPostgres::columns),
        }
    }

    /// Returns whether the plan deletes the row.
    pub(super) fn deletes_row(&self) -> bool {
        matches!(self.postgres(), Some(PlannedPostgres::Delete))
    }

    /// Returns whether the plan changes a column that foreign keys reference.
    pub(super) fn changes_key(&self, shape: &TableShape) -> bool {
        let Some(PlannedPostgres::Update(columns)) = self.postgres() else {
            return false;
        };
        let before = self.observed.rows.first().map(|row| &row.columns);
        shape.referenced.iter().any(|column| {
            let now = columns.get(column.as_str());
            now.is_some() && now != before.and_then(|row| row.get(column.as_str()))
        })
    }

    /// Returns whether the plan deletes the row or the Salesforce record.
    pub(super) fn deletes(&self) -> bool {
        let Ok(planned) = &self.plan else {
            return false;
        };
        let row_goes = match &planned.postgres {
            Some(PlannedPostgres::Delete | PlannedPostgres::SoftDelete) => true,
            Some(PlannedPostgres::Insert(_) | PlannedPostgres::Update(_)) | None => false,
        };
        let deletes = |intent: &Intent| intent.action == WriteAction::Delete;
        row_goes || planned.intent.as_ref().is_some_and(deletes)
    }

    /// Returns the fields with a value that the plan clears, on either side.
    pub(super) fn clears(&self) -> Vec<FieldName> {
        let Ok(planned) = &self.plan else {
            return Vec::new();
        };
        let mapping = &planned.rules.mapping;
        let sides = [
            (Side::Postgres, &planned.plan.to_postgres),
            (Side::Salesforce, &planned.plan.to_salesforce),
        ];
        let mut cleared = Vec::new();
        for (side, write) in sides {
            let (SideWrite::Update(values), Some(held)) = (write, planned.facts.held(side)) else {
                continue;
            };
            let emptied = values.iter().filter(|(field, value)| {
                **value == Value::Null && held.get(field).is_some_and(|had| *had != Value::Null)
            });
            cleared.extend(emptied.map(|(field, _)| mapping.name(*field).clone()));
        }
        cleared.retain(|field| planned.rules.mapping.rules().fields.contains_key(field));
        cleared
    }

    /// Leaves a field out of the plan's writes to both sides, for this reason.
    pub(super) fn withhold(&mut self, mapped: &MappedObject, reason: &ParkReason) {
        let (Some(field), Ok(planned)) = (&reason.field, &mut self.plan) else {
            return;
        };
        let column = mapped.sync.fields.get(field).map(|field| &field.column);
        if let (Some(column), Some(PlannedPostgres::Update(columns))) =
            (column, &mut planned.postgres)
        {
            columns.remove(column.as_str());
            if columns.is_empty() {
                planned.postgres = None;
            }
        }
        if let Some(intent) = &mut planned.intent {
            intent.fields.remove(field);
            if intent.action == WriteAction::Update && intent.fields.is_empty() {
                planned.intent = None;
            }
        }
        planned.withheld.reasons.push(reason.clone());
    }

    /// Fits the write to the row to the types of its columns. Without those that would not hold their
    /// value it goes on; without its external id it does not.
    pub(super) fn fit(&mut self, mapped: &MappedObject, shape: &TableShape) {
        let Ok(PlannedRecord {
            postgres: Some(PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns)),
            ..
        }) = &mut self.plan
        else {
            return;
        };
        let rejected = fit_columns(mapped, shape, columns);
        match rejected.get(mapped.sync.external_id.column.as_str()) {
            Some(refusal) => self.plan = Err(LeaseEnd::park(park_reason(mapped, refusal))),
            None if rejected.is_empty() => {}
            None => self.leave_out(mapped, &rejected),
        }
    }

    /// Removes columns from the write to the row, and adds the reason why each is parked, or the parent that it waits
    /// for. If no column remains, the update is dropped.
    pub(super) fn leave_out(&mut self, mapped: &MappedObject, rejected: &Rejected) {
        let Ok(PlannedRecord {
            postgres, withheld, ..
        }) = &mut self.plan
        else {
            return;
        };
        let mut is_empty = false;
        if let Some(PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns)) = postgres
        {
            let lacks_parent = |column: &String| {
                let refusal = rejected.get(column);
                refusal.is_some_and(|refusal| refusal.kind == RefusalKind::ParentMissing)
            };
            let parents = columns.iter().filter(|(column, _)| lacks_parent(column));
            withheld
                .awaits
                .extend(parents.map(|(_, value)| match value {
                    Json::String(external_id) => external_id.clone(),
                    other => other.to_string(),
                }));
            columns.retain(|column, _| !rejected.contains_key(column));
            is_empty = columns.is_empty();
        }
        if is_empty {
            *postgres = None;
        }
        withheld
            .reasons
            .extend(rejected.iter().map(|(column, refusal)| {
                let refusal = RowRefusal {
                    column: Some(column.clone()),
                    place: refusal.place.clone().or_else(|| Some(column.clone())),
                    ..refusal.clone()
                };
                park_reason(mapped, &refusal)
            }));
    }
}

fn key_conflict(observed: &ObservedRecord) -> ParkReason {
    ParkReason {
        code: "duplicate_key".to_owned(),
        field: None,
        message: format!(
            "the row of record {} took the external id of another row that still stands; give one of \
             the two another external id",
            observed.known.link.external_id
        ),
    }
}
