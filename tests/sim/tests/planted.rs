//! The list of planted bugs, and how rules become removable.

use std::collections::BTreeSet;
use std::path::Path;

use syncline_sim::planted::{Kind, Place, Removal, bugs, rewrite};

const FILE: &str = r##"
const FIND: &str = "select id
    from task
    where due and leased";
fn find() -> Query {
    query(FIND)
}
fn take() -> Query {
    query(r#"select "id" from "task""#).and(query("update task \
        set leased = true \
        where due"))
}
fn order(by: &str) -> String {
    format!("select 1 order by {by}, place", by = quote(by))
}
fn plan(edit: &Edit) -> bool {
    edit.is_new() && !edit.is_ours()
}
"##;

fn place(kind: Kind, rule: &str, instead: &str) -> Place {
    Place {
        file: "task.rs".to_owned(),
        function: None,
        rule: rule.to_owned(),
        instead: instead.to_owned(),
        kind,
    }
}

fn rewritten(places: &[(&str, Place)]) -> anyhow::Result<String> {
    let removals: Vec<Removal<'_>> = places
        .iter()
        .map(|(bug, place)| Removal { bug, place })
        .collect();
    rewrite(FILE, &removals, "bugs")
}

/// Checks that one text of the file becomes another.
fn check(places: &[(&str, Place)], text: &str, expected: &str) {
    assert!(FILE.contains(text));
    assert_eq!(
        rewritten(places).expect("the rules stand there once"),
        FILE.replace(text, expected)
    );
}

#[test]
fn expressions_become_choices() {
    check(
        &[("ours", place(Kind::Expression, "!edit.is_ours()", "true"))],
        "!edit.is_ours()",
        r#"(if bugs::is("ours") { true } else { !edit.is_ours() })"#,
    );
}

#[test]
fn both_values_are_computed() {
    check(
        &[
            ("ours", place(Kind::Value, "!edit.is_ours()", "true")),
            (
                "new",
                place(Kind::Value, "edit.is_new() && !edit.is_ours()", "false"),
            ),
        ],
        "edit.is_new() && !edit.is_ours()",
        r#"bugs::choose("new", false, edit.is_new() && bugs::choose("ours", true, !edit.is_ours()))"#,
    );
}

#[test]
fn rule_within_a_rule_is_removed_alone() {
    check(
        &[
            ("ours", place(Kind::Expression, "!edit.is_ours()", "true")),
            (
                "all",
                place(
                    Kind::Expression,
                    "edit.is_new() && !edit.is_ours()",
                    "false",
                ),
            ),
        ],
        "edit.is_new() && !edit.is_ours()",
        r#"(if bugs::is("all") { false } else { edit.is_new() && (if bugs::is("ours") { true } else { !edit.is_ours() }) })"#,
    );
}

#[test]
fn raw_literal_becomes_a_choice() {
    check(
        &[("table", place(Kind::Sql, r#"from "task""#, "from nothing"))],
        r##"r#"select "id" from "task""#"##,
        r###"(if bugs::is("table") { r#"select "id" from nothing"# } else { r#"select "id" from "task""# })"###,
    );
}

#[test]
fn bugs_of_one_literal_are_switched_apart() {
    let literal = |set: &str, filter: &str| {
        format!("\"update task \\\n        set {set} \\\n        {filter}\"")
    };
    let [all, taken] = [
        literal("leased = true", "where true"),
        literal("leased = false", "where due"),
    ];
    let whole = literal("leased = true", "where due");
    check(
        &[
            (
                "all",
                place(
                    Kind::Sql,
                    "true \\\n        where due",
                    "true \\\n        where true",
                ),
            ),
            ("taken", place(Kind::Sql, "leased = true", "leased = false")),
        ],
        &whole,
        &format!(
            "(if bugs::is(\"all\") {{ {all} }} else {{ (if bugs::is(\"taken\") {{ {taken} }} else {{ {whole} }}) }})"
        ),
    );
}

#[test]
fn macro_that_takes_the_literal_becomes_a_choice() {
    check(
        &[("place", place(Kind::Sql, ", place", ""))],
        r#"format!("select 1 order by {by}, place", by = quote(by))"#,
        "(if bugs::is(\"place\") { format!(\"select 1 order by {by}\", by = quote(by)) } \
         else { format!(\"select 1 order by {by}, place\", by = quote(by)) })",
    );
}

#[test]
fn constant_becomes_a_function() {
    let places = [("idle", place(Kind::Sql, "and leased", ""))];
    let found = rewritten(&places).expect("the rule stands there once");
    let literal = "\"select id\n    from task\n    where due and leased\"";
    let idle = literal.replace("and leased", "");
    let expected = FILE
        .replace(
            &format!("const FIND: &str = {literal};"),
            &format!("fn FIND() -> &'static str {{ (if bugs::is(\"idle\") {{ {idle} }} else {{ {literal} }}) }}"),
        )
        .replace("query(FIND)", "query(FIND())");
    assert_eq!(found, expected);
}

#[test]
fn rule_that_does_not_stand_there_once_is_named() {
    for (kind, rule, reason) in [
        (Kind::Expression, "edit.is_late()", "0 times"),
        (Kind::Expression, "where due", "2 times"),
        (Kind::Sql, "query(FIND)", "not within one string literal"),
    ] {
        let place = place(kind, rule, "");
        let error = rewritten(&[("late", place)]).expect_err("the rule cannot be removed");
        let error = format!("{error:#}");
        assert!(error.contains("late") && error.contains(reason), "{error}");
    }
}

#[test]
fn every_planted_rule_can_be_removed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/sim is two levels deep");
    let mut wrong = Vec::new();
    for bug in bugs() {
        for place in bug.places() {
            let text = std::fs::read_to_string(root.join(&place.file)).unwrap_or_default();
            let removal = Removal {
                bug: &bug.name,
                place,
            };
            let removed = match (place.kind, &place.function) {
                (Kind::Function, Some(_)) => removal.once(&text).map(drop),
                (Kind::Function, None) => Err(anyhow::anyhow!("which function?")),
                (Kind::Expression | Kind::Value | Kind::Sql, _) => {
                    rewrite(&text, &[removal], "bugs").map(drop)
                }
            };
            if let Err(error) = removed {
                wrong.push(format!("{}, {}: {error:#}", bug.name, place.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn planted_bugs_have_names_of_their_own() {
    let names: BTreeSet<&str> = bugs().iter().map(|bug| bug.name.as_str()).collect();
    assert_eq!(names.len(), bugs().len());
    let is_plain = |name: &&str| {
        name.chars()
            .all(|one| one.is_ascii_lowercase() || one == '-')
    };
    assert!(names.iter().all(is_plain), "{names:?}");
}
