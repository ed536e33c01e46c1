//! Checks that the tests named in the README exist, and that it lists the switches.

use std::fs;
use std::path::Path;

use salesforce_org::{Org, Request};

/// Collects the text of all Rust files below a folder.
fn collect(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_behaviour_of_the_readme_names_an_existing_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    collect(&root.join("tests"), &mut sources);
    collect(&root.join("src"), &mut sources);
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, table) = readme.split_once("| behaviour | switch | test |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut named = 0;
    for row in rows {
        let tests = row.rsplit(" | ").next().unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            assert!(sources.contains(&format!("fn {name}(")), "{name}: {row}");
            named += 1;
        }
    }
    assert!(named > 25, "the table has lost its rows");
}

#[test]
fn readme_lists_every_switch_with_its_default_side() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.unwrap();
    let (_, table) = readme.split_once("| switch | harsh side").unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let switches = Org::default().request(&Request::new("GET", "/_org/unconfirmed"));
    let switches = switches.to_json();
    let switches = switches.as_object().unwrap();
    assert_eq!(rows.len(), switches.len());
    for (name, side) in switches {
        let start = format!("| `{name}` | `{}`", side.as_str().unwrap());
        assert!(rows.iter().any(|row| row.starts_with(&start)), "{start}");
    }
}
