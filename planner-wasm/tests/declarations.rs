//! The TypeScript types of the package are those of the Rust types.
//!
//! `SYNCLINE_WRITE_TYPES=1 cargo test -p planner-wasm --test declarations` writes them again.

use std::collections::BTreeMap;
use std::path::Path;

use planner_wasm::calls::Problem;
use planner_wasm::calls::answers::{BatchRow, BatchSummary, ConfigAnswer, RecordAnswer};
use syncline_planner::model::ids::FieldName;
use syncline_planner::{
    ApplyLane, ChangeEnvelope, MergeOutcome, PlanDecision, PlannerContext, RecordFacts,
};
use ts_rs::{Config, TS, TypeVisitor};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/npm/src/engine.ts");

const HEAD: &str = "\
// Written from the Rust types by `SYNCLINE_WRITE_TYPES=1 cargo test -p planner-wasm --test declarations`.
// Do not edit: a test compares.

import type { ExactNumber, Json } from \"./exact.js\";
";

/// Declarations by name, each with all that it mentions.
struct Declarations {
    config: Config,
    found: BTreeMap<String, String>,
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // Only declared types have a file of their own; numbers, texts and maps have none.
        if T::output_path().is_none() {
            T::visit_generics(self);
            return;
        }
        let name = T::ident(&self.config);
        if self.found.contains_key(&name) {
            return;
        }
        let docs = T::docs().unwrap_or_default();
        let declaration = format!("{docs}export {}\n", T::decl(&self.config));
        self.found.insert(name, declaration);
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

fn types() -> String {
    let mut declarations = Declarations {
        config: Config::new().with_large_int("number"),
        found: BTreeMap::new(),
    };
    declarations.visit::<ApplyLane>();
    declarations.visit::<BatchRow>();
    declarations.visit::<BatchSummary>();
    declarations.visit::<ChangeEnvelope>();
    declarations.visit::<ConfigAnswer>();
    declarations.visit::<MergeOutcome>();
    declarations.visit::<PlanDecision>();
    declarations.visit::<PlannerContext>();
    declarations.visit::<Problem>();
    declarations.visit::<RecordAnswer<'static>>();
    declarations.visit::<RecordFacts<FieldName>>();
    let declared: Vec<String> = declarations.found.into_values().collect();
    format!("{HEAD}\n{}", laid_out(&declared.join("\n")))
}

/// Puts a comment of one sentence on one line, and members under what they belong to.
fn laid_out(declared: &str) -> String {
    let mut text = declared.replace(" \n", "\n").replace(", }", ",\n}");
    for (three, one) in [("/**\n * ", "/** "), ("\n */", " */")] {
        text = text.replace(three, one);
    }
    let mut depth = 0_usize;
    let mut lines = Vec::new();
    for line in text.lines() {
        let closes = line.starts_with('}');
        lines.push(format!(
            "{}{line}",
            "  ".repeat(depth - usize::from(closes && depth > 0))
        ));
        let code = !line.starts_with("/**") && !line.starts_with(" *");
        if code {
            depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_committed_types_are_those_of_the_rust_types() {
    let types = types();
    if std::env::var_os("SYNCLINE_WRITE_TYPES").is_some() {
        std::fs::write(Path::new(FILE), &types).unwrap();
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == types,
        "npm/src/engine.ts is not current: SYNCLINE_WRITE_TYPES=1 cargo test -p planner-wasm --test declarations"
    );
}
