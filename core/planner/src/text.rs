//! Plans as JSON and as words, without serde: see [`crate::model::text`].

use crate::model::text::{JsonText, WriteJson};
use crate::{words, write_object};

use super::change::PlanDecision;
use super::merge::MergeOutcome;
use super::record::{
    Agreement, BaseAdvance, Confirmation, DiscardedValue, Explanation, FieldConflict, RecordPlan,
    SideWrite,
};
use super::route::ApplyLane;
use super::rule::Rule;

write_object!(RecordPlan {
    to_postgres,
    to_salesforce,
    base_advance,
    agreement,
    conflicts,
    discarded,
    explanation
});
write_object!(BaseAdvance { value, after });
write_object!(FieldConflict {
    field,
    base,
    postgres,
    salesforce
});
write_object!(DiscardedValue {
    field,
    side,
    value,
    rule
});
write_object!(Explanation { record, fields });

impl WriteJson for PlanDecision {
    fn write_json(&self, text: &mut JsonText) {
        let Self {
            lane,
            payload,
            conflicts,
            explanation,
        } = self;
        text.object(&[
            Some(("lane", lane)),
            payload
                .as_ref()
                .map(|payload| ("payload", payload as &dyn WriteJson)),
            Some(("conflicts", conflicts)),
            Some(("explanation", &Rules(explanation))),
        ]);
    }
}

struct Rules<'a>(&'a std::collections::BTreeMap<String, Rule>);

impl WriteJson for Rules<'_> {
    fn write_json(&self, text: &mut JsonText) {
        let members = self.0.iter();
        text.members(&mut members.map(|(name, rule)| (name.as_str(), rule as &dyn WriteJson)));
    }
}

impl WriteJson for SideWrite {
    fn write_json(&self, text: &mut JsonText) {
        let word = match self {
            Self::None => "none",
            Self::Create(_) => "create",
            Self::Update(_) => "update",
            Self::Delete => "delete",
            Self::SoftDelete => "soft_delete",
        };
        let fields = self
            .fields()
            .map(|fields| ("fields", fields as &dyn WriteJson));
        text.object(&[Some(("write", &word)), fields]);
    }
}

impl WriteJson for Agreement {
    fn write_json(&self, text: &mut JsonText) {
        let (word, after) = match self {
            Self::Stays => ("stays", None),
            Self::Begins(after) => ("begins", Some(after)),
            Self::Ends(after) => ("ends", Some(after)),
        };
        let after = after.map(|after| ("after", after as &dyn WriteJson));
        text.object(&[Some(("agreement", &word)), after]);
    }
}

impl WriteJson for MergeOutcome {
    fn write_json(&self, text: &mut JsonText) {
        let (word, value): (&str, Option<&dyn WriteJson>) = match self {
            Self::Noop => ("noop", None),
            Self::Merged(payload) => ("merged", Some(payload)),
            Self::Conflict(fields) => ("conflict", Some(fields)),
        };
        let value = value.map(|value| ("value", value));
        text.object(&[Some(("outcome", &word)), value]);
    }
}

words!(ApplyLane {
    Noop: "noop",
    Conflict: "conflict",
    Rest: "rest",
    CompositeGraph: "composite_graph",
    Bulk: "bulk",
});
words!(Confirmation {
    Agreed: "agreed",
    Postgres: "postgres",
    Salesforce: "salesforce"
});
words!(Rule {
    Equal: "equal",
    PostgresChanged: "postgres_changed",
    SalesforceChanged: "salesforce_changed",
    BothChanged: "both_changed",
    SameChange: "same_change",
    SalesforceOwns: "salesforce_owns",
    PostgresOwns: "postgres_owns",
    Conflict: "conflict",
    SalesforceWins: "salesforce_wins",
    PostgresWins: "postgres_wins",
    LaterEditWins: "later_edit_wins",
    TieGoesToSalesforce: "tie_goes_to_salesforce",
    SeededFromSalesforce: "seeded_from_salesforce",
    SeededFromPostgres: "seeded_from_postgres",
    FilledIn: "filled_in",
    CreatedInPostgres: "created_in_postgres",
    CreatedInSalesforce: "created_in_salesforce",
    DeletedInPostgres: "deleted_in_postgres",
    DeletedInSalesforce: "deleted_in_salesforce",
    DeletedOnBoth: "deleted_on_both",
    DeleteBeatsEdit: "delete_beats_edit",
    EditBeatsDelete: "edit_beats_delete",
    DeleteAgainstEdit: "delete_against_edit",
    DeletesIgnored: "deletes_ignored",
    DirectionForbids: "direction_forbids",
    AutomationOverride: "automation_override",
    LateWrite: "late_write",
    WriteUnderWay: "write_under_way",
    NotSeen: "not_seen",
    NothingThere: "nothing_there",
    FilteredOut: "filtered_out",
    FilterExit: "filter_exit",
});

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use crate::config::{
        CaptureMode, ConflictPolicy, DeleteMode, DeleteOnEdit, Direction, DuplicateRules,
        OnFilterExit, Owner, Seed,
    };
    use crate::model::intent::WriteAction;
    use crate::model::link::Presence;
    use crate::model::{ChangeOperation, SourceSystem};

    use crate::model::text::Word;

    use super::{ApplyLane, Confirmation, Rule};

    fn check<T: Word + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>() {
        for (word, meaning) in T::WORDS {
            assert_eq!(meaning.word(), *word);
            assert_eq!(serde_json::to_value(meaning).unwrap(), *word);
            assert_eq!(T::of_word(word), Some(*meaning));
        }
    }

    #[test]
    fn words_are_those_that_serde_writes() {
        check::<ApplyLane>();
        check::<CaptureMode>();
        check::<ChangeOperation>();
        check::<Confirmation>();
        check::<ConflictPolicy>();
        check::<DeleteMode>();
        check::<DeleteOnEdit>();
        check::<Direction>();
        check::<DuplicateRules>();
        check::<OnFilterExit>();
        check::<Owner>();
        check::<Presence>();
        check::<Rule>();
        check::<Seed>();
        check::<SourceSystem>();
        check::<WriteAction>();
    }
}
