//! Pauses and resumes a tenant, and approves its deletes.

use serde_json::json;

use crate::outcome::Outcome;

use super::Context;

/// Stops writing to either side.
pub(super) async fn pause(context: &Context, reason: &str) -> anyhow::Result<Outcome> {
    for tenant in &context.tenants {
        let store = context.instance.store(tenant).await?;
        store.set_paused(tenant, true, Some(reason)).await?;
    }
    Ok(switched(
        context,
        "paused",
        "changes are captured and stay pending",
    ))
}

/// Writes again.
pub(super) async fn resume(context: &Context) -> anyhow::Result<Outcome> {
    for tenant in &context.tenants {
        let store = context.instance.store(tenant).await?;
        store.set_paused(tenant, false, None).await?;
    }
    Ok(switched(
        context,
        "running",
        "pending changes are processed within a minute",
    ))
}

/// Approves the deletes of an object.
pub(super) async fn approve_deletes(
    context: &Context,
    object: &str,
    unreadable: bool,
) -> anyhow::Result<Outcome> {
    let object = context.object(object).await?;
    let mut text = String::new();
    let mut json = serde_json::Map::new();
    for tenant in &context.tenants {
        let store = context.instance.store(tenant).await?;
        let approved = if unreadable {
            store.approve_unreadable(tenant, &object).await?
        } else {
            store.approve_deletes(tenant, &object).await?
        };
        text.push_str(&format!(
            "{tenant}: {approved} records of {object}, deleted or with a cleared value, are processed within a minute; for an hour the guards withhold no others\n"
        ));
        json.insert(tenant.to_string(), json!({"approved": approved}));
    }
    Ok(Outcome::well(serde_json::Value::Object(json), text))
}

fn switched(context: &Context, state: &str, what: &str) -> Outcome {
    let names: Vec<String> = context.tenants.iter().map(ToString::to_string).collect();
    let text = names
        .iter()
        .map(|name| format!("{name}: {state}; {what}\n"))
        .collect();
    Outcome::well(json!({"tenants": names, "state": state}), text)
}
