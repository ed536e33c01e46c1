//! Lists and resolves conflicts; lists and replays dead letters.

use anyhow::Context as _;
use serde_json::{Value as Json, json};
use syncline::model::Side;
use syncline::model::ids::TenantId;
use syncline::store::{ConflictFilter, DeadLetter, PgStore, Resolution, SyncConflict};

use crate::advice::advice;
use crate::arguments::{ConflictNumber, Conflicts, Deadletters, Listing, Winner};
use crate::outcome::{Outcome, Status, moment, table, value};

use super::Context;

/// Dead letters that are replayed by one `--all`.
const REPLAYED_MAX: i64 = 100_000;

/// Lists or resolves conflicts.
pub(super) async fn conflicts(context: &Context, asked: Conflicts) -> anyhow::Result<Outcome> {
    match asked {
        Conflicts::List(listing) => list_conflicts(context, &listing).await,
        Conflicts::Resolve { ids, winner } => resolve(context, &ids, winner).await,
    }
}

/// Lists or replays dead letters.
pub(super) async fn dead_letters(context: &Context, asked: Deadletters) -> anyhow::Result<Outcome> {
    match asked {
        Deadletters::List(listing) => list_dead_letters(context, &listing).await,
        // The command line has ids or --all.
        Deadletters::Replay { ids, .. } => replay(context, &ids).await,
    }
}

async fn list_conflicts(context: &Context, listing: &Listing) -> anyhow::Result<Outcome> {
    let filter = ConflictFilter {
        object: context.object_option(listing.object.as_deref()).await?,
        ..ConflictFilter::default()
    };
    let (found, failures) = context
        .each(async |tenant| {
            let store = context.instance.store(tenant).await?;
            let page = store.conflicts(tenant, &filter, listing.limit.into());
            Ok(page.await?)
        })
        .await?;
    let json = found
        .iter()
        .map(|(tenant, page)| json!({"tenant": tenant, "conflicts": page}))
        .collect();
    let found: Vec<SyncConflict> = found.into_iter().flat_map(|(_, page)| page).collect();
    let mut shown = table([
        "id",
        "record",
        "field",
        "base",
        "Postgres",
        "Salesforce",
        "since",
    ]);
    for conflict in &found {
        let number = ConflictNumber {
            id: conflict.conflict_id,
            version: Some(conflict.version),
        };
        shown.add_row([
            number.to_string(),
            format!("{} {}", conflict.object, conflict.external_id),
            conflict
                .field
                .as_ref()
                .map_or_else(|| "the whole record".to_owned(), ToString::to_string),
            value(conflict.base.as_ref(), "none"),
            value(conflict.postgres.as_ref(), "deleted"),
            value(conflict.salesforce.as_ref(), "deleted"),
            moment(&conflict.opened_at),
        ]);
    }
    let text = match found.is_empty() {
        true => "no open conflicts".to_owned(),
        false => shown.to_string(),
    };
    Ok(Outcome::well(json, text).with_failures(failures))
}

async fn resolve(
    context: &Context,
    numbers: &[ConflictNumber],
    winner: Winner,
) -> anyhow::Result<Outcome> {
    let (tenant, store) = context.only_tenant().await?;
    let engine = context.instance.engine(tenant).await?;
    let mapped_objects = engine.mapped_objects(tenant).await?;
    let winner = match winner {
        Winner::Postgres => Side::Postgres,
        Winner::Salesforce => Side::Salesforce,
    };
    let (mut text, mut json, mut status) = (String::new(), Vec::new(), Status::Well);
    for number in numbers {
        let resolution = match open_conflict(&store, tenant, number.id).await? {
            None => Resolution::Closed,
            Some(conflict) => {
                let mapped = mapped_objects
                    .iter()
                    .find(|mapped| mapped.sync.object == conflict.object)
                    .with_context(|| format!("{} is no longer mapped", conflict.object))?;
                let version = number.version.unwrap_or(conflict.version);
                store
                    .resolve_conflict(mapped, number.id, version, winner)
                    .await?
            }
        };
        let message = match resolution {
            Resolution::Resolved => "resolved; the value of the winner is being written",
            Resolution::Moved => "a side has changed since: list it again",
            Resolution::Busy => "another process has locked the row: try again",
            Resolution::Closed => "no such open conflict",
        };
        if resolution != Resolution::Resolved {
            status = Status::Found;
        }
        text.push_str(&format!("{}: {message}\n", number.id));
        json.push(json!({"conflict_id": number.id, "resolution": resolution}));
    }
    Ok(Outcome {
        status,
        ..Outcome::well(vec![json!({"tenant": tenant, "conflicts": json})], text)
    })
}

async fn open_conflict(
    store: &PgStore,
    tenant: &TenantId,
    id: i64,
) -> anyhow::Result<Option<SyncConflict>> {
    let from_id = ConflictFilter {
        after: Some(id - 1),
        ..ConflictFilter::default()
    };
    let next = store.conflicts(tenant, &from_id, 1).await?;
    Ok(next.into_iter().find(|conflict| conflict.conflict_id == id))
}

async fn list_dead_letters(context: &Context, listing: &Listing) -> anyhow::Result<Outcome> {
    let object = context.object_option(listing.object.as_deref()).await?;
    let (found, failures) = context
        .each(async |tenant| {
            let store = context.instance.store(tenant).await?;
            let page = store.dead_letters(tenant, object.as_ref(), listing.limit.into());
            Ok(page.await?)
        })
        .await?;
    let json = found
        .iter()
        .map(|(tenant, page)| {
            let page: Vec<Json> = page.iter().map(dead_letter_json).collect();
            json!({"tenant": tenant, "dead_letters": page})
        })
        .collect();
    let found: Vec<DeadLetter> = found.into_iter().flat_map(|(_, page)| page).collect();
    let mut shown = table(["id", "record", "field", "reason", "what to do", "since"]);
    for dead_letter in &found {
        let record = dead_letter.external_id.as_deref().unwrap_or_default();
        shown.add_row([
            dead_letter.dead_letter_id.to_string(),
            format!("{} {record}", dead_letter.object),
            dead_letter
                .field
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            format!("{}: {}", dead_letter.code, dead_letter.message),
            advice(&dead_letter.code).to_owned(),
            moment(&dead_letter.created_at),
        ]);
    }
    let text = match found.is_empty() {
        true => "no dead letters".to_owned(),
        false => shown.to_string(),
    };
    Ok(Outcome::well(json, text).with_failures(failures))
}

fn dead_letter_json(dead_letter: &DeadLetter) -> Json {
    let mut json = json!(dead_letter);
    json["what_to_do"] = json!(advice(&dead_letter.code));
    json
}

/// Replays the dead letters with these ids, or all of them if there are none.
async fn replay(context: &Context, ids: &[i64]) -> anyhow::Result<Outcome> {
    if !ids.is_empty() {
        // Ids are unique only within a database.
        context.only_tenant().await?;
    }
    let (done, failures) = context
        .each(async |tenant| {
            let store = context.instance.store(tenant).await?;
            let wanted: Vec<i64> = match ids {
                [] => {
                    let all = store.dead_letters(tenant, None, REPLAYED_MAX).await?;
                    all.iter().map(|letter| letter.dead_letter_id).collect()
                }
                ids => ids.to_vec(),
            };
            let (mut replayed, mut missing) = (Vec::new(), Vec::new());
            for id in wanted {
                match store.replay_dead_letter(tenant, id).await? {
                    true => replayed.push(id),
                    false => missing.push(id),
                }
            }
            Ok((replayed, missing))
        })
        .await?;
    let (mut text, mut json, mut status) = (String::new(), Vec::new(), Status::Well);
    for (tenant, (replayed, missing)) in done {
        text.push_str(&format!("{tenant}: {} replayed\n", replayed.len()));
        for id in &missing {
            text.push_str(&format!("{id}: no such dead letter\n"));
        }
        // With --all, a letter that another process has replayed meanwhile is not missing.
        if !ids.is_empty() && !missing.is_empty() {
            status = Status::Found;
        }
        json.push(json!({"tenant": tenant, "replayed": replayed, "missing": missing}));
    }
    let outcome = Outcome {
        status,
        ..Outcome::well(json, text)
    };
    Ok(outcome.with_failures(failures))
}
