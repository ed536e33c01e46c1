//! Reads records in Salesforce, and converts them to observations.

use std::collections::BTreeMap;

use crate::job::Job;
use crate::job::error::Error;
use crate::job::tenant::read_fields;
use crate::model::cursor::SourceCursor;
use crate::model::ids::SalesforceId;
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::model::value::Value;
use crate::ports::salesforce::{Deleted, ReadBy, SalesforceRecord};
use crate::ports::{MappedObject, SalesforcePort};

/// Records of one read by id.
const READ_BATCH: usize = 200;

/// Reads records by id, batch by batch, deleted ones included. A record that is not returned does not exist,
/// or our user cannot see it.
pub(crate) async fn read_by_id(
    job: &Job<'_>,
    mapped: &MappedObject,
    ids: &[SalesforceId],
) -> Result<BTreeMap<SalesforceId, SalesforceRecord>, Error> {
    read_from(job.salesforce(), mapped, ids).await
}

/// Reads records by id as [`read_by_id`] does, outside a job.
pub(crate) async fn read_from(
    salesforce: &dyn SalesforcePort,
    mapped: &MappedObject,
    ids: &[SalesforceId],
) -> Result<BTreeMap<SalesforceId, SalesforceRecord>, Error> {
    read_batches(salesforce, mapped, ids, &|ids| ReadBy::Id(ids)).await
}

/// Reads the records that match the object's filter; all of them if it has no filter. Deleted records are
/// filtered by their last values.
pub(crate) async fn read_matching(
    job: &Job<'_>,
    mapped: &MappedObject,
    ids: &[SalesforceId],
) -> Result<BTreeMap<SalesforceId, SalesforceRecord>, Error> {
    match &mapped.sync.filter {
        Some(filter) => {
            let matching = |ids| ReadBy::Matching {
                ids,
                filter: filter.clone(),
            };
            read_batches(job.salesforce(), mapped, ids, &matching).await
        }
        None => read_by_id(job, mapped, ids).await,
    }
}

async fn read_batches(
    salesforce: &dyn SalesforcePort,
    mapped: &MappedObject,
    ids: &[SalesforceId],
    by: &(dyn Fn(Vec<SalesforceId>) -> ReadBy + Sync),
) -> Result<BTreeMap<SalesforceId, SalesforceRecord>, Error> {
    let fields = read_fields(&mapped.sync);
    let mut found = BTreeMap::new();
    for batch in ids.chunks(READ_BATCH) {
        let records = salesforce
            .read(&mapped.sync.object, &by(batch.to_vec()), &fields)
            .await?;
        found.extend(
            records
                .into_iter()
                .map(|record| (record.salesforce_id.clone(), record)),
        );
    }
    Ok(found)
}

/// Returns a read as an observation: a live record has every mapped field, a deleted one is deleted.
pub(crate) fn snapshot(
    job: &Job<'_>,
    mapped: &MappedObject,
    record: &SalesforceRecord,
    cursor: &str,
) -> SalesforceObservation {
    let kind = match record.deleted {
        Deleted::Yes => ObservationKind::Deleted,
        Deleted::No => ObservationKind::Snapshot,
    };
    observation(job, mapped, record, kind, cursor)
}

/// Returns a read as an observation of this kind.
pub(crate) fn observation(
    job: &Job<'_>,
    mapped: &MappedObject,
    record: &SalesforceRecord,
    kind: ObservationKind,
    cursor: &str,
) -> SalesforceObservation {
    observation_by(&job.loaded().user, mapped, record, (kind, cursor))
}

/// Returns what our user has read as an observation of this kind.
pub(crate) fn observation_by(
    user: &SalesforceId,
    mapped: &MappedObject,
    record: &SalesforceRecord,
    (kind, cursor): (ObservationKind, &str),
) -> SalesforceObservation {
    SalesforceObservation {
        object: mapped.sync.object.clone(),
        salesforce_id: record.salesforce_id.clone(),
        external_id: external_id_of(mapped, record),
        kind,
        fields: record.fields.clone(),
        unreadable: record.unreadable.clone(),
        version: record.version,
        cursor: SourceCursor::Snapshot(cursor.to_owned()),
        ordinal: 0,
        ours: record.modified_by.as_ref() == Some(user),
    }
}

/// Returns the external id of the record.
pub(crate) fn external_id_of(mapped: &MappedObject, record: &SalesforceRecord) -> Option<String> {
    match record.fields.get(&mapped.sync.external_id.field) {
        Some(Value::Text(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Null | Value::Boolean(_)) | None => None,
    }
}
