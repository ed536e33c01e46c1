//! The capture function: from both sides into journal, remote states and tasks. Woken by schedules, and by the
//! queue of the events that Salesforce relays.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    syncline_functions::serve::capture().await
}
