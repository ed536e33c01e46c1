//! Records observations of Salesforce: removes duplicates, absorbs, journals, adds tasks.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::cursor::SourceCursor;
use crate::model::hash::canonical_hash;
use crate::model::ids::{ObjectName, RecordId, SalesforceId};
use crate::model::intent::Intent;
use crate::model::link::Presence;
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::model::value::Payload;
use crate::planner::identity::observations::{
    KnownState, ObservationBatch, Origin, Seen, SeenRecord, external_id,
};
use crate::planner::observation::AbsorbStatus;
use crate::ports::capture_store::{CaptureCounts, ObservationReport, StreamPosition};
use crate::ports::job_store::StreamLease;
use crate::ports::{MappedObject, StoreError};
use crate::store::enum_text::enum_text;
use crate::store::error::contended;
use crate::store::mapped_table::shape::key_form;
use crate::store::operations::children::read_cleared;
use crate::store::operations::drain_outbox::drop_places;
use crate::store::operations::parents::{former_parents, references};
use crate::store::tables::alias::{Wanted, former_ids};
use crate::store::tables::capture::note_heard;
use crate::store::tables::checkpoint::{lock_checkpoint, move_checkpoint};
use crate::store::tables::dead_letter::{NewDeadLetter, insert_dead_letters};
use crate::store::tables::discarded_value::{
    NewDiscardedValue, insert_discarded_values, overwritten_value,
};
use crate::store::tables::intent::{live_intents, save_intents};
use crate::store::tables::journal::{JournalLine, write_journal};
use crate::store::tables::link::{
    KnownRecord, free_keys, lock_by_names, make_links, remove_merged, resolve_parents,
    save_seen_records,
};
use crate::store::tables::seen::{RELAY, SeenRow, remember_events};
use crate::store::tables::task::{NewWork, add_work, wake_waiting};
use crate::store::transaction::Tx;

/// Records observations and, given a stream, moves its checkpoint.
pub(crate) async fn record_observations(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    observations: &[SalesforceObservation],
    stream: Option<(&StreamLease, &StreamPosition)>,
) -> Result<ObservationReport, StoreError> {
    if let Some((lease, _)) = stream {
        lock_checkpoint(tx, lease).await?;
    }
    let name = stream.map(|(lease, _)| lease.stream.to_string());
    let mut sorted = sort(mapped_objects, observations);
    let duplicate = drop_seen(tx, name.as_deref().unwrap_or(RELAY), &mut sorted.accepted).await?;
    let loaded = load(tx, &sorted.accepted).await?;
    let mut batch = ObservationBatch::new(loaded);
    let seen: Vec<Seen> = sorted
        .accepted
        .iter()
        .map(|one| batch.take(origin(one.mapped), one.seen))
        .collect();
    write(tx, mapped_objects, &mut batch).await?;
    write_evidence(tx, name.as_deref(), &sorted, &seen, &batch).await?;
    if let Some((lease, position)) = stream {
        move_checkpoint(tx, lease, position).await?;
    }
    let unmapped = stream.map_or(0, |(_, position)| position.out_of_scope);
    let left_alone = sorted
        .accepted
        .iter()
        .zip(&seen)
        .filter(|(one, seen)| is_left_alone(one, seen))
        .count();
    let count = |status| seen.iter().filter(|seen| seen.status == status).count();
    Ok(ObservationReport {
        counts: CaptureCounts {
            seen: observations.len() + unmapped,
            journaled: sorted.accepted.len() - left_alone,
            duplicate,
            refused: sorted.refused.len(),
            out_of_scope: sorted.out_of_scope + unmapped + left_alone,
        },
        dirty: batch.records().iter().filter(|record| record.dirty).count(),
        echoes: count(AbsorbStatus::Echo),
        superseded: count(AbsorbStatus::Superseded),
    })
}

/// Returns the origin of an object's observations.
pub(super) fn origin(mapped: &MappedObject) -> Origin<'_> {
    Origin {
        tenant: &mapped.tenant,
        organization_id: &mapped.organization_id,
        org_epoch: mapped.org_epoch,
        key_form: key_form(mapped),
    }
}

/// Returns the values to log as overwritten.
fn lost_values(record: &SeenRecord) -> impl Iterator<Item = NewDiscardedValue> {
    record
        .overwritten()
        .iter()
        .map(|(field, value)| overwritten_value(record.known.link.record_id, field.clone(), value))
}

/// An observation of a mapped object.
struct Accepted<'a> {
    mapped: &'a MappedObject,
    seen: &'a SalesforceObservation,
}

struct Sorted<'a> {
    accepted: Vec<Accepted<'a>>,
    refused: Vec<NewDeadLetter>,
    out_of_scope: usize,
}

fn sort<'a>(
    mapped_objects: &'a [MappedObject],
    observations: &'a [SalesforceObservation],
) -> Sorted<'a> {
    let by_object: BTreeMap<&ObjectName, &MappedObject> = mapped_objects
        .iter()
        .map(|mapped| (&mapped.sync.object, mapped))
        .collect();
    let mut sorted = Sorted {
        accepted: Vec::with_capacity(observations.len()),
        refused: Vec::new(),
        out_of_scope: 0,
    };
    for seen in observations {
        let Some(mapped) = by_object.get(&seen.object) else {
            sorted.out_of_scope += 1;
            continue;
        };
        let bad_key = external_id(seen).and_then(|raw| key_form(mapped).canonical(raw).err());
        match bad_key {
            None => sorted.accepted.push(Accepted { mapped, seen }),
            Some(error) => sorted.refused.push(NewDeadLetter {
                tenant: mapped.tenant.to_string(),
                object: seen.object.to_string(),
                record_id: None,
                origin: "observation",
                code: "observation_bad_key".to_owned(),
                field: Some(mapped.sync.external_id.field.to_string()),
                message: format!("record {}: {error}", seen.salesforce_id),
                payload: serde_json::to_value(&seen.fields).ok(),
                attempts: 0,
            }),
        }
    }
    sorted
}

/// Drops events that were recorded before with the same content. Reads are not remembered: a repeated read
/// returns current values, and versions show which ones are old.
async fn drop_seen(
    tx: &mut Tx,
    stream: &str,
    accepted: &mut Vec<Accepted<'_>>,
) -> Result<usize, StoreError> {
    let mut rows = BTreeMap::new();
    let mut keys = Vec::with_capacity(accepted.len());
    let mut repeats = BTreeSet::new();
    for (place, one) in accepted.iter().enumerate() {
        let SourceCursor::SalesforceReplayId(_) = one.seen.cursor else {
            keys.push(None);
            continue;
        };
        let row = seen_row(one);
        let key = (
            row.cursor.clone(),
            row.object.clone(),
            row.record.clone(),
            row.ordinal,
        );
        keys.push(Some(key.clone()));
        if let Some(SeenRow { payload_hash, .. }) = rows.get(&key)
            && *payload_hash == row.payload_hash
        {
            repeats.insert(place);
        }
        rows.insert(key, row);
    }
    if rows.is_empty() {
        return Ok(0);
    }
    let rows: Vec<SeenRow<'_>> = rows.into_values().collect();
    let fresh = remember_events(tx, &rows, stream).await?;
    if stream == RELAY && !fresh.is_empty() {
        note_heard(tx, &rows).await?;
    }
    for (place, key) in keys.into_iter().enumerate() {
        let Some((cursor, object, record, ordinal)) = key else {
            continue;
        };
        if !fresh.contains(&(cursor, object.into(), record.into(), ordinal)) {
            repeats.insert(place);
        }
    }
    drop_places(accepted, &repeats);
    Ok(repeats.len())
}

fn seen_row<'a>(one: &Accepted<'a>) -> SeenRow<'a> {
    SeenRow {
        tenant: &one.mapped.tenant,
        org_epoch: one.mapped.org_epoch.0,
        cursor: one.seen.cursor.to_string(),
        object: &one.seen.object,
        record: &one.seen.salesforce_id,
        ordinal: one.seen.ordinal,
        payload_hash: canonical_hash(&serde_json::json!([
            one.seen.kind,
            one.seen.version,
            one.seen.fields
        ])),
    }
}

/// Loads and locks the records that the observations may belong to.
async fn load(tx: &mut Tx, accepted: &[Accepted<'_>]) -> Result<KnownState, StoreError> {
    if accepted.is_empty() {
        return Ok(KnownState::default());
    }
    let wanted: Vec<Wanted> = accepted
        .iter()
        .map(|one| Wanted {
            tenant: one.mapped.tenant.to_string(),
            object: one.seen.object.to_string(),
            canonical_id: external_id(one.seen)
                .and_then(|raw| key_form(one.mapped).canonical(raw).ok()),
            local_key: None,
            salesforce_id: Some(one.seen.salesforce_id.clone()),
        })
        .collect();
    let records = lock_by_names(tx, &wanted).await?;
    let ids: Vec<RecordId> = records.iter().map(|record| record.link.record_id).collect();
    let intents = live_intents(tx, &ids).await?;
    let former = former_ids(tx, &wanted).await?;
    let parents = parents(tx, accepted, &records).await?;
    Ok(KnownState {
        records,
        intents,
        former,
        parents,
    })
}

/// Returns the external ids of the parents that observations and remote states point to.
async fn parents(
    tx: &mut Tx,
    accepted: &[Accepted<'_>],
    records: &[KnownRecord],
) -> Result<BTreeMap<SalesforceId, String>, StoreError> {
    let mut pointed = BTreeSet::new();
    let mapped_objects: BTreeMap<&ObjectName, &MappedObject> = accepted
        .iter()
        .map(|one| (&one.seen.object, one.mapped))
        .collect();
    for one in accepted {
        pointed.extend(references(one.mapped, |field| one.seen.fields.get(field)));
    }
    for record in records {
        if let Some(mapped) = mapped_objects.get(&record.link.object) {
            let remote_state = &record.link.remote_state.fields;
            pointed.extend(references(mapped, |field| {
                remote_state.get(field).map(|field| &field.value)
            }));
        }
    }
    match accepted.first() {
        Some(one) => resolve_parents(tx, &one.mapped.tenant, &pointed).await,
        None => Ok(BTreeMap::new()),
    }
}

/// Writes links, intents, lost values and tasks.
async fn write(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    batch: &mut ObservationBatch,
) -> Result<(), StoreError> {
    let config_hash = mapped_objects
        .first()
        .map_or("", |mapped| &*mapped.config_hash);
    let of = |wanted: fn(&SeenRecord) -> bool| -> Vec<RecordId> {
        batch
            .records()
            .iter()
            .filter(|record| wanted(record))
            .map(|record| record.known.link.record_id)
            .collect()
    };
    remove_merged(tx, &of(|record| record.merged && !record.is_new())).await?;
    free_keys(tx, &of(|record| record.moved && !record.merged)).await?;
    let is_idle = |record: &SeenRecord| {
        let mut writes = record.live.iter();
        !record.dirty && !record.known.postgres_edited.is_empty() && !writes.any(Intent::is_pending)
    };
    let idle: BTreeSet<RecordId> = of(is_idle).into_iter().collect();
    for record in batch.records_mut() {
        if is_idle(record) {
            record.known.keep_sent_times();
        }
    }
    let changed: Vec<KnownRecord> = batch
        .records()
        .iter()
        .filter(|record| !record.merged && record.is_changed())
        .map(|record| record.known.clone())
        .collect();
    save_seen_records(tx, &changed, &idle).await?;
    make_new(tx, batch).await?;
    let kept = || batch.records().iter().filter(|record| !record.merged);
    let intents: Vec<Intent> = kept()
        .flat_map(SeenRecord::touched_intents)
        .cloned()
        .collect();
    save_intents(tx, &intents).await?;
    let lost: Vec<NewDiscardedValue> = kept().flat_map(lost_values).collect();
    insert_discarded_values(tx, &lost, config_hash).await?;
    let work: Vec<NewWork> = kept()
        .filter(|record| record.dirty)
        .map(|record| NewWork {
            record_id: record.known.link.record_id,
            needs_refresh: record.needs_refresh,
        })
        .collect();
    add_work(tx, &work).await?;
    let arrived: Vec<String> = kept()
        .filter(|record| record.has_arrived())
        .filter_map(|record| record.known.link.salesforce_id.as_ref())
        .map(ToString::to_string)
        .chain(
            kept()
                .filter(|record| record.is_changed())
                .flat_map(|record| let_go(mapped_objects, record)),
        )
        .collect();
    wake_waiting(tx, &arrived).await?;
    read_cleared_lookups(tx, mapped_objects, kept()).await
}

/// Adds reads of the records that pointed to those which are gone.
async fn read_cleared_lookups<'a>(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    records: impl Iterator<Item = &'a SeenRecord>,
) -> Result<(), StoreError> {
    let mut gone: BTreeMap<&ObjectName, Vec<&str>> = BTreeMap::new();
    for record in records.filter(|record| has_gone(record)) {
        let link = &record.known.link;
        gone.entry(&link.object)
            .or_default()
            .push(&link.external_id);
    }
    for mapped in mapped_objects {
        if let Some(gone) = gone.get(&mapped.sync.object) {
            read_cleared(tx, mapped, gone).await?;
        }
    }
    Ok(())
}

/// Returns whether the record is deleted in Salesforce, and was there before.
fn has_gone(record: &SeenRecord) -> bool {
    let was_there = record
        .before()
        .is_some_and(|before| before.link.remote_state.presence == Presence::Present);
    was_there && record.known.link.remote_state.presence == Presence::Deleted
}

/// Returns the Salesforce ids of the records that the record has ceased to point to.
fn let_go(mapped_objects: &[MappedObject], record: &SeenRecord) -> Vec<String> {
    let now = &record.known.link;
    let mut mapped = mapped_objects.iter();
    let mapped = mapped.find(|mapped| mapped.sync.object == now.object);
    match (mapped, record.before()) {
        (Some(mapped), Some(before)) => {
            former_parents(mapped, &before.link.remote_state, &now.remote_state)
        }
        (_, _) => Vec::new(),
    }
}

/// Creates the links of new records and sets their record ids.
async fn make_new(tx: &mut Tx, batch: &mut ObservationBatch) -> Result<(), StoreError> {
    let new: Vec<KnownRecord> = batch
        .records()
        .iter()
        .filter(|record| record.is_new() && !record.merged)
        .map(|record| record.known.clone())
        .collect();
    let mut made = make_links(tx, &new).await?.into_iter();
    let records = batch.records_mut().iter_mut();
    for record in records.filter(|record| record.is_new() && !record.merged) {
        record.known.link.record_id = made
            .next()
            .flatten()
            .ok_or_else(|| contended("making links"))?;
    }
    Ok(())
}

/// Writes journal and dead letters.
async fn write_evidence(
    tx: &mut Tx,
    stream: Option<&str>,
    sorted: &Sorted<'_>,
    seen: &[Seen],
    batch: &ObservationBatch,
) -> Result<(), StoreError> {
    let lines: Vec<JournalLine> = sorted
        .accepted
        .iter()
        .zip(seen)
        // Does not journal unchanged scan results; there would be millions.
        .filter(|(one, seen)| {
            one.seen.kind != ObservationKind::Snapshot || seen.status != AbsorbStatus::Unchanged
        })
        .filter(|(one, seen)| !is_left_alone(one, seen))
        .map(|(one, seen)| journal_line(stream, one, *seen, batch))
        .collect();
    write_journal(tx, &lines).await?;
    insert_dead_letters(tx, &sorted.refused).await
}

/// Returns whether the record does not match the filter and either has no link or is already filtered out.
fn is_left_alone(one: &Accepted<'_>, seen: &Seen) -> bool {
    one.seen.kind == ObservationKind::Unmatched && seen.status == AbsorbStatus::Unchanged
}

fn journal_line(
    stream: Option<&str>,
    one: &Accepted<'_>,
    seen: Seen,
    batch: &ObservationBatch,
) -> JournalLine {
    let record = seen.place.map(|place| &batch.records()[place]);
    // Values of a record that does not match the filter are not recorded.
    let values = match one.seen.kind {
        ObservationKind::Unmatched | ObservationKind::FilteredOut => &Payload::new(),
        ObservationKind::Changed
        | ObservationKind::Created
        | ObservationKind::Undeleted
        | ObservationKind::Snapshot
        | ObservationKind::Refresh
        | ObservationKind::Deleted
        | ObservationKind::Missing
        | ObservationKind::Unreadable
        | ObservationKind::Gap => &one.seen.fields,
    };
    JournalLine {
        tenant: one.mapped.tenant.to_string(),
        object: one.seen.object.to_string(),
        record_id: record
            .filter(|record| !record.merged)
            .map(|record| record.known.link.record_id),
        source: "salesforce",
        operation: enum_text(one.seen.kind),
        external_id: record.map(|record| record.known.link.external_id.clone()),
        salesforce_id: Some(one.seen.salesforce_id.to_string()),
        stream: stream.map(str::to_owned),
        cursor: Some(one.seen.cursor.to_string()),
        org_epoch: Some(one.mapped.org_epoch.0),
        payload: serde_json::to_value(values).ok(),
        status: Some(if record.is_none() {
            "unknown_record".to_owned()
        } else {
            enum_text(seen.status)
        }),
        observed_at_ms: one.seen.version.modified_ms,
        config_hash: Some(one.mapped.config_hash.to_string()),
    }
}
