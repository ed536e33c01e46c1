//! Plans a record that does not match the object's filter: it is left alone, or its row is removed.

use crate::config::OnFilterExit;
use crate::model::SourceSystem;
use crate::model::link::Presence;

use super::one_sided::edits;
use super::{Agreement, Confirmation, DiscardedValue, RecordPlan, RecordState, Rule, SideWrite};

/// Plans a filtered-out record. Nothing is ever written to Salesforce, not even a delete; and only a record
/// that both sides had can leave the filter.
pub(super) fn plan_filtered_out(state: &RecordState<'_>) -> RecordPlan {
    let row = state.postgres.presence == Presence::Present;
    match (state.agreed, row, state.policy.on_filter_exit) {
        // The base stays: if the record matches again, the changes of each side since then are known.
        (false, _, _) | (true, true, OnFilterExit::Keep) => RecordPlan::because(Rule::FilteredOut),
        // The row was deleted already: if the record matches again, it is captured like a new one.
        (true, false, _) => RecordPlan {
            agreement: Agreement::Ends(Confirmation::Agreed),
            ..RecordPlan::because(Rule::FilteredOut)
        },
        (true, true, OnFilterExit::SoftDelete | OnFilterExit::Delete)
            if !state.may_write(SourceSystem::Postgres) =>
        {
            RecordPlan::because(Rule::FilteredOut)
        }
        (true, true, OnFilterExit::SoftDelete) => leave(state, SideWrite::SoftDelete),
        (true, true, OnFilterExit::Delete) => leave(state, SideWrite::Delete),
    }
}

/// Removes the row. Edits in Postgres since the base are discarded, and logged.
fn leave(state: &RecordState<'_>, write: SideWrite) -> RecordPlan {
    let mut plan = RecordPlan::because(Rule::FilterExit);
    plan.agreement = Agreement::Ends(Confirmation::Postgres);
    plan.discarded = edits(state, SourceSystem::Postgres)
        .iter()
        .map(|edit| DiscardedValue {
            field: edit.field.clone(),
            side: SourceSystem::Postgres,
            value: edit.value.clone(),
            rule: Rule::FilterExit,
        })
        .collect();
    for lost in &plan.discarded {
        let field = lost.field.clone();
        plan.explanation.fields.insert(field, Rule::FilterExit);
    }
    plan.to_postgres = write;
    plan
}
