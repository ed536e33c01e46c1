//! Decides one field of a record that both sides have: three-way, by owner first, then by policy.
//!
//! Only comparisons matter here, not values, so canonical values and JSON are decided in the same way.

use crate::config::{ConflictPolicy, Direction, ObjectSync, Owner, Seed};
use crate::model::Side;
use crate::model::edit_time::EditTime;
use crate::model::ids::FieldName;

use super::facts::BySide;
use super::rule::Rule;

/// Clocks of the two sides are never closer than this: Salesforce stamps whole seconds, and a
/// trigger's clock runs before its commit.
pub(super) const CLOCK_TOLERANCE_MS: i64 = 2_000;

/// The comparisons of the two sides' values and the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ThreeWay {
    /// Both sides are equal.
    pub same: bool,
    /// Postgres equals the base, if there is one.
    pub postgres_is_base: Option<bool>,
    /// Salesforce equals the base, if there is one.
    pub salesforce_is_base: Option<bool>,
    /// Postgres has a null.
    pub postgres_null: bool,
    /// Salesforce has a null.
    pub salesforce_null: bool,
}

impl ThreeWay {
    /// Compares values of any kind; `is_null` returns whether one is null.
    pub(super) fn of<T: PartialEq>(
        base: Option<&T>,
        postgres: &T,
        salesforce: &T,
        is_null: fn(&T) -> bool,
    ) -> Self {
        let same = postgres == salesforce;
        let postgres_is_base = base.map(|base| base == postgres);
        Self {
            same,
            postgres_is_base,
            salesforce_is_base: match same {
                true => postgres_is_base,
                false => base.map(|base| base == salesforce),
            },
            postgres_null: is_null(postgres),
            salesforce_null: is_null(salesforce),
        }
    }

    /// Returns whether replacing the value of `side` would lose an edit: it differs from the base or, without
    /// a base, is not null.
    pub(super) fn would_be_lost(self, side: Side) -> bool {
        match side {
            Side::Postgres => !self.postgres_is_base.unwrap_or(self.postgres_null),
            Side::Salesforce => !self.salesforce_is_base.unwrap_or(self.salesforce_null),
        }
    }
}

/// The rules that decide when comparisons do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldRules {
    /// The side whose value wins, by owner or by direction.
    pub authority: Option<Authority>,
    /// The object's policy.
    pub conflicts: ConflictPolicy,
    /// What decides a field without a base.
    pub seed: Seed,
    /// Which side edited later, if that is known.
    pub later: Option<Side>,
}

/// A side whose value wins, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authority {
    /// The field's owner.
    Owner(Side),
    /// The source of the only direction.
    Direction(Side),
}

impl Authority {
    /// Returns the side whose value of `field` wins: the direction's source, else the owner.
    pub(super) fn over(field: &FieldName, sync: &ObjectSync) -> Option<Self> {
        match sync.direction {
            Direction::ToPostgres => Some(Self::Direction(Side::Salesforce)),
            Direction::ToSalesforce => Some(Self::Direction(Side::Postgres)),
            Direction::Both => sync
                .fields
                .get(field)
                .map_or(Owner::Shared, |field| field.owner)
                .side()
                .map(Self::Owner),
        }
    }

    /// Returns the side.
    pub(super) fn side(self) -> Side {
        match self {
            Self::Owner(side) | Self::Direction(side) => side,
        }
    }

    /// Returns the rule it decides by.
    pub(super) fn rule(self) -> Rule {
        match self {
            Self::Owner(Side::Salesforce) => Rule::SalesforceOwns,
            Self::Owner(Side::Postgres) => Rule::PostgresOwns,
            Self::Direction(_) => Rule::DirectionForbids,
        }
    }
}

/// The decision about a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldDecision {
    /// Both sides are equal already.
    Agree(Rule),
    /// The other side takes the value of `from`.
    Take {
        /// The side whose value wins.
        from: Side,
        /// Why.
        rule: Rule,
    },
    /// A person must decide.
    Conflict,
}

/// Returns whether changes may be written to `side`.
pub(super) fn may_write(direction: Direction, side: Side) -> bool {
    match (direction, side) {
        (Direction::Both, _)
        | (Direction::ToPostgres, Side::Postgres)
        | (Direction::ToSalesforce, Side::Salesforce) => true,
        (Direction::ToPostgres, Side::Salesforce) | (Direction::ToSalesforce, Side::Postgres) => {
            false
        }
    }
}

/// Returns the side that edited later: whenever within what is known the edits were made, they differ by more than
/// the clocks may.
pub(super) fn later_edit(edited: BySide<EditTime>, skew_ms: i64) -> Option<Side> {
    let (postgres, salesforce) = (edited.postgres?, edited.salesforce?);
    let tolerance_ms = CLOCK_TOLERANCE_MS.saturating_add(skew_ms.saturating_abs());
    let is_later = |one: EditTime, other: EditTime| {
        one.earliest_ms().saturating_sub(other.at_ms) > tolerance_ms
    };
    if is_later(postgres, salesforce) {
        Some(Side::Postgres)
    } else if is_later(salesforce, postgres) {
        Some(Side::Salesforce)
    } else {
        None
    }
}

/// Decides one field that was seen on both sides.
pub(super) fn decide(seen: ThreeWay, rules: FieldRules) -> FieldDecision {
    match (seen.same, seen.postgres_is_base, seen.salesforce_is_base) {
        (true, Some(true), _) => FieldDecision::Agree(Rule::Equal),
        (true, Some(false), _) => FieldDecision::Agree(Rule::SameChange),
        (true, None, _) => FieldDecision::Agree(Rule::Equal),
        (false, Some(false), Some(false)) => both_changed(rules),
        (false, Some(false), _) => one_changed(Side::Postgres, Rule::PostgresChanged, rules),
        (false, Some(true), _) => one_changed(Side::Salesforce, Rule::SalesforceChanged, rules),
        (false, None, _) => without_base(seen, rules),
    }
}

/// Decides a field that one side changed: its edit is written to the other side, unless the other side's
/// value wins. Then that value is written back, because the sides would otherwise stay different.
fn one_changed(editor: Side, rule: Rule, rules: FieldRules) -> FieldDecision {
    match rules.authority {
        Some(authority) if authority.side() != editor => FieldDecision::Take {
            from: authority.side(),
            rule: authority.rule(),
        },
        Some(_) | None => FieldDecision::Take { from: editor, rule },
    }
}

fn both_changed(rules: FieldRules) -> FieldDecision {
    let take = |from, rule| FieldDecision::Take { from, rule };
    if let Some(authority) = rules.authority {
        return take(authority.side(), authority.rule());
    }
    match (rules.conflicts, rules.later) {
        (ConflictPolicy::ManualReview | ConflictPolicy::FieldOwnership, _) => {
            FieldDecision::Conflict
        }
        (ConflictPolicy::SalesforceWins, _) => take(Side::Salesforce, Rule::SalesforceWins),
        (ConflictPolicy::PostgresWins, _) => take(Side::Postgres, Rule::PostgresWins),
        (ConflictPolicy::LastWriterWins, Some(later)) => take(later, Rule::LaterEditWins),
        (ConflictPolicy::LastWriterWins, None) => take(Side::Salesforce, Rule::TieGoesToSalesforce),
    }
}

/// Decides a field without a base. A null then only means that the side has no value yet, and is filled in;
/// if the direction forbids that, a person decides.
fn without_base(seen: ThreeWay, rules: FieldRules) -> FieldDecision {
    let take = |from, rule| FieldDecision::Take { from, rule };
    let source = match (seen.postgres_null, seen.salesforce_null) {
        (true, false) => Some(Side::Salesforce),
        (false, true) => Some(Side::Postgres),
        (true, true) | (false, false) => None,
    };
    match (source, rules.authority, rules.seed) {
        (Some(source), Some(Authority::Direction(side)), _) if side != source => {
            FieldDecision::Conflict
        }
        (Some(source), _, _) => take(source, Rule::FilledIn),
        (None, Some(authority), _) => take(authority.side(), authority.rule()),
        (None, None, Seed::Salesforce) => take(Side::Salesforce, Rule::SeededFromSalesforce),
        (None, None, Seed::Postgres) => take(Side::Postgres, Rule::SeededFromPostgres),
        (None, None, Seed::Refuse) => FieldDecision::Conflict,
    }
}
