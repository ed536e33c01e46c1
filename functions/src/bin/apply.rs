//! The apply function: answers wake-ups.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    syncline_functions::serve::apply().await
}
