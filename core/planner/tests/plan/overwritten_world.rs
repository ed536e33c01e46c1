//! Every state of a small world of one field in which a write of ours replaced an edit, or whose row is marked as
//! deleted, with the times of the edits: each edit is on both sides in the end, in a conflict or in the log.

use syncline_planner::config::{ConflictPolicy, Direction, ObjectSync};
use syncline_planner::facts::OverwrittenValue;
use syncline_planner::model::Side;
use syncline_planner::model::edit_time::EditTime;
use syncline_planner::model::fields::FieldMap;
use syncline_planner::model::ids::FieldName;
use syncline_planner::model::link::Presence;
use syncline_planner::model::value::Value;
use syncline_planner::record::Rule;
use syncline_planner::{Mapping, SideState};

use crate::fixture::{NamedFacts, NamedPlan, NamedWrite, field, value};
use crate::small_world::{field_rules, presence_rules};

type Values = FieldMap<FieldName, Value>;

/// How the row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Present,
    Deleted,
    /// Marked as deleted, while the record was undeleted.
    Marked,
}

/// One state. Values: of the base, the row, the record, and the edit that our write replaced with its base.
#[derive(Debug, Clone)]
struct State {
    rules: ObjectSync,
    row: Row,
    base: Option<&'static str>,
    postgres: &'static str,
    salesforce: &'static str,
    edit: Option<(&'static str, Option<&'static str>)>,
    /// When the row and the replaced edit, or else the record, were edited.
    times: [Option<EditTime>; 2],
}

const NAME: &str = "Name";

fn values(text: &str) -> Values {
    [(field(NAME), value(text)), (field("id"), Value::text("K1"))]
        .into_iter()
        .collect()
}

impl State {
    fn facts(&self) -> NamedFacts {
        let mut base = self.base.map(values).unwrap_or_default();
        base.insert(field("id"), Value::text("K1"));
        let is_agreed = self.row != Row::Marked;
        let mut facts = NamedFacts {
            base: Some(base),
            agreed: Some(is_agreed),
            ..NamedFacts::new("K1".to_owned())
        };
        let side = |presence, fields| SideState {
            presence,
            fields,
            changed_at_ms: Some(0),
            ..SideState::default()
        };
        let row = match self.row {
            Row::Present => side(Presence::Present, values(self.postgres)),
            Row::Deleted | Row::Marked => side(Presence::Deleted, Values::default()),
        };
        facts.set_side(Side::Postgres, row);
        let record = side(Presence::Present, values(self.salesforce));
        facts.set_side(Side::Salesforce, record);
        facts.soft_deleted = (self.row == Row::Marked).then(|| values(self.postgres));
        let [row, record] = self.times;
        let at = |time: Option<EditTime>| time.map(|time| (field(NAME), time));
        facts.edited.postgres = at(row).into_iter().collect();
        match self.edit {
            Some((edit, base)) => {
                let edit = OverwrittenValue {
                    value: value(edit),
                    base: base.map(value),
                    edited: record,
                };
                facts.overwritten.insert(field(NAME), edit);
            }
            None => facts.edited.salesforce = at(record).into_iter().collect(),
        }
        facts
    }

    fn plan(&self) -> NamedPlan {
        self.facts().plan(&Mapping::new(self.rules.clone()))
    }

    /// The edit of Salesforce and what it was made from.
    fn theirs(&self) -> (Value, Value) {
        let (edit, base) = self.edit.unwrap_or((self.salesforce, self.base));
        (value(edit), base.map_or(Value::Null, value))
    }

    fn base(&self) -> Value {
        let base = self.edit.map_or(self.base, |(_, base)| base);
        base.map_or(Value::Null, value)
    }
}

/// The values that row and record have after the plan.
fn written(state: &State, plan: &NamedPlan) -> [Option<Value>; 2] {
    let sides = [
        (&plan.to_postgres, state.postgres, state.row != Row::Deleted),
        (&plan.to_salesforce, state.salesforce, true),
    ];
    sides.map(|(write, held, is_there)| match write {
        NamedWrite::Delete | NamedWrite::SoftDelete => None,
        NamedWrite::None | NamedWrite::Create(_) | NamedWrite::Update(_) => {
            let new = write.fields().and_then(|fields| fields.get(&field(NAME)));
            new.cloned().or_else(|| is_there.then(|| value(held)))
        }
    })
}

fn is_logged(plan: &NamedPlan, side: Side, lost: &Value) -> bool {
    let mut discarded = plan.discarded.iter();
    discarded.any(|one| one.field == field(NAME) && one.side == side && one.value == *lost)
}

/// Calls `check` with every state under these rules and with a row of these kinds.
fn everywhere(all: &[ObjectSync], rows: &[Row], check: &dyn Fn(&State, &NamedPlan)) {
    const VALUES: [&str; 4] = ["null", "v0", "v1", "v2"];
    let at = |ms| Some(EditTime::at(ms));
    let times = [
        [None, None],
        [at(1_000), None],
        [at(1_000), at(9_000)],
        [at(9_000), at(1_000)],
        [at(5_000), Some(EditTime::between(Some(1_000), 9_000))],
        [at(5_000), at(5_000)],
    ];
    // Our write was sent from the base that both sides had then; it replaced nothing, or another value.
    let mut edits = vec![None];
    for edit in VALUES {
        let bases = [None, Some("null"), Some("v0"), Some("v1")];
        edits.extend(bases.map(|base| Some((edit, base))));
    }
    edits.retain(|edit| edit.is_none_or(|(edit, base)| edit != base.unwrap_or("null")));
    let mut states = 0;
    for rules in all {
        let times = match rules.conflicts {
            ConflictPolicy::LastWriterWins => &times[..],
            _ => &times[..1],
        };
        for (row, edit, times) in rows.iter().flat_map(|row| {
            edits
                .iter()
                .flat_map(move |edit| times.iter().map(move |times| (row, edit, times)))
        }) {
            for (postgres, salesforce) in VALUES
                .iter()
                .flat_map(|row| VALUES.map(|record| (*row, record)))
            {
                for base in [None, Some("v0"), Some(salesforce)] {
                    if edit.is_some_and(|(edit, _)| edit == salesforce || base.is_none()) {
                        continue;
                    }
                    let state = State {
                        rules: rules.clone(),
                        row: *row,
                        base,
                        postgres,
                        salesforce,
                        edit: *edit,
                        times: *times,
                    };
                    check(&state, &state.plan());
                    states += 1;
                }
            }
        }
    }
    assert!(states > 5_000, "{states} states");
}

/// Rules under which our writes reach Salesforce: others replace no edit.
fn writing(all: Vec<ObjectSync>) -> Vec<ObjectSync> {
    let writes = |rules: &ObjectSync| rules.direction != Direction::ToPostgres;
    all.into_iter().filter(writes).collect()
}

#[test]
fn replaced_edit_ends_on_both_sides_in_a_conflict_or_in_the_log() {
    everywhere(
        &writing(field_rules()),
        &[Row::Present, Row::Marked],
        &|state, plan| {
            if plan.explanation.record == Rule::DirectionForbids {
                // A mark stays on a row that only Postgres may change.
                assert!(plan.to_postgres.is_none() && plan.to_salesforce.is_none());
                return;
            }
            let [row, record] = written(state, plan);
            let (theirs, their_base) = state.theirs();
            let mut conflicts = plan.conflicts.iter();
            if conflicts.any(|conflict| conflict.field == Some(field(NAME))) {
                let conflict = &plan.conflicts[0];
                assert_eq!(conflict.salesforce.as_ref(), Some(&theirs), "{state:?}");
                return;
            }
            assert_eq!(row, record, "{state:?}\n{plan:?}");
            if theirs != their_base && row.as_ref() != Some(&theirs) {
                let is_kept = is_logged(plan, Side::Salesforce, &theirs);
                assert!(is_kept, "{state:?}\n{plan:?}");
            }
            let ours = value(state.postgres);
            if ours != state.base() && row.as_ref() != Some(&ours) {
                let is_kept = is_logged(plan, Side::Postgres, &ours);
                assert!(is_kept, "{state:?}\n{plan:?}");
            }
        },
    );
}

#[test]
fn replaced_edit_meets_the_delete_of_its_row() {
    everywhere(
        &writing(presence_rules()),
        &[Row::Deleted],
        &|state, plan| {
            let Some((edit, _)) = state.edit else {
                return;
            };
            let edit = value(edit);
            let [row, record] = written(state, plan);
            let in_conflict = plan.conflicts.iter().any(|conflict| {
                let whole = conflict.salesforce.as_ref();
                whole.is_some_and(|whole| format!("{whole:?}").contains(NAME))
            });
            match (&plan.to_postgres, &plan.to_salesforce) {
                (_, NamedWrite::Delete) => {
                    let is_kept = is_logged(plan, Side::Salesforce, &edit);
                    assert!(is_kept, "{state:?}\n{plan:?}");
                }
                (NamedWrite::Create(_), _) => {
                    assert_eq!([row, record], [Some(edit.clone()), Some(edit)], "{state:?}");
                }
                _ => {
                    let is_ignored = plan.explanation.record == Rule::DeletesIgnored;
                    assert!(in_conflict || is_ignored, "{state:?}\n{plan:?}");
                }
            }
        },
    );
}

#[test]
fn known_times_of_a_replaced_edit_and_a_row_edit_decide() {
    let by_time = field_rules()
        .into_iter()
        .filter(|rules| rules.conflicts == ConflictPolicy::LastWriterWins)
        .collect();
    everywhere(
        &writing(by_time),
        &[Row::Present, Row::Marked],
        &|state, plan| {
            let [Some(row), Some(record)] = state.times else {
                return;
            };
            let (theirs, their_base) = state.theirs();
            let ours = value(state.postgres);
            let rule = plan.explanation.fields.get(&field(NAME));
            let is_compared = rule.is_some_and(|rule| rule.compares_times());
            if !is_compared || theirs == their_base || ours == state.base() {
                return;
            }
            let winner = if row.earliest_ms() > record.at_ms + 2_000 {
                ours
            } else {
                // Later or a tie.
                theirs
            };
            let expected = [Some(winner.clone()), Some(winner)];
            assert_eq!(written(state, plan), expected, "{state:?}\n{plan:?}");
        },
    );
}
