//! Reading the control plane and appending to its journal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::error::ForceSyncError;
use super::migrate::Pool;
use super::model::{ChangeEnvelope, payload_hash};
use super::salesforce::SalesforceId;
use crate::model::ids::{ObjectName, TenantId};
use crate::model::link::Presence;
use crate::model::{SourceCursor, value};
use crate::ports::ApplyStore;
use crate::ports::StreamName;
use crate::store::{ConflictFilter, JournalEntry};

/// How many of a record's journal lines are searched: some, like settlements, have no payload.
pub(super) const LINES: i64 = 20;

/// One database. All clones share the engine that was built with one of them.
#[derive(Clone)]
pub struct PgStore {
    pool: Pool,
    store: crate::PgStore,
    linked: Arc<Mutex<Option<LinkedEngine>>>,
}

/// The engine that was built with a store.
#[derive(Clone)]
pub(super) struct LinkedEngine {
    pub(super) engine: crate::SyncEngine,
    pub(super) tenant: TenantId,
}

/// The result of appending a change to the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendResult {
    /// The change was appended.
    Inserted {
        /// The line's id.
        journal_id: i64,
    },
    /// The change is already in the journal.
    Duplicate,
}

/// The stored position of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointState {
    /// The stream.
    pub stream_name: String,
    /// The replay id as a number; 0 for any other position.
    pub cursor_position: i64,
    /// The position with its kind as a prefix.
    pub cursor: Option<String>,
}

/// What the engine knows about one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncLink {
    /// The tenant.
    pub tenant: String,
    /// The object.
    pub object_name: String,
    /// The external id.
    pub external_id: String,
    /// The Salesforce id, if the record has one.
    pub salesforce_id: Option<String>,
    /// The row's primary key as JSON, for rows that were inserted without an external id.
    pub postgres_id: Option<String>,
    /// The side of the record's newest journal line with a payload.
    pub last_source: Option<String>,
    /// The cursor of this line.
    pub last_source_cursor: Option<String>,
    /// The hash of this line's payload.
    pub last_payload_hash: Option<Vec<u8>>,
    /// The record was deleted in Salesforce.
    pub tombstone: bool,
}

/// A leased record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedTask {
    /// The number of the lease.
    pub task_id: i64,
    /// The worker that has the lease.
    pub lease_owner: String,
    /// When it ends.
    pub lease_until: DateTime<Utc>,
}

/// An open conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncConflict {
    /// The tenant.
    pub tenant: String,
    /// The object.
    pub object_name: String,
    /// The record's external id.
    pub external_id: String,
    /// The field; empty if one side deleted the record that the other edited.
    pub field_name: String,
    /// The value in Postgres.
    pub left_value: Json,
    /// The value in Salesforce.
    pub right_value: Json,
    /// Always absent: only open conflicts are returned.
    pub resolution: Option<String>,
}

/// A change that was stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The dead letter's number.
    pub task_id: Option<i64>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The object.
    pub object_name: Option<String>,
    /// The record's external id, if it is known.
    pub external_id: Option<String>,
    /// Why it was stopped.
    pub error_message: String,
    /// The change as it was captured.
    pub payload: Option<Json>,
}

impl PgStore {
    /// Returns a store over a pool.
    pub fn new(pool: Pool) -> Self {
        Self {
            store: crate::PgStore::over(pool.clone()),
            pool,
            linked: Arc::default(),
        }
    }

    /// Returns the pool.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Appends a change to the journal unless it is already there. Fails without a cursor.
    pub async fn append_journal_if_new(
        &self,
        envelope: &ChangeEnvelope,
    ) -> Result<AppendResult, ForceSyncError> {
        let cursor = envelope.cursor();
        let cursor = cursor.ok_or(ForceSyncError::MissingSourceCursor)?.into();
        let appended = self.store.append(&[envelope.seen_at(cursor)]).await?;
        Ok(match appended.as_slice() {
            [crate::store::AppendResult::Appended { journal_id }, ..] => AppendResult::Inserted {
                journal_id: *journal_id,
            },
            [crate::store::AppendResult::Duplicate, ..] | [] => AppendResult::Duplicate,
        })
    }

    /// Returns the link of a record, if the record is known.
    pub async fn get_link(
        &self,
        tenant: &str,
        object_name: &str,
        external_id: &str,
    ) -> Result<Option<SyncLink>, ForceSyncError> {
        let object = ObjectName::parse(object_name)
            .map_err(|error| ForceSyncError::invalid("object_name", error))?;
        let history = self
            .store
            .record_history(&known_tenant(tenant)?, &object, external_id, LINES)
            .await?;
        Ok(history.map(|history| link_of(history.link, newest_line(history.journal))))
    }

    /// Returns the stored position of a stream of the engine's tenant, if the stream was ever read.
    pub async fn get_checkpoint(
        &self,
        stream_name: impl AsRef<str>,
    ) -> Result<Option<CheckpointState>, ForceSyncError> {
        let linked = self.linked().await?;
        let stream = StreamName::from(stream_name.as_ref());
        let checkpoint = self.store.checkpoint(&linked.tenant, &stream).await?;
        Ok(checkpoint.map(|checkpoint| CheckpointState {
            stream_name: checkpoint.stream.to_string(),
            cursor_position: checkpoint.position.as_ref().map_or(0, number_of),
            cursor: checkpoint.position.map(|position| position.to_string()),
        }))
    }

    /// Leases at most `limit` due records, oldest first. The engine skips them until the lease ends.
    pub async fn lease_ready_tasks(
        &self,
        worker_id: &str,
        limit: i64,
        lease_for: Duration,
    ) -> Result<Vec<LeasedTask>, ForceSyncError> {
        let lease_ms = i64::try_from(lease_for.as_millis());
        let lease_ms = lease_ms.map_err(|_| ForceSyncError::InvalidLeaseDuration)?;
        let ends = chrono::Duration::try_milliseconds(lease_ms)
            .and_then(|duration| Utc::now().checked_add_signed(duration))
            .ok_or(ForceSyncError::InvalidLeaseDuration)?;
        let linked = self.linked().await?;
        let mut leased = Vec::new();
        for mapped in linked.engine.mapped_objects(&linked.tenant).await? {
            let left = usize::try_from(limit)
                .unwrap_or(0)
                .saturating_sub(leased.len());
            if left == 0 {
                break;
            }
            let tasks = self
                .store
                .lease_tasks(&mapped, left, worker_id, lease_ms)
                .await?;
            leased.extend(tasks.into_iter().map(|task| LeasedTask {
                task_id: task.token.0,
                lease_owner: worker_id.to_owned(),
                lease_until: ends,
            }));
        }
        Ok(leased)
    }

    /// Returns at most `limit` open conflicts of a tenant, oldest first.
    pub async fn conflicts(
        &self,
        tenant: &str,
        limit: i64,
    ) -> Result<Vec<SyncConflict>, ForceSyncError> {
        let filter = ConflictFilter::default();
        let open = self
            .store
            .conflicts(&known_tenant(tenant)?, &filter, limit)
            .await?;
        let json = |value: Option<value::Value>| value.map_or(Json::Null, |value| value.to_json());
        Ok(open
            .into_iter()
            .map(|conflict| SyncConflict {
                tenant: conflict.tenant.to_string(),
                object_name: conflict.object.to_string(),
                external_id: conflict.external_id,
                field_name: conflict
                    .field
                    .map(|field| field.to_string())
                    .unwrap_or_default(),
                left_value: json(conflict.postgres),
                right_value: json(conflict.salesforce),
                resolution: None,
            })
            .collect())
    }

    /// Returns at most `limit` open dead letters of a tenant, oldest first.
    pub async fn dead_letters(
        &self,
        tenant: &str,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, ForceSyncError> {
        let open = self
            .store
            .dead_letters(&known_tenant(tenant)?, None, limit)
            .await?;
        Ok(open
            .into_iter()
            .map(|stopped| DeadLetter {
                task_id: Some(stopped.dead_letter_id),
                tenant: Some(stopped.tenant.to_string()),
                object_name: Some(stopped.object),
                external_id: stopped.external_id,
                error_message: stopped.message,
                payload: stopped.payload,
            })
            .collect())
    }

    /// Returns the engine's store.
    pub(super) const fn store(&self) -> &crate::PgStore {
        &self.store
    }

    /// Sets the engine that was built with this store.
    pub(super) fn link(&self, engine: LinkedEngine) {
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        *linked = Some(engine);
    }

    /// Returns the engine that was built with this store. Installs capture on its tables if needed.
    pub(super) async fn linked(&self) -> Result<LinkedEngine, ForceSyncError> {
        let linked = {
            let linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
            linked.clone()
        };
        let linked = linked.ok_or(ForceSyncError::MissingConfiguration { field: "engine" })?;
        let mapped = linked.engine.mapped_objects(&linked.tenant).await?;
        if !self.store.check_install(&mapped).await?.is_empty() {
            self.store.install(&mapped).await?;
        }
        Ok(linked)
    }
}

/// Returns the link after `envelope` was applied. Pure.
pub fn project_sync_link(
    existing: Option<&SyncLink>,
    envelope: &ChangeEnvelope,
    salesforce_id: Option<&SalesforceId>,
    tombstone: bool,
) -> SyncLink {
    let key = envelope.sync_key();
    SyncLink {
        tenant: key.tenant().to_owned(),
        object_name: key.object_name().to_owned(),
        external_id: key.external_id().to_owned(),
        salesforce_id: salesforce_id
            .map(ToString::to_string)
            .or_else(|| existing?.salesforce_id.clone()),
        postgres_id: existing.and_then(|link| link.postgres_id.clone()),
        last_source: Some(envelope.source().as_db_value().to_owned()),
        last_source_cursor: envelope.cursor().map(|cursor| cursor.as_db_value()),
        last_payload_hash: Some(envelope.payload_hash().to_vec()),
        tombstone,
    }
}

/// Returns the newest line with a payload.
pub(super) fn newest_line(journal: Vec<JournalEntry>) -> Option<JournalEntry> {
    let mut newest_first = journal.into_iter();
    newest_first.find(|entry| entry.payload.is_some())
}

/// Returns the tenant with this name.
pub(super) fn known_tenant(name: &str) -> Result<TenantId, ForceSyncError> {
    TenantId::parse(name).map_err(|error| ForceSyncError::invalid("tenant", error))
}

fn link_of(link: crate::model::SyncLink, newest: Option<JournalEntry>) -> SyncLink {
    let (source, cursor, payload) = newest.map_or((None, None, None), |entry| {
        (Some(entry.source), entry.cursor, entry.payload)
    });
    SyncLink {
        tenant: link.tenant.to_string(),
        object_name: link.object.to_string(),
        external_id: link.external_id,
        salesforce_id: link.salesforce_id.map(|id| id.to_string()),
        postgres_id: link.local_key.map(|key| key.to_string()),
        last_source: source,
        last_source_cursor: cursor,
        last_payload_hash: payload.map(|payload| payload_hash(&payload).to_vec()),
        tombstone: link.remote_state.presence == Presence::Deleted,
    }
}

/// Returns a replay id of at most eight bytes as a number.
fn number_of(position: &SourceCursor) -> i64 {
    let SourceCursor::SalesforceReplayId(bytes) = position else {
        return 0;
    };
    let number = bytes.iter().try_fold(0_i64, |number, byte| {
        number.checked_mul(256)?.checked_add(i64::from(*byte))
    });
    number.unwrap_or(0)
}
