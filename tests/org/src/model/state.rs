//! The state of the model as lines of JSON, written by a dump and read by a restore.
//!
//! Each record (with its id, stamps and place in the recycle bin), each entry of the delete log and
//! each entry of the change log is one line. Everything else is one value.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::channel::Channel;
use super::deletions::Deletions;
use super::event_file::{ChannelEntry, MemberEntry};
use super::id::RecordId;
use super::log::{Entry, Logged, Source};
use super::lookups::Lookup;
use super::permission::Restrictions;
use super::publish::EventLimits;
use super::schema::{FieldNo, Object, ObjectNo};
use super::table::RowNo;
use super::value::{Misfit, Value};
use super::{Flow, Model, Normaliser, Random};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    object: String,
    row: RowNo,
    values: Map<String, Json>,
}

/// Number of rows of an object, including empty ones at the end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    rows_of: String,
    rows: RowNo,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deleted {
    deleted: RecordId,
    at_ms: i64,
}

/// An entry of the change log, with or without an event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    replay: u64,
    at_ms: i64,
    event: Option<Event>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    id: Uuid,
    schema: String,
    payload: String,
    /// The channels, as bits, whose filters refuse it.
    refused_by: u64,
}

/// Everything without lines of its own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    commit_number: i64,
    random: u64,
    events_published: u64,
    deletions: Deletions,
    limits: EventLimits,
    planned_gaps: BTreeMap<ObjectNo, u32>,
    planned_gaps_sent: u64,
    deleted_with: Vec<DeletedTogether>,
    cleared_with: Vec<Cleared>,
    flows: Vec<Flow>,
    normalisers: Vec<Normaliser>,
    channels: Vec<ChannelEntry>,
    permissions: Vec<(RecordId, i64, Restrictions)>,
}

/// A deleted record, and the records that were deleted with it.
type DeletedTogether = ((ObjectNo, RowNo), Vec<(ObjectNo, RowNo)>);

/// A deleted record, and the lookups that its delete cleared.
type Cleared = ((ObjectNo, RowNo), Vec<Lookup>);

impl Model {
    /// Writes the records, the delete log and the change log, one line each.
    pub(crate) fn dump_lines(&self, out: &mut dyn Write) -> io::Result<()> {
        for (no, object) in self.schema.numbered() {
            self.dump_records(no, object, out)?;
        }
        for deletion in self.deletions.between(i64::MIN, i64::MAX) {
            let line = json!({"deleted": deletion.id, "at_ms": deletion.at_ms});
            writeln!(out, "{line}")?;
        }
        for entry in self.log.kept() {
            let event = entry.event.as_ref().map(|event| {
                let schema = &self.log.numbered(event.schema).schema.id;
                let payload = STANDARD.encode(&event.payload);
                let refused_by = event.refused_by;
                json!({"id": event.id, "schema": schema, "payload": payload, "refused_by": refused_by})
            });
            let line = json!({"replay": entry.replay, "at_ms": entry.at_ms, "event": event});
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    fn dump_records(&self, no: ObjectNo, object: &Object, out: &mut dyn Write) -> io::Result<()> {
        for row in self.table(no).all() {
            let mut values = Map::new();
            for (field_no, field) in object.numbered() {
                let value = self.table(no).get(row, field_no);
                if *value != Value::Null && field_no != object.system.id {
                    let mut text = String::new();
                    value.push_plain(&mut text);
                    values.insert(field.name.clone(), text.into());
                }
            }
            let line = json!({"object": object.name, "row": row, "values": values});
            writeln!(out, "{line}")?;
        }
        let line = json!({"rows_of": object.name, "rows": self.table(no).next_row()});
        writeln!(out, "{line}")
    }

    /// Returns everything without lines of its own.
    pub(crate) fn rest(&self) -> Json {
        let mut deleted_with: Vec<DeletedTogether> = self
            .deleted_with
            .iter()
            .map(|(at, others)| (*at, others.clone()))
            .collect();
        deleted_with.sort_unstable();
        let permissions: Vec<(&RecordId, i64, &Restrictions)> = self
            .permissions
            .iter()
            .map(|(user, permissions)| (user, permissions.since_ms, &permissions.declared))
            .collect();
        let mut cleared_with: Vec<Cleared> = self
            .cleared_with
            .iter()
            .map(|(at, lookups)| (*at, lookups.clone()))
            .collect();
        cleared_with.sort_unstable();
        json!({
            "commit_number": self.commit_number,
            "random": self.random,
            "events_published": self.log.published(),
            "deletions": self.deletions,
            "limits": self.limits,
            "planned_gaps": self.planned_gaps,
            "planned_gaps_sent": self.planned_gaps_sent,
            "deleted_with": deleted_with,
            "cleared_with": cleared_with,
            "flows": self.flows,
            "normalisers": self.normalisers,
            "permissions": permissions,
            "channels": self.channels.iter().map(|one| self.declared(one)).collect::<Vec<_>>(),
        })
    }

    /// Returns a channel in its declared form.
    fn declared(&self, channel: &Channel) -> ChannelEntry {
        let name = |source: Source| match source {
            Source::Object(no) => self.object(no).event_name(),
            Source::Platform(no) => self.platform_events[no.0].name.clone(),
        };
        let enriched = |source: Source, no: FieldNo| match source {
            Source::Object(object) => self.field(object, no).name.clone(),
            Source::Platform(_) => String::new(),
        };
        let members = channel.members.iter().map(|member| MemberEntry {
            event: name(member.source),
            enriched_fields: member
                .enriched
                .iter()
                .map(|no| enriched(member.source, *no))
                .collect(),
            filter: member
                .filter
                .as_ref()
                .map_or_else(String::new, |filter| filter.text.clone()),
        });
        ChannelEntry {
            name: channel.name.clone(),
            label: Some(channel.label.clone()),
            platform_events: Some(channel.of_platform_events),
            members: members.collect(),
        }
    }

    /// Restores one line.
    pub(crate) fn restore_line(&mut self, line: Json) -> Result<(), String> {
        if line.get("object").is_some() {
            return self.restore_record(&serde_json::from_value(line).map_err(neither)?);
        }
        if line.get("rows_of").is_some() {
            let Rows { rows_of, rows } = serde_json::from_value(line).map_err(neither)?;
            let no = self.known(&rows_of)?;
            return self.tables[no.0].skip_to(rows);
        }
        if line.get("deleted").is_some() {
            let Deleted { deleted, at_ms } = serde_json::from_value(line).map_err(neither)?;
            self.deletions.note(deleted, at_ms);
            return Ok(());
        }
        self.restore_place(serde_json::from_value(line).map_err(neither)?)
    }

    fn restore_place(&mut self, place: Place) -> Result<(), String> {
        let event = place.event.map(|event| {
            let payload = STANDARD.decode(event.payload).map_err(|e| e.to_string())?;
            let known = self.log.schema(&event.schema);
            let (source, schema, _) =
                known.ok_or_else(|| format!("the org has no schema {}", event.schema))?;
            Ok::<_, String>(Logged {
                source,
                schema,
                id: event.id,
                payload: payload.into(),
                refused_by: event.refused_by,
            })
        });
        let event = event.transpose()?;
        self.log.restore_entry(Entry {
            replay: place.replay,
            at_ms: place.at_ms,
            event,
        })
    }

    /// Restores everything without lines of its own.
    pub(crate) fn restore_rest(&mut self, rest: Json) -> Result<(), String> {
        let rest: Rest = serde_json::from_value(rest).map_err(|error| error.to_string())?;
        self.commit_number = rest.commit_number;
        self.random = Random::seeded(rest.random);
        self.log.restore_count(rest.events_published);
        let noted = std::mem::replace(&mut self.deletions, Deletions::new(0));
        self.deletions = rest.deletions.with_entries_of(noted);
        self.limits = rest.limits;
        self.planned_gaps = rest.planned_gaps;
        self.planned_gaps_sent = rest.planned_gaps_sent;
        self.deleted_with = rest.deleted_with.into_iter().collect();
        self.cleared_with = rest.cleared_with.into_iter().collect();
        (self.flows, self.normalisers) = (rest.flows, rest.normalisers);
        self.permissions.clear();
        for (user, since_ms, declared) in rest.permissions {
            self.restrict_since(user, since_ms, declared)?;
        }
        self.channels.clear();
        for channel in &rest.channels {
            self.declare_channel(channel)
                .map_err(|error| format!("{}: {error}", channel.name))?;
        }
        Ok(())
    }

    fn known(&self, object: &str) -> Result<ObjectNo, String> {
        let unknown = || format!("the org has no object {object}; start it with its org file");
        self.schema.find(object).ok_or_else(unknown)
    }

    fn restore_record(&mut self, record: &Record) -> Result<(), String> {
        let no = self.known(&record.object)?;
        let object = self.schema.object(no);
        let mut values = vec![Value::Null; object.fields.len()];
        values[object.system.id.0] = Value::Id(self.id_of(no, record.row));
        for (name, json) in &record.values {
            let field_no = object
                .find(name)
                .ok_or_else(|| format!("{} has no field {name}", object.name))?;
            let text = json.as_str().ok_or_else(|| format!("{name} is not text"))?;
            let value = Value::from_text(object.field(field_no), text);
            values[field_no.0] = value.map_err(|misfit| match misfit {
                Misfit::Type { expected, text } => {
                    format!("{name}: {text} is not of type {expected}")
                }
                Misfit::Refused(error) => error.to_string(),
            })?;
        }
        self.tables[no.0].restore(&self.schema.objects[no.0], record.row, values.into())
    }
}

fn neither(error: serde_json::Error) -> String {
    format!("not a record or an event: {error}")
}
