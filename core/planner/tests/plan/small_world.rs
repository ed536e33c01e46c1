//! Every state of a small world: two fields over every base and value, every policy, owner,
//! direction and presence. What is promised here holds without exception.

use std::collections::BTreeMap;

use syncline_planner::RecordFacts;
use syncline_planner::config::{
    ConflictPolicy, DeleteMode, DeleteOnEdit, Direction, ObjectSync, OnFilterExit, Owner, Seed,
};
use syncline_planner::model::SourceSystem;
use syncline_planner::model::ids::FieldName;
use syncline_planner::model::link::{AutomationOverride, Presence};
use syncline_planner::model::value::{Payload, Value};
use syncline_planner::record::{
    Agreement, Confirmation, DiscardedValue, RecordPlan, RecordState, Rule, SideState, SideWrite,
    plan_record,
};

use crate::fixture::{field, policy};

/// One state. Fields: base, Postgres, Salesforce; none is absent.
#[derive(Debug, Clone, PartialEq)]
struct State {
    rules: ObjectSync,
    base: Payload,
    agreed: bool,
    postgres: SideState,
    salesforce: SideState,
}

const NO_AUTOMATION_OVERRIDES: &BTreeMap<FieldName, AutomationOverride> = &BTreeMap::new();

impl State {
    fn plan(&self) -> RecordPlan {
        plan_record(&self.as_planned())
    }

    fn as_planned(&self) -> RecordState<'_> {
        RecordState {
            policy: &self.rules,
            external_id: "K1",
            base: &self.base,
            agreed: self.agreed,
            postgres: self.postgres.clone(),
            salesforce: self.salesforce.clone(),
            late_writes: Vec::new(),
            automation_overrides: NO_AUTOMATION_OVERRIDES,
            open_intents: &[],
            clock_skew_ms: 0,
        }
    }

    fn side(&self, side: SourceSystem) -> &SideState {
        match side {
            SourceSystem::Postgres => &self.postgres,
            SourceSystem::Salesforce => &self.salesforce,
        }
    }

    /// Carries out a plan to the end: writes, confirmations, and the sighting of what was written.
    fn after(&self, plan: &RecordPlan) -> Self {
        let mut next = self.clone();
        written(&mut next.postgres, &plan.to_postgres);
        written(&mut next.salesforce, &plan.to_salesforce);
        let created = |write: &SideWrite| matches!(write, SideWrite::Create(_));
        if created(&plan.to_postgres) {
            show_nulls(&mut next.postgres, &self.rules);
        }
        if created(&plan.to_salesforce) {
            show_nulls(&mut next.salesforce, &self.rules);
        }
        for (field, step) in &plan.base_advance {
            next.base.insert(field.clone(), step.value.clone());
        }
        match plan.agreement {
            Agreement::Stays => {}
            Agreement::Begins(_) => next.agreed = true,
            Agreement::Ends(_) => {
                next.agreed = false;
                next.base.clear();
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

fn written(side: &mut SideState, write: &SideWrite) {
    match write {
        SideWrite::None => {}
        SideWrite::Create(fields) => {
            side.presence = Presence::Present;
            side.fields = fields.clone();
        }
        SideWrite::Update(fields) => side.fields.extend(fields.clone()),
        SideWrite::Delete | SideWrite::SoftDelete => {
            side.presence = Presence::Deleted;
            side.fields.clear();
        }
    }
}

/// A new record shows every field, those nobody filled as null.
fn show_nulls(side: &mut SideState, rules: &ObjectSync) {
    for field in rules.fields.keys() {
        side.fields.entry(field.clone()).or_insert(Value::Null);
    }
}

const NONE: Option<&str> = None;
const VALUES: [Option<&str>; 4] = [NONE, Some("null"), Some("v1"), Some("v2")];
const SALESFORCE_VALUES: [Option<&str>; 5] =
    [NONE, Some("null"), Some("v0"), Some("v1"), Some("v2")];
const FEW: [Option<&str>; 3] = [NONE, Some("null"), Some("v1")];

/// Per field: base, Postgres (a column always holds something), Salesforce.
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
    let column = |place: usize| -> Payload {
        names
            .iter()
            .zip(held)
            .filter_map(|(name, held)| Some((name.clone(), value(held[place]?))))
            .chain([(field("id"), Value::text("K1"))])
            .collect()
    };
    let side = |place: usize| {
        let present = presence[place - 1] == Presence::Present;
        SideState {
            presence: presence[place - 1],
            fields: if present {
                column(place)
            } else {
                Payload::new()
            },
            changed_at_ms: Some([0, 100_000, 0][place]),
        }
    };
    State {
        rules: rules.clone(),
        base: if agreed { column(0) } else { Payload::new() },
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
fn field_rules() -> Vec<ObjectSync> {
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
fn presence_rules() -> Vec<ObjectSync> {
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
fn carrying_out_a_plan_settles_the_record_but_for_its_conflicts() {
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
fn the_facts_of_a_state_give_the_plan_of_the_state() {
    everywhere(&|state| {
        let facts = RecordFacts::of(&state.as_planned());
        assert_eq!(
            facts.plan(&state.rules),
            state.plan(),
            "{state:?}\n{facts:?}"
        );
    });
}

#[test]
fn afterwards_both_sides_and_the_base_are_equal_or_it_is_said_why() {
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
            );
            assert!(said, "{state:?}\n{last:?}");
        }
    });
}

/// Whether `side` holds something in `field` that nobody but its users put there.
fn is_edit(state: &State, side: SourceSystem, field: &FieldName) -> bool {
    let base = state.base.get(field).unwrap_or(&Value::Null);
    state
        .side(side)
        .fields
        .get(field)
        .is_some_and(|held| held != base)
}

#[test]
fn no_value_is_replaced_without_being_logged_and_none_is_invented() {
    everywhere(&|state| {
        let plan = state.plan();
        for (side, write) in [
            (SourceSystem::Postgres, &plan.to_postgres),
            (SourceSystem::Salesforce, &plan.to_salesforce),
        ] {
            let held = &state.side(side).fields;
            for field in state.rules.fields.keys() {
                let lost = match write {
                    SideWrite::None | SideWrite::Create(_) => false,
                    SideWrite::Update(fields) => fields
                        .get(field)
                        .is_some_and(|new| held.get(field) != Some(new)),
                    SideWrite::Delete | SideWrite::SoftDelete => true,
                };
                if lost && is_edit(state, side, field) {
                    let logged = |lost: &DiscardedValue| {
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
fn a_base_waits_for_the_write_that_makes_it_true() {
    everywhere(&|state| {
        let plan = state.plan();
        for (field, step) in &plan.base_advance {
            let held = |side: SourceSystem| state.side(side).fields.get(field) == Some(&step.value);
            let sent = |write: &SideWrite| {
                let created = matches!(write, SideWrite::Create(_));
                let sent = write.fields().and_then(|fields| fields.get(field));
                sent == Some(&step.value) || (created && step.value == Value::Null)
            };
            let true_then = match step.after {
                Confirmation::Agreed => {
                    held(SourceSystem::Postgres) && held(SourceSystem::Salesforce)
                }
                Confirmation::Postgres => sent(&plan.to_postgres) && held(SourceSystem::Salesforce),
                Confirmation::Salesforce => {
                    sent(&plan.to_salesforce) && held(SourceSystem::Postgres)
                }
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
            both.explanation.fields[&name], alone.explanation.fields[&name],
            "{held:?}"
        );
        let written =
            |write: &SideWrite| write.fields().and_then(|fields| fields.get(&name)).cloned();
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
        // Salesforce alone judges a filter.
        let filtered_out = state.salesforce.presence == Presence::FilteredOut;
        if lopsided || filtered_out || state.rules.deletes.mode == DeleteMode::Soft {
            return;
        }
        let expected = without_created_nulls(state.plan());
        let plan = without_created_nulls(exchanged(state.swapped().plan()));
        assert_eq!(plan, expected, "{state:?}");
    });
}

fn exchanged(plan: RecordPlan) -> RecordPlan {
    let after = |after| match after {
        Confirmation::Agreed => Confirmation::Agreed,
        Confirmation::Postgres => Confirmation::Salesforce,
        Confirmation::Salesforce => Confirmation::Postgres,
    };
    let mut plan = RecordPlan {
        to_postgres: plan.to_salesforce.clone(),
        to_salesforce: plan.to_postgres.clone(),
        ..plan
    };
    for step in plan.base_advance.values_mut() {
        step.after = after(step.after);
    }
    plan.agreement = match plan.agreement {
        Agreement::Stays => Agreement::Stays,
        Agreement::Begins(step) => Agreement::Begins(after(step)),
        Agreement::Ends(step) => Agreement::Ends(after(step)),
    };
    for conflict in &mut plan.conflicts {
        std::mem::swap(&mut conflict.postgres, &mut conflict.salesforce);
    }
    for lost in &mut plan.discarded {
        lost.side = lost.side.other();
        lost.rule = exchanged_rule(lost.rule);
    }
    plan.explanation.record = exchanged_rule(plan.explanation.record);
    for rule in plan.explanation.fields.values_mut() {
        *rule = exchanged_rule(*rule);
    }
    plan
}

fn exchanged_rule(rule: Rule) -> Rule {
    let pairs = [
        (Rule::PostgresChanged, Rule::SalesforceChanged),
        (Rule::PostgresOwns, Rule::SalesforceOwns),
        (Rule::PostgresWins, Rule::SalesforceWins),
        (Rule::SeededFromPostgres, Rule::SeededFromSalesforce),
        (Rule::CreatedInPostgres, Rule::CreatedInSalesforce),
        (Rule::DeletedInPostgres, Rule::DeletedInSalesforce),
    ];
    let other = |(one, other)| match rule {
        rule if rule == one => Some(other),
        rule if rule == other => Some(one),
        _ => None,
    };
    pairs.into_iter().find_map(other).unwrap_or(rule)
}

/// Nulls are left out of a create in Salesforce and sent in one in Postgres.
fn without_created_nulls(mut plan: RecordPlan) -> RecordPlan {
    let mut created = false;
    for write in [&mut plan.to_postgres, &mut plan.to_salesforce] {
        if let SideWrite::Create(fields) = write {
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
fn nothing_travels_against_the_direction() {
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
            .any(|write| matches!(write, SideWrite::Delete | SideWrite::SoftDelete));
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
fn a_record_outside_the_filter_is_never_written_on_either_side_but_for_its_leaving() {
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
            OnFilterExit::SoftDelete if state.agreed && row && !closed => SideWrite::SoftDelete,
            OnFilterExit::Delete if state.agreed && row && !closed => SideWrite::Delete,
            OnFilterExit::Keep | OnFilterExit::SoftDelete | OnFilterExit::Delete => SideWrite::None,
        };
        assert_eq!(plan.to_postgres, expected, "{state:?}");
    });
}

#[test]
fn a_record_that_comes_back_is_linked_again_and_loses_nothing_unlogged() {
    everywhere(&|state| {
        if state.salesforce.presence != Presence::FilteredOut {
            return;
        }
        let mut back = state.after(&state.plan());
        back.salesforce.presence = Presence::Present;
        back.salesforce.fields = Payload::from([
            (field("Name"), Value::text("v9")),
            (field("id"), Value::text("K1")),
        ]);
        let plan = back.plan();
        if back.rules.direction == Direction::ToSalesforce {
            return;
        }
        let row = back.postgres.presence == Presence::Present;
        let created = matches!(plan.to_postgres, SideWrite::Create(_));
        assert_eq!(created, !row, "{back:?}\n{plan:?}");
        assert!(
            !matches!(plan.to_salesforce, SideWrite::Create(_) | SideWrite::Delete),
            "{back:?}"
        );
    });
}
