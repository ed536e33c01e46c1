//! The reconcile function: sweeps, compares both sides, migrates.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    syncline_functions::serve::reconcile().await
}
