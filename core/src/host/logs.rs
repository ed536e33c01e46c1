//! Starts the logs of a process. Logs contain ids and counts, never values.

use std::io::{IsTerminal, stderr, stdout};
use std::panic::PanicHookInfo;

use tracing::error;
use tracing_subscriber::EnvFilter;

/// The log level of a function unless RUST_LOG is set.
const LEVEL: &str = "info";

/// Starts the logs of a function: one JSON object per line on standard output, which Lambda forwards.
/// Logs a panic with its place.
pub fn start_json() {
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter(LEVEL))
        .with_writer(stdout)
        .try_init();
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Starts the logs of a terminal: text on standard error, from `level` on unless RUST_LOG is set.
pub fn start_text(level: &str) {
    // If another part of the process has started logs, they are kept.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .with_writer(stderr)
        // A reader that is gone is not reported: that would panic.
        .log_internal_errors(false)
        .try_init();
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level))
}

/// Logs the place of a panic and not its text, which may quote a record's values.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    error!(place, "a panic at {place}");
}
