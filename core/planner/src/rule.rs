//! Why a plan is what it is: the rules by name, each with one sentence in plain words.

use serde::{Deserialize, Serialize};

/// The rules, by name. Each has one sentence in plain words, see [`Rule::sentence`].
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Rule {
    /// Both sides are equal.
    #[default]
    Equal,
    /// Only Postgres changed it.
    PostgresChanged,
    /// Only Salesforce changed it.
    SalesforceChanged,
    /// Both changed the record, in different fields.
    BothChanged,
    /// Both changed it, to the same value.
    SameChange,
    /// Salesforce owns the field.
    SalesforceOwns,
    /// Postgres owns the field.
    PostgresOwns,
    /// Both changed it and a person must decide.
    Conflict,
    /// Both changed it and Salesforce wins by policy.
    SalesforceWins,
    /// Both changed it and Postgres wins by policy.
    PostgresWins,
    /// Both changed it and the later edit wins.
    LaterEditWins,
    /// Both changed it, the times do not show which edit is later, and the tie goes to Salesforce.
    TieGoesToSalesforce,
    /// The field has no base and is seeded from Salesforce.
    SeededFromSalesforce,
    /// The field has no base and is seeded from Postgres.
    SeededFromPostgres,
    /// The field has no base and the other side holds nothing.
    FilledIn,
    /// The record is new in Postgres.
    CreatedInPostgres,
    /// The record is new in Salesforce.
    CreatedInSalesforce,
    /// The record was deleted in Postgres.
    DeletedInPostgres,
    /// The record was deleted in Salesforce.
    DeletedInSalesforce,
    /// The record was deleted on both sides.
    DeletedOnBoth,
    /// One side deleted what the other edited, and the delete wins.
    DeleteBeatsEdit,
    /// One side deleted what the other edited, and the edit wins.
    EditBeatsDelete,
    /// One side deleted what the other edited, and a person must decide.
    DeleteAgainstEdit,
    /// Deletes of this object are not written to the other side.
    DeletesIgnored,
    /// Changes are not written in this direction; the source's value is restored.
    DirectionForbids,
    /// Salesforce automation keeps changing it back; it is shown, not fought over.
    AutomationOverride,
    /// An earlier write of ours took effect late: the agreed value is written again.
    LateWrite,
    /// A write of it is under way.
    WriteUnderWay,
    /// One side has never shown the field: nothing can be said about it.
    NotSeen,
    /// Neither side has the record.
    NothingThere,
    /// The record lies outside the object's filter in Salesforce and is left alone.
    FilteredOut,
    /// The record left the object's filter and its row goes.
    FilterExit,
    /// Our user cannot read the record any more, and nothing shows that it was deleted.
    Unreadable,
}

impl Rule {
    /// Returns whether it takes a record that one side lacks for a deleted one.
    pub fn decides_delete(self) -> bool {
        matches!(
            self,
            Self::DeletedInPostgres
                | Self::DeletedInSalesforce
                | Self::DeleteBeatsEdit
                | Self::EditBeatsDelete
                | Self::DeleteAgainstEdit
        )
    }

    /// Returns whether it compares the times of two edits.
    pub fn compares_times(self) -> bool {
        matches!(self, Self::LaterEditWins | Self::TieGoesToSalesforce)
    }

    /// Returns the rule in one sentence that a person without this code understands.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Equal => "Both sides are equal.",
            Self::PostgresChanged => "Only Postgres changed it, so the change goes to Salesforce.",
            Self::SalesforceChanged => {
                "Only Salesforce changed it, so the change goes to Postgres."
            }
            Self::BothChanged => {
                "Both sides changed different fields, so each change goes to the other side."
            }
            Self::SameChange => "Both sides changed it to the same value.",
            Self::SalesforceOwns => "Salesforce owns the field, so both sides get its value.",
            Self::PostgresOwns => "Postgres owns the field, so both sides get its value.",
            Self::Conflict => "Both sides have different values, and a person must decide.",
            Self::SalesforceWins => "Both sides changed it, and by policy Salesforce wins.",
            Self::PostgresWins => "Both sides changed it, and by policy Postgres wins.",
            Self::LaterEditWins => "Both sides changed it, and the later edit wins.",
            Self::TieGoesToSalesforce => {
                "Both sides changed it, and the times do not show which edit is later, so Salesforce wins."
            }
            Self::SeededFromSalesforce => {
                "The sides have never agreed on it, so Salesforce gives the first value."
            }
            Self::SeededFromPostgres => {
                "The sides have never agreed on it, so Postgres gives the first value."
            }
            Self::FilledIn => "One side has no value, so it gets the other side's value.",
            Self::CreatedInPostgres => "The record is new in Postgres.",
            Self::CreatedInSalesforce => "The record is new in Salesforce.",
            Self::DeletedInPostgres => "The record was deleted in Postgres.",
            Self::DeletedInSalesforce => "The record was deleted in Salesforce.",
            Self::DeletedOnBoth => "The record was deleted on both sides.",
            Self::DeleteBeatsEdit => "One side deleted what the other edited; the delete wins.",
            Self::EditBeatsDelete => {
                "One side deleted what the other edited; the edit wins and the record comes back."
            }
            Self::DeleteAgainstEdit => {
                "One side deleted what the other edited, and a person must decide."
            }
            Self::DeletesIgnored => "Deletes of this object are not written to the other side.",
            Self::DirectionForbids => {
                "Changes are not written in this direction, so both sides get the source's value."
            }
            Self::AutomationOverride => {
                "Salesforce automation keeps changing it back, so nothing more is written."
            }
            Self::LateWrite => {
                "An earlier write of ours took effect late, so the agreed value is written again."
            }
            Self::WriteUnderWay => "A write of it is in progress; it is decided afterwards.",
            Self::NotSeen => "One side's value is not known yet, so nothing is written.",
            Self::NothingThere => "Neither side has the record.",
            Self::FilteredOut => {
                "The Salesforce record does not match the object's filter, so nothing is written."
            }
            Self::FilterExit => {
                "The Salesforce record no longer matches the object's filter, so its row is removed; the record stays."
            }
            Self::Unreadable => {
                "Our user cannot read the Salesforce record any more, and nothing shows that it was deleted, so both sides are left alone."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::VariantNames;

    use super::*;

    fn every_rule() -> impl Iterator<Item = Rule> {
        let names = Rule::VARIANTS.iter();
        names.map(|name| name.parse().expect("its name is read"))
    }

    #[test]
    fn each_rule_has_a_sentence_of_its_own() {
        let sentences: BTreeSet<&str> = every_rule().map(Rule::sentence).collect();
        assert_eq!(sentences.len(), Rule::VARIANTS.len());
        assert!(sentences.iter().all(|sentence| sentence.ends_with('.')));
    }

    #[test]
    fn five_rules_take_a_missing_record_for_deleted() {
        let deciding: Vec<&str> = every_rule()
            .filter(|rule| rule.decides_delete())
            .map(Into::into)
            .collect();
        assert_eq!(
            deciding,
            [
                "deleted_in_postgres",
                "deleted_in_salesforce",
                "delete_beats_edit",
                "edit_beats_delete",
                "delete_against_edit",
            ]
        );
    }
}
