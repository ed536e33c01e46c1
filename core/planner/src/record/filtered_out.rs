//! A record that Salesforce holds outside the object's filter: left alone, or gone from Postgres.

use crate::config::OnFilterExit;
use crate::model::SourceSystem;
use crate::model::link::Presence;

use super::one_sided::edits;
use super::{Agreement, Confirmation, DiscardedValue, RecordPlan, RecordState, Rule, SideWrite};

/// Decides about a record outside the filter. Nothing of it ever travels to Salesforce, no delete
/// either; and only what both sides held can leave.
pub(super) fn plan_filtered_out(state: &RecordState<'_>) -> RecordPlan {
    let row = state.postgres.presence == Presence::Present;
    match (state.agreed, row, state.policy.on_filter_exit) {
        // The base stays: should the record come back, what each side changed meanwhile is known.
        (false, _, _) | (true, true, OnFilterExit::Keep) => RecordPlan::because(Rule::FilteredOut),
        // A row that is gone is not missed: should the record come back, it is captured anew.
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

/// Takes the row away. What Postgres edited since the base is lost by that, and logged.
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
