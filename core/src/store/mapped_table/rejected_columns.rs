//! Finds the columns of a row that Postgres rejects.
//!
//! Postgres names the column of a rejected null, but not that of a text that is too long or of a number out
//! of range. So the write is tried without one column after another, and every attempt is rolled back.

use std::collections::{BTreeMap, BTreeSet};

use crate::ports::MappedObject;
use crate::ports::apply_store::PlannedPostgres;
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::read::RowError;
use crate::store::mapped_table::shape::TableShape;
use crate::store::mapped_table::write::{RowWrite, write_rows};
use crate::store::transaction::Tx;

/// Rejected columns, with Postgres's reason.
pub(crate) type Rejected = BTreeMap<String, RowRefusal>;

/// Returns the columns without which Postgres accepts the refused write; empty if there are no such
/// columns. The external id's column is never among them. Makes at most two attempts per column.
pub(crate) async fn rejected_columns(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    write: &RowWrite<'_>,
    refusal: &RowRefusal,
) -> Result<Rejected, RowError> {
    let key = mapped.sync.external_id.column.as_str();
    let columns = write.write.columns().into_iter();
    let columns = columns.flat_map(|columns| columns.keys());
    let suspects: Vec<&String> = columns.filter(|column| *column != key).collect();
    if suspects.is_empty() {
        return Ok(Rejected::new());
    }
    let trial = Trial {
        mapped,
        shape,
        write,
    };
    for suspect in &suspects {
        if trial
            .refusal(tx, |column| column != *suspect)
            .await?
            .is_none()
        {
            return Ok(Rejected::from([((*suspect).clone(), refusal.clone())]));
        }
    }
    let mut rejected = Rejected::new();
    for suspect in suspects {
        let alone = |column: &String| column == suspect || column == key;
        if let Some(refusal) = trial.refusal(tx, alone).await? {
            rejected.insert(suspect.clone(), refusal);
        }
    }
    let rest = trial.refusal(tx, |column| !rejected.contains_key(column));
    match rest.await? {
        None => Ok(rejected),
        Some(_) => Ok(Rejected::new()),
    }
}

/// A write that is tried in parts.
struct Trial<'a> {
    mapped: &'a MappedObject,
    shape: &'a TableShape,
    write: &'a RowWrite<'a>,
}

impl Trial<'_> {
    /// Tries the columns that are `kept`, rolls that back, and returns why Postgres refused it. Fails if
    /// another transaction holds a lock, which says nothing about the columns.
    async fn refusal(
        &self,
        tx: &mut Tx,
        kept: impl Fn(&String) -> bool,
    ) -> Result<Option<RowRefusal>, RowError> {
        let mut part = self.write.write.clone();
        if let PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns) = &mut part {
            columns.retain(|column, _| kept(column));
            if columns.is_empty() {
                return Ok(None);
            }
        }
        let write = RowWrite {
            write: &part,
            ..*self.write
        };
        tx.savepoint().await.map_err(RowError::Store)?;
        let none = BTreeSet::new();
        let written = write_rows(tx, self.mapped, self.shape, &[write], &none).await;
        tx.rollback_to_savepoint().await.map_err(RowError::Store)?;
        match written {
            Ok(_) => Ok(None),
            Err(RowError::Refused(refusal)) if refusal.kind == RefusalKind::Contended => {
                Err(RowError::Refused(refusal))
            }
            Err(RowError::Refused(refusal)) => Ok(Some(refusal)),
            Err(error @ RowError::Store(_)) => Err(error),
        }
    }
}
