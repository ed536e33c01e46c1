//! Locks and loads leased records with everything that a plan needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{RecordId, SalesforceId};
use crate::model::intent::Intent;
use crate::ports::record::{LeasedTask, RefusedValue};
use crate::ports::{MappedObject, StoreError};
use crate::store::operations::parents::{parents_of, references};
use crate::store::tables::control::clock_skew;
use crate::store::tables::intent::{live_intents, refused_values};
use crate::store::tables::link::{KnownRecord, lock_records, resolve_parents};
use crate::store::tables::task::{LeaseTime, lock_leased_tasks};
use crate::store::transaction::Tx;

/// A leased record with everything but its rows.
pub(crate) struct Candidate {
    /// The lease.
    pub(crate) lease: LeasedTask,
    /// The record, locked.
    pub(crate) known: KnownRecord,
    /// Its live writes.
    pub(crate) intents: Vec<Intent>,
    /// External ids of the parents its remote state points to.
    pub(crate) parents: BTreeMap<SalesforceId, String>,
    /// Measured clock skew.
    pub(crate) clock_skew_ms: i64,
    /// Values that Salesforce refused in earlier attempts.
    pub(crate) refused: Vec<RefusedValue>,
}

/// Locks links and tasks of the leases that are still valid, and loads their intents and parents.
pub(crate) async fn load_candidates(
    tx: &mut Tx,
    mapped: &MappedObject,
    leases: &[LeasedTask],
) -> Result<Vec<Candidate>, StoreError> {
    let ids: Vec<RecordId> = leases.iter().map(|lease| lease.record_id).collect();
    let known = lock_records(tx, &ids).await?;
    let standing = lock_leased_tasks(tx, leases.iter(), LeaseTime::Left).await?;
    let mut intents = live_intents(tx, &ids).await?;
    let mut refused = refused_values(tx, leases).await?;
    let clock_skew_ms = clock_skew(tx, mapped).await?;
    let pointed: BTreeSet<_> = known
        .iter()
        .flat_map(|record| {
            let remote_state = &record.link.remote_state.fields;
            references(mapped, |field| {
                remote_state.get(field).map(|field| &field.value)
            })
        })
        .collect();
    let parents = resolve_parents(tx, &mapped.tenant, &pointed).await?;
    let leases: BTreeMap<RecordId, &LeasedTask> = leases
        .iter()
        .filter(|lease| standing.contains(&(lease.record_id, lease.token)))
        .map(|lease| (lease.record_id, lease))
        .collect();
    Ok(known
        .into_iter()
        .filter_map(|known| {
            let lease = (*leases.get(&known.link.record_id)?).clone();
            Some(Candidate {
                intents: intents.remove(&lease.record_id).unwrap_or_default(),
                parents: parents_of(mapped, &known, &parents),
                refused: refused.remove(&lease.record_id).unwrap_or_default(),
                lease,
                known,
                clock_skew_ms,
            })
        })
        .collect())
}
