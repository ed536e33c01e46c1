//! `syncline`: the operator's tool.
//!
//! Parses the command line, calls the engine or the store, and prints the result. Decides nothing about
//! a record.

mod advice;
mod arguments;
mod commands;
mod failure;
mod outcome;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use syncline::host::logs;

use arguments::{Arguments, Command};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logs::start_text(log_level(&arguments.command));
    let as_json = arguments.common.json;
    match Box::pin(commands::execute(arguments)).await {
        Ok(outcome) => outcome.print(as_json),
        Err(error) => failure::print(&error, as_json),
    }
}

/// Returns the log level: errors only, except for `run`.
fn log_level(command: &Command) -> &'static str {
    match command {
        Command::Run => "info",
        Command::Check
        | Command::Generate(_)
        | Command::Plan(_)
        | Command::Migrate
        | Command::Install { .. }
        | Command::Compare { .. }
        | Command::Status { .. }
        | Command::Explain { .. }
        | Command::Conflicts(_)
        | Command::Deadletters(_)
        | Command::Discarded(_)
        | Command::Restore { .. }
        | Command::Pause { .. }
        | Command::Resume
        | Command::Adopt { .. }
        | Command::Deletes(_)
        | Command::Uninstall { .. } => "error",
    }
}
