//! Lists and resolves conflicts.
//!
//! Resolving compares both sides with the values that the person saw. It changes only the base: the losing
//! value becomes the base, so that only the winner has changed, and the winner's value is then written as
//! an ordinary edit.

use serde::{Deserialize, Serialize};

use crate::model::Side;
use crate::model::ids::{FieldName, ObjectName, TenantId};
use crate::model::value::{Payload, Value};
use crate::ports::{MappedObject, StoreError};
use crate::store::PgStore;
use crate::store::enum_text::enum_text;
use crate::store::error::corrupt;
use crate::store::mapped_table::read::{Locking, RowError, read_rows};
use crate::store::mapped_table::shape::read_shape;
use crate::store::operations::record_outcomes::end_agreement;
use crate::store::tables::conflict::{
    ConflictFilter, ConflictLine, OpenConflict, SyncConflict, close, lock_conflict, parse_field,
    record_of, seen,
};
use crate::store::tables::discarded_value::{NewDiscardedValue, insert_discarded_values};
use crate::store::tables::link::{KnownRecord, lock_records, save_records};
use crate::store::tables::task::{NewWork, add_work};

/// The result of resolving a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The winner's value is written next.
    Resolved,
    /// A side has changed since the person saw it: show it again. Nothing was written.
    Moved,
    /// Another transaction has locked the row: try again. Nothing was written.
    Busy,
    /// There is no such open conflict.
    Closed,
}

impl PgStore {
    /// Returns the tenant's open conflicts, oldest first.
    pub async fn conflicts(
        &self,
        tenant: &TenantId,
        filter: &ConflictFilter,
        limit: i64,
    ) -> Result<Vec<SyncConflict>, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<ConflictLine> = tx
            .rows(
                "listing conflicts",
                sqlx::query_as(
                    "select conflict.*, link.external_id, link.salesforce_id
                    from syncline.sync_conflict as conflict
                    join syncline.sync_link as link using (record_id)
                    where conflict.tenant = $1
                    and ($2::text is null or conflict.object = $2)
                    and ($3::uuid is null or conflict.record_id = $3)
                    and ($4::bigint is null or conflict.conflict_id > $4)
                    and conflict.state = 'open'
                    order by conflict.conflict_id
                    limit $5",
                )
                .bind(tenant.as_str())
                .bind(filter.object.as_ref().map(ObjectName::as_str))
                .bind(filter.record_id.map(|record| record.0))
                .bind(filter.after)
                .bind(limit),
            )
            .await?;
        tx.rollback().await?;
        rows.into_iter().map(SyncConflict::try_from).collect()
    }

    /// Resolves the conflict in favour of `winner`, if both sides still have the values of `version`.
    ///
    /// Logs the losing value. `mapped` is the conflict's object.
    pub async fn resolve_conflict(
        &self,
        mapped: &MappedObject,
        conflict_id: i64,
        version: i64,
        winner: Side,
    ) -> Result<Resolution, StoreError> {
        let mut tx = self.begin().await?;
        let Some(record_id) = record_of(&mut tx, mapped, conflict_id).await? else {
            return Ok(Resolution::Closed);
        };
        let mut known = lock_records(&mut tx, &[record_id]).await?;
        let (Some(mut known), Some(open)) =
            (known.pop(), lock_conflict(&mut tx, conflict_id).await?)
        else {
            return Ok(Resolution::Closed);
        };
        let shape = read_shape(&mut tx, mapped).await?;
        let found = match read_rows(&mut tx, mapped, &shape, &[&known], Locking::Lock).await {
            Ok(found) => found,
            Err(RowError::Refused(_)) => return Ok(Resolution::Moved),
            Err(RowError::Store(error)) => return Err(error),
        };
        if found.locked_elsewhere.contains(&record_id) || found.being_renamed.contains(&record_id) {
            return Ok(Resolution::Busy);
        }
        let row = found.rows.get(&record_id).and_then(|rows| rows.first());
        let field = parse_field(open.field.as_deref())?;
        let seen = seen(mapped, &known.link.remote_state, row, field.as_ref());
        if open.version != version
            || Some(&seen.postgres) != open.postgres_seen.as_ref()
            || Some(&seen.salesforce) != open.salesforce_seen.as_ref()
        {
            return Ok(Resolution::Moved);
        }
        let lost = let_win(&mut known, &open, field.as_ref(), winner)?;
        save_records(&mut tx, &[known]).await?;
        insert_discarded_values(&mut tx, &lost, &mapped.config_hash).await?;
        close(&mut tx, conflict_id, winner).await?;
        let work = NewWork {
            record_id,
            needs_refresh: false,
        };
        add_work(&mut tx, &[work]).await?;
        tx.commit().await?;
        Ok(Resolution::Resolved)
    }
}

fn forget_overwritten(known: &mut KnownRecord, field: &FieldName) {
    if let Some(remote) = known.link.remote_state.fields.get_mut(field) {
        remote.overwritten = None;
    }
}

/// Changes the base so that only the winner has changed, and returns the losing value.
fn let_win(
    known: &mut KnownRecord,
    open: &OpenConflict,
    field: Option<&FieldName>,
    winner: Side,
) -> Result<Vec<NewDiscardedValue>, StoreError> {
    let loser = winner.other();
    let value = |side| match side {
        Side::Postgres => open.postgres_value.as_ref().and_then(Value::from_json),
        Side::Salesforce => open.salesforce_value.as_ref().and_then(Value::from_json),
    };
    let losing: Payload = match (field, value(loser)) {
        (Some(field), Some(value)) => Payload::from([(field.clone(), value)]),
        (None, Some(Value::Text(edited))) => serde_json::from_str(&edited).map_err(corrupt)?,
        (Some(_) | None, _) => Payload::new(),
    };
    let deleted_by_loser = field.is_none() && value(loser).is_none();
    if deleted_by_loser {
        // The edit wins: the record has no base any more, so the edited side creates it on the other.
        end_agreement(known, Payload::new());
    } else {
        for (name, lost) in &losing {
            let fields = &mut known.link.remote_state.fields;
            match fields
                .get_mut(name)
                .and_then(|remote| remote.overwritten.as_mut())
            {
                // Salesforce has our value already: the edit that it replaced is forgotten, or written again.
                Some(edit) if loser == Side::Postgres => edit.base = Some(lost.clone()),
                Some(_) => forget_overwritten(known, name),
                None => {
                    known.link.base.insert(name.clone(), lost.clone());
                }
            }
        }
    }
    known
        .link
        .automation_overrides
        .retain(|name, _| !losing.contains_key(name));
    Ok(losing
        .into_iter()
        .map(|(field, value)| NewDiscardedValue {
            record_id: known.link.record_id,
            field,
            side: enum_text(loser),
            value: [value.to_json()],
            rule: "resolved_by_a_person".to_owned(),
            edited: None,
        })
        .collect())
}
