//! What a function writes to its log: one JSON object a line, ids and counts, never values.

use std::panic::PanicHookInfo;

use tracing::error;
use tracing_subscriber::EnvFilter;

/// What is logged unless RUST_LOG says otherwise.
const LEVEL: &str = "info";

/// Starts logging to standard output, which Lambda forwards, and makes panics say where they happened.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LEVEL));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stdout)
        .try_init();
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Logs the place of a panic and not its text, which may quote a record's values.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    error!(place, "a panic at {place}");
}
