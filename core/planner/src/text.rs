//! Plans as JSON and as words, without serde: see [`crate::model::text`].

use crate::model::text::{JsonText, WriteJson, names};
use crate::write_object;

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

names!(ApplyLane Confirmation Rule);

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::str::FromStr;

    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use strum::VariantNames;

    use crate::config::{
        CaptureMode, ConflictPolicy, DeleteMode, DeleteOnEdit, Direction, DuplicateRules,
        OnFilterExit, Owner, Seed,
    };
    use crate::model::change::OutboxOperation;
    use crate::model::intent::{IntentState, WriteAction};
    use crate::model::link::Presence;
    use crate::model::observation::ObservationKind;
    use crate::model::{ChangeOperation, SourceSystem};

    use super::{ApplyLane, Confirmation, Rule};

    fn check<T>()
    where
        T: VariantNames + FromStr + Into<&'static str> + Copy,
        T: Serialize + DeserializeOwned + PartialEq + Debug,
        T::Err: Debug,
    {
        for name in T::VARIANTS {
            let named: T = name.parse().unwrap();
            assert_eq!(Into::<&str>::into(named), *name);
            assert_eq!(serde_json::to_value(named).unwrap(), *name);
            assert_eq!(serde_json::from_value::<T>((*name).into()).unwrap(), named);
        }
    }

    #[test]
    fn names_are_those_that_serde_writes() {
        check::<ApplyLane>();
        check::<CaptureMode>();
        check::<ChangeOperation>();
        check::<Confirmation>();
        check::<ConflictPolicy>();
        check::<DeleteMode>();
        check::<DeleteOnEdit>();
        check::<Direction>();
        check::<DuplicateRules>();
        check::<IntentState>();
        check::<ObservationKind>();
        check::<OnFilterExit>();
        check::<OutboxOperation>();
        check::<Owner>();
        check::<Presence>();
        check::<Rule>();
        check::<Seed>();
        check::<SourceSystem>();
        check::<WriteAction>();
    }
}
