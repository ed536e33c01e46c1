//! Pausing and resuming a tenant.

use serde_json::json;

use crate::outcome::Outcome;

use super::Context;

/// Stops writing to either side.
pub(super) async fn pause(context: &Context, reason: &str) -> anyhow::Result<Outcome> {
    for tenant in &context.tenants {
        let store = context.instance.store(tenant).await?;
        store.set_paused(tenant, true, Some(reason)).await?;
    }
    Ok(switched(context, "paused", "changes are captured and wait"))
}

/// Goes on writing.
pub(super) async fn resume(context: &Context) -> anyhow::Result<Outcome> {
    for tenant in &context.tenants {
        let store = context.instance.store(tenant).await?;
        store.set_paused(tenant, false, None).await?;
    }
    Ok(switched(
        context,
        "running",
        "what waited is taken up within a minute",
    ))
}

fn switched(context: &Context, state: &str, what: &str) -> Outcome {
    let names: Vec<String> = context.tenants.iter().map(ToString::to_string).collect();
    let text = names
        .iter()
        .map(|name| format!("{name}: {state}; {what}\n"))
        .collect();
    Outcome::well(json!({"tenants": names, "state": state}), text)
}
