//! Control endpoints for events: gaps, limits, relays, and changes of whole records
//! and of the schema.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::Org;
use crate::control::{Outcome, read};
use crate::model::Actor;
use crate::model::change::ChangeKind;
use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::event_file::{ManagedEntry, RelayEntry, RelayState};
use crate::model::id::RecordId;
use crate::model::lifecycle::Conversion;
use crate::model::org_file::{FieldEntry, ValidationEntry};
use crate::model::schema::ObjectNo;
use crate::model::table::RowNo;
use crate::model::transaction::Transaction;
use crate::pubsub::bus::PlannedRefusal;
use crate::pubsub::refusal::Refusal;
use crate::relay::Disorder;
use crate::rest::message::Request;

/// Publishes an event without content, now or in place of the next events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GapRequest {
    object: String,
    /// `GAP_UPDATE` and so on; `UPDATE` without ids is the wildcard event of a field conversion.
    kind: Option<ChangeKind>,
    #[serde(default)]
    ids: Vec<String>,
    /// How many of the object's next events lose their content.
    next: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsRequest {
    daily_event_deliveries: Option<u64>,
    subscriptions_max: Option<usize>,
    changes_per_transaction: Option<usize>,
    event_bytes: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalRequest {
    code: String,
    rpc: Option<String>,
    #[serde(default = "once")]
    count: u32,
    #[serde(default)]
    mid_stream: bool,
}

fn once() -> u32 {
    1
}

/// A change that Salesforce makes directly in its database, outside all transactions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatabaseRequest {
    id: String,
    fields: Json,
    /// Whether a gap event announces it.
    #[serde(default = "yes")]
    gap_event: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaRequest {
    object: String,
    add_field: Option<FieldEntry>,
    convert_field: Option<FieldEntry>,
    add_validation_rule: Option<ValidationEntry>,
    remove_validation_rule: Option<String>,
    /// Whether the object is selected for change events.
    change_events: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MergeRequest {
    user: String,
    master: String,
    merged: Vec<String>,
    #[serde(default)]
    fields: Option<Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConvertRequest {
    user: String,
    lead: String,
    account: Option<String>,
    #[serde(default = "yes")]
    opportunity: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeRequest {
    ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RelayRequest {
    state: Option<RelayState>,
    duplicate_every: Option<u64>,
    shuffle_within: Option<usize>,
}

/// Handles a request to one of these endpoints, or returns `None` if the path is unknown.
pub(crate) fn answer(org: &mut Org, request: &Request, rest: &str) -> Option<Outcome> {
    Some(match (request.method.as_str(), rest) {
        ("POST", "events/gap") => read(request).and_then(|order| gap(org, &order)),
        ("POST", "events/limits") => read(request).map(|order| limits(org, &order)),
        ("POST", "events/positions/lose") => {
            let now_ms = org.now_ms();
            org.model.log.lose_positions(now_ms);
            Ok(json!({}))
        }
        ("POST", "pubsub/refusals") => read(request).and_then(|order| refuse(org, order)),
        ("DELETE", "pubsub/refusals") => {
            org.bus.stop_refusing();
            Ok(json!({}))
        }
        ("POST", "pubsub/managed") => read(request).and_then(|entry: ManagedEntry| {
            let id = org.add_managed(&entry)?;
            Ok(json!({"id": id.to_string()}))
        }),
        ("POST", "database") => read(request).and_then(|order| database(org, &order)),
        ("POST", "schema") => read(request).and_then(|order| schema(org, &order)),
        ("POST", "merge") => read(request).and_then(|order| merge(org, &order)),
        ("POST", "convert_lead") => read(request).and_then(|order| convert(org, &order)),
        ("POST", "recycle_bin/empty") => read(request).and_then(|order| purge(org, &order)),
        ("GET", "relays") => Ok(relays(org)),
        ("POST", "relays") => read(request).and_then(|entry: RelayEntry| {
            let id = org.add_relay(&entry)?;
            Ok(json!({"id": id.to_string()}))
        }),
        ("POST", rest) => {
            let name = rest.strip_prefix("relays/")?;
            read(request).and_then(|order| relay(org, name, &order))
        }
        _ => return None,
    })
}

fn error_text(error: SfError) -> String {
    error.to_string()
}

fn place(org: &Org, id: &str) -> Result<(ObjectNo, RowNo), String> {
    let id = RecordId::parse(id).ok_or_else(|| format!("{id} is not a record id"))?;
    org.place_of(id).map_err(error_text)
}

fn actor(org: &Org, username: &str) -> Result<Actor, String> {
    let user = org
        .user_named(username)
        .ok_or_else(|| format!("there is no user {username}"))?;
    Ok(Actor {
        user,
        origin: String::new(),
    })
}

/// Returns Salesforce itself as the actor, in the name of the first user.
fn system(org: &Org) -> Actor {
    Actor {
        user: org.model.id_of(org.user_object(), 0),
        origin: String::new(),
    }
}

fn gap(org: &mut Org, order: &GapRequest) -> Outcome {
    let object = org.model.object_named(&order.object).map_err(error_text)?;
    if let Some(next) = order.next {
        *org.model.planned_gaps.entry(object).or_default() += next;
    }
    if let Some(kind) = order.kind {
        let actor = system(org);
        org.model
            .publish_without_content(&actor, object, kind, order.ids.clone());
    }
    Ok(json!({}))
}

fn limits(org: &mut Org, order: &LimitsRequest) -> Json {
    if order.daily_event_deliveries.is_some() {
        org.bus.deliveries.max = order.daily_event_deliveries;
    }
    if order.subscriptions_max.is_some() {
        org.bus.subscriptions_max = order.subscriptions_max;
    }
    let limits = &mut org.model.limits;
    limits.changes_per_transaction_max = order
        .changes_per_transaction
        .unwrap_or(limits.changes_per_transaction_max);
    limits.event_bytes_max = order.event_bytes.unwrap_or(limits.event_bytes_max);
    json!({})
}

fn refuse(org: &mut Org, order: RefusalRequest) -> Outcome {
    let refusal = Refusal::by_code(&order.code);
    org.bus.plan(PlannedRefusal {
        refusal: refusal.ok_or_else(|| format!("there is no code {}", order.code))?,
        rpc: order.rpc,
        count: order.count,
        mid_stream: order.mid_stream,
    });
    Ok(json!({}))
}

fn database(org: &mut Org, order: &DatabaseRequest) -> Outcome {
    let (object, row) = place(org, &order.id)?;
    let members = order.fields.as_object().ok_or("fields is an object")?;
    let draft = Draft::read(org.model.whole(), object, Purpose::Update, members, &[])
        .map_err(error_text)?;
    let actor = system(org);
    // The transaction is dropped without a commit, so the change stays and no event is sent.
    org.model
        .update(&mut Transaction::default(), &actor, row, draft)
        .map_err(error_text)?;
    if order.gap_event {
        let id = org.model.id_of(object, row).to_string();
        org.model
            .publish_without_content(&actor, object, ChangeKind::GapUpdate, vec![id]);
    }
    Ok(json!({}))
}

fn schema(org: &mut Org, order: &SchemaRequest) -> Outcome {
    let no = org.model.object_named(&order.object).map_err(error_text)?;
    if let Some(entry) = &order.add_field {
        org.model.add_field(no, entry)?;
    }
    if let Some(entry) = &order.convert_field {
        let actor = system(org);
        org.model.convert_field(&actor, no, entry)?;
    }
    if let Some(entry) = &order.add_validation_rule {
        org.model.add_validation_rule(no, entry)?;
    }
    if let Some(name) = &order.remove_validation_rule {
        org.model.remove_validation_rule(no, name)?;
    }
    if let Some(selected) = order.change_events {
        org.model.select_for_events(no, selected);
    }
    Ok(json!({}))
}

fn merge(org: &mut Org, order: &MergeRequest) -> Outcome {
    let actor = actor(org, &order.user)?;
    let (object, master) = place(org, &order.master)?;
    let mut losers = Vec::with_capacity(order.merged.len());
    for id in &order.merged {
        let (of, row) = place(org, id)?;
        if of != object {
            return Err("only records of one object can be merged".to_owned());
        }
        losers.push(row);
    }
    let fields = order.fields.clone().unwrap_or_else(|| json!({}));
    let members = fields.as_object().ok_or("fields is an object")?;
    let draft = Draft::read(org.model.whole(), object, Purpose::Update, members, &[])
        .map_err(error_text)?;
    let mut tx = Transaction::default();
    match org
        .model
        .merge(&mut tx, &actor, (object, master), &losers, draft)
    {
        Ok(()) => {
            org.model.commit(tx, &actor);
            Ok(json!({"id": order.master}))
        }
        Err(error) => {
            org.model.roll_back(tx);
            Err(error_text(error))
        }
    }
}

fn convert(org: &mut Org, order: &ConvertRequest) -> Outcome {
    let actor = actor(org, &order.user)?;
    let (object, lead) = place(org, &order.lead)?;
    if org.model.object(object).name != "Lead" {
        return Err(format!("{} is not a lead", order.lead));
    }
    let account = order.account.as_deref().map(|id| {
        place(org, id)?;
        RecordId::parse(id).ok_or_else(|| format!("{id} is not a record id"))
    });
    let conversion = Conversion {
        lead,
        account: account.transpose()?,
        with_opportunity: order.opportunity,
    };
    let mut tx = Transaction::default();
    match org.model.convert_lead(&mut tx, &actor, conversion) {
        Ok(made) => {
            org.model.commit(tx, &actor);
            Ok(json!({
                "account": made.account.to_string(),
                "contact": made.contact.to_string(),
                "opportunity": made.opportunity.map(|id| id.to_string()),
            }))
        }
        Err(error) => {
            org.model.roll_back(tx);
            Err(error_text(error))
        }
    }
}

fn purge(org: &mut Org, order: &PurgeRequest) -> Outcome {
    let parsed =
        |id: &String| RecordId::parse(id).ok_or_else(|| format!("{id} is not a record id"));
    let ids = order
        .ids
        .as_ref()
        .map(|ids| ids.iter().map(parsed).collect::<Result<Vec<_>, _>>());
    let purged = org.model.empty_recycle_bin(ids.transpose()?.as_deref());
    Ok(json!({"purged": purged}))
}

fn relays(org: &Org) -> Json {
    let shown = org.bus.relays.iter().map(|relay| {
        json!({
            "id": relay.id.to_string(),
            "name": relay.name,
            "channel": relay.channel,
            "status": relay.status(),
            "remote_resource": relay.remote_resource(&org.org_id()),
            "relayed": relay.feedback.relayed,
            "too_large": relay.feedback.too_large,
            "last_relayed_ms": relay.feedback.last_relayed_ms,
            "error": relay.feedback.error,
            "error_ms": relay.feedback.error_ms,
        })
    });
    Json::Array(shown.collect())
}

fn relay(org: &mut Org, name: &str, order: &RelayRequest) -> Outcome {
    let relay = org
        .relay_mut(name)
        .ok_or_else(|| format!("there is no relay {name}"))?;
    let known = relay.disorder;
    relay.disorder = Disorder {
        duplicate_every: order.duplicate_every.unwrap_or(known.duplicate_every),
        shuffle_within: order.shuffle_within.unwrap_or(known.shuffle_within),
    };
    if let Some(state) = order.state {
        org.set_relay_state(name, state)?;
    }
    Ok(json!({}))
}
