//! The program `salesforce-org` as a user starts it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;

const README: &str = include_str!("../../README.md");

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_salesforce-org"))
}

/// A running program; dropping it kills it.
struct Running {
    child: Child,
    addresses: Json,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = program()
            .args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let addresses = serde_json::from_str(&line).unwrap();
        Self { child, addresses }
    }

    fn address(&self) -> &str {
        let url = self.addresses["http"].as_str().unwrap();
        url.trim_start_matches("http://")
    }

    /// Stops it with a signal, as a shell or a supervisor does, and waits for its end.
    fn end(mut self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").arg(&pid).status().unwrap();
        assert!(killed.success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already, so an error is ignored.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn shell(script: &str) -> Output {
    let bash = ["-euo", "pipefail", "-c", script];
    Command::new("bash").args(bash).output().unwrap()
}

/// Returns the README's shell blocks.
fn shell_examples() -> Vec<&'static str> {
    let blocks = README.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_readme_example_succeeds() {
    let running = Running::start(&[]);
    let examples = shell_examples();
    assert!(!examples.is_empty());
    // All examples run in one shell, because later ones use the first one's token. `-f` fails on
    // refusals.
    let script = examples.concat();
    let script = script.replace("localhost:8180", running.address());
    let output = shell(&script.replace("curl -s", "curl -sSf"));
    let output_text = text(&output);
    assert!(output.status.success(), "{output_text}");
    for expected in [
        "\"created\":true",
        "Acme",
        "\"fired\"",
        "UNABLE_TO_LOCK_ROW",
    ] {
        assert!(
            output_text.contains(expected),
            "{expected} in: {output_text}"
        );
    }
}

#[test]
fn help_and_readme_list_the_same_flags() {
    let help = text(&program().arg("--help").output().unwrap());
    let words = README.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let own = [
        "--http",
        "--grpc",
        "--org",
        "--seed",
        "--restore",
        "--dump",
        "--certificate",
        "--keep-alive-ms",
        "--latency-ms",
    ];
    for flag in own {
        assert!(
            words.clone().any(|word| word == flag),
            "{flag} in the README"
        );
        assert!(help.contains(flag), "{flag} in {help}");
    }
    assert!(help.contains("Examples:"), "{help}");
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn next_run_restores_the_dump() {
    let folder = tempfile::tempdir().unwrap();
    let seed = write(
        folder.path(),
        "Account.csv",
        "Name,External_Id__c\nAcme,A-1\n",
    );
    let dump = folder
        .path()
        .join("state.jsonl")
        .to_string_lossy()
        .into_owned();
    Running::start(&["--seed", &seed, "--dump", &dump]).end();
    let again = folder
        .path()
        .join("again.jsonl")
        .to_string_lossy()
        .into_owned();
    Running::start(&["--restore", &dump, "--dump", &again]).end();
    let records = |path: &str| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| line.contains("\"object\":"));
        lines.map(str::to_owned).collect()
    };
    assert!(records(&dump).iter().any(|line| line.contains("\"Acme\"")));
    assert_eq!(records(&again), records(&dump));
}

#[test]
fn invalid_file_is_reported_with_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| write(folder.path(), name, content);
    let seed = file("Account.csv", "Name,Elevation__c\nx,1\ny,high\n");
    let contacts = format!("Contact={}", file("people.csv", "LastName,Nope\n"));
    let dump = file("state.jsonl", "nonsense\n");
    let org = file("org.toml", "[org]\nnope = 1\n");
    for (arguments, expected) in [
        (
            ["--seed", &seed],
            "Account.csv: line 3, column 2 (Elevation__c): ",
        ),
        (
            ["--seed", &contacts],
            "people.csv: line 1, column 2 (Nope): ",
        ),
        (["--restore", &dump], "state.jsonl: line 1: "),
        (["--org", &org], "line 2, column 1"),
        (["--seed", "missing.csv"], "missing.csv cannot be read"),
    ] {
        let output = program().args(arguments).output().unwrap();
        let output_text = text(&output).replace("\n\nCaused by:\n    ", ": ");
        assert!(!output.status.success());
        assert!(
            output_text.contains(expected),
            "{expected} in: {output_text}"
        );
    }
}
