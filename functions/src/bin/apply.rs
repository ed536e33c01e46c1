//! The apply function: works on the due records of each wake-up's object.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    syncline_functions::serve::apply().await
}
