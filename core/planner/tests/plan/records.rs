//! One record, by example.

use syncline_planner::record::{Agreement, Confirmation, Rule};

use crate::fixture::{World, check, field, shown, word};

#[test]
fn an_edit_on_one_side_goes_to_the_other() {
    check(
        "base Name=Ada Phone=1
           pg   Name=Ada Phone=2
           sf   Name=Ada Phone=1",
        "salesforce <- Phone=2",
    );
    check(
        "base Name=Ada Phone=1
           pg   Name=Ada Phone=1
           sf   Name=Ada Phone=null",
        "postgres <- Phone=null",
    );
}

#[test]
fn edits_of_different_fields_cross() {
    check(
        "base Name=Ada Phone=1
           pg   Name=Bea Phone=1
           sf   Name=Ada Phone=2",
        "postgres <- Phone=2; salesforce <- Name=Bea",
    );
}

#[test]
fn a_conflicting_field_holds_only_itself() {
    check(
        "base Name=Ada Phone=1
           pg   Name=Bea Phone=2
           sf   Name=Ada Phone=3",
        "salesforce <- Name=Bea; conflict Phone 1|2|3",
    );
}

#[test]
fn the_same_edit_on_both_sides_is_agreement() {
    check(
        "base Phone=1
           pg   Phone=2
           sf   Phone=2",
        "nothing (Equal)",
    );
    let plan = World::read(
        "base Phone=1
                            pg   Phone=2
                            sf   Phone=2",
    )
    .plan();
    assert_eq!(
        plan.explanation.fields.get(&field("Phone")).copied(),
        Some(Rule::SameChange)
    );
    assert_eq!(
        plan.base_advance
            .get(&field("Phone"))
            .map(|step| step.after),
        Some(Confirmation::Agreed)
    );
}

#[test]
fn an_edit_to_an_owned_field_is_reverted_and_logged() {
    check(
        "rules Rating:postgres
           base Rating=Hot
           pg   Rating=Hot
           sf   Rating=Cold",
        "salesforce <- Rating=Hot; lost salesforce Rating=Cold",
    );
    check(
        "rules Rating:salesforce
           base Rating=Hot
           pg   Rating=Cold
           sf   Rating=Warm",
        "postgres <- Rating=Warm; lost postgres Rating=Cold",
    );
}

#[test]
fn every_policy_logs_the_value_that_lost() {
    let sides = "base Phone=1
                 pg   Phone=2
                 sf   Phone=3";
    let under = |policy: &str| format!("rules policy={policy}\n{sides}");
    check(&under("manual_review"), "conflict Phone 1|2|3");
    check(&under("field_ownership"), "conflict Phone 1|2|3");
    check(
        &under("salesforce_wins"),
        "postgres <- Phone=3; lost postgres Phone=2",
    );
    check(
        &under("postgres_wins"),
        "salesforce <- Phone=2; lost salesforce Phone=3",
    );
    check(
        &under("last_writer_wins"),
        "postgres <- Phone=3; lost postgres Phone=2",
    );
}

#[test]
fn the_later_edit_wins_only_beyond_what_clocks_can_differ() {
    let at = |ms: i64| {
        format!(
            "rules policy=last_writer_wins
                                base Phone=1
                                pg   Phone=2 @{ms}
                                sf   Phone=3 @10000"
        )
    };
    check(
        &at(12_501),
        "salesforce <- Phone=2; lost salesforce Phone=3",
    );
    check(&at(12_500), "postgres <- Phone=3; lost postgres Phone=2");
    check(&at(1_000), "postgres <- Phone=3; lost postgres Phone=2");
    let rule = |ms| {
        World::read(&at(ms))
            .plan()
            .explanation
            .fields
            .get(&field("Phone"))
            .copied()
    };
    assert_eq!(rule(12_500), Some(Rule::TieGoesToSalesforce));
    assert_eq!(rule(7_499), Some(Rule::LaterEditWins));
}

#[test]
fn a_new_record_is_created_with_everything_that_is_known() {
    check(
        "base -
           pg   Name=Ada Phone=null Rating=Hot
           sf   ?",
        "create salesforce Name=Ada Rating=Hot id=K1",
    );
    check(
        "base -
           pg   -
           sf   Name=Ada Phone=null",
        "create postgres Name=Ada Phone=null id=K1",
    );
}

#[test]
fn a_generated_id_fills_the_side_without_one() {
    check(
        "base -
           pg   Name=Ada id=null
           sf   ?",
        "postgres <- id=K1; create salesforce Name=Ada id=K1",
    );
    check(
        "base -
           pg   ?
           sf   Name=Ada id=null",
        "create postgres Name=Ada id=K1; salesforce <- id=K1",
    );
    check(
        "base Name=Ada
           pg   Name=Ada id=null
           sf   Name=Ada id=null",
        "postgres <- id=K1; salesforce <- id=K1",
    );
    check(
        "rules direction=to_postgres
           base Name=Ada
           pg   Name=Ada
           sf   Name=Ada id=null",
        "nothing (Equal)",
    );
}

#[test]
fn a_renamed_external_id_is_written_an_emptied_one_restored() {
    check(
        "base Name=Ada
           pg   Name=Ada id=K2
           sf   Name=Ada",
        "salesforce <- id=K2",
    );
    check(
        "base Name=Ada
           pg   Name=Ada
           sf   Name=Ada id=null",
        "salesforce <- id=K1",
    );
}

#[test]
fn equal_external_ids_take_the_spelling_of_postgres() {
    check(
        "base -
           pg   Name=Ada id=k1
           sf   Name=Ada id=K1",
        "salesforce <- id=k1; lost salesforce id=K1",
    );
}

#[test]
fn an_unchanged_copy_does_not_undo_a_delete() {
    check(
        "base Name=Ada
           pg   -
           sf   Name=Ada",
        "delete salesforce",
    );
    check(
        "base Name=Ada
           pg   Name=Ada
           sf   -",
        "delete postgres",
    );
    check(
        "rules mode=soft
           base Name=Ada
           pg   Name=Ada
           sf   -",
        "soft-delete postgres",
    );
    check(
        "rules mode=ignore
           base Name=Ada
           pg   Name=Ada
           sf   -",
        "nothing (DeletesIgnored)",
    );
    check(
        "base Name=Ada
           pg   -
           sf   -",
        "nothing (DeletedOnBoth)",
    );
}

#[test]
fn delete_against_edit_has_its_own_policy() {
    let sides = "base Name=Ada Phone=1
                 pg   Name=Ada Phone=2
                 sf   -";
    let under = |rule: &str| format!("rules on_edit={rule}\n{sides}");
    check(&under("manual"), r#"conflict record -|{"Phone":"2"}|-"#);
    check(
        &under("delete_wins"),
        "delete postgres; lost postgres Phone=2",
    );
    check(
        &under("edit_wins"),
        "create salesforce Name=Ada Phone=2 id=K1",
    );
}

#[test]
fn an_edit_without_authority_is_logged_and_stops_nothing() {
    check(
        "rules Rating:salesforce
           base Name=Ada Rating=Hot
           pg   Name=Ada Rating=Cold
           sf   -",
        "delete postgres; lost postgres Rating=Cold",
    );
}

#[test]
fn after_a_settled_delete_the_record_may_return() {
    let ended = World::read(
        "base Name=Ada
                             pg   Name=Ada
                             sf   -",
    )
    .plan();
    assert_eq!(ended.agreement, Agreement::Ends(Confirmation::Postgres));
    check(
        "base -
           pg   Name=Ada
           sf   -",
        "create salesforce Name=Ada id=K1",
    );
    check(
        "base -
           pg   -
           sf   Name=Ada",
        "create postgres Name=Ada id=K1",
    );
}

#[test]
fn a_side_that_was_never_seen_is_not_a_delete() {
    check(
        "base Name=Ada
           pg   Name=Ada
           sf   ?",
        "nothing (NotSeen)",
    );
}

#[test]
fn a_field_that_was_never_seen_is_left_alone() {
    check(
        "base Name=Ada
           pg   Name=Ada Phone=2
           sf   Name=Ada",
        "nothing (Equal)",
    );
}

#[test]
fn seeding_fills_in_and_nulls_nothing() {
    let unbased = |rules: &str, pg: &str, sf: &str| {
        format!("rules {rules}\nbase Name=Ada\npg Name=Ada {pg}\nsf Name=Ada {sf}")
    };
    check(
        &unbased("", "Rating=null", "Rating=Hot"),
        "postgres <- Rating=Hot",
    );
    check(
        &unbased("Rating:postgres", "Rating=null", "Rating=Hot"),
        "postgres <- Rating=Hot",
    );
    check(&unbased("", "Rating=Hot", "Rating=Hot"), "nothing (Equal)");
    check(
        &unbased("", "Rating=Hot", "Rating=Cold"),
        "conflict Rating -|Hot|Cold",
    );
    check(
        &unbased("seed=salesforce", "Rating=Hot", "Rating=Cold"),
        "postgres <- Rating=Cold; lost postgres Rating=Hot",
    );
    check(
        &unbased(
            "seed=salesforce Rating:postgres",
            "Rating=Hot",
            "Rating=Cold",
        ),
        "salesforce <- Rating=Hot; lost salesforce Rating=Cold",
    );
    check(
        &unbased("direction=to_postgres", "Rating=Hot", "Rating=null"),
        "conflict Rating -|Hot|null",
    );
}

#[test]
fn a_one_way_object_restores_its_source() {
    check(
        "rules direction=to_postgres
           base Name=Ada
           pg   Name=Bea
           sf   Name=Ada",
        "postgres <- Name=Ada; lost postgres Name=Bea",
    );
    check(
        "rules direction=to_postgres
           base Name=Ada
           pg   -
           sf   Name=Ada",
        "create postgres Name=Ada id=K1",
    );
    check(
        "rules direction=to_postgres
           base -
           pg   Name=Ada
           sf   ?",
        "nothing (DirectionForbids)",
    );
    check(
        "rules direction=to_salesforce
           base Name=Ada
           pg   Name=Ada
           sf   -",
        "create salesforce Name=Ada id=K1",
    );
}

#[test]
fn a_field_with_a_write_under_way_waits_alone() {
    check(
        "base Name=Ada Phone=1
           pg   Name=Bea Phone=3
           sf   Name=Ada Phone=1
           open update Phone=2",
        "salesforce <- Name=Bea",
    );
    check(
        "base -
           pg   Name=Ada
           sf   ?
           unknown create Name=Ada",
        "nothing (WriteUnderWay)",
    );
    check(
        "base Name=Ada
           pg   -
           sf   Name=Ada
           open update Name=Bea",
        "nothing (WriteUnderWay)",
    );
}

#[test]
fn repeated_automation_overrides_stop_the_writes() {
    let after = |count: u32, pg: &str| {
        format!(
            "rules Rating:postgres
                                                base Rating=Cold
                                                pg   Rating={pg}
                                                sf   Rating=Hot
                                                override Rating {count} Cold Hot"
        )
    };
    check(
        &after(1, "Cold"),
        "salesforce <- Rating=Cold; lost salesforce Rating=Hot",
    );
    check(&after(2, "Cold"), "nothing (Equal)");
    check(
        &after(2, "Warm"),
        "salesforce <- Rating=Warm; lost salesforce Rating=Hot",
    );
}

#[test]
fn a_late_write_is_never_adopted() {
    check(
        "base Phone=2
           pg   Phone=2
           sf   Phone=1
           late Phone",
        "salesforce <- Phone=2",
    );
    check(
        "rules Phone:salesforce
           base Phone=2
           pg   Phone=3
           sf   Phone=1
           late Phone",
        "postgres <- Phone=2; salesforce <- Phone=2; lost postgres Phone=3",
    );
}

#[test]
fn a_base_moves_only_after_its_write() {
    let plan = World::read(
        "base Name=Ada Phone=1
                            pg   Name=Bea Phone=1
                            sf   Name=Ada Phone=2",
    )
    .plan();
    let steps: Vec<String> = plan
        .base_advance
        .iter()
        .map(|(field, step)| format!("{field}={} after {:?}", word(&step.value), step.after))
        .collect();
    assert_eq!(
        steps,
        ["Name=Bea after Salesforce", "Phone=2 after Postgres"]
    );
}

// Outside the object's filter.

#[test]
fn a_row_stays_on_filter_exit_unless_configured() {
    for (rules, expected) in [
        ("on_filter_exit=keep", "nothing (FilteredOut)"),
        ("on_filter_exit=soft_delete", "soft-delete postgres"),
        ("on_filter_exit=delete", "delete postgres"),
        // The delete mode does not decide about leaving.
        ("on_filter_exit=delete mode=ignore", "delete postgres"),
        ("on_filter_exit=delete mode=soft", "delete postgres"),
    ] {
        let fixture = format!(
            "rules {rules}
             base  Name=Ada
             pg    Name=Ada
             sf    filtered_out"
        );
        check(&fixture, expected);
    }
}

#[test]
fn an_edit_lost_with_its_filtered_out_row_is_logged() {
    check(
        "rules on_filter_exit=delete on_edit=edit_wins
         base  Name=Ada Phone=1
         pg    Name=Ada Phone=2
         sf    filtered_out",
        "delete postgres; lost postgres Phone=2",
    );
}

#[test]
fn edits_of_a_filtered_out_row_are_not_sent() {
    check(
        "rules on_filter_exit=keep
         base  Name=Ada
         pg    Name=Bea
         sf    filtered_out",
        "nothing (FilteredOut)",
    );
}

#[test]
fn deleting_a_row_spares_its_filtered_out_record() {
    for rules in ["on_filter_exit=keep", "on_filter_exit=delete"] {
        let world = World::read(&format!(
            "rules {rules}
             base  Name=Ada
             pg    -
             sf    filtered_out"
        ));
        assert_eq!(shown(&world.plan()), "nothing (FilteredOut)");
        let ended = Agreement::Ends(Confirmation::Agreed);
        assert_eq!(world.plan().agreement, ended, "it may be captured again");
    }
}

#[test]
fn a_filtered_out_record_that_never_agreed_is_left_alone() {
    for rules in [
        "on_filter_exit=keep",
        "on_filter_exit=soft_delete",
        "on_filter_exit=delete",
    ] {
        let fixture = format!(
            "rules {rules}
             base  -
             pg    Name=Ada
             sf    filtered_out"
        );
        check(&fixture, "nothing (FilteredOut)");
    }
}

#[test]
fn a_row_is_deleted_only_after_writes_under_way() {
    check(
        "rules on_filter_exit=delete
         base  Name=Ada
         pg    Name=Bea
         sf    filtered_out
         open  update Name=Bea",
        "nothing (WriteUnderWay)",
    );
}

#[test]
fn an_undelete_meets_the_edit_of_a_marked_row() {
    check(
        "base   Name=Ada Phone=1 Rating=Hot
         marked Name=Bea Phone=2 Rating=Hot
         pg     -
         sf     Name=Ada Phone=3 Rating=Cold",
        "create postgres Rating=Cold; salesforce <- Name=Bea; conflict Phone 1|2|3",
    );
    check(
        "rules policy=salesforce_wins
         base   Phone=1
         marked Phone=2
         pg     -
         sf     Phone=3",
        "create postgres Phone=3; lost postgres Phone=2",
    );
}
