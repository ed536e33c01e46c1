//! Every state of a small world: two fields over every base and value, every policy, owner,
//! direction and presence. These properties hold for every state.

use syncline_planner::config::{
    ConflictPolicy, DeleteMode, DeleteOnEdit, Direction, ObjectSync, OnFilterExit, Owner, Seed,
};
use syncline_planner::model::Side;
use syncline_planner::model::fields::FieldMap;
use syncline_planner::model::ids::FieldName;
use syncline_planner::model::link::Presence;
use syncline_planner::model::value::Value;
use syncline_planner::record::{Agreement, Confirmation, DiscardedValue, Rule};
use syncline_planner::{Mapping, plan_record};

use crate::exchanged::exchanged;
use crate::fixture::{NamedFacts, NamedPlan, NamedSide, NamedWrite, field, policy};

type Values = FieldMap<FieldName, Value>;

/// One state. Fields: base, Postgres, Salesforce; none is absent.
#[derive(Debug, Clone, PartialEq)]
struct State {
    rules: ObjectSync,
    base: Values,
    agreed: bool,
    postgres: NamedSide,
    salesforce: NamedSide,
}

impl State {
    fn plan(&self) -> NamedPlan {
        self.facts().plan(&Mapping::new(self.rules.clone()))
    }

    fn facts(&self) -> NamedFacts {
        let has_base = self.agreed || !self.base.is_empty();
        let mut facts = NamedFacts {
            base: has_base.then(|| self.base.clone()),
            agreed: Some(self.agreed),
            ..NamedFacts::new("K1".to_owned())
        };
        facts.set_side(Side::Postgres, self.postgres.clone());
        facts.set_side(Side::Salesforce, self.salesforce.clone());
        facts
    }

    fn side(&self, side: Side) -> &NamedSide {
        match side {
            Side::Postgres => &self.postgres,
            Side::Salesforce => &self.salesforce,
        }
    }

    /// Carries out a plan to the end: writes, confirmations, and the observation of what was written.
    fn after(&self, plan: &NamedPlan) -> Self {
        let mut next = self.clone();
        written(&mut next.postgres, &plan.to_postgres);
        written(&mut next.salesforce, &plan.to_salesforce);
        let created = |write: &NamedWrite| matches!(write, NamedWrite::Create(_));
        if created(&plan.to_postgres) {
            show_nulls(&mut next.postgres, &self.rules);
        }
        if created(&plan.to_salesforce) {
            show_nulls(&mut next.salesforce, &self.rules);
        }
        for (field, step) in plan.base_advance.iter() {
            next.base.insert(field.clone(), step.value.clone());
        }
        match plan.agreement {
            Agreement::Stays => {}
            Agreement::Begins(_) => next.agreed = true,
            Agreement::Ends(_) => {
                next.agreed = false;
                next.base = Values::default();
            }
        }
        next
    }

    /// The same world with the sides' names exchanged.
    fn swapped(&self) -> Self {
        let mut rules = self.rules.clone();
        rules.direction = match rules.direction {
            Direction::Both => Direction::Both,
            Direction::ToPostgres => Direction::ToSalesforce,
            Direction::ToSalesforce => Direction::ToPostgres,
        };
        rules.conflicts = match rules.conflicts {
            ConflictPolicy::SalesforceWins => ConflictPolicy::PostgresWins,
            ConflictPolicy::PostgresWins => ConflictPolicy::SalesforceWins,
            same @ (ConflictPolicy::ManualReview
            | ConflictPolicy::FieldOwnership
            | ConflictPolicy::LastWriterWins) => same,
        };
        rules.seed = match rules.seed {
            Seed::Refuse => Seed::Refuse,
            Seed::Salesforce => Seed::Postgres,
            Seed::Postgres => Seed::Salesforce,
        };
        for field in rules.fields.values_mut() {
            field.owner = match field.owner {
                Owner::Shared => Owner::Shared,
                Owner::Salesforce => Owner::Postgres,
                Owner::Postgres => Owner::Salesforce,
            };
        }
        Self {
            rules,
            postgres: self.salesforce.clone(),
            salesforce: self.postgres.clone(),
            ..self.clone()
        }
    }
}

fn written(side: &mut NamedSide, write: &NamedWrite) {
    match write {
        NamedWrite::None => {}
        NamedWrite::Create(fields) => {
            side.presence = Presence::Present;
            side.fields = fields.clone();
        }
        NamedWrite::Update(fields) => side.fields.extend(fields.clone()),
        NamedWrite::Delete | NamedWrite::SoftDelete => {
            side.presence = Presence::Deleted;
            side.fields = Values::default();
        }
    }
}

/// A new record shows every field, unfilled ones as null.
fn show_nulls(side: &mut NamedSide, rules: &ObjectSync) {
    for field in rules.fields.keys() {
        if !side.fields.contains_key(field) {
            side.fields.insert(field.clone(), Value::Null);
        }
    }
}

const NONE: Option<&str> = None;
const VALUES: [Option<&str>; 4] = [NONE, Some("null"), Some("v1"), Some("v2")];
const SALESFORCE_VALUES: [Option<&str>; 5] =
    [NONE, Some("null"), Some("v0"), Some("v1"), Some("v2")];
const FEW: [Option<&str>; 3] = [NONE, Some("null"), Some("v1")];

/// Per field: base, Postgres (a column always has a value, perhaps null), Salesforce.
type Held = [Option<&'static str>; 3];

fn all_held(
    bases: &[Option<&'static str>],
    postgres: &[Option<&'static str>],
    salesforce: &[Option<&'static str>],
) -> Vec<Held> {
    let mut held = Vec::new();
    for base in bases {
        for row in postgres.iter().filter(|value| value.is_some()) {
            for remote_state in salesforce {
                held.push([*base, *row, *remote_state]);
            }
        }
    }
    held
}

fn two_fields() -> Vec<[Held; 2]> {
    let whole = all_held(
        &[NONE, Some("null"), Some("v0"), Some("v1")],
        &VALUES,
        &SALESFORCE_VALUES,
    );
    let few = all_held(&FEW[..], &FEW[1..], &FEW);
    let pair = |one: &Held| few.iter().map(|other| [*one, *other]).collect::<Vec<_>>();
    whole.iter().flat_map(pair).collect()
}

fn value(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        text => Value::text(text),
    }
}

fn state(rules: &ObjectSync, held: &[Held; 2], presence: [Presence; 2], agreed: bool) -> State {
    let names = [field("Name"), field("Phone")];
    let column = |place: usize| -> Values {
        names
            .iter()
            .zip(held)
            .filter_map(|(name, held)| Some((name.clone(), value(held[place]?))))
            .chain([(field("id"), Value::text("K1"))])
            .collect()
    };
    let side = |place: usize| {
        let present = presence[place - 1] == Presence::Present;
        NamedSide {
            presence: presence[place - 1],
            fields: if present {
                column(place)
            } else {
                Values::default()
            },
            changed_at_ms: Some([0, 100_000, 0][place]),
            ..NamedSide::default()
        }
    };
    State {
        rules: rules.clone(),
        base: if agreed { column(0) } else { Values::default() },
        agreed,
        postgres: side(1),
        salesforce: side(2),
    }
}

fn rules(text: &str) -> ObjectSync {
    let mut rules = policy(text);
    rules.fields.remove(&field("Rating"));
    rules
}

const SCOPES: [&str; 5] = [
    "Name:shared",
    "Name:salesforce",
    "Name:postgres",
    "direction=to_postgres",
    "direction=to_salesforce",
];

/// Every rule set that matters while both sides hold the record. Policies decide fields with a
/// base, seeds those without: each of one is met with one of the other.
pub(crate) fn field_rules() -> Vec<ObjectSync> {
    let decided = [
        "policy=manual_review seed=refuse",
        "policy=field_ownership seed=salesforce",
        "policy=last_writer_wins seed=postgres",
        "policy=salesforce_wins seed=refuse",
        "policy=postgres_wins seed=salesforce",
    ];
    let with_mapping = |mapped: &str| decided.map(|decided| rules(&format!("{decided} {mapped}")));
    SCOPES.into_iter().flat_map(with_mapping).collect()
}

/// Every rule set that matters while one side lacks the record.
pub(crate) fn presence_rules() -> Vec<ObjectSync> {
    let mut all = Vec::new();
    for mode in ["propagate", "soft", "ignore"] {
        for on_edit in ["manual", "delete_wins", "edit_wins"] {
            for mapped in SCOPES {
                all.push(rules(&format!("mode={mode} on_edit={on_edit} {mapped}")));
            }
        }
    }
    all
}

/// Every rule set that matters while the record lies outside the filter.
fn leaving_rules() -> Vec<ObjectSync> {
    let mut all = Vec::new();
    for on_filter_exit in ["keep", "soft_delete", "delete"] {
        for mode in ["propagate", "soft", "ignore"] {
            for mapped in SCOPES {
                all.push(rules(&format!(
                    "on_filter_exit={on_filter_exit} mode={mode} {mapped}"
                )));
            }
        }
    }
    all
}

/// Runs `plan_row` over the world, and returns how large it is.
fn everywhere(plan_row: &dyn Fn(&State)) -> usize {
    let fields = two_fields();
    let mut states = 0;
    let mut visit = |state: State| {
        plan_row(&state);
        states += 1;
    };
    for rules in field_rules() {
        for held in &fields {
            for agreed in [true, false] {
                visit(state(&rules, held, [Presence::Present; 2], agreed));
            }
        }
    }
    for rules in leaving_rules() {
        for held in fields.iter().step_by(7) {
            for row in [Presence::Present, Presence::Deleted, Presence::Unseen] {
                for agreed in [true, false] {
                    visit(state(&rules, held, [row, Presence::FilteredOut], agreed));
                }
            }
        }
    }
    let sides = [Presence::Present, Presence::Deleted, Presence::Unseen];
    for rules in presence_rules() {
        for row in [Presence::Present, Presence::Deleted, Presence::Unseen] {
            for agreed in [true, false] {
                let sides = [row, Presence::Unreadable];
                visit(state(&rules, &fields[0], sides, agreed));
            }
        }
        for held in fields.iter().step_by(7) {
            for (one, other) in sides
                .iter()
                .flat_map(|one| sides.map(|other| (*one, other)))
            {
                for agreed in [true, false] {
                    visit(state(&rules, held, [one, other], agreed));
                }
            }
        }
    }
    states
}

#[test]
fn carrying_out_a_plan_settles_all_but_conflicts() {
    let states = everywhere(&|state| {
        let plan = state.plan();
        let next = state.after(&plan);
        let again = next.plan();
        assert!(again.writes_nothing(), "{state:?}\n{plan:?}\n{again:?}");
        assert!(again.discarded.is_empty(), "{state:?}\n{plan:?}\n{again:?}");
        assert_eq!(again.conflicts, plan.conflicts, "{state:?}");
        let rest = next.after(&again);
        let settled = rest.plan();
        assert!(
            settled.base_advance.is_empty() && settled.agreement == Agreement::Stays,
            "{state:?}\n{settled:?}"
        );
    });
    assert!(states > 100_000, "{states} states");
}

#[test]
fn a_field_that_is_not_mapped_changes_no_plan() {
    let unmapped = field("Fax");
    let lost = || (unmapped.clone(), Value::text("gone"));
    everywhere(&|state| {
        let mapping = Mapping::new(state.rules.clone());
        let mut facts = state.facts();
        for values in [&mut facts.base, &mut facts.postgres, &mut facts.salesforce] {
            values.iter_mut().for_each(|values| values.extend([lost()]));
        }
        facts.late_writes.push(unmapped.clone());
        let placed = facts.placed(&mapping);
        assert_eq!(placed, state.facts().placed(&mapping));
        assert_eq!(
            plan_record(&mapping, &placed).named(&mapping),
            state.plan(),
            "{state:?}"
        );
    });
}

#[test]
fn both_sides_end_equal_or_the_plan_explains_why() {
    everywhere(&|state| {
        let plan = state.plan();
        let next = state.after(&plan);
        let last = next.after(&next.plan());
        let both = last.postgres.presence == Presence::Present
            && last.salesforce.presence == Presence::Present;
        for field in last.rules.fields.keys().filter(|_| both) {
            let conflict = plan
                .conflicts
                .iter()
                .any(|conflict| conflict.field.as_ref() == Some(field));
            let seen = last.salesforce.fields.contains_key(field)
                && last.postgres.fields.contains_key(field);
            if !conflict && seen {
                let held = last.postgres.fields.get(field);
                assert_eq!(
                    held,
                    last.salesforce.fields.get(field),
                    "{field} of {state:?}"
                );
                assert_eq!(held, last.base.get(field), "{field} of {state:?}");
            }
        }
        if !both && last.postgres.presence != last.salesforce.presence {
            let said = matches!(
                last.plan().explanation.record,
                Rule::DirectionForbids
                    | Rule::DeletesIgnored
                    | Rule::DeleteAgainstEdit
                    | Rule::NotSeen
                    | Rule::NothingThere
                    | Rule::FilteredOut
                    | Rule::Unreadable
            );
            assert!(said, "{state:?}\n{last:?}");
        }
    });
}

/// Returns whether users of `side` changed `field`.
fn is_edit(state: &State, side: Side, field: &FieldName) -> bool {
    let base = state.base.get(field).unwrap_or(&Value::Null);
    state
        .side(side)
        .fields
        .get(field)
        .is_some_and(|held| held != base)
}

#[test]
fn no_value_is_replaced_unlogged_or_invented() {
    everywhere(&|state| {
        let plan = state.plan();
        for (side, write) in [
            (Side::Postgres, &plan.to_postgres),
            (Side::Salesforce, &plan.to_salesforce),
        ] {
            let held = &state.side(side).fields;
            for field in state.rules.fields.keys() {
                let lost = match write {
                    NamedWrite::None | NamedWrite::Create(_) => false,
                    NamedWrite::Update(fields) => fields
                        .get(field)
                        .is_some_and(|new| held.get(field) != Some(new)),
                    NamedWrite::Delete | NamedWrite::SoftDelete => true,
                };
                if lost && is_edit(state, side, field) {
                    let logged = |lost: &DiscardedValue<FieldName>| {
                        (&lost.field, lost.side, Some(&lost.value))
                            == (field, side, held.get(field))
                    };
                    assert!(
                        plan.discarded.iter().any(logged),
                        "{field} of {state:?}\n{plan:?}"
                    );
                }
                let new = write.fields().and_then(|fields| fields.get(field));
                let source = state.side(side.other()).fields.get(field);
                assert!(
                    new.is_none() || new == source,
                    "{field} of {state:?}\n{plan:?}"
                );
            }
        }
        for lost in &plan.discarded {
            let held = state.side(lost.side).fields.get(&lost.field);
            assert_eq!(held, Some(&lost.value), "{state:?}");
        }
    });
}

#[test]
fn a_base_advances_only_after_its_write() {
    everywhere(&|state| {
        let plan = state.plan();
        for (field, step) in plan.base_advance.iter() {
            let held = |side: Side| state.side(side).fields.get(field) == Some(&step.value);
            let sent = |write: &NamedWrite| {
                let created = matches!(write, NamedWrite::Create(_));
                let sent = write.fields().and_then(|fields| fields.get(field));
                sent == Some(&step.value) || (created && step.value == Value::Null)
            };
            let true_then = match step.after {
                Confirmation::Agreed => held(Side::Postgres) && held(Side::Salesforce),
                Confirmation::Postgres => sent(&plan.to_postgres) && held(Side::Salesforce),
                Confirmation::Salesforce => sent(&plan.to_salesforce) && held(Side::Postgres),
            };
            assert!(true_then, "{field} of {state:?}\n{plan:?}");
        }
    });
}

#[test]
fn a_field_is_decided_without_regard_to_the_other_field() {
    let rules = rules("");
    for held in two_fields() {
        let both = state(&rules, &held, [Presence::Present; 2], true).plan();
        let alone = state(
            &rules,
            &[held[0], [NONE, Some("null"), NONE]],
            [Presence::Present; 2],
            true,
        )
        .plan();
        let name = field("Name");
        assert_eq!(
            both.explanation.fields.get(&name),
            alone.explanation.fields.get(&name),
            "{held:?}"
        );
        let written =
            |write: &NamedWrite| write.fields().and_then(|fields| fields.get(&name)).cloned();
        assert_eq!(
            written(&both.to_postgres),
            written(&alone.to_postgres),
            "{held:?}"
        );
        assert_eq!(
            written(&both.to_salesforce),
            written(&alone.to_salesforce),
            "{held:?}"
        );
    }
}

#[test]
fn exchanging_the_sides_exchanges_the_plan() {
    everywhere(&|state| {
        // Salesforce alone may be unseen after an agreement, and alone has a recycle bin for soft
        // deletes.
        let lopsided = state.agreed
            && [&state.postgres, &state.salesforce]
                .iter()
                .any(|side| side.presence == Presence::Unseen);
        // Salesforce alone judges a filter, and hides records.
        let hidden = match state.salesforce.presence {
            Presence::FilteredOut | Presence::Unreadable => true,
            Presence::Unseen | Presence::Present | Presence::Deleted => false,
        };
        if lopsided || hidden || state.rules.deletes.mode == DeleteMode::Soft {
            return;
        }
        let expected = without_created_nulls(state.plan());
        let plan = without_created_nulls(exchanged(state.swapped().plan()));
        assert_eq!(plan, expected, "{state:?}");
    });
}

/// Nulls are left out of a create in Salesforce and sent in one in Postgres.
fn without_created_nulls(mut plan: NamedPlan) -> NamedPlan {
    let mut created = false;
    for write in [&mut plan.to_postgres, &mut plan.to_salesforce] {
        if let NamedWrite::Create(fields) = write {
            fields.retain(|_, value| *value != Value::Null);
            created = true;
        }
    }
    if created {
        plan.base_advance
            .retain(|_, step| step.value != Value::Null);
    }
    plan
}

#[test]
fn nothing_is_written_against_the_direction() {
    everywhere(&|state| {
        let plan = state.plan();
        let closed = match state.rules.direction {
            Direction::Both => return,
            Direction::ToPostgres => &plan.to_salesforce,
            Direction::ToSalesforce => &plan.to_postgres,
        };
        assert!(closed.is_none(), "{state:?}\n{plan:?}");
    });
}

#[test]
fn deletes_against_edits_follow_their_policy_everywhere() {
    everywhere(&|state| {
        let plan = state.plan();
        let deletes = [&plan.to_postgres, &plan.to_salesforce]
            .iter()
            .any(|write| matches!(write, NamedWrite::Delete | NamedWrite::SoftDelete));
        let against_edit = plan
            .conflicts
            .iter()
            .any(|conflict| conflict.field.is_none());
        let leaves = state.salesforce.presence == Presence::FilteredOut;
        assert!(
            !deletes || leaves || state.rules.deletes.mode != DeleteMode::Ignore,
            "{state:?}"
        );
        assert!(
            !against_edit || state.rules.deletes.on_edit == DeleteOnEdit::Manual,
            "{state:?}"
        );
        assert!(
            !deletes || state.agreed,
            "only what both held can be deleted: {state:?}"
        );
        let nothing_there = state.postgres.presence != Presence::Present
            && state.salesforce.presence != Presence::Present;
        assert!(!nothing_there || plan.is_settled(), "{state:?}");
    });
}

#[test]
fn a_filtered_out_record_is_written_only_when_it_leaves() {
    everywhere(&|state| {
        if state.salesforce.presence != Presence::FilteredOut {
            return;
        }
        let plan = state.plan();
        assert!(plan.to_salesforce.is_none(), "{state:?}\n{plan:?}");
        assert!(plan.conflicts.is_empty(), "{state:?}\n{plan:?}");
        assert!(plan.base_advance.is_empty(), "{state:?}\n{plan:?}");
        let row = state.postgres.presence == Presence::Present;
        let closed = state.rules.direction == Direction::ToSalesforce;
        let expected = match state.rules.on_filter_exit {
            OnFilterExit::SoftDelete if state.agreed && row && !closed => NamedWrite::SoftDelete,
            OnFilterExit::Delete if state.agreed && row && !closed => NamedWrite::Delete,
            OnFilterExit::Keep | OnFilterExit::SoftDelete | OnFilterExit::Delete => {
                NamedWrite::None
            }
        };
        assert_eq!(plan.to_postgres, expected, "{state:?}");
    });
}

#[test]
fn an_unreadable_record_is_left_alone() {
    everywhere(&|state| {
        if state.salesforce.presence == Presence::Unreadable {
            let plan = state.plan();
            assert!(plan.is_settled(), "{state:?}\n{plan:?}");
            assert_eq!(plan.explanation.record, Rule::Unreadable);
            assert_eq!(plan.agreement, Agreement::Stays, "{state:?}");
        }
    });
}

#[test]
fn a_returning_record_is_linked_and_loses_nothing_unlogged() {
    everywhere(&|state| {
        if state.salesforce.presence != Presence::FilteredOut {
            return;
        }
        let mut back = state.after(&state.plan());
        back.salesforce.presence = Presence::Present;
        back.salesforce.fields = Values::from_iter([
            (field("Name"), Value::text("v9")),
            (field("id"), Value::text("K1")),
        ]);
        let plan = back.plan();
        if back.rules.direction == Direction::ToSalesforce {
            return;
        }
        let row = back.postgres.presence == Presence::Present;
        let created = matches!(plan.to_postgres, NamedWrite::Create(_));
        assert_eq!(created, !row, "{back:?}\n{plan:?}");
        assert!(
            !matches!(
                plan.to_salesforce,
                NamedWrite::Create(_) | NamedWrite::Delete
            ),
            "{back:?}"
        );
    });
}
