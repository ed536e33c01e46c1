//! The names of closed enums, the same in configuration, SQL and JSON.

use crate::change::ApplyLane;
use crate::config::{
    CaptureMode, ConflictPolicy, DeleteMode, DeleteOnEdit, Direction, DuplicateRules, OnFilterExit,
    Owner, Seed,
};
use crate::model::change::{ChangeOperation, OutboxOperation, Side};
use crate::model::intent::{IntentState, WriteAction};
use crate::model::link::Presence;
use crate::model::observation::ObservationKind;
use crate::observation::AbsorbStatus;
use crate::record::Confirmation;
use crate::rule::Rule;

/// Implements `as_str` for enums with strum names.
macro_rules! as_str {
    ($($name:ident)+) => {
        $(impl $name {
            /// Returns its name in configuration, SQL and JSON.
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        })+
    };
}

as_str!(
    AbsorbStatus ApplyLane CaptureMode ChangeOperation Confirmation ConflictPolicy DeleteMode DeleteOnEdit
    Direction DuplicateRules IntentState ObservationKind OnFilterExit OutboxOperation Owner Presence Rule
    Seed Side WriteAction
);

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::str::FromStr;

    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use strum::VariantNames;

    use super::*;

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
    fn names_equal_those_of_serde() {
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
        check::<Side>();
        check::<WriteAction>();
    }
}
