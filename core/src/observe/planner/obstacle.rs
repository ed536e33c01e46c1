//! What is in the way of a plan, and how the lease then ends.

use crate::model::intent::IntentState;
use crate::model::link::Presence;
use crate::planner::policy::{Cause, NextStep, Tries, decide, wait_ms};
use crate::planner::record::RecordPlan;
use crate::ports::record::{LeaseEnd, LeasedTask, ObservedRecord};

use super::ObjectPlanner;
use super::reasons::{duplicate_key, row_missing, worker_lost};

impl ObjectPlanner<'_> {
    /// Returns how the lease ends if the record cannot be planned now.
    pub(super) fn obstacle(
        &self,
        lease: &LeasedTask,
        observed: &ObservedRecord,
    ) -> Option<LeaseEnd> {
        if observed.row_locked {
            let reason = "another transaction has locked the row";
            return wait(lease, Cause::RowBusy, reason);
        }
        if lost_too_many_workers(lease) {
            return Some(LeaseEnd::park(worker_lost()));
        }
        if let [first, second, ..] = observed.rows.as_slice() {
            return Some(LeaseEnd::park(duplicate_key(
                &self.mapped.sync,
                first,
                second,
            )));
        }
        observed
            .intents
            .iter()
            .find_map(|intent| match intent.state {
                IntentState::Unknown => Some(refresh_first(lease)),
                IntentState::Open => {
                    let reason = "a write of the record is under way";
                    let wait = wait(lease, Cause::InFlight, reason);
                    Some(wait.unwrap_or_else(|| refresh_first(lease)))
                }
                IntentState::Applied
                | IntentState::Confirmed
                | IntentState::Refused
                | IntentState::Abandoned => None,
            })
    }

    /// Returns a wait for evidence if the plan takes a missing row for a deleted one. Absence proves nothing: the row may
    /// be out of our sight, or have another external id since triggers were disabled. A delete entry of the outbox is
    /// evidence, and so is a comparison; both note it in the link, and wake the record.
    pub(super) fn missing_row(
        &self,
        lease: &LeasedTask,
        observed: &ObservedRecord,
        plan: &RecordPlan,
    ) -> Option<LeaseEnd> {
        let known = &observed.known;
        let is_present = known.link.remote_state.presence == Presence::Present;
        if !observed.rows.is_empty()
            || !known.link.agreed
            || !is_present
            || known.postgres_presence == Presence::Deleted
            || !plan.explanation.record.decides_delete()
        {
            return None;
        }
        let reason = "its row is missing, and no delete of it was captured yet";
        let parked = row_missing(&self.mapped.sync);
        Some(match wait(lease, Cause::RowMissing, reason) {
            Some(end) => end.coded(&parked.code),
            None => LeaseEnd::park(parked),
        })
    }

    /// Returns a wait for the parents of a row that does not exist yet: its table may not take it without them, and
    /// they usually come soon. After some waits it is written without those lookups.
    pub(super) fn wait_for_parents(lease: &LeasedTask) -> Option<LeaseEnd> {
        let reason = "the record it points to is not known yet";
        wait(lease, Cause::Lookup, reason)
    }
}

/// Returns the wait that follows from what is in the way, or `None` if the record must not wait any longer.
pub(super) fn wait(lease: &LeasedTask, cause: Cause, reason: &str) -> Option<LeaseEnd> {
    let step = decide(cause, Tries::of(lease.record_id, &lease.attempts));
    LeaseEnd::after(step, reason)
}

/// Returns a refresh: at once the first time, later if refreshes do not help.
pub(super) fn refresh_first(lease: &LeasedTask) -> LeaseEnd {
    let cause = Cause::Changed;
    let delay_ms = wait_ms(cause, Tries::of(lease.record_id, &lease.attempts));
    LeaseEnd::refresh(delay_ms, Some(cause), "it is refreshed first")
}

/// Returns whether the workers that leased the record ended too often without a result.
fn lost_too_many_workers(lease: &LeasedTask) -> bool {
    let tries = Tries::of(lease.record_id, &lease.attempts);
    lease.attempts.of(Cause::Abandoned) > 0 && decide(Cause::Abandoned, tries) == NextStep::Park
}
