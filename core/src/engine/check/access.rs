//! Checks that our user may make the changes of the mapping, and that both sides know the same choices.

use std::collections::BTreeSet;

use super::{Finding, Findings};
use crate::config::{DeleteMode, Direction, FieldSync, ObjectSync};
use crate::model::ids::FieldName;
use crate::ports::operator_store::TableFacts;
use crate::ports::salesforce::{ObjectAccess, Picklist};

/// Returns the rights that our user lacks on an object, and choices that only one side has.
pub fn check_access(sync: &ObjectSync, access: &ObjectAccess, table: &TableFacts) -> Vec<Finding> {
    let mut findings = Findings::of(&sync.object);
    if sync.direction != Direction::ToPostgres {
        check_rights(sync, access, &mut findings);
    }
    for (name, field) in &sync.fields {
        if let Some(picklist) = access.picklists.get(name) {
            check_choices(sync, (name, field), picklist, table, &mut findings);
        }
    }
    findings.found
}

fn check_rights(sync: &ObjectSync, access: &ObjectAccess, findings: &mut Findings<'_>) {
    let object = &sync.object;
    let deletes = sync.deletes.mode != DeleteMode::Ignore;
    for (given, right, effect, way_out) in [
        (
            access.createable,
            "Create",
            "new rows",
            "set direction = \"to_postgres\"",
        ),
        (
            access.updateable,
            "Edit",
            "edits of rows",
            "set direction = \"to_postgres\"",
        ),
        (
            access.deletable || !deletes,
            "Delete",
            "deletes of rows",
            "set deletes.mode = \"ignore\"",
        ),
    ] {
        if !given {
            findings.error(
                None,
                format!("our user lacks the right {right} on {object}: {effect} are parked"),
                &format!("grant the integration user the object permission {right}, or {way_out}"),
            );
        }
    }
}

/// Most choices that a finding names.
const CHOICES_SHOWN: usize = 5;

/// Compares a picklist with the enum type of its column: a value that the other side lacks is refused there.
fn check_choices(
    sync: &ObjectSync,
    (name, field): (&FieldName, &FieldSync),
    picklist: &Picklist,
    table: &TableFacts,
    findings: &mut Findings<'_>,
) {
    let column = &field.column;
    let Some(facts) = table.columns.get(column) else {
        return;
    };
    let labels: BTreeSet<&str> = facts.enum_values.iter().map(String::as_str).collect();
    if labels.is_empty() {
        return;
    }
    let values: BTreeSet<&str> = picklist.values.iter().map(String::as_str).collect();
    let missing: Vec<&str> = values.difference(&labels).copied().collect();
    if !missing.is_empty() && sync.direction != Direction::ToSalesforce {
        findings.warning(
            Some(name),
            format!(
                "{column} of type {} lacks {} of the values of {name} ({}): records with them are parked",
                facts.column_type.name,
                missing.len(),
                listed(&missing)
            ),
            &format!("alter type {} add value …", facts.column_type.name),
        );
    }
    let refused: Vec<&str> = labels.difference(&values).copied().collect();
    if picklist.restricted && !refused.is_empty() && sync.direction != Direction::ToPostgres {
        findings.warning(
            Some(name),
            format!(
                "the restricted picklist {name} lacks {} of the values of {column} ({}): rows with them are parked",
                refused.len(),
                listed(&refused)
            ),
            "add the values to the picklist in Setup",
        );
    }
}

fn listed(choices: &[&str]) -> String {
    let shown = choices.iter().take(CHOICES_SHOWN).copied();
    let more = (choices.len() > CHOICES_SHOWN).then_some("…");
    shown.chain(more).collect::<Vec<&str>>().join(", ")
}
