//! The Tooling API, as far as it sets up events: channels, their members, managed subscriptions and
//! relays.

use serde_json::{Map, Value as Json, json};

use crate::Org;
use crate::model::channel::MemberRequest;
use crate::model::error::SfError;
use crate::model::event_file::{ManagedEntry, Preset, RelayEntry, RelayState};
use crate::model::id::RecordId;
use crate::pubsub::managed::ManagedState;
use crate::rest::Call;
use crate::rest::message::Response;
use crate::soql::{self, Filter, Item, Literal, Operator, Select};

/// The types that can be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Channel,
    Member,
    Managed,
    Relay,
}

/// Maximum number of managed subscriptions in an org.
const MANAGED_MAX: usize = 200;

type Members = Map<String, Json>;

impl Kind {
    fn named(name: &str) -> Result<Self, SfError> {
        Ok(match name {
            "PlatformEventChannel" => Self::Channel,
            "PlatformEventChannelMember" => Self::Member,
            "ManagedEventSubscription" => Self::Managed,
            "EventRelayConfig" => Self::Relay,
            _ => {
                let message = format!("sObject type '{name}' is not supported.");
                return Err(SfError::new("INVALID_TYPE", message));
            }
        })
    }
}

impl Org {
    /// Handles `/tooling/sobjects/Type`.
    pub(crate) fn tooling_create(
        &mut self,
        call: &Call<'_>,
        kind: &str,
    ) -> Result<Response, SfError> {
        let kind = Kind::named(kind)?;
        let members = call.members()?;
        let name = text(&members, "FullName").or_else(|| text(&members, "DeveloperName"));
        let name = name.ok_or_else(|| missing("FullName"))?;
        let metadata = members.get("Metadata").and_then(Json::as_object);
        let metadata = metadata.ok_or_else(|| missing("Metadata"))?;
        let id = match kind {
            Kind::Channel => self.create_channel(&name, metadata)?,
            Kind::Member => self.create_member(metadata)?,
            Kind::Managed => self.create_managed(&name, metadata)?,
            Kind::Relay => self.create_relay(&name, metadata)?,
        };
        let body = json!({"id": id.to_string(), "success": true, "errors": [], "warnings": [], "infos": []});
        Ok(Response::json(201, body.to_string()))
    }

    fn create_channel(&mut self, name: &str, metadata: &Members) -> Result<RecordId, SfError> {
        let platform = match text(metadata, "channelType").as_deref() {
            Some("data") => false,
            Some("event") => true,
            Some(_) | None => return Err(missing("channelType")),
        };
        let label = text(metadata, "label").ok_or_else(|| missing("label"))?;
        self.model.add_channel(name, &label, platform)?;
        Ok(channel_id(self.model.channels.len() - 1))
    }

    fn create_member(&mut self, metadata: &Members) -> Result<RecordId, SfError> {
        let channel = text(metadata, "eventChannel").ok_or_else(|| missing("eventChannel"))?;
        let event = text(metadata, "selectedEntity").ok_or_else(|| missing("selectedEntity"))?;
        let names = metadata.get("enrichedFields").and_then(Json::as_array);
        let enriched: Vec<String> = names
            .into_iter()
            .flatten()
            .filter_map(|field| field.get("name")?.as_str().map(str::to_owned))
            .collect();
        self.model.add_member(&MemberRequest {
            channel: &channel,
            event: &event,
            enriched: &enriched,
            filter: &text(metadata, "filterExpression").unwrap_or_default(),
        })?;
        let place = self
            .model
            .channels
            .iter()
            .position(|known| known.name == channel);
        let place = place.expect("a member was just added to it");
        Ok(member_id(
            place,
            self.model.channels[place].members.len() - 1,
        ))
    }

    fn create_managed(&mut self, name: &str, metadata: &Members) -> Result<RecordId, SfError> {
        if self.bus.managed.len() == MANAGED_MAX {
            let message = format!("an org has at most {MANAGED_MAX} managed subscriptions");
            return Err(SfError::of_record("LIMIT_EXCEEDED", message));
        }
        let entry = ManagedEntry {
            developer_name: name.to_owned(),
            topic: text(metadata, "topicName").ok_or_else(|| missing("topicName"))?,
            label: text(metadata, "label"),
            default_replay: preset(metadata, "defaultReplay")?,
            error_recovery_replay: preset(metadata, "errorRecoveryReplay")?,
            stopped: text(metadata, "state").as_deref() == Some("STOP"),
        };
        self.add_managed(&entry).map_err(invalid)
    }

    fn create_relay(&mut self, name: &str, metadata: &Members) -> Result<RecordId, SfError> {
        let option = text(metadata, "relayOption").unwrap_or_else(|| "{}".to_owned());
        let option: Json =
            serde_json::from_str(&option).map_err(|error| invalid(error.to_string()))?;
        let recovery = option
            .get("ReplayRecovery")
            .and_then(Json::as_str)
            .unwrap_or("LATEST");
        let destination = text(metadata, "destinationResourceName");
        let url = destination.and_then(|name| name.strip_prefix("callout:").map(str::to_owned));
        let entry = RelayEntry {
            name: name.to_owned(),
            channel: text(metadata, "eventChannel").ok_or_else(|| missing("eventChannel"))?,
            // The local org has no named credentials, so the name is the address itself.
            url: Some(url.ok_or_else(|| missing("destinationResourceName"))?),
            queue_url: None,
            state: RelayState::Stop,
            replay_recovery: preset_named(recovery)?,
            account: None,
            region: None,
        };
        self.add_relay(&entry).map_err(invalid)
    }

    /// Handles a GET of `/tooling/sobjects/Type/id`.
    pub(crate) fn tooling_read(&self, kind: &str, id: &str) -> Result<Response, SfError> {
        let row = self.tooling_row(Kind::named(kind)?, id)?;
        Ok(Response::json(200, row.to_string()))
    }

    fn tooling_row(&self, kind: Kind, id: &str) -> Result<Json, SfError> {
        let id = RecordId::parse(id)
            .ok_or_else(SfError::not_found)?
            .to_string();
        let mut rows = self.tooling_rows(kind).into_iter();
        rows.find(|row| row["Id"] == id.as_str())
            .ok_or_else(SfError::not_found)
    }

    /// Handles a PATCH of `/tooling/sobjects/Type/id`, which sets the state of a subscription or
    /// relay.
    pub(crate) fn tooling_update(
        &mut self,
        call: &Call<'_>,
        kind: &str,
        id: &str,
    ) -> Result<Response, SfError> {
        let kind = Kind::named(kind)?;
        let row = self.tooling_row(kind, id)?;
        let members = call.members()?;
        let metadata = members.get("Metadata").and_then(Json::as_object);
        let state = metadata.and_then(|metadata| text(metadata, "state"));
        let state = state.ok_or_else(|| missing("state"))?;
        let unknown = || invalid(format!("{state} is not a state"));
        match kind {
            Kind::Managed => {
                let state = match state.as_str() {
                    "RUN" => ManagedState::Run,
                    "STOP" => ManagedState::Stop,
                    _ => return Err(unknown()),
                };
                self.set_managed_state(id, state);
            }
            Kind::Relay => {
                let state = match state.as_str() {
                    "RUN" => RelayState::Run,
                    "PAUSE" => RelayState::Pause,
                    "STOP" => RelayState::Stop,
                    _ => return Err(unknown()),
                };
                let name = row["DeveloperName"].as_str().unwrap_or_default();
                self.set_relay_state(name, state).map_err(invalid)?;
            }
            Kind::Channel | Kind::Member => return Err(invalid("it has no state".to_owned())),
        }
        Ok(Response::empty(204))
    }

    /// Handles a DELETE of `/tooling/sobjects/Type/id`.
    pub(crate) fn tooling_delete(&mut self, kind: &str, id: &str) -> Result<Response, SfError> {
        let kind = Kind::named(kind)?;
        let row = self.tooling_row(kind, id)?;
        match kind {
            Kind::Managed => self.set_managed_state(id, ManagedState::Deleted),
            Kind::Relay => {
                let name = row["DeveloperName"].as_str().unwrap_or_default();
                self.bus.relays.retain(|relay| relay.name != name);
            }
            Kind::Channel | Kind::Member => {
                return Err(invalid(
                    "channels stay as long as the local org runs".to_owned(),
                ));
            }
        }
        Ok(Response::empty(204))
    }

    fn set_managed_state(&mut self, id: &str, state: ManagedState) {
        if let Some(managed) = RecordId::parse(id).and_then(|id| self.managed_mut(id)) {
            managed.state = state;
        }
    }

    /// Handles `/tooling/query`: named fields, and equality conditions.
    pub(crate) fn tooling_query(&self, call: &Call<'_>) -> Result<Response, SfError> {
        let text = call.request.param("q").ok_or_else(|| missing("q"))?;
        let query = soql::parse(&text)?;
        let kind = Kind::named(&query.from)?;
        let mut records = Vec::new();
        for row in self.tooling_rows(kind) {
            let met = query
                .filter
                .as_ref()
                .map_or(Ok(true), |filter| meets(&row, filter))?;
            if met && records.len() < query.limit.unwrap_or(usize::MAX) {
                records.push(selected(&query.from, &call.version, &row, &query.select)?);
            }
        }
        let body = json!({
            "size": records.len(),
            "totalSize": records.len(),
            "done": true,
            "queryLocator": null,
            "entityTypeName": query.from,
            "records": records,
        });
        Ok(Response::json(200, body.to_string()))
    }

    fn tooling_rows(&self, kind: Kind) -> Vec<Json> {
        match kind {
            Kind::Channel => {
                let channels = self.model.channels.iter().enumerate();
                channels.map(|(place, _)| self.channel_row(place)).collect()
            }
            Kind::Member => {
                let channels = 0..self.model.channels.len();
                channels.flat_map(|place| self.member_rows(place)).collect()
            }
            Kind::Managed => self.managed_rows(),
            Kind::Relay => self.relay_rows(),
        }
    }

    fn channel_row(&self, place: usize) -> Json {
        let channel = &self.model.channels[place];
        let kind = if channel.of_platform_events {
            "event"
        } else {
            "data"
        };
        let stem = channel.name.strip_suffix("__chn").unwrap_or(&channel.name);
        json!({
            "Id": channel_id(place).to_string(),
            "FullName": channel.name,
            "DeveloperName": stem,
            "ChannelType": kind,
            "MasterLabel": channel.label,
            "Metadata": {"channelType": kind, "label": channel.label},
        })
    }

    fn member_rows(&self, place: usize) -> Vec<Json> {
        let channel = &self.model.channels[place];
        let stem = channel.name.strip_suffix("__chn").unwrap_or(&channel.name);
        let rows = channel.members.iter().enumerate().map(|(number, member)| {
            let event = self.event_name(member.source);
            let fields: Vec<Json> = self
                .enriched_names(place, number)
                .into_iter()
                .map(|name| json!({"name": name}))
                .collect();
            let filter = member.filter.as_ref().map(|filter| filter.text.clone());
            json!({
                "Id": member_id(place, number).to_string(),
                "FullName": format!("{stem}_{}", event.replace("__", "_")),
                "EventChannel": channel_id(place).to_string(),
                "SelectedEntity": event,
                "Metadata": {
                    "eventChannel": channel.name,
                    "selectedEntity": event,
                    "enrichedFields": fields,
                    "filterExpression": filter,
                },
            })
        });
        rows.collect()
    }

    fn enriched_names(&self, channel: usize, member: usize) -> Vec<String> {
        let member = &self.model.channels[channel].members[member];
        let crate::model::log::Source::Object(object) = member.source else {
            return Vec::new();
        };
        let name = |no: &crate::model::schema::FieldNo| self.model.field(object, *no).name.clone();
        member.enriched.iter().map(name).collect()
    }

    fn managed_rows(&self) -> Vec<Json> {
        let known = self
            .bus
            .managed
            .iter()
            .filter(|m| m.state != ManagedState::Deleted);
        let rows = known.map(|managed| {
            let state = if managed.state == ManagedState::Run {
                "RUN"
            } else {
                "STOP"
            };
            json!({
                "Id": managed.id.to_string(),
                "FullName": managed.developer_name,
                "DeveloperName": managed.developer_name,
                "MasterLabel": managed.label,
                "Metadata": {
                    "topicName": managed.topic,
                    "label": managed.label,
                    "defaultReplay": managed.default_replay.name(),
                    "errorRecoveryReplay": managed.error_recovery_replay.name(),
                    "state": state,
                },
            })
        });
        rows.collect()
    }

    fn relay_rows(&self) -> Vec<Json> {
        let rows = self.bus.relays.iter().map(|relay| {
            let state = match relay.state {
                RelayState::Run => "RUN",
                RelayState::Pause => "PAUSE",
                RelayState::Stop => "STOP",
            };
            json!({
                "Id": relay.id.to_string(),
                "FullName": relay.name,
                "DeveloperName": relay.name,
                "EventChannel": relay.channel,
                "State": state,
                "Metadata": {"eventChannel": relay.channel, "label": relay.name, "state": state},
            })
        });
        rows.collect()
    }
}

/// Returns the id of the channel with an index.
pub(crate) fn channel_id(place: usize) -> RecordId {
    RecordId::numbered(*b"0YL", u32::try_from(place).unwrap_or(u32::MAX))
}

fn member_id(channel: usize, member: usize) -> RecordId {
    let number = u32::try_from(channel * 10_000 + member).unwrap_or(u32::MAX);
    RecordId::numbered(*b"0v8", number)
}

fn text(members: &Members, name: &str) -> Option<String> {
    members.get(name)?.as_str().map(str::to_owned)
}

fn missing(name: &str) -> SfError {
    let message = format!("Required fields are missing: [{name}]");
    SfError::of_record("REQUIRED_FIELD_MISSING", message).with_fields(vec![name.to_owned()])
}

fn invalid(message: String) -> SfError {
    SfError::of_record("INVALID_INPUT", message)
}

fn preset(metadata: &Members, name: &str) -> Result<Preset, SfError> {
    text(metadata, name).map_or(Ok(Preset::Latest), |word| preset_named(&word))
}

fn preset_named(word: &str) -> Result<Preset, SfError> {
    match word {
        "LATEST" => Ok(Preset::Latest),
        "EARLIEST" => Ok(Preset::Earliest),
        _ => Err(invalid(format!("{word} is neither LATEST nor EARLIEST"))),
    }
}

/// Returns whether a row meets an equality condition.
fn meets(row: &Json, filter: &Filter) -> Result<bool, SfError> {
    if let Filter::All(all) = filter {
        return all
            .iter()
            .try_fold(true, |met, one| Ok(met && meets(row, one)?));
    }
    let Filter::Compare {
        path,
        operator: Operator::Equal,
        literal: Literal::Text(wanted),
    } = filter
    else {
        let message = "the local Tooling API compares texts for equality only";
        return Err(SfError::new("MALFORMED_QUERY", message));
    };
    let actual = member(row, path)?.as_str().unwrap_or_default();
    // Ids have 15 or 18 characters.
    let same_id =
        RecordId::parse(actual).is_some() && RecordId::parse(actual) == RecordId::parse(wanted);
    Ok(actual == wanted || same_id)
}

fn member<'a>(row: &'a Json, name: &str) -> Result<&'a Json, SfError> {
    let mut members = row.as_object().into_iter().flatten();
    let found = members.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).ok_or_else(|| {
        SfError::new(
            "INVALID_FIELD",
            format!("No such column '{name}' on entity"),
        )
    })
}

fn selected(kind: &str, version: &str, row: &Json, select: &Select) -> Result<Json, SfError> {
    let id = row["Id"].as_str().unwrap_or_default();
    let url = format!("/services/data/{version}/tooling/sobjects/{kind}/{id}");
    let mut record = json!({"attributes": {"type": kind, "url": url}});
    if let Select::Items(items) = select {
        for item in items {
            let Item::Path(name) = item else {
                return Err(SfError::new(
                    "MALFORMED_QUERY",
                    "name the fields one by one",
                ));
            };
            record[name] = member(row, name)?.clone();
        }
    }
    Ok(record)
}
