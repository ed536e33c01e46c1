//! A record that Salesforce holds outside the object's filter: left alone, or gone from Postgres.

use crate::config::OnLeave;
use crate::model::SourceSystem;
use crate::model::link::Presence;

use super::half::edits;
use super::{Agreement, Confirmation, Overruled, RecordPlan, RecordState, Rule, SideWrite};

/// Decides about a record outside the filter. Nothing of it ever travels to Salesforce, no delete
/// either; and only what both sides held can leave.
pub(super) fn plan_outside(state: &RecordState<'_>) -> RecordPlan {
    let row = state.postgres.presence == Presence::Present;
    match (state.agreed, row, state.policy.on_leave) {
        // The base stays: should the record come back, what each side changed meanwhile is known.
        (false, _, _) | (true, true, OnLeave::Keep) => RecordPlan::because(Rule::OutsideFilter),
        // A row that is gone is not missed: should the record come back, it is captured anew.
        (true, false, _) => RecordPlan {
            agreement: Agreement::Ends(Confirmation::Agreed),
            ..RecordPlan::because(Rule::OutsideFilter)
        },
        (true, true, OnLeave::SoftDelete | OnLeave::Delete)
            if !state.may_write(SourceSystem::Postgres) =>
        {
            RecordPlan::because(Rule::OutsideFilter)
        }
        (true, true, OnLeave::SoftDelete) => leave(state, SideWrite::SoftDelete),
        (true, true, OnLeave::Delete) => leave(state, SideWrite::Delete),
    }
}

/// Takes the row away. What Postgres edited since the base is lost by that, and logged.
fn leave(state: &RecordState<'_>, write: SideWrite) -> RecordPlan {
    let mut plan = RecordPlan::because(Rule::LeftFilter);
    plan.agreement = Agreement::Ends(Confirmation::Postgres);
    plan.overruled = edits(state, SourceSystem::Postgres)
        .iter()
        .map(|edit| Overruled {
            field: edit.field.clone(),
            side: SourceSystem::Postgres,
            value: edit.value.clone(),
            rule: Rule::LeftFilter,
        })
        .collect();
    for lost in &plan.overruled {
        let field = lost.field.clone();
        plan.explanation.fields.insert(field, Rule::LeftFilter);
    }
    plan.to_postgres = write;
    plan
}
