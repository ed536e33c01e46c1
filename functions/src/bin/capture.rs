//! The capture function: records changes of both sides. Invoked by schedules, and by the queue of relayed
//! events.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    syncline_functions::serve::capture().await
}
