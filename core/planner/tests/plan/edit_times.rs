//! Which of two edits of a field is later: by example, over all orders of a few times, and from observations.

use syncline_planner::model::edit_time::EditTime;
use syncline_planner::model::intent::IntentState;
use syncline_planner::record::Rule;
use syncline_planner::{Mapping, Side};

use crate::exchanged::exchanged;
use crate::fixture::{EditTimes, NamedFacts, NamedPlan, World, check, field, policy};
use crate::story::Story;

/// A conflict about Phone under the policy that compares times, with these times.
fn conflict(times: &str) -> String {
    format!(
        "rules policy=last_writer_wins
         base  Name=Ada Phone=1
         pg    Name=Bob Phone=2 @90000
         sf    Name=Ada Phone=3 @10000
         {times}"
    )
}

const POSTGRES_WINS: &str = "salesforce <- Name=Bob Phone=2; lost salesforce Phone=3";
const SALESFORCE_WINS: &str = "postgres <- Phone=3; salesforce <- Name=Bob; lost postgres Phone=2";

#[test]
fn later_edit_of_another_field_does_not_count() {
    check(
        &conflict("edits pg Phone=1000 Name=90000\nedits sf Phone=10000"),
        SALESFORCE_WINS,
    );
    check(
        &conflict("edits pg Phone=10000 Name=5000\nedits sf Phone=1000 Name=90000"),
        POSTGRES_WINS,
    );
}

#[test]
fn unknown_time_of_one_side_leaves_those_of_the_record() {
    check(&conflict("edits sf Phone=95000"), POSTGRES_WINS);
    check(&conflict("edits pg Phone=1000"), POSTGRES_WINS);
    check(&conflict("edits pg Name=1000"), POSTGRES_WINS);
}

#[test]
fn interval_around_the_other_edit_is_a_tie() {
    let rule = |times: &str| {
        let plan = World::read(&conflict(times)).plan();
        plan.explanation.fields.get(&field("Phone")).copied()
    };
    let tie = Some(Rule::TieGoesToSalesforce);
    let later = Some(Rule::LaterEditWins);
    assert_eq!(
        rule("edits pg Phone=20000\nedits sf Phone=10000..30000"),
        tie
    );
    // The fixture's clocks may differ by half a second beyond the two.
    assert_eq!(
        rule("edits pg Phone=32500\nedits sf Phone=10000..30000"),
        tie
    );
    assert_eq!(
        rule("edits pg Phone=32501\nedits sf Phone=10000..30000"),
        later
    );
    assert_eq!(
        rule("edits pg Phone=7500\nedits sf Phone=10000..30000"),
        tie
    );
    assert_eq!(
        rule("edits pg Phone=7499\nedits sf Phone=10000..30000"),
        later
    );
    check(
        &conflict("edits pg Phone=20000\nedits sf Phone=10000..30000"),
        SALESFORCE_WINS,
    );
    check(
        &conflict("edits pg Phone=32501\nedits sf Phone=10000..30000"),
        POSTGRES_WINS,
    );
}

#[test]
fn discarded_value_has_the_times_that_were_compared() {
    let plan = World::read(&conflict("edits pg Phone=1000\nedits sf Phone=10000")).plan();
    let lost = plan.discarded.first().unwrap();
    assert_eq!(lost.edited.postgres, Some(EditTime::at(1_000)));
    assert_eq!(lost.edited.salesforce, Some(EditTime::at(10_000)));
    let plan = World::read(&conflict("")).plan();
    let lost = plan.discarded.first().unwrap();
    assert_eq!(lost.edited.postgres, Some(EditTime::at(90_000)));
    let by_policy = conflict("").replace("last_writer_wins", "salesforce_wins");
    let lost = World::read(&by_policy).plan().discarded;
    assert_eq!(lost.first().unwrap().edited.postgres, None);
}

/// Times around each other and around the tolerance, exact and not.
fn times() -> Vec<Option<EditTime>> {
    let points = [0, 1_000, 3_499, 3_500, 3_501, 9_000];
    let exact = points.map(|at_ms| Some(EditTime::at(at_ms)));
    let within = [(0, 3_500), (1_000, 9_000), (3_501, 9_000)]
        .map(|(since, at)| Some(EditTime::between(Some(since), at)));
    let mut all = vec![None, Some(EditTime::between(None, 3_500))];
    all.extend(exact);
    all.extend(within);
    all
}

/// A conflict about Phone, and perhaps one about Name.
fn facts(
    phone: [Option<EditTime>; 2],
    name: [Option<EditTime>; 2],
    records: [i64; 2],
) -> NamedFacts {
    let [postgres_ms, salesforce_ms] = records;
    let fixture = format!(
        "base Name=Ada Phone=1
         pg   Name=Bob Phone=2 @{postgres_ms}
         sf   Name=Eve Phone=3 @{salesforce_ms}"
    );
    let edits = |place: usize| -> EditTimes {
        let times = [("Phone", phone[place]), ("Name", name[place])];
        let known = times.into_iter();
        known
            .filter_map(|(name, time)| Some((field(name), time?)))
            .collect()
    };
    let mut facts = World::read(&fixture).facts();
    facts.edited.postgres = edits(0);
    facts.edited.salesforce = edits(1);
    facts
}

fn plan(facts: &NamedFacts) -> NamedPlan {
    facts
        .clone()
        .plan(&Mapping::new(policy("policy=last_writer_wins")))
}

/// Returns the side whose Phone wins, and the rule.
fn winner(plan: &NamedPlan) -> (Side, Rule) {
    let rule = plan.explanation.fields.get(&field("Phone")).copied();
    let loses = |lost: &&syncline_planner::record::DiscardedValue<_>| lost.field == field("Phone");
    let lost = plan.discarded.iter().find(loses).unwrap();
    (lost.side.other(), rule.unwrap())
}

#[test]
fn exchanged_sides_exchange_the_winner_unless_tied() {
    for postgres in times() {
        for salesforce in times() {
            let one = plan(&facts([postgres, salesforce], [None; 2], [100_000, 0]));
            let swap = |facts: NamedFacts| NamedFacts {
                postgres: facts.salesforce,
                salesforce: facts.postgres,
                ..facts
            };
            let other = facts([salesforce, postgres], [None; 2], [0, 100_000]);
            let other = exchanged(plan(&swap(other)));
            let (side, rule) = winner(&one);
            assert_eq!(winner(&other).1, rule, "{postgres:?} {salesforce:?}");
            match rule {
                Rule::TieGoesToSalesforce => assert_eq!(side, Side::Salesforce),
                _ => assert_eq!(one, other, "{postgres:?} {salesforce:?}"),
            }
        }
    }
}

#[test]
fn other_fields_never_change_a_winner() {
    for postgres in times().into_iter().flatten() {
        for salesforce in times().into_iter().flatten() {
            let phone = [Some(postgres), Some(salesforce)];
            let expected = winner(&plan(&facts(phone, [None; 2], [0, 0])));
            for name in times() {
                for records in [[0, 0], [100_000, 0], [0, 100_000]] {
                    let others = [[name, None], [None, name], [name, name]];
                    for other in others {
                        let found = winner(&plan(&facts(phone, other, records)));
                        assert_eq!(found, expected, "{phone:?} {other:?} {records:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn later_edits_only_move_the_winner_to_their_side() {
    let rank = |(side, rule)| match (side, rule) {
        (Side::Postgres, _) => 0,
        (Side::Salesforce, Rule::TieGoesToSalesforce) => 1,
        (Side::Salesforce, _) => 2,
    };
    for postgres_ms in (0..20_000).step_by(500) {
        let ranks = (0..20_000).step_by(500).map(|salesforce_ms| {
            let phone = [postgres_ms, salesforce_ms].map(|ms| Some(EditTime::at(ms)));
            rank(winner(&plan(&facts(phone, [None; 2], [0, 0]))))
        });
        let ranks: Vec<i32> = ranks.collect();
        assert!(ranks.is_sorted(), "{postgres_ms}: {ranks:?}");
    }
}

// From observations of Salesforce.

/// Returns when Phone was edited in Salesforce, as far as that is known, in seconds.
fn edited(story: &Story) -> Option<(i64, i64)> {
    let remote = &story.link.remote_state.fields[&field("Phone")];
    let time = remote.edited?;
    Some((time.earliest_ms() / 1_000, time.at_ms / 1_000))
}

#[test]
fn event_shows_when_its_fields_were_edited() {
    let mut story = Story::agreed("Name=Ada Phone=1");
    assert_eq!(
        edited(&story),
        None,
        "nothing is kept of what both sides have"
    );
    story.sees("changed Phone=2 @5");
    story.sees("changed Name=Eve @9");
    assert_eq!(edited(&story), Some((5, 5)));
    story.sees("refresh Name=Eve Phone=2 @9s");
    assert_eq!(edited(&story), Some((5, 5)), "a read that shows the same");
    story.sees("changed Phone=1 @12");
    assert_eq!(edited(&story), None, "it has the value of the base again");
}

#[test]
fn read_shows_between_which_versions_a_field_was_edited() {
    for read in ["snapshot", "refresh"] {
        let mut story = Story::agreed("Name=Ada Phone=1");
        story.sees(&format!("{read} Name=Ada Phone=1 @3s"));
        story.sees(&format!("{read} Name=Eve Phone=2 @9s"));
        assert_eq!(edited(&story), Some((3, 9)), "{read}");
        story.sees(&format!("{read} Name=Eva Phone=2 @12s"));
        assert_eq!(edited(&story), Some((3, 9)), "{read}: another field");
        story.sees(&format!("{read} Name=Eva Phone=4 @15s"));
        assert_eq!(edited(&story), Some((12, 15)), "{read}");
    }
}

#[test]
fn late_event_narrows_what_the_read_showed() {
    let mut story = Story::agreed("Name=Ada Phone=1");
    story.sees("refresh Name=Eve Phone=2 @9s");
    story.sees("changed Phone=2 @5");
    assert_eq!(edited(&story), Some((5, 9)));
    story.sees("changed Phone=7 @7");
    assert_eq!(edited(&story), Some((5, 9)), "an event of another value");
    story.sees("changed Phone=2 @9");
    assert_eq!(edited(&story), Some((9, 9)));
}

#[test]
fn edit_under_our_write_keeps_its_time() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(IntentState::Open, "update Phone=2");
    story.settles(write);
    story.sees("changed Phone=3 @4");
    story.sees("changed ours Phone=2 @6");
    assert_eq!(edited(&story), None, "what we wrote is no edit");
    let remote = &story.link.remote_state.fields[&field("Phone")];
    let overwritten = remote.overwritten.as_ref().unwrap();
    assert_eq!(overwritten.edited, Some(EditTime::at(4_000)));
}

#[test]
fn automation_that_changes_our_value_is_an_edit() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(IntentState::Open, "update Phone=2");
    story.settles(write);
    story.sees("changed ours Phone=9 @6");
    assert_eq!(edited(&story), Some((6, 6)));
}

#[test]
fn undelete_shows_no_more_than_a_read() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @4");
    story.sees("deleted @6");
    story.sees("undeleted Phone=3 @9");
    assert_eq!(edited(&story).map(|(_, at)| at), Some(9));
    assert_ne!(edited(&story), Some((9, 9)));
}
