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
        RefusalKind::Contended => {
            return shortly(
                lease,
                Obstacle::RowContended,
                "another transaction holds a lock",
            );
        }
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
    let parked = park_reason(mapped, refusal);
    match wait(lease, obstacle) {
        Some((delay_ms, counts)) => LeaseEnd::Later {
            delay_ms,
            counts,
            needs_refresh: false,
            code: Some(parked.code),
            reason: reason.to_owned(),
            awaits: match obstacle {
                Obstacle::MissingParent => parents.cloned().collect(),
                _ => Vec::new(),
            },
        },
        None => LeaseEnd::Park(parked),
    }
}

/// Returns how long to wait because of an obstacle, and whether the attempt counts; `None` if the record
/// must not wait any more.
fn wait(lease: &LeasedTask, obstacle: Obstacle) -> Option<(i64, bool)> {
    match decide(obstacle, Tries::of(lease.record_id, lease.attempt)) {
        NextStep::Wait { delay_ms, counts } => Some((delay_ms, counts)),
        NextStep::Refresh { delay_ms } => Some((delay_ms, true)),
        NextStep::Park => None,
    }
}

/// Returns a short wait for another transaction.
pub(super) fn shortly(lease: &LeasedTask, obstacle: Obstacle, reason: &str) -> LeaseEnd {
    let (delay_ms, counts) = wait(lease, obstacle).unwrap_or_default();
    LeaseEnd::wait(delay_ms, counts, reason)
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
