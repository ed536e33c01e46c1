//! The reasons that a plan gives, what it agrees on, and what counts as an edit against a delete.

use syncline_planner::Mapping;
use syncline_planner::facts::OverwrittenValue;
use syncline_planner::model::ids::FieldName;
use syncline_planner::model::value::Value;
use syncline_planner::record::{Agreement, Confirmation, Rule};

use crate::fixture::{NamedPlan, World, check, field, shown, value, word};

fn plan(fixture: &str) -> NamedPlan {
    World::read(fixture).plan()
}

fn reason(fixture: &str, name: &str) -> Option<Rule> {
    plan(fixture).explanation.fields.get(&field(name)).copied()
}

/// Returns the fields whose base advances.
fn advancing(fixture: &str) -> Vec<String> {
    let advance = plan(fixture).base_advance;
    let steps = advance
        .iter()
        .map(|(name, step)| format!("{name}={}", word(&step.value)));
    steps.collect()
}

#[test]
fn reason_of_a_record_sums_up_its_fields() {
    let sides = |postgres: &str, salesforce: &str| {
        format!("base Name=Ada Phone=1\npg {postgres}\nsf {salesforce}")
    };
    let (same, edited, other) = ("Name=Ada Phone=1", "Name=Ada Phone=2", "Name=Bea Phone=1");
    for (postgres, salesforce, rule, writes_nothing) in [
        (same, same, Rule::Equal, true),
        (edited, same, Rule::PostgresChanged, false),
        (same, edited, Rule::SalesforceChanged, false),
        (edited, other, Rule::BothChanged, false),
        (edited, "Name=Ada Phone=3", Rule::Conflict, true),
    ] {
        let plan = plan(&sides(postgres, salesforce));
        assert_eq!(plan.explanation.record, rule);
        assert_eq!(plan.writes_nothing(), writes_nothing, "{rule:?}");
        assert_eq!(plan.is_settled(), rule == Rule::Equal, "{rule:?}");
    }
}

#[test]
fn record_that_neither_side_has_ends_only_if_it_agreed() {
    let agreed = plan("base Phone=1\npg -\nsf -");
    assert_eq!(agreed.explanation.record, Rule::DeletedOnBoth);
    assert_eq!(agreed.agreement, Agreement::Ends(Confirmation::Agreed));
    let never = plan("base -\npg ?\nsf ?");
    assert_eq!(never.explanation.record, Rule::NothingThere);
    assert_eq!(never.agreement, Agreement::Stays);
}

#[test]
fn records_that_meet_agree_from_then_on() {
    let begins = Agreement::Begins(Confirmation::Agreed);
    assert_eq!(plan("base -\npg Phone=1\nsf Phone=1").agreement, begins);
    let agreed = plan("base Phone=1\npg Phone=1\nsf Phone=1");
    assert_eq!(agreed.agreement, Agreement::Stays);
}

#[test]
fn owner_is_the_reason_only_where_it_overrules() {
    let edited = "base Phone=1\npg Phone=2\nsf Phone=1";
    for (rules, rule) in [
        ("Phone:shared", Rule::PostgresChanged),
        ("Phone:postgres", Rule::PostgresChanged),
        ("Phone:salesforce", Rule::SalesforceOwns),
        ("direction=to_postgres", Rule::DirectionForbids),
    ] {
        let fixture = format!("rules {rules}\n{edited}");
        assert_eq!(reason(&fixture, "Phone"), Some(rule), "{rules}");
    }
    let both = "rules Phone:postgres\nbase Phone=1\npg Phone=2\nsf Phone=3";
    assert_eq!(reason(both, "Phone"), Some(Rule::PostgresOwns));
}

#[test]
fn missing_value_is_filled_in_only_with_the_direction() {
    let fixture =
        |direction: &str| format!("rules direction={direction}\nbase -\npg Phone=null\nsf Phone=1");
    check(&fixture("to_postgres"), "postgres <- Phone=1");
    check(&fixture("to_salesforce"), "conflict Phone -|null|1");
}

// Automation.

#[test]
fn value_that_automation_replaced_is_logged_when_its_row_goes() {
    let plan = plan(
        "base Rating=Cold
          pg   Rating=Cold
          sf   Rating=Hot
          override Rating 1 Cold Hot",
    );
    assert_eq!(
        shown(&plan),
        "postgres <- Rating=Hot; lost postgres Rating=Cold"
    );
    assert_eq!(plan.discarded[0].rule, Rule::AutomationOverride);
    check(
        "base Rating=Hot
          pg   Rating=Cold
          sf   Rating=Hot
          override Rating 1 Cold Hot",
        "salesforce <- Rating=Cold",
    );
}

#[test]
fn base_follows_a_row_edited_since_a_late_write() {
    let late = |base: &str| format!("base Phone={base}\npg Phone=2\nsf Phone=9\nlate Phone");
    check(&late("1"), "salesforce <- Phone=2");
    assert_eq!(advancing(&late("1")), ["Phone=2"]);
    assert_eq!(advancing(&late("2")), [""; 0]);
}

// External ids.

#[test]
fn spelling_of_the_row_stands_for_equal_external_ids() {
    let ids =
        |postgres: &str, salesforce: &str| format!("base -\npg id={postgres}\nsf id={salesforce}");
    check(
        &ids("k1", "K1"),
        "salesforce <- id=k1; lost salesforce id=K1",
    );
    check(
        &ids("007", "7"),
        "salesforce <- id=007; lost salesforce id=7",
    );
    check(&ids("K1", "K2"), "conflict id -|K1|K2");
    check("base -\npg Phone=a\nsf Phone=A", "conflict Phone -|a|A");
}

#[test]
fn filled_in_external_id_advances_a_base_without_it() {
    assert_eq!(advancing("base id=K1\npg id=K1\nsf id=null"), [""; 0]);
    assert_eq!(advancing("base id=null\npg id=K1\nsf id=null"), ["id=K1"]);
}

#[test]
fn sides_agree_on_no_external_id_that_one_cannot_get() {
    let created = |direction: &str| {
        advancing(&format!(
            "rules direction={direction}\nbase -\npg id=null Name=Ada\nsf ?"
        ))
    };
    assert_eq!(created("both"), ["Name=Ada", "id=K1"]);
    assert_eq!(created("to_salesforce"), ["Name=Ada"]);
}

// Creates and deletes.

#[test]
fn null_left_out_of_a_create_is_agreed_on_only_over_a_base() {
    assert_eq!(
        advancing("base -\npg Name=Ada Phone=null\nsf ?"),
        ["Name=Ada", "id=K1"]
    );
    let again = "rules on_edit=edit_wins
          base Name=Ada Phone=1
          pg   Name=Bea Phone=null
          sf   -";
    check(again, "create salesforce Name=Bea id=K1");
    assert_eq!(advancing(again), ["Name=Bea", "Phone=null", "id=K1"]);
}

#[test]
fn each_edit_against_a_delete_has_its_reason() {
    let against = |on_edit: &str, name: &str| {
        let fixture = format!(
            "rules on_edit={on_edit} Rating:salesforce
              base Name=Ada Phone=1 Rating=Hot
              pg   Name=Ada Phone=2 Rating=Cold
              sf   -"
        );
        reason(&fixture, name)
    };
    assert_eq!(against("manual", "Phone"), Some(Rule::DeleteAgainstEdit));
    assert_eq!(against("delete_wins", "Phone"), Some(Rule::DeleteBeatsEdit));
    assert_eq!(against("delete_wins", "Rating"), Some(Rule::SalesforceOwns));
    assert_eq!(against("delete_wins", "Name"), None, "it was not edited");
}

#[test]
fn late_write_is_no_edit_against_a_delete() {
    check(
        "base Phone=1
          pg   -
          sf   Phone=9
          late Phone",
        "delete salesforce",
    );
    check(
        "base Name=Ada Phone=1
          pg   -
          sf   Name=Bea Phone=9
          late Phone",
        "conflict record -|-|{\"Name\":\"Bea\"}",
    );
    check(
        "base Phone=1
          pg   Phone=2
          sf   -
          late Phone",
        "conflict record -|{\"Phone\":\"2\"}|-",
    );
}

#[test]
fn only_another_external_id_is_an_edit_against_a_delete() {
    let held = |id: &str| format!("base id=K1 Phone=1\npg -\nsf id={id} Phone=1");
    check(&held("K1"), "delete salesforce");
    check(&held("null"), "delete salesforce");
    check(&held("K2"), "conflict record -|-|{\"id\":\"K2\"}");
}

#[test]
fn row_stays_on_filter_exit_where_postgres_is_not_written() {
    for exit in ["delete", "soft_delete"] {
        let fixture = format!(
            "rules direction=to_salesforce on_filter_exit={exit}
              base Name=Ada
              pg   Name=Ada
              sf   filtered_out"
        );
        check(&fixture, "nothing (FilteredOut)");
    }
}

// Edits in Salesforce that our writes replaced.

/// Plans a record that Postgres deleted, after our write of this field replaced an edit to `edit`. Returns the plan, and
/// the fields of which it decides the edit for good.
fn after_replaced(fixture: &str, name: &str, edit: &str) -> (NamedPlan, Vec<FieldName>) {
    let world = World::read(fixture);
    let mapping = Mapping::new(world.policy.clone());
    let mut facts = world.facts();
    let replaced = OverwrittenValue {
        value: value(edit),
        base: Some(Value::text("1")),
        edited: None,
    };
    facts.overwritten.insert(field(name), replaced);
    let placed = facts.placed(&mapping);
    let plan = syncline_planner::record::plan_record(&mapping, &placed);
    let decided = plan.decided_overwritten(&placed);
    let decided = decided.map(|field| mapping.name(field).clone()).collect();
    (plan.named(&mapping), decided)
}

#[test]
fn replaced_edit_counts_against_a_delete() {
    let deleted = |on_edit: &str| {
        let fixture = format!("rules on_edit={on_edit}\nbase Phone=2\npg -\nsf Phone=2");
        let (plan, decided) = after_replaced(&fixture, "Phone", "3");
        (shown(&plan), decided)
    };
    let (manual, undecided) = deleted("manual");
    assert_eq!(manual, "conflict record -|-|{\"Phone\":\"3\"}");
    assert_eq!(undecided, [], "a person decides");
    let (delete_wins, decided) = deleted("delete_wins");
    assert_eq!(delete_wins, "delete salesforce; lost salesforce Phone=3");
    assert_eq!(decided, [field("Phone")]);
}

#[test]
fn created_row_gets_a_replaced_edit_but_its_own_name() {
    let created = |name: &str, edit: &str| {
        let (plan, _) = after_replaced("base -\npg ?\nsf Phone=2", name, edit);
        shown(&plan)
    };
    assert_eq!(
        created("Phone", "3"),
        "create postgres Phone=3 id=K1; salesforce <- Phone=3"
    );
    assert_eq!(created("id", "K9"), "create postgres Phone=2 id=K1");
}
