//! How the lease of a record ends whose row Postgres refused.

use crate::planner::policy::{NextStep, Obstacle, Tries, decide};
use crate::ports::MappedObject;
use crate::ports::record::{LeaseEnd, LeasedTask, ParkReason};
use crate::store::error::{RefusalKind, RowRefusal};

/// Returns whether the record waits or parks. `parents` are the external ids of those that its remote state
/// points to.
pub(super) fn refused_row<'a>(
    mapped: &MappedObject,
    lease: &LeasedTask,
    parents: impl Iterator<Item = &'a String>,
    refusal: &RowRefusal,
) -> LeaseEnd {
    let (obstacle, reason) = match refusal.kind {
        RefusalKind::Contended => (Obstacle::RowContended, "another transaction holds a lock"),
        RefusalKind::ParentMissing => (
            Obstacle::MissingParent,
            "the row that it references does not exist yet",
        ),
        RefusalKind::StillReferenced => (
            Obstacle::StillReferenced,
            "rows that are not gone yet point to its row",
        ),
        RefusalKind::ValueTaken => (
            Obstacle::ValueTaken,
            "another row has a value of it that must be unique",
        ),
        RefusalKind::TimedOut => (
            Obstacle::StatementTimeout,
            "the statement for its row took too long",
        ),
        RefusalKind::ValueRejected | RefusalKind::ConstraintRejected | RefusalKind::Raised => {
            (Obstacle::RowRefused, "")
        }
    };
    let awaits = match obstacle {
        Obstacle::MissingParent => parents.cloned().collect(),
        _ => Vec::new(),
    };
    wait_or_park(lease, obstacle, reason, park_reason(mapped, refusal)).awaiting(awaits)
}

/// Returns a wait because of an obstacle, or the end of the waits.
fn wait_or_park(
    lease: &LeasedTask,
    obstacle: Obstacle,
    reason: &str,
    parked: ParkReason,
) -> LeaseEnd {
    let (delay_ms, cause) = match decide(obstacle, Tries::of(lease.record_id, &lease.attempts)) {
        NextStep::Wait { delay_ms, cause } => (delay_ms, cause),
        NextStep::Refresh { delay_ms, cause } => (delay_ms, Some(cause)),
        NextStep::Park => return LeaseEnd::Park(parked),
    };
    LeaseEnd::Later {
        delay_ms,
        cause,
        needs_refresh: false,
        code: Some(parked.code),
        reason: reason.to_owned(),
        awaits: Vec::new(),
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
    wait_or_park(lease, Obstacle::KeyTaken, reason, parked)
}

/// Returns a wait for another transaction, which ends by itself.
pub(super) fn shortly(lease: &LeasedTask, obstacle: Obstacle, reason: &str) -> LeaseEnd {
    let step = decide(obstacle, Tries::of(lease.record_id, &lease.attempts));
    let (delay_ms, cause) = match step {
        NextStep::Wait { delay_ms, cause } => (delay_ms, cause),
        NextStep::Refresh { .. } | NextStep::Park => (0, None),
    };
    LeaseEnd::wait(delay_ms, cause, reason)
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
        mapped.sync.table.schema, mapped.sync.table.table, refusal.message
    );
    ParkReason {
        code: code.to_owned(),
        field,
        message,
    }
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
