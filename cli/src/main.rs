//! `syncline`: the operator's tool.
//!
//! It decodes what is asked, calls the engine or the store, and prints what they say. It decides
//! nothing about a record.

mod arguments;
mod commands;
mod failure;
mod outcome;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logs(&arguments.command);
    let as_json = arguments.common.json;
    match Box::pin(commands::execute(arguments)).await {
        Ok(outcome) => outcome.print(as_json),
        Err(error) => failure::print(&error, as_json),
    }
}

/// Logs go to standard error: quietly for a question, in full for a run.
fn start_logs(command: &Command) {
    let level = match command {
        Command::Run => "info",
        Command::Check
        | Command::Migrate
        | Command::Install { .. }
        | Command::Status
        | Command::Explain { .. }
        | Command::Conflicts(_)
        | Command::Deadletters(_)
        | Command::Pause { .. }
        | Command::Resume
        | Command::DeleteGuard(_)
        | Command::Uninstall { .. } => "error",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .with_writer(stderr)
        .init();
}
