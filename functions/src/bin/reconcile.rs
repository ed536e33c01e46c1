//! The reconcile function: repairs what was lost, compares both sides, migrates.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    syncline_functions::serve::reconcile().await
}
