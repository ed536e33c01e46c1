//! Drains the outbox: turns the changes of users' transactions into links, tasks and journal lines.
//!
//! Only one capture drains a tenant's outbox at a time, so that renames are applied in order. Rows are
//! claimed individually, not up to an id, so a transaction that commits late is never skipped.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::config::ConflictPolicy;
use crate::model::change::{OutboxOperation, OutboxRow, ValidOutbox, validate_outbox};
use crate::model::hash::canonical_hash;
use crate::model::ids::{FieldName, ObjectName, OrgEpoch, RecordId, TenantId};
use crate::model::link::RemoteState;
use crate::model::value::Payload;
use crate::model::{SyncLink, generate};
use crate::planner::identity::nested::{Earlier, RowName, Step, captured_later};
use crate::planner::identity::rows::{Entry, KeyedChange, RowIdentityMap, RowKey};
use crate::ports::capture_store::{CaptureCounts, OutboxReport};
use crate::ports::{MappedObject, StoreError, StreamName};
use crate::store::error::contended;
use crate::store::mapped_table::shape::key_form;
use crate::store::operations::children::follow;
use crate::store::tables::alias::{RawAlias, Wanted, add_raw_aliases};
use crate::store::tables::checkpoint::{lock_outbox, mark_scans_need_resync, note_capture};
use crate::store::tables::dead_letter::{NewDeadLetter, insert_dead_letters};
use crate::store::tables::journal::{JournalLine, write_journal};
use crate::store::tables::link::{KnownRecord, free_keys, lock_by_names, make_links, save_records};
use crate::store::tables::outbox::{Claimed, EarlierChange, claim, claim_earlier};
use crate::store::tables::seen::{Emitted, seen_before};
use crate::store::tables::task::{NewWork, add_work, wake_waiting, work_for};
use crate::store::transaction::{Tx, recordset};

/// Drains at most `limit` rows of the tenants' outboxes.
pub(crate) async fn drain_outbox(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    limit: usize,
) -> Result<OutboxReport, StoreError> {
    let tenants = lock_outbox(tx, mapped_objects).await?;
    let claimed = if tenants.is_empty() {
        Vec::new()
    } else {
        let claimed = claim(tx, &tenants, limit).await?;
        with_earlier(tx, mapped_objects, &tenants, claimed, limit).await?
    };
    if claimed.is_empty() {
        return Ok(OutboxReport::default());
    }
    let mut sorted = sort(mapped_objects, &claimed);
    let emitted = emitted(&sorted.accepted);
    let repeats = seen_before(tx, &emitted).await?;
    let duplicates = repeats.len();
    drop_places(&mut sorted.accepted, &repeats);
    let dirty = take_in(tx, mapped_objects, &sorted.accepted).await?;
    write_journal(tx, &sorted.out_of_scope).await?;
    insert_dead_letters(tx, &sorted.refused).await?;
    note_capture(tx, &tenants).await?;
    Ok(OutboxReport {
        counts: CaptureCounts {
            seen: claimed.len(),
            journaled: sorted.accepted.len(),
            duplicate: duplicates,
            refused: sorted.refused.len(),
            out_of_scope: sorted.out_of_scope.len(),
        },
        dirty,
        more: claimed.len() >= limit,
    })
}

/// Adds the changes that came before those of triggers but are captured later: a statement may be captured with more rows
/// than one batch has. A trigger may have fired because of another one's change, so what is added is looked at, too.
async fn with_earlier(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    tenants: &[String],
    mut claimed: Vec<Claimed>,
    limit: usize,
) -> Result<Vec<Claimed>, StoreError> {
    if claimed.len() < limit {
        return Ok(claimed);
    }
    loop {
        let added = {
            let sorted = sort(mapped_objects, &claimed);
            let changes: Vec<&KeyedChange> =
                sorted.accepted.iter().map(|one| &one.change).collect();
            let earlier = captured_later(&changes);
            if earlier.is_empty() {
                break;
            }
            let wanted: Vec<EarlierChange<'_>> = earlier.iter().map(earlier_change).collect();
            claim_earlier(tx, tenants, &wanted, limit).await?
        };
        if added.is_empty() {
            break;
        }
        claimed.extend(added);
    }
    Ok(claimed)
}

fn earlier_change<'a>(earlier: &'a Earlier<'a>) -> EarlierChange<'a> {
    let written = earlier.written.as_str();
    let (external_id, canonical_id, local_key) = match &earlier.name {
        RowName::External(canonical) => (Some(written), Some(canonical.as_str()), None),
        RowName::Local(_) => (None, None, serde_json::from_str(written).ok()),
    };
    EarlierChange {
        tenant: earlier.tenant.as_str(),
        object: earlier.object.as_str(),
        external_id,
        canonical_id,
        local_key,
        took: matches!(earlier.step, Step::Took { .. }),
        live: earlier.step == Step::Took { live: true },
    }
}

/// A claimed row that is a valid change.
struct Accepted<'a> {
    row: &'a Claimed,
    mapped: &'a MappedObject,
    valid: ValidOutbox,
    change: KeyedChange,
}

/// The rows of a batch by kind.
struct Sorted<'a> {
    accepted: Vec<Accepted<'a>>,
    refused: Vec<NewDeadLetter>,
    out_of_scope: Vec<JournalLine>,
}

/// Separates valid changes, invalid rows, and rows of unmapped objects.
fn sort<'a>(mapped_objects: &'a [MappedObject], claimed: &'a [Claimed]) -> Sorted<'a> {
    let by_place: BTreeMap<(&str, &str), &MappedObject> = mapped_objects
        .iter()
        .map(|mapped| {
            let place = (mapped.tenant.as_str(), mapped.sync.object.as_str());
            (place, mapped)
        })
        .collect();
    let finder = mapped_objects
        .first()
        .map_or("", |mapped| mapped.tenant.as_str());
    let mut sorted = Sorted {
        accepted: Vec::with_capacity(claimed.len()),
        refused: Vec::new(),
        out_of_scope: Vec::new(),
    };
    for row in claimed {
        let valid = match validate_outbox(&parts(row)) {
            Ok(valid) => valid,
            Err(refusal) => {
                let dead_letter =
                    refusal_dead_letter(row, finder, refusal.code(), &refusal.to_string());
                sorted.refused.push(dead_letter);
                continue;
            }
        };
        let place = (valid.tenant.as_str(), valid.object.as_str());
        let Some(mapped) = by_place.get(&place) else {
            sorted.out_of_scope.push(journal_line(row, &valid, None));
            continue;
        };
        match keyed(mapped, &valid, row) {
            Ok(change) => sorted.accepted.push(Accepted {
                row,
                mapped,
                valid,
                change,
            }),
            Err(reason) => {
                let dead_letter = refusal_dead_letter(row, finder, BAD_KEY, &reason);
                sorted.refused.push(dead_letter);
            }
        }
    }
    sorted
}

fn parts(row: &Claimed) -> OutboxRow<'_> {
    OutboxRow {
        outbox_id: row.outbox_id,
        tenant: row.tenant.as_deref().unwrap_or_default(),
        object: row.object.as_deref().unwrap_or_default(),
        operation: row.operation.as_deref().unwrap_or_default(),
        external_id: row.external_id.as_deref(),
        local_key: row.local_key.as_ref(),
        tombstone: row.tombstone.unwrap_or_default(),
        cursor: row.cursor.as_deref(),
    }
}

fn refusal_dead_letter(row: &Claimed, finder: &str, code: &str, message: &str) -> NewDeadLetter {
    let named = row
        .tenant
        .as_deref()
        .filter(|tenant| !tenant.trim().is_empty());
    NewDeadLetter {
        // A row without a tenant is listed under the tenant that found it, so that a person sees it.
        tenant: named.unwrap_or(finder).to_owned(),
        object: row.object.clone().unwrap_or_default(),
        record_id: None,
        origin: "outbox",
        code: code.to_owned(),
        field: None,
        message: format!("an outbox row was refused: {message}"),
        payload: serde_json::to_value(row).ok(),
        attempts: 0,
    }
}

/// Parses the keys of a row.
fn keyed(mapped: &MappedObject, valid: &ValidOutbox, row: &Claimed) -> Result<KeyedChange, String> {
    let form = key_form(mapped);
    let parse = |raw: &str| {
        form.canonical(raw)
            .map(|canonical| RowKey {
                raw: raw.to_owned(),
                canonical,
            })
            .map_err(|error| error.to_string())
    };
    let key = row.external_id.as_deref().map(parse).transpose()?;
    let generated = row.local_key.as_ref().map(|local| {
        let raw = generate::for_postgres(&mapped.tenant, &mapped.sync.table, local);
        RowKey {
            canonical: form.canonical(&raw).unwrap_or_else(|_| raw.clone()),
            raw,
        }
    });
    Ok(KeyedChange {
        tenant: valid.tenant.clone(),
        object: valid.object.clone(),
        operation: valid.operation,
        key,
        // An invalid former id belongs to no record.
        old_key: row
            .old_external_id
            .as_deref()
            .and_then(|old| parse(old).ok()),
        local_key: row.local_key.clone(),
        generated,
        changed_at_ms: row.changed_at.map(|at| at.timestamp_millis()),
        fields: edited_fields(mapped, valid, row),
        nested: row.nested.unwrap_or_default(),
    })
}

/// Returns what `install` would enqueue for an existing row; or the code and the reason with which that would be
/// refused. `primary_key` is the row's, if its table has one.
pub(super) fn backfill_change(
    mapped: &MappedObject,
    external_id: Option<&str>,
    primary_key: Option<&serde_json::Value>,
) -> Result<KeyedChange, (&'static str, String)> {
    let row = Claimed {
        outbox_id: 0,
        tenant: Some(mapped.tenant.to_string()),
        object: Some(mapped.sync.object.to_string()),
        operation: Some("backfill".to_owned()),
        external_id: external_id.map(str::to_owned),
        old_external_id: None,
        local_key: primary_key.filter(|_| external_id.is_none()).cloned(),
        changed_columns: None,
        changed: None,
        tombstone: Some(false),
        cursor: None,
        changed_at: None,
        nested: Some(false),
    };
    let valid =
        validate_outbox(&parts(&row)).map_err(|refusal| (refusal.code(), refusal.to_string()))?;
    keyed(mapped, &valid, &row).map_err(|reason| (BAD_KEY, reason))
}

/// The code of a row whose external id is invalid.
const BAD_KEY: &str = "outbox_bad_key";

/// Returns the fields of the columns that a change names, if the later edit of a field wins.
fn edited_fields(mapped: &MappedObject, valid: &ValidOutbox, row: &Claimed) -> Vec<FieldName> {
    let is_edit = match valid.operation {
        OutboxOperation::Insert | OutboxOperation::Update => true,
        OutboxOperation::Delete
        | OutboxOperation::Truncate
        | OutboxOperation::Backfill
        | OutboxOperation::Uncaptured => false,
    };
    let by_time = mapped.configured.conflicts == ConflictPolicy::LastWriterWins;
    if !is_edit || !by_time {
        return Vec::new();
    }
    let fields = mapped.configured.fields.iter();
    fields
        .filter(|(_, field)| names_column(row, field.column.as_str()))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Returns whether a change names this column.
fn names_column(row: &Claimed, column: &str) -> bool {
    let reported = match &row.changed {
        Some(serde_json::Value::Object(reported)) => Some(reported),
        _ => None,
    };
    let mut captured = row.changed_columns.iter().flatten();
    captured.any(|captured| captured == column)
        || reported.is_some_and(|reported| reported.contains_key(column))
}

impl Accepted<'_> {
    /// Returns whether the row may point to another one since the change, or to none.
    fn lets_others_go(&self) -> bool {
        let mut lookups = self.mapped.sync.fields.values();
        match self.valid.operation {
            OutboxOperation::Delete => true,
            OutboxOperation::Update => lookups.any(|field| {
                field.references.is_some() && names_column(self.row, field.column.as_str())
            }),
            OutboxOperation::Insert
            | OutboxOperation::Truncate
            | OutboxOperation::Backfill
            | OutboxOperation::Uncaptured => false,
        }
    }
}

fn journal_line(row: &Claimed, valid: &ValidOutbox, mapped: Option<&MappedObject>) -> JournalLine {
    let columns = row.changed_columns.as_ref().map(|columns| json!(columns));
    let payload = row.changed.clone().or(columns);
    JournalLine {
        tenant: valid.tenant.to_string(),
        object: valid.object.to_string(),
        source: "postgres",
        operation: valid.operation.as_str().to_owned(),
        external_id: row.external_id.clone(),
        stream: Some(StreamName::Outbox.to_string()),
        cursor: Some(valid.cursor.to_string()),
        org_epoch: mapped.map(|mapped| mapped.org_epoch.0),
        payload,
        status: mapped.is_none().then(|| "out_of_scope".to_owned()),
        observed_at_ms: row.changed_at.map(|at| at.timestamp_millis()),
        config_hash: mapped.map(|mapped| mapped.config_hash.to_string()),
        ..JournalLine::default()
    }
}

/// Returns the rows with a cursor from an application, by position. Rows of the triggers have unique cursors
/// and cannot be duplicates.
fn emitted<'a>(accepted: &[Accepted<'a>]) -> Vec<(usize, Emitted<'a>)> {
    accepted
        .iter()
        .enumerate()
        .filter(|(_, one)| one.row.cursor.is_some())
        .map(|(place, one)| {
            let emitted = Emitted {
                tenant: one.mapped.tenant.as_str(),
                org_epoch: one.mapped.org_epoch,
                cursor: one.valid.cursor.to_string(),
                object: one.mapped.sync.object.as_str(),
                record: one.row.external_id.as_deref().unwrap_or_default(),
                payload_hash: canonical_hash(&json!([
                    one.valid.operation.as_str(),
                    one.row.changed
                ])),
            };
            (place, emitted)
        })
        .collect()
}

/// Drops the items at these positions.
pub(crate) fn drop_places<T>(items: &mut Vec<T>, places: &BTreeSet<usize>) {
    let mut place = 0;
    items.retain(|_| {
        place += 1;
        !places.contains(&(place - 1))
    });
}

/// Resolves the changes to records, and writes links, aliases, tasks and journal. Returns how many records
/// have new work.
async fn take_in(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    accepted: &[Accepted<'_>],
) -> Result<usize, StoreError> {
    let emptied = empty_places(tx, accepted).await?;
    read_uncaptured(tx, accepted).await?;
    let wanted: Vec<Wanted> = accepted.iter().flat_map(|one| names(&one.change)).collect();
    let mut identities = RowIdentityMap::new(lock_by_names(tx, &wanted).await?);
    let changes: Vec<&KeyedChange> = accepted.iter().map(|one| &one.change).collect();
    let mut places: Vec<Option<usize>> = vec![None; accepted.len()];
    for at in identities.order(&changes) {
        let one = &accepted[at];
        match one.valid.operation {
            OutboxOperation::Truncate => {
                identities.truncate(&one.valid.tenant, &one.valid.object);
            }
            OutboxOperation::Uncaptured => {}
            OutboxOperation::Insert
            | OutboxOperation::Update
            | OutboxOperation::Delete
            | OutboxOperation::Backfill => places[at] = Some(identities.take(&one.change)),
        }
    }
    let records = write_links(tx, mapped_objects, identities.entries()).await?;
    write_names(tx, identities.entries(), &records).await?;
    let work: Vec<NewWork> = identities
        .entries()
        .iter()
        .zip(&records)
        .filter(|(entry, _)| entry.dirty)
        .map(|(_, record_id)| NewWork {
            record_id: *record_id,
            needs_refresh: false,
        })
        .collect();
    add_work(tx, &work).await?;
    let let_go = accepted.iter().filter(|one| one.lets_others_go());
    let let_go: Vec<String> = let_go
        .filter_map(|one| one.row.external_id.clone())
        .collect();
    wake_waiting(tx, &let_go).await?;
    follow_renames(tx, mapped_objects, identities.entries()).await?;
    let lines: Vec<JournalLine> = accepted
        .iter()
        .zip(&places)
        .map(|(one, place)| JournalLine {
            record_id: place.map(|place| records[place]),
            ..journal_line(one.row, &one.valid, Some(one.mapped))
        })
        .collect();
    write_journal(tx, &lines).await?;
    Ok(work.len() + emptied)
}

/// Adds work for the rows that reference renamed ones.
async fn follow_renames(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    entries: &[Entry],
) -> Result<(), StoreError> {
    for mapped in mapped_objects {
        let moved = entries.iter().filter(|entry| {
            entry.moved && entry.tenant == mapped.tenant && entry.object == mapped.sync.object
        });
        let renamed = moved.flat_map(|entry| {
            let now = &entry.external_id;
            entry
                .left_behind
                .iter()
                .map(|before| (before.clone(), now.clone()))
        });
        follow(tx, mapped, &renamed.collect()).await?;
    }
    Ok(())
}

/// Returns the keys by which the record of a change may be known.
pub(super) fn names(change: &KeyedChange) -> Vec<Wanted> {
    let place = || Wanted {
        tenant: change.tenant.to_string(),
        object: change.object.to_string(),
        ..Wanted::default()
    };
    let keys = [&change.key, &change.old_key, &change.generated];
    let mut names: Vec<Wanted> = keys
        .into_iter()
        .flatten()
        .map(|key| Wanted {
            canonical_id: Some(key.canonical.clone()),
            ..place()
        })
        .collect();
    if change.local_key.is_some() {
        names.push(Wanted {
            local_key: change.local_key.clone(),
            ..place()
        });
    }
    names
}

/// Has the objects read again of which changes could not be captured.
async fn read_uncaptured(tx: &mut Tx, accepted: &[Accepted<'_>]) -> Result<(), StoreError> {
    let mut objects: BTreeMap<&TenantId, BTreeSet<&ObjectName>> = BTreeMap::new();
    for one in accepted {
        if one.valid.operation == OutboxOperation::Uncaptured {
            let of_tenant = objects.entry(&one.valid.tenant).or_default();
            of_tenant.insert(&one.valid.object);
        }
    }
    for (tenant, objects) in objects {
        let objects: Vec<ObjectName> = objects.into_iter().cloned().collect();
        let reason = "a change of its table could not be captured";
        mark_scans_need_resync(tx, tenant, &objects, reason).await?;
    }
    Ok(())
}

/// Adds work for every record of a truncated table, in one statement: there may be millions.
async fn empty_places(tx: &mut Tx, accepted: &[Accepted<'_>]) -> Result<usize, StoreError> {
    let places: BTreeSet<(&str, &str)> = accepted
        .iter()
        .filter(|one| one.valid.operation == OutboxOperation::Truncate)
        .map(|one| (one.valid.tenant.as_str(), one.valid.object.as_str()))
        .collect();
    if places.is_empty() {
        return Ok(0);
    }
    let (tenants, objects): (Vec<&str>, Vec<&str>) = places.into_iter().unzip();
    let emptied = tx
        .run(
            "adding work for a truncated table",
            sqlx::query(work_for(
                "update syncline.sync_link as link
                set postgres_presence = 'deleted',
                    postgres_changed_at = syncline.clock(),
                    version = link.version + 1
                from unnest($1::text[], $2::text[]) as place (tenant, object)
                where link.tenant = place.tenant
                and link.object = place.object
                and link.postgres_presence = 'present'
                returning link.record_id, false as needs_refresh",
            ))
            .bind(tenants)
            .bind(objects),
        )
        .await?;
    Ok(usize::try_from(emptied).unwrap_or(usize::MAX))
}

/// Saves known links with their new keys and creates new links. Returns each entry's record.
async fn write_links(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    entries: &[Entry],
) -> Result<Vec<RecordId>, StoreError> {
    let moved: Vec<RecordId> = entries
        .iter()
        .filter(|entry| entry.moved)
        .filter_map(|entry| entry.known.as_ref())
        .map(|known| known.link.record_id)
        .collect();
    revisit_spellings(tx, entries).await?;
    free_keys(tx, &moved).await?;
    let known: Vec<KnownRecord> = entries
        .iter()
        .filter(|entry| entry.dirty)
        .filter_map(updated)
        .collect();
    save_records(tx, &known).await?;
    let new: Vec<KnownRecord> = entries
        .iter()
        .filter(|entry| entry.known.is_none())
        .map(|entry| new_record(mapped_objects, entry))
        .collect();
    let mut made = make_links(tx, &new).await?.into_iter();
    entries
        .iter()
        .map(|entry| match &entry.known {
            Some(known) => Ok(known.link.record_id),
            None => made
                .next()
                .flatten()
                .ok_or_else(|| contended("making links")),
        })
        .collect()
}

#[derive(Serialize)]
struct LeftSpellings<'a> {
    record_id: RecordId,
    spellings: &'a BTreeSet<String>,
}

/// Enqueues rows that have the old external id of a renamed record in another spelling: such a row becomes
/// its own record. It is captured as if it had just been written.
async fn revisit_spellings(tx: &mut Tx, entries: &[Entry]) -> Result<(), StoreError> {
    let former: Vec<LeftSpellings<'_>> = entries
        .iter()
        .filter(|entry| entry.moved)
        .filter_map(|entry| {
            Some(LeftSpellings {
                record_id: entry.known.as_ref()?.link.record_id,
                spellings: &entry.left_behind,
            })
        })
        .collect();
    if former.is_empty() {
        return Ok(());
    }
    tx.run(
        "revisiting rows with another spelling",
        sqlx::query(
            "insert into syncline.sync_outbox (tenant, object, operation, external_id, tombstone, entered_at)
            select alias.tenant, alias.object, 'backfill', alias.value, false, syncline.wall_clock()
            from jsonb_to_recordset($1) as left_behind (record_id uuid, spellings jsonb)
            join syncline.sync_link_alias as alias using (record_id)
            where alias.kind = 'external_id'
            and alias.is_current
            and not left_behind.spellings ? alias.value",
        )
        .bind(recordset(&former)),
    )
    .await?;
    Ok(())
}

/// Returns the known record as it is after the batch.
pub(super) fn updated(entry: &Entry) -> Option<KnownRecord> {
    let mut record = entry.known.clone()?;
    record.link.external_id.clone_from(&entry.external_id);
    record.link.canonical_id.clone_from(&entry.canonical_id);
    record.link.local_key.clone_from(&entry.local_key);
    record.generated = entry.generated;
    record.key_conflict = entry.key_conflict;
    record.postgres_presence = entry.presence;
    record.postgres_changed_at_ms = entry.changed_at_ms;
    record.postgres_edited.clone_from(&entry.edited);
    Some(record)
}

/// Returns the record of an entry that has no link yet. The database generates its record id.
pub(super) fn new_record(mapped_objects: &[MappedObject], entry: &Entry) -> KnownRecord {
    let org_epoch = mapped_objects
        .iter()
        .find(|mapped| mapped.tenant == entry.tenant)
        .map_or(OrgEpoch::default(), |mapped| mapped.org_epoch);
    KnownRecord {
        link: SyncLink {
            record_id: RecordId(Uuid::nil()),
            tenant: entry.tenant.clone(),
            object: entry.object.clone(),
            org_epoch,
            external_id: entry.external_id.clone(),
            canonical_id: entry.canonical_id.clone(),
            salesforce_id: None,
            local_key: entry.local_key.clone(),
            base: Payload::new(),
            agreed: false,
            remote_state: RemoteState::default(),
            automation_overrides: BTreeMap::new(),
            version: 0,
        },
        generated: entry.generated,
        key_conflict: false,
        postgres_presence: entry.presence,
        postgres_changed_at_ms: entry.changed_at_ms,
        postgres_edited: BTreeMap::new(),
    }
}

async fn write_names(
    tx: &mut Tx,
    entries: &[Entry],
    records: &[RecordId],
) -> Result<(), StoreError> {
    let aliases: Vec<RawAlias> = entries
        .iter()
        .zip(records)
        .flat_map(|(entry, record_id)| {
            entry.raw_ids.iter().map(|raw| RawAlias {
                record_id: *record_id,
                value: raw.clone(),
            })
        })
        .collect();
    add_raw_aliases(tx, &aliases).await
}
