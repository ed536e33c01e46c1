//! The npm package as its users install it.
//!
//! `SYNCLINE_PLANNER_PACKAGE` names the tarball (`make package` builds it); without it nothing is
//! tested here. The promises are in the scripts under `npm/test`; those of pages need the bundlers that
//! `scripts/planner-package bundlers` installs.

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

/// Most bytes of the tarball: what a page can afford to load for one record.
const TARBALL_BYTES_MAX: u64 = 250_000;

fn tarball() -> Option<String> {
    let tarball = std::env::var("SYNCLINE_PLANNER_PACKAGE").ok();
    if tarball.is_none() {
        eprintln!("SYNCLINE_PLANNER_PACKAGE is not set: the package was not tested");
    }
    tarball
}

fn run_script(name: &str) {
    let Some(tarball) = tarball() else { return };
    let project = project(&tarball);
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/npm/test")).join(name);
    let run = Command::new("node")
        // A failed test may leave a server open, which would keep Node running.
        .args(["--test", "--test-reporter=spec", "--test-force-exit"])
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
fn hostile_input_causes_errors_and_never_traps() {
    run_script("hostile.test.mjs");
}

#[test]
fn every_kind_of_page_loads_the_planner() {
    run_script("pages.test.mjs");
}

#[test]
fn the_tarball_is_small() {
    let Some(tarball) = tarball() else { return };
    let bytes = std::fs::metadata(&tarball).expect("the tarball").len();
    assert!(
        bytes <= TARBALL_BYTES_MAX,
        "the package has {bytes} bytes; at most {TARBALL_BYTES_MAX} are allowed"
    );
}
