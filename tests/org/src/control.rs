//! The control endpoints below `/_org/`: what tests may read and do that Salesforce does not offer.

mod events;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};

use crate::Org;
use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::permission::Restrictions;
use crate::model::{Flow, Normaliser, Transform};
use crate::rest::message::{Request, Response};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockRequest {
    advance_ms: Option<i64>,
    set_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LatencyRequest {
    ms: u64,
}

/// Locks a record for some time by the org's clock.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockRequest {
    id: String,
    ms: i64,
}

/// Archives records, as Salesforce does with old activities.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchiveRequest {
    ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum FlowRequest {
    Flow {
        object: String,
        when_field_changes: Option<String>,
        set: Json,
    },
    Normaliser {
        object: String,
        field: String,
        transform: Transform,
    },
}

/// A change that a user makes in Salesforce.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
enum UserEditRequest {
    Insert {
        user: String,
        object: String,
        fields: Json,
    },
    Update {
        user: String,
        id: String,
        fields: Json,
    },
    Delete {
        user: String,
        id: String,
    },
    Undelete {
        user: String,
        id: String,
    },
}

/// The result of a control call, or what is wrong with it.
pub(crate) type Outcome = Result<Json, String>;

/// Handles a request to a control endpoint; `rest` is the path after `/_org/`.
pub(crate) fn answer(org: &mut Org, request: &Request, rest: &str) -> Response {
    match (request.method.as_str(), rest) {
        ("GET", "certificate") => return certificate(org),
        ("POST", "dump") => return dump(org),
        _ => {}
    }
    let outcome = match (request.method.as_str(), rest) {
        ("GET", "stats") => Ok(stats(org)),
        ("POST", "clock") => read(request).and_then(|order| clock(org, &order)),
        ("POST", "reset") => {
            org.reset();
            Ok(json!({}))
        }
        ("POST", "latency") => read(request).map(|order: LatencyRequest| {
            org.latency_ms = order.ms;
            json!({"ms": order.ms})
        }),
        ("GET", "unconfirmed") => Ok(json!(org.model.switches)),
        ("POST", "unconfirmed") => read(request).and_then(|changes: Map<String, Json>| {
            org.model.switches = org.model.switches.with(&changes)?;
            Ok(json!(org.model.switches))
        }),
        ("POST", "permissions") => read(request).and_then(|order| permissions(org, order)),
        ("POST", "faults") => {
            read(request).and_then(|rules: Json| org.declare_faults(rules).map(|()| json!({})))
        }
        ("DELETE", "faults") => {
            org.faults.clear();
            Ok(json!({}))
        }
        ("POST", "restore") => org
            .restore(&mut &request.body[..])
            .map(|()| json!({"now_ms": org.now_ms()}))
            .map_err(|error| error.to_string()),
        ("POST", "locks") => read(request).and_then(|order| lock(org, &order)),
        ("DELETE", "locks") => {
            org.locks.clear();
            Ok(json!({}))
        }
        ("POST", "release") => {
            org.release_responses();
            Ok(json!({}))
        }
        ("POST", "sessions/expire") => {
            org.sessions.close_all();
            Ok(json!({}))
        }
        ("POST", "bulk") => read(request).map(|order| json!(org.bulk.change_settings(order))),
        ("POST", "flow") => read(request).and_then(|order| flow(org, order)),
        ("POST", "archive") => read(request).and_then(|order| archive(org, &order)),
        ("POST", "user_edit") => read(request).and_then(|order| user_edit(org, order)),
        _ => match events::answer(org, request, rest) {
            Some(outcome) => outcome,
            None => {
                return Response::json(
                    404,
                    json!({"error": "there is no such control endpoint"}).to_string(),
                );
            }
        },
    };
    match outcome {
        Ok(json) => Response::json(200, json.to_string()),
        Err(text) => Response::json(400, json!({"error": text}).to_string()),
    }
}

/// Returns the state of the org as lines of JSON.
fn dump(org: &Org) -> Response {
    let mut body = Vec::new();
    org.dump(&mut body)
        .expect("writing into memory does not fail");
    Response {
        status: 200,
        body,
        ..Response::default()
    }
    .with_header("content-type", "application/x-ndjson")
}

/// Returns the certificate that a TLS client has to trust.
fn certificate(org: &Org) -> Response {
    Response {
        status: 200,
        body: org.certificate_pem.clone().into_bytes(),
        ..Response::default()
    }
    .with_header("content-type", "application/x-pem-file")
}

/// Reads the JSON body of a control call.
pub(crate) fn read<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    // Parsed to a JSON tree first, so that any kind of number converts to any numeric type.
    let tree: Json = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
    serde_json::from_value(tree).map_err(|error| error.to_string())
}

fn stats(org: &mut Org) -> Json {
    let now_ms = org.now_ms();
    let records: Map<String, Json> = org
        .model
        .schema
        .numbered()
        .map(|(no, object)| (object.name.clone(), org.model.table(no).live().into()))
        .collect();
    json!({
        "now_ms": now_ms,
        "calls": org.stats.calls,
        "api_calls": org.usage.total(),
        "api_calls_24h": org.usage.used(now_ms),
        "events_published": org.model.log.published(),
        "events_delivered": org.stats.events_delivered,
        "events_delivered_24h": org.bus.deliveries.used(now_ms),
        "faults_fired": faults_fired(org),
        "faults": org.faults.report(),
        "records": records,
    })
}

/// Returns how often each kind of fault happened: rules, locks, and planned event faults.
fn faults_fired(org: &Org) -> Json {
    let mut fired = json!(org.faults.fired());
    for (name, count) in [
        ("row_lock", org.stats.row_locks_met),
        ("planned_gap", org.model.planned_gaps_sent),
        ("pubsub_refusal", org.bus.refusals_made),
    ] {
        if count > 0 {
            fired[name] = count.into();
        }
    }
    fired
}

/// Replaces the restrictions of the user that the order names.
fn permissions(org: &mut Org, mut order: Map<String, Json>) -> Outcome {
    let name = order.remove("user");
    let name = name
        .as_ref()
        .and_then(Json::as_str)
        .ok_or("user is missing")?;
    let user = org.user_named(name).ok_or("there is no such user")?;
    let declared: Restrictions =
        serde_json::from_value(order.into()).map_err(|error| error.to_string())?;
    org.model.restrict(user, declared)?;
    Ok(json!({}))
}

fn clock(org: &mut Org, order: &ClockRequest) -> Outcome {
    if let Some(ms) = order.set_ms {
        org.set_now_ms(ms);
    }
    if let Some(ms) = order.advance_ms {
        org.advance_ms(ms);
    }
    Ok(json!({"now_ms": org.now_ms()}))
}

fn lock(org: &mut Org, order: &LockRequest) -> Outcome {
    let id =
        RecordId::parse(&order.id).ok_or_else(|| format!("{} is not a record id", order.id))?;
    org.place_of(id).map_err(error_text)?;
    let until_ms = org.now_ms().saturating_add(order.ms);
    org.locks.hold(id, until_ms);
    Ok(json!({"id": id.to_string(), "until_ms": until_ms}))
}

fn archive(org: &mut Org, order: &ArchiveRequest) -> Outcome {
    let mut places = Vec::with_capacity(order.ids.len());
    for text in &order.ids {
        let id = RecordId::parse(text).ok_or_else(|| format!("{text} is not a record id"))?;
        let (object, row) = org.place_of(id).map_err(error_text)?;
        let archived = org.model.object(object).system.is_archived;
        let name = &org.model.object(object).name;
        let field = archived.ok_or_else(|| format!("records of {name} are never archived"))?;
        places.push((object, row, field));
    }
    let archived = places.len();
    for (object, row, field) in places {
        org.model.archive((object, row), field);
    }
    Ok(json!({"archived": archived}))
}

fn error_text(error: SfError) -> String {
    error.to_string()
}

fn flow(org: &mut Org, order: FlowRequest) -> Outcome {
    let model = &mut org.model;
    match order {
        FlowRequest::Flow {
            object,
            when_field_changes,
            set,
        } => {
            let no = model.object_named(&object).map_err(error_text)?;
            let members = set
                .as_object()
                .ok_or("set is an object of fields and values")?;
            let draft = Draft::read(model.whole(), no, Purpose::Update, members, &[])
                .map_err(error_text)?;
            let when = when_field_changes
                .map(|name| model.field_named(no, &name))
                .transpose();
            let when = when.map_err(error_text)?;
            model.flows.push(Flow {
                object: no,
                when,
                sets: draft.sets,
            });
        }
        FlowRequest::Normaliser {
            object,
            field,
            transform,
        } => {
            let no = model.object_named(&object).map_err(error_text)?;
            let field = model.field_named(no, &field).map_err(error_text)?;
            model.normalisers.push(Normaliser {
                object: no,
                field,
                transform,
            });
        }
    }
    Ok(json!({}))
}

fn user_edit(org: &mut Org, order: UserEditRequest) -> Outcome {
    let id_of =
        |text: &str| RecordId::parse(text).ok_or_else(|| format!("{text} is not a record id"));
    let id = match order {
        UserEditRequest::Insert {
            user,
            object,
            fields,
        } => org.insert_as(&user, &object, &fields).map_err(error_text)?,
        UserEditRequest::Update { user, id, fields } => {
            let id = id_of(&id)?;
            org.update_as(&user, id, &fields).map_err(error_text)?;
            id
        }
        UserEditRequest::Delete { user, id } => {
            let id = id_of(&id)?;
            org.delete_as(&user, id).map_err(error_text)?;
            id
        }
        UserEditRequest::Undelete { user, id } => {
            let id = id_of(&id)?;
            org.undelete_as(&user, id).map_err(error_text)?;
            id
        }
    };
    Ok(json!({"id": id.to_string()}))
}
