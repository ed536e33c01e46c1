//! Plans a record that does not match the object's filter: it is left alone, or its row is removed.

use crate::config::OnFilterExit;
use crate::model::Side;
use crate::model::link::Presence;

use super::one_sided::edits;
use super::{Agreement, Confirmation, Record, RecordPlan, Rule, SideWrite};

/// Plans a filtered-out record. Nothing is ever written to Salesforce, not even a delete; and only a record
/// that both sides had can leave the filter.
pub(super) fn plan_filtered_out(record: Record<'_>) -> RecordPlan {
    let row = record.presence(Side::Postgres) == Presence::Present;
    let has_agreed = record.facts.has_agreed();
    match (has_agreed, row, record.rules().on_filter_exit) {
        // The base stays: should the record come back, what each side changed meanwhile is known.
        (false, _, _) | (true, true, OnFilterExit::Keep) => RecordPlan::because(Rule::FilteredOut),
        // The row was deleted already: if the record matches again, it is captured like a new one.
        (true, false, _) => RecordPlan {
            agreement: Agreement::Ends(Confirmation::Agreed),
            ..RecordPlan::because(Rule::FilteredOut)
        },
        (true, true, OnFilterExit::SoftDelete | OnFilterExit::Delete)
            if !record.may_write(Side::Postgres) =>
        {
            RecordPlan::because(Rule::FilteredOut)
        }
        (true, true, OnFilterExit::SoftDelete) => leave(record, SideWrite::SoftDelete),
        (true, true, OnFilterExit::Delete) => leave(record, SideWrite::Delete),
    }
}

/// Removes the row. Edits in Postgres since the base are discarded, and logged.
fn leave(record: Record<'_>, write: SideWrite) -> RecordPlan {
    let mut plan = RecordPlan::because(Rule::FilterExit);
    plan.agreement = Agreement::Ends(Confirmation::Postgres);
    for mut edit in edits(record, Side::Postgres) {
        edit.rule = Rule::FilterExit;
        plan.explanation.fields.insert(edit.field, edit.rule);
        plan.discarded.push(edit.discarded(Side::Postgres));
    }
    plan.to_postgres = write;
    plan
}
