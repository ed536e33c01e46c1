//! The state of an org as lines of JSON: what a dump writes and a restore reads.
//!
//! Kept are the records with ids, stamps and the recycle bin, the delete log, the change events
//! with their positions, and the clock. Not kept is what was set up at the control door or by the
//! Tooling API, and who was logged in.

use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::deletions::Deletions;
use super::id::RecordId;
use super::log::ChangeLog;
use super::org_file::OrgFile;
use super::schema::{Object, ObjectNo, Schema};
use super::table::Table;
use super::value::{Misfit, Value};
use super::{Dice, Model};

/// The form of the dump; another number is another form.
const FORMAT: u32 = 1;

/// Why a dump cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The dump cannot be read.
    #[error("the dump cannot be read")]
    Read(#[from] io::Error),
    /// A line is not what a dump of this org holds.
    #[error("line {line}: {message}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    salesforce_org_dump: u32,
    org_id: String,
    now_ms: i64,
    commit_number: i64,
    dice: u64,
    events_published: u64,
    deletions_complete_since_ms: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    object: String,
    row: u32,
    values: Map<String, Json>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deleted {
    deleted: String,
    at_ms: i64,
}

/// A place in the change log, with or without an event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
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
}

impl Model {
    /// Writes the state.
    pub(crate) fn dump(&self, org_id: &str, out: &mut dyn Write) -> io::Result<()> {
        let head = Head {
            salesforce_org_dump: FORMAT,
            org_id: org_id.to_owned(),
            now_ms: self.now_ms,
            commit_number: self.commit_number,
            dice: self.dice.0,
            events_published: self.log.published(),
            deletions_complete_since_ms: self.deletions.complete_since_ms(),
        };
        writeln!(out, "{}", serde_json::to_string(&head)?)?;
        for (no, object) in self.schema.numbered() {
            self.dump_records(no, object, out)?;
        }
        for deletion in self.deletions.between(i64::MIN, i64::MAX) {
            let line = json!({"deleted": deletion.id.to_string(), "at_ms": deletion.at_ms});
            writeln!(out, "{line}")?;
        }
        for (replay, at_ms, event) in self.log.kept() {
            let event = event.map(|event| {
                let payload = STANDARD.encode(&event.payload);
                json!({"id": event.id, "schema": event.schema_id, "payload": payload})
            });
            let line = json!({"replay": replay, "at_ms": at_ms, "event": event});
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    fn dump_records(&self, no: ObjectNo, object: &Object, out: &mut dyn Write) -> io::Result<()> {
        for row in self.table(no).all() {
            let mut values = Map::new();
            for (field_no, field) in object.numbered() {
                let value = self.table(no).get(row, field_no);
                if *value != Value::Null && field_no != object.system.id {
                    let mut text = String::new();
                    value.push_plain(field, &mut text);
                    values.insert(field.name.clone(), text.into());
                }
            }
            let line = json!({"object": object.name, "row": row, "values": values});
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    /// Reads the state of an org with this id and schema.
    ///
    /// # Errors
    /// When the dump is of another org, or a line is not of the documented form.
    pub(crate) fn restore(
        schema: Schema,
        file: &OrgFile,
        org_id: &str,
        input: &mut dyn BufRead,
    ) -> Result<Self, RestoreError> {
        let mut lines = input.lines().enumerate();
        let wrong = |line: usize, message: String| RestoreError::Line {
            line: line + 1,
            message,
        };
        let first = lines.next().map_or(Ok(String::new()), |(_, line)| line)?;
        let head: Head = serde_json::from_str(&first)
            .map_err(|error| wrong(0, format!("this is no dump of an org: {error}")))?;
        if head.salesforce_org_dump != FORMAT {
            let message = format!("the form of the dump is {}", head.salesforce_org_dump);
            return Err(wrong(0, format!("{message}, known is {FORMAT}")));
        }
        if head.org_id != org_id {
            let message = format!("this is a dump of the org {}, not {org_id}", head.org_id);
            return Err(wrong(0, message));
        }
        let mut model = Self::new(schema, head.now_ms);
        model.commit_number = head.commit_number;
        model.dice = Dice(head.dice);
        model.deletions = Deletions::new(head.deletions_complete_since_ms);
        model.log = ChangeLog::restored(&model.schema, head.events_published);
        model
            .declare_events(file)
            .map_err(|error| wrong(0, error.to_string()))?;
        for (number, line) in lines {
            let line = line?;
            model
                .take_line(&line)
                .map_err(|message| wrong(number, message))?;
        }
        Ok(model)
    }

    fn take_line(&mut self, line: &str) -> Result<(), String> {
        if line.trim().is_empty() {
            return Ok(());
        }
        let json: Json = serde_json::from_str(line).map_err(neither)?;
        if json.get("object").is_some() {
            return self.take_record(&serde_json::from_value(json).map_err(neither)?);
        }
        if json.get("deleted").is_some() {
            let Deleted { deleted, at_ms } = serde_json::from_value(json).map_err(neither)?;
            let id = RecordId::parse(&deleted).ok_or(format!("{deleted} is no id"))?;
            self.deletions.note(id, at_ms);
            return Ok(());
        }
        let entry: Entry = serde_json::from_value(json).map_err(neither)?;
        let event = entry.event.map(|event| {
            let payload = STANDARD.decode(event.payload).map_err(|e| e.to_string())?;
            Ok::<_, String>((event.schema, event.id, payload))
        });
        self.log
            .take_back(entry.replay, entry.at_ms, event.transpose()?)
    }

    fn take_record(&mut self, record: &Record) -> Result<(), String> {
        let name = &record.object;
        let unknown = || format!("the org has no object {name}; start it with its org file");
        let no = self.schema.find(name).ok_or_else(unknown)?;
        let object = self.schema.object(no);
        let mut values = vec![Value::Null; object.fields.len()];
        values[object.system.id.0] = Value::Id(self.id_of(no, record.row));
        for (name, json) in &record.values {
            let field_no = object
                .find(name)
                .ok_or_else(|| format!("{} has no field {name}", object.name))?;
            let text = json.as_str().ok_or_else(|| format!("{name} is no text"))?;
            let value = Value::from_text(object.field(field_no), text);
            values[field_no.0] = value.map_err(|misfit| match misfit {
                Misfit::Type { expected, text } => format!("{name}: {text} is no {expected}"),
                Misfit::Refused(error) => error.to_string(),
            })?;
        }
        let table: &mut Table = &mut self.tables[no.0];
        table.restore(&self.schema.objects[no.0], record.row, values.into())
    }
}

fn neither(error: serde_json::Error) -> String {
    format!("neither record nor event: {error}")
}
