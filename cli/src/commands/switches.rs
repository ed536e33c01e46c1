//! Pauses and resumes a tenant, and approves its deletes.

use serde_json::json;

use crate::outcome::Outcome;

use super::Context;

/// Stops writing to either side.
pub(super) async fn pause(context: &Context, reason: &str) -> anyhow::Result<Outcome> {
    let what = "changes are captured and stay pending";
    switch(context, Some(reason), ("paused", what)).await
}

/// Writes again.
pub(super) async fn resume(context: &Context) -> anyhow::Result<Outcome> {
    let what = "pending changes are processed within a minute";
    switch(context, None, ("running", what)).await
}

/// Approves the deletes of an object.
pub(super) async fn approve_deletes(
    context: &Context,
    object: &str,
    unreadable: bool,
) -> anyhow::Result<Outcome> {
    let object = context.object(object).await?;
    let (done, failures) = context
        .each(async |tenant| {
            let store = context.instance.store(tenant).await?;
            let approved = match unreadable {
                true => store.approve_unreadable(tenant, &object).await?,
                false => store.approve_deletes(tenant, &object).await?,
            };
            Ok(approved)
        })
        .await?;
    let (mut text, mut json) = (String::new(), Vec::new());
    for (tenant, approved) in done {
        text.push_str(&format!(
            "{tenant}: {approved} records of {object}, deleted or with a cleared value, are processed within a minute; for an hour the guards withhold no others\n"
        ));
        json.push(json!({"tenant": tenant, "approved": approved}));
    }
    Ok(Outcome::well(json, text).with_failures(failures))
}

/// Pauses the selected tenants for a reason, or lets them go on without one.
async fn switch(
    context: &Context,
    reason: Option<&str>,
    (state, what): (&str, &str),
) -> anyhow::Result<Outcome> {
    let (switched, failures) = context
        .each(async |tenant| {
            let store = context.instance.store(tenant).await?;
            Ok(store.set_paused(tenant, reason.is_some(), reason).await?)
        })
        .await?;
    let (mut text, mut json) = (String::new(), Vec::new());
    for (tenant, ()) in switched {
        text.push_str(&format!("{tenant}: {state}; {what}\n"));
        json.push(json!({"tenant": tenant, "state": state}));
    }
    Ok(Outcome::well(json, text).with_failures(failures))
}
