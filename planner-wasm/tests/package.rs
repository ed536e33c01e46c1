//! The npm package as those have it who install it.
//!
//! `SYNCLINE_PLANNER_PACKAGE` names the tarball (`make package` builds it); without it nothing is
//! tested here. What is promised is said by the scripts under `npm/test`.

use std::path::PathBuf;
use std::process::Command;

/// An empty project with the tarball installed, without a registry.
fn project(tarball: &str) -> tempfile::TempDir {
    let project = tempfile::tempdir().expect("a folder");
    std::fs::write(
        project.path().join("package.json"),
        r#"{"name": "empty", "private": true, "type": "module"}"#,
    )
    .expect("a file is written");
    let installed = Command::new("npm")
        .args(["install", "--offline", "--no-audit", "--no-fund", tarball])
        .current_dir(project.path())
        .output()
        .expect("npm runs");
    assert!(
        installed.status.success(),
        "{}",
        String::from_utf8_lossy(&installed.stderr)
    );
    project
}

fn run_script(name: &str) {
    let Ok(tarball) = std::env::var("SYNCLINE_PLANNER_PACKAGE") else {
        eprintln!("SYNCLINE_PLANNER_PACKAGE is not set: the package was not tested");
        return;
    };
    let project = project(&tarball);
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/npm/test")).join(name);
    let run = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .arg(script)
        .env("SYNCLINE_PLANNER_PROJECT", project.path())
        .output()
        .expect("node runs");
    assert!(
        run.status.success(),
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
}

#[test]
fn the_tarball_works_in_an_empty_project() {
    run_script("package.test.mjs");
}

#[test]
fn hostile_input_gets_an_error_and_never_a_trap() {
    run_script("hostile.test.mjs");
}

#[test]
fn a_bundled_page_plans_a_record() {
    run_script("bundle.test.mjs");
}
