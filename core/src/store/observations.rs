//! Recording what was seen in Salesforce: dedupe, fold, journal, tasks and the stream's checkpoint,
//! in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use super::PgStore;
use super::capture::{drop_places, key_form};
use super::dead_letters::{NewDeadLetter, insert_dead_letters};
use super::error::{CONTENTION_RETRIES_MAX, contended, is_contention};
use super::journal::{JournalLine, write_journal};
use super::links::{NewLink, Wanted, lock_by_names, make_links};
use super::observation_batch::{Loaded, ObservationBatch, Seen, SeenRecord, external_id};
use super::records::{
    KnownRecord, LostValue, free_keys, live_intents, log_lost_values, save_intents, save_records,
    word_of,
};
use super::stream::{hold_checkpoint, move_checkpoint};
use super::tasks::{NewWork, add_work, wake_children};
use super::transaction::{Tx, recordset};
use crate::engine::ports::store::{CaptureCounts, ObservationReport, StreamLease, StreamPosition};
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::cursor::SourceCursor;
use crate::model::hash::canonical_hash;
use crate::model::ids::{ObjectName, RecordId, SalesforceId, TenantId};
use crate::model::intent::Intent;
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::model::value::{Payload, Value};
use crate::planner::observation::AbsorbStatus;

impl PgStore {
    /// See [`crate::engine::ports::StorePort::record_observations`].
    pub(super) async fn record_observations(
        &self,
        mapped_objects: &[MappedObject],
        observations: &[SalesforceObservation],
        stream: Option<(&mut StreamLease, StreamPosition)>,
    ) -> Result<ObservationReport, StoreError> {
        let held = stream
            .as_ref()
            .map(|(lease, position)| (&**lease, position));
        let mut done = self.record_once(mapped_objects, observations, held).await;
        for _ in 0..CONTENTION_RETRIES_MAX {
            if !done.as_ref().is_err_and(is_contention) {
                break;
            }
            done = self.record_once(mapped_objects, observations, held).await;
        }
        let report = done?;
        if let Some((lease, position)) = stream {
            lease.position = Some(position.cursor);
            lease.needs_resync = position.needs_resync.unwrap_or(lease.needs_resync);
        }
        Ok(report)
    }

    async fn record_once(
        &self,
        mapped_objects: &[MappedObject],
        observations: &[SalesforceObservation],
        stream: Option<(&StreamLease, &StreamPosition)>,
    ) -> Result<ObservationReport, StoreError> {
        let mut tx = self.begin().await?;
        if let Some((lease, _)) = stream {
            hold_checkpoint(&mut tx, lease).await?;
        }
        let name = stream.map(|(lease, _)| lease.stream.0.as_str());
        let mut sorted = sort(mapped_objects, observations);
        let duplicate = drop_seen(&mut tx, name.unwrap_or(RELAY), &mut sorted.accepted).await?;
        let loaded = load(&mut tx, &sorted.accepted).await?;
        let mut book = ObservationBatch::new(loaded);
        let seen: Vec<Seen> = sorted
            .accepted
            .iter()
            .map(|one| book.take(one.mapped, key_form(one.mapped), one.seen))
            .collect();
        write(&mut tx, mapped_objects, &mut book).await?;
        write_evidence(&mut tx, name, &sorted, &seen, &book).await?;
        if let Some((lease, position)) = stream {
            move_checkpoint(&mut tx, lease, position).await?;
        }
        tx.commit().await?;
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
            dirty: book.records().iter().filter(|record| record.dirty).count(),
            echoes: count(AbsorbStatus::Echo),
            superseded: count(AbsorbStatus::Superseded),
        })
    }
}

/// A sighting of a mapped object.
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

#[derive(Serialize)]
struct SeenRow<'a> {
    tenant: &'a TenantId,
    org_epoch: i64,
    cursor: String,
    object: &'a ObjectName,
    record: &'a SalesforceId,
    ordinal: i32,
    payload_hash: String,
}

/// The stream of events that come without a position of ours, to tell which came before.
const RELAY: &str = "relay";

/// Drops events that were recorded before with the same content. Reads are not remembered: reading
/// a page again shows what is there now, and versions tell what is old.
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
    let fresh: Vec<(String, String, String, i32)> = tx
        .rows(
            "remembering what was seen",
            sqlx::query_as(REMEMBER).bind(recordset(&rows)).bind(stream),
        )
        .await?;
    let fresh: BTreeSet<(String, String, String, i32)> = fresh.into_iter().collect();
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

/// Returns what is new. The same place with another content is new as well.
const REMEMBER: &str = "insert into syncline.sync_seen as known (
        tenant, org_epoch, stream, cursor, object, record, ordinal, payload_hash
    )
    select tenant, org_epoch, $2, cursor, object, record, ordinal, payload_hash
    from jsonb_to_recordset($1) as row (
        tenant text, org_epoch bigint, cursor text, object text, record text, ordinal integer, payload_hash text
    )
    order by cursor, object, record, ordinal
    -- Known with the same content: a duplicate, and not returned.
    on conflict (tenant, org_epoch, stream, cursor, object, record, ordinal) do update
    set payload_hash = excluded.payload_hash,
        seen_at = now()
    where known.payload_hash <> excluded.payload_hash
    returning cursor, object, record, ordinal";

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

/// Loads and locks what the sightings may belong to.
async fn load(tx: &mut Tx, accepted: &[Accepted<'_>]) -> Result<Loaded, StoreError> {
    if accepted.is_empty() {
        return Ok(Loaded::default());
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
    Ok(Loaded {
        records,
        intents,
        former,
        parents,
    })
}

async fn former_ids(
    tx: &mut Tx,
    wanted: &[Wanted],
) -> Result<BTreeMap<(ObjectName, SalesforceId), RecordId>, StoreError> {
    let rows: Vec<(String, String, Uuid)> = tx
        .rows(
            "finding former Salesforce ids",
            sqlx::query_as(
                "select former.object, former.value, former.record_id
                from jsonb_to_recordset($1) as wanted (tenant text, object text, salesforce_id text)
                join syncline.sync_link_alias as former
                    on former.tenant = wanted.tenant
                    and former.object = wanted.object
                    and former.kind = 'salesforce_id'
                    and former.value = wanted.salesforce_id
                    and not former.is_current
                order by former.valid_to",
            )
            .bind(recordset(wanted)),
        )
        .await?;
    rows.into_iter()
        .map(|(object, id, record)| {
            let object = ObjectName::parse(&object).map_err(super::records::corrupt)?;
            let id = SalesforceId::parse(&id).map_err(super::records::corrupt)?;
            Ok(((object, id), RecordId(record)))
        })
        .collect()
}

/// Returns the external ids of the parents that sightings and remote states point to.
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

/// Returns the objects and ids that a record's references point to.
pub(super) fn references<'a>(
    mapped: &MappedObject,
    value: impl Fn(&crate::model::ids::FieldName) -> Option<&'a Value>,
) -> Vec<(ObjectName, SalesforceId)> {
    mapped
        .sync
        .fields
        .iter()
        .filter_map(|(name, field)| {
            let Some(Value::Text(id)) = value(name) else {
                return None;
            };
            Some((field.references.clone()?, SalesforceId::parse(id).ok()?))
        })
        .collect()
}

/// Returns those of `parents` that the record's remote state points to.
pub(super) fn parents_of(
    mapped: &MappedObject,
    known: &KnownRecord,
    parents: &BTreeMap<SalesforceId, String>,
) -> BTreeMap<SalesforceId, String> {
    let remote_state = &known.link.remote_state.fields;
    references(mapped, |field| {
        remote_state.get(field).map(|field| &field.value)
    })
    .into_iter()
    .filter_map(|(_, id)| Some((id.clone(), parents.get(&id)?.clone())))
    .collect()
}

/// Returns the external ids of linked records by their Salesforce ids.
pub(super) async fn resolve_parents(
    tx: &mut Tx,
    tenant: &TenantId,
    pointed: &BTreeSet<(ObjectName, SalesforceId)>,
) -> Result<BTreeMap<SalesforceId, String>, StoreError> {
    if pointed.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (objects, ids): (Vec<&str>, Vec<&str>) = pointed
        .iter()
        .map(|(object, id)| (object.as_str(), id.as_str()))
        .unzip();
    let rows: Vec<(String, String)> = tx
        .rows(
            "resolving references",
            sqlx::query_as(
                "select link.salesforce_id, link.external_id
                from unnest($2::text[], $3::text[]) as pointed (object, salesforce_id)
                join syncline.sync_link as link
                    on link.tenant = $1
                    and link.object = pointed.object
                    and link.salesforce_id = pointed.salesforce_id",
            )
            .bind(tenant.as_str())
            .bind(objects)
            .bind(ids),
        )
        .await?;
    rows.into_iter()
        .map(|(id, external_id)| {
            let id = SalesforceId::parse(&id).map_err(super::records::corrupt)?;
            Ok((id, external_id))
        })
        .collect()
}

/// Writes links, intents, lost values and tasks.
async fn write(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    book: &mut ObservationBatch,
) -> Result<(), StoreError> {
    let config_hash = mapped_objects
        .first()
        .map_or("", |mapped| &*mapped.config_hash);
    let of = |wanted: fn(&SeenRecord) -> bool| -> Vec<RecordId> {
        book.records()
            .iter()
            .filter(|record| wanted(record))
            .map(|record| record.known.link.record_id)
            .collect()
    };
    remove_merged(tx, &of(|record| record.merged && !record.is_new())).await?;
    free_keys(tx, &of(|record| record.moved && !record.merged)).await?;
    let changed: Vec<KnownRecord> = book
        .records()
        .iter()
        .filter(|record| !record.merged && record.is_changed())
        .map(|record| record.known.clone())
        .collect();
    save_records(tx, &changed, config_hash).await?;
    make_new(tx, book).await?;
    let kept = || book.records().iter().filter(|record| !record.merged);
    let intents: Vec<Intent> = kept()
        .flat_map(SeenRecord::touched_intents)
        .cloned()
        .collect();
    save_intents(tx, &intents).await?;
    let lost: Vec<LostValue> = kept().flat_map(SeenRecord::lost_values).collect();
    log_lost_values(tx, &lost, config_hash).await?;
    let work: Vec<NewWork> = kept()
        .filter(|record| record.dirty)
        .map(|record| NewWork {
            record_id: record.known.link.record_id,
            needs_refresh: record.needs_refresh,
            xid: None,
        })
        .collect();
    add_work(tx, &work).await?;
    let arrived: Vec<String> = kept()
        .filter(|record| record.has_arrived())
        .filter_map(|record| record.known.link.salesforce_id.as_ref())
        .map(ToString::to_string)
        .collect();
    wake_children(tx, &arrived).await
}

/// Makes the links of new records and gives them their ids.
async fn make_new(tx: &mut Tx, book: &mut ObservationBatch) -> Result<(), StoreError> {
    let new: Vec<NewLink> = book
        .records()
        .iter()
        .filter(|record| record.is_new() && !record.merged)
        .map(|record| NewLink {
            tenant: record.known.link.tenant.to_string(),
            object: record.known.link.object.to_string(),
            org_epoch: record.known.link.org_epoch,
            external_id: record.known.link.external_id.clone(),
            canonical_id: record.known.link.canonical_id.clone(),
            generated: record.known.generated,
            salesforce_id: record.known.link.salesforce_id.clone(),
            local_key: None,
            postgres_presence: record.known.postgres_presence,
            postgres_changed_at_ms: None,
            remote_state: record.known.link.remote_state.clone(),
        })
        .collect();
    let mut made = make_links(tx, &new).await?.into_iter();
    let records = book.records_mut().iter_mut();
    for record in records.filter(|record| record.is_new() && !record.merged) {
        record.known.link.record_id = made
            .next()
            .flatten()
            .ok_or_else(|| contended("making links"))?;
    }
    Ok(())
}

/// Removes records that turned out to be another one's Salesforce side; their tasks go with them.
async fn remove_merged(tx: &mut Tx, records: &[RecordId]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    tx.run(
        "removing merged links",
        sqlx::query("delete from syncline.sync_link where record_id = any($1)").bind(ids),
    )
    .await?;
    Ok(())
}

/// Writes journal and dead letters.
async fn write_evidence(
    tx: &mut Tx,
    stream: Option<&str>,
    sorted: &Sorted<'_>,
    seen: &[Seen],
    book: &ObservationBatch,
) -> Result<(), StoreError> {
    let lines: Vec<JournalLine> = sorted
        .accepted
        .iter()
        .zip(seen)
        // A scan that finds what is known already is no news: millions of those would bury the rest.
        .filter(|(one, seen)| {
            one.seen.kind != ObservationKind::Snapshot || seen.status != AbsorbStatus::Unchanged
        })
        .filter(|(one, seen)| !is_left_alone(one, seen))
        .map(|(one, seen)| journal_line(stream, one, *seen, book))
        .collect();
    write_journal(tx, &lines).await?;
    insert_dead_letters(tx, &sorted.refused).await
}

/// A record outside the object's filter that nobody knows, or that is known to lie there.
fn is_left_alone(one: &Accepted<'_>, seen: &Seen) -> bool {
    one.seen.kind == ObservationKind::Unmatched && seen.status == AbsorbStatus::Unchanged
}

fn journal_line(
    stream: Option<&str>,
    one: &Accepted<'_>,
    seen: Seen,
    book: &ObservationBatch,
) -> JournalLine {
    let record = seen.place.map(|place| &book.records()[place]);
    // What a record outside the filter holds is nobody's business here.
    let told = match one.seen.kind {
        ObservationKind::Unmatched | ObservationKind::FilteredOut => &Payload::new(),
        ObservationKind::Changed
        | ObservationKind::Created
        | ObservationKind::Undeleted
        | ObservationKind::Snapshot
        | ObservationKind::Refresh
        | ObservationKind::Deleted
        | ObservationKind::Missing
        | ObservationKind::Gap => &one.seen.fields,
    };
    JournalLine {
        tenant: one.mapped.tenant.to_string(),
        object: one.seen.object.to_string(),
        record_id: record
            .filter(|record| !record.merged)
            .map(|record| record.known.link.record_id),
        source: "salesforce",
        operation: word_of(one.seen.kind),
        external_id: record.map(|record| record.known.link.external_id.clone()),
        salesforce_id: Some(one.seen.salesforce_id.to_string()),
        stream: stream.map(str::to_owned),
        cursor: Some(one.seen.cursor.to_string()),
        org_epoch: Some(one.mapped.org_epoch.0),
        payload: serde_json::to_value(told).ok(),
        payload_hash: Some(crate::model::hash::payload_hash(told)),
        status: Some(if record.is_none() {
            "unknown_record".to_owned()
        } else {
            format!("{:?}", seen.status).to_lowercase()
        }),
        observed_at_ms: one.seen.version.modified_ms,
        config_hash: Some(one.mapped.config_hash.to_string()),
    }
}
