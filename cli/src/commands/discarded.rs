//! Lists and restores discarded values.

use chrono::DateTime;
use serde_json::json;
use syncline::Side;
use syncline::store::{DiscardedValue, Restored};

use crate::arguments::Listing;
use crate::outcome::{Outcome, Status, moment, table, value};

use super::Context;

/// Lists discarded values, newest first.
pub(super) async fn list(context: &Context, listing: &Listing) -> anyhow::Result<Outcome> {
    let object = context.object_option(listing.object.as_deref()).await?;
    let (found, failures) = context
        .each(async |tenant| {
            let store = context.instance.store(tenant).await?;
            let page = store.discarded_values(tenant, object.as_ref(), listing.limit.into());
            Ok(page.await?)
        })
        .await?;
    let json = found
        .iter()
        .map(|(tenant, page)| json!({"tenant": tenant, "discarded_values": page}))
        .collect();
    let found: Vec<DiscardedValue> = found.into_iter().flat_map(|(_, page)| page).collect();
    let mut shown = table(["id", "record", "field", "value", "of", "rule", "since"]);
    for lost in &found {
        let side: &str = lost.side.into();
        shown.add_row([
            lost.discarded_value_id.to_string(),
            format!("{} {}", lost.object, lost.external_id),
            lost.field.to_string(),
            value(Some(&lost.value), ""),
            side.to_owned(),
            rule(lost),
            moment(&lost.logged_at),
        ]);
    }
    let text = match found.is_empty() {
        true => "no discarded values".to_owned(),
        false => shown.to_string(),
    };
    Ok(Outcome::well(json, text).with_failures(failures))
}

/// Returns what decided against the value, with the times of both sides' edits if those did.
fn rule(lost: &DiscardedValue) -> String {
    let Some(edited) = &lost.edited else {
        return lost.rule.clone();
    };
    let sides = [Side::Postgres, Side::Salesforce].map(|side| {
        let at = DateTime::from_timestamp_millis(edited.of(side)?.at_ms)?;
        let name: &str = side.into();
        Some(format!("{name} {}", moment(&at)))
    });
    let times: Vec<String> = sides.into_iter().flatten().collect();
    format!("{} ({})", lost.rule, times.join(", "))
}

/// Writes discarded values back into their rows.
pub(super) async fn restore(context: &Context, ids: &[i64]) -> anyhow::Result<Outcome> {
    let (tenant, store) = context.only_tenant().await?;
    let engine = context.instance.engine(tenant).await?;
    let mapped_objects = engine.mapped_objects(tenant).await?;
    let (mut text, mut json, mut status) = (String::new(), Vec::new(), Status::Well);
    for id in ids {
        let restored = store.restore_value(tenant, &mapped_objects, *id).await?;
        let message = match &restored {
            Restored::Written => "restored; it is written to Salesforce like any edit of the row",
            Restored::Unknown => "no such discarded value",
            Restored::NotEditable => {
                "the field is not mapped, or belongs to Salesforce: edit it there"
            }
            Restored::NoRow => "the record has no row",
            Restored::Busy => "another process has locked the row: try again",
            Restored::Refused { message } => message,
        };
        if restored != Restored::Written {
            status = Status::Found;
        }
        text.push_str(&format!("{id}: {message}\n"));
        json.push(json!({"discarded_value_id": id, "restored": restored}));
    }
    Ok(Outcome {
        status,
        ..Outcome::well(vec![json!({"tenant": tenant, "values": json})], text)
    })
}
