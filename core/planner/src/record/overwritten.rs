//! Edits in Salesforce that writes of ours replaced, and that a plan decides for good.

use crate::facts::RecordFacts;
use crate::model::fields::FieldId;

use super::{RecordPlan, Rule};

impl RecordPlan {
    /// Returns the fields whose overwritten edits need no further plan: it writes or logs their values.
    pub fn decided_overwritten<'a>(
        &'a self,
        facts: &'a RecordFacts,
    ) -> impl Iterator<Item = FieldId> + 'a {
        let of_record = self.conflicts.iter().any(|one| one.field.is_none());
        let rules = &self.explanation.fields;
        let waits = move |field: &FieldId| match rules.get(field) {
            Some(Rule::Conflict | Rule::WriteUnderWay | Rule::NotSeen) => true,
            Some(_) => of_record,
            None => true,
        };
        let overwritten = facts.overwritten.keys().copied();
        overwritten.filter(move |field| !waits(field))
    }
}
