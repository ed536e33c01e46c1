//! Lists and resolves conflicts; lists and replays dead letters.

use anyhow::Context as _;
use serde_json::{Value as Json, json};
use syncline::model::SourceSystem;
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
        Deadletters::Replay { ids, all } => replay(context, ids, all).await,
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
    Ok(Outcome::well(json!(found), text).with_failures(failures))
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
        Winner::Postgres => SourceSystem::Postgres,
        Winner::Salesforce => SourceSystem::Salesforce,
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
        ..Outcome::well(json!(json), text)
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
    let json = found.iter().map(|dead_letter| {
        let mut json = json!(dead_letter);
        json["what_to_do"] = json!(advice(&dead_letter.code));
        json
    });
    Ok(Outcome::well(Json::Array(json.collect()), text).with_failures(failures))
}

async fn replay(context: &Context, ids: Vec<i64>, all: bool) -> anyhow::Result<Outcome> {
    let mut replayed = Vec::new();
    let mut missing = Vec::new();
    let wanted: Vec<(&TenantId, Vec<i64>)> = match all {
        false => vec![(context.only_tenant().await?.0, ids)],
        true => {
            let mut wanted = Vec::new();
            for tenant in &context.tenants {
                let store = context.instance.store(tenant).await?;
                let dead_letters = store.dead_letters(tenant, None, REPLAYED_MAX).await?;
                let ids = dead_letters
                    .iter()
                    .map(|dead_letter| dead_letter.dead_letter_id);
                wanted.push((tenant, ids.collect()));
            }
            wanted
        }
    };
    for (tenant, ids) in wanted {
        let store = context.instance.store(tenant).await?;
        for id in ids {
            match store.replay_dead_letter(tenant, id).await? {
                true => replayed.push(id),
                false => missing.push(id),
            }
        }
    }
    let mut text = format!("{} replayed\n", replayed.len());
    for id in &missing {
        text.push_str(&format!("{id}: no such dead letter\n"));
    }
    Ok(Outcome {
        status: match missing.is_empty() {
            true => Status::Well,
            false => Status::Found,
        },
        ..Outcome::well(json!({"replayed": replayed, "missing": missing}), text)
    })
}
