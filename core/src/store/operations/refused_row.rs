//! How the lease of a record ends whose row Postgres refused.

use crate::planner::policy::{Cause, Tries, decide, wait_ms};
use crate::ports::MappedObject;
use crate::ports::record::{LeaseEnd, LeasedTask, ParkReason};
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::shape::mapped_columns;

/// Returns whether the record waits or parks. `parents` are the external ids of those that its remote state
/// points to.
pub(super) fn refused_row<'a>(
    mapped: &MappedObject,
    lease: &LeasedTask,
    parents: impl Iterator<Item = &'a String>,
    refusal: &RowRefusal,
) -> LeaseEnd {
    let parked = park_reason(mapped, refusal);
    let (cause, reason) = match refusal.kind {
        RefusalKind::Contended => (Cause::RowBusy, "another transaction holds a lock"),
        RefusalKind::ParentMissing => (
            Cause::Parent,
            "the row that it references does not exist yet",
        ),
        RefusalKind::StillReferenced => (
            Cause::Referenced,
            "rows that are not gone yet point to its row",
        ),
        RefusalKind::ValueTaken => (
            Cause::ValueTaken,
            "another row has a value of it that must be unique",
        ),
        RefusalKind::TimedOut => (Cause::Timeout, "the statement for its row took too long"),
        RefusalKind::ValueRejected | RefusalKind::ConstraintRejected | RefusalKind::Raised => {
            return LeaseEnd::park(parked);
        }
    };
    let end = wait_or_park(lease, cause, reason, parked);
    match cause {
        Cause::Parent => end.awaiting(parents.cloned().collect()),
        _ => end,
    }
}

/// Returns a wait because of what is in the way, or the end of the waits.
pub(super) fn wait_or_park(
    lease: &LeasedTask,
    cause: Cause,
    reason: &str,
    parked: ParkReason,
) -> LeaseEnd {
    let step = decide(cause, Tries::of(lease.record_id, &lease.attempts));
    match LeaseEnd::after(step, reason) {
        Some(end) => end.coded(&parked.code),
        None => LeaseEnd::park(parked),
    }
}

/// Returns how the lease of a record ends whose insert found a row with its key.
pub(super) fn key_taken(mapped: &MappedObject, lease: &LeasedTask) -> LeaseEnd {
    let parked = ParkReason {
        code: "key_taken".to_owned(),
        field: Some(mapped.sync.external_id.field.clone()),
        message: format!(
            "table {}.{} has a row with the record's external id in column {}, and that row belongs to another \
             record or cannot be read: correct one of the two external ids",
            mapped.sync.table.schema, mapped.sync.table.table, mapped.sync.external_id.column
        ),
    };
    let reason = "a row with its key has appeared meanwhile";
    wait_or_park(lease, Cause::KeyTaken, reason, parked)
}

/// Returns how the lease of a record ends whose row a trigger has changed while it was written: it is planned again. If
/// the trigger always changes back what the other side decides, this must come to an end.
pub(super) fn row_altered(mapped: &MappedObject, lease: &LeasedTask) -> LeaseEnd {
    let parked = ParkReason {
        code: "row_altered".to_owned(),
        field: None,
        message: format!(
            "a trigger of table {}.{} changes a value that Salesforce decides, each time that it is written: change \
             the trigger, or the owner of the field",
            mapped.sync.table.schema, mapped.sync.table.table
        ),
    };
    let reason = "a trigger changed what was written to its row";
    wait_or_park(lease, Cause::RowAltered, reason, parked)
}

/// Returns a wait for another transaction, which ends by itself.
pub(super) fn shortly(lease: &LeasedTask, reason: &str) -> LeaseEnd {
    let cause = Cause::RowBusy;
    let delay_ms = wait_ms(cause, Tries::of(lease.record_id, &lease.attempts));
    LeaseEnd::wait(delay_ms, Some(cause), reason)
}

/// Returns why a refused row is parked. The message names the constraint or column.
pub(super) fn park_reason(mapped: &MappedObject, refusal: &RowRefusal) -> ParkReason {
    let code = match refusal.kind {
        RefusalKind::ValueRejected => "invalid_value",
        RefusalKind::ConstraintRejected => "constraint_violation",
        RefusalKind::Raised => "row_refused",
        RefusalKind::ParentMissing => "missing_parent",
        RefusalKind::StillReferenced => "still_referenced",
        RefusalKind::ValueTaken => "duplicate_value",
        RefusalKind::Contended => "row_contended",
        RefusalKind::TimedOut => "statement_timeout",
    };
    let field = mapped
        .sync
        .fields
        .iter()
        .find(|(_, mapped)| refusal.column.as_deref() == Some(mapped.column.as_str()))
        .map(|(name, _)| name.clone());
    let place = refusal
        .place
        .as_ref()
        .map_or_else(String::new, |place| format!(" ({place})"));
    let message = format!(
        "table {}.{} refuses the row{place}: {}",
        mapped.sync.table.schema,
        mapped.sync.table.table,
        refusal_text(mapped, refusal)
    );
    ParkReason {
        code: code.to_owned(),
        field,
        message,
    }
}

/// Returns Postgres's message. It shows the values of a refused key only if all its columns are mapped: a reader of
/// dead letters may not be allowed to read the others.
pub(super) fn refusal_text(mapped: &MappedObject, refusal: &RowRefusal) -> String {
    let Some(key) = &refusal.key else {
        return refusal.message.clone();
    };
    let table = &mapped.sync.table;
    let is_ours = key.table.as_ref().is_some_and(|(schema, name)| {
        schema == table.schema.as_str() && name == table.table.as_str()
    });
    let columns = mapped_columns(&mapped.sync);
    let is_mapped = |name: &String| columns.iter().any(|column| column.as_str() == name);
    let shown = match is_ours && key.columns.iter().all(is_mapped) {
        true => key.detail.clone(),
        false => format!("columns {}", key.columns.join(", ")),
    };
    format!("{} ({shown})", refusal.message)
}

/// Returns why a record is parked whose row was not written although nothing refused it.
pub(super) fn suppressed(mapped: &MappedObject) -> ParkReason {
    ParkReason {
        code: "row_write_suppressed".to_owned(),
        field: None,
        message: format!(
            "a trigger or rule of table {}.{} prevents the write of the row",
            mapped.sync.table.schema, mapped.sync.table.table
        ),
    }
}
