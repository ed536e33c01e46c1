//! The state of an org as lines of JSON, written by a dump and read by a restore.
//!
//! The first line identifies the org. Records, delete log and change log follow, one line each,
//! then one line for each other part of the org. Clients cannot distinguish a restored org from the
//! dumped one: tokens, positions, locators and jobs stay valid. Only what belongs to a connection
//! is lost: held answers, the locks of calls in flight, open streams.

use std::io::{self, BufRead, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::Org;
use crate::model::evolve::SchemaChange;
use crate::model::org_file::OrgFile;

/// Version of the dump format.
const FORMAT: u32 = 4;

/// Why a dump cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The dump cannot be read.
    #[error("the dump cannot be read")]
    Read(#[from] io::Error),
    /// A line does not belong in a dump of this org.
    #[error("line {line}: {message}")]
    Line {
        /// The line number, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    salesforce_org_dump: u32,
    org_id: String,
    /// Identifies the objects and fields of the org file, because other lines refer to them by
    /// number.
    org_file: String,
    /// Schema changes since the org file was read.
    schema_changes: Vec<SchemaChange>,
    now_ms: i64,
}

/// A line with one part of the org.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    part: String,
    value: Json,
}

impl Org {
    /// Writes the state of the org as lines of JSON, for [`Org::restore`].
    ///
    /// # Errors
    ///
    /// Fails if the output fails.
    pub fn dump(&self, out: &mut dyn Write) -> io::Result<()> {
        let head = Head {
            salesforce_org_dump: FORMAT,
            org_id: self.org_id(),
            org_file: fingerprint(&self.file),
            schema_changes: self.model.changes.clone(),
            now_ms: self.now_ms(),
        };
        writeln!(out, "{}", serde_json::to_string(&head)?)?;
        self.model.dump_lines(out)?;
        let mut put = |part: &str, value: &Json| {
            let line = json!({"part": part, "value": value});
            writeln!(out, "{line}")
        };
        put("model", &self.model.rest())?;
        put("sessions", &json!(self.sessions))?;
        put("cursors", &json!(self.cursors))?;
        put("usage", &json!(self.usage))?;
        put("stats", &json!(self.stats))?;
        put("bulk", &json!(self.bulk))?;
        put("async_jobs", &json!(self.async_jobs))?;
        put("bus", &json!(self.bus))?;
        put("faults", &json!(self.faults))?;
        put("locks", &json!(self.locks))?;
        put("latency_ms", &json!(self.latency_ms))?;
        put("unconfirmed", &json!(self.model.switches))?;
        out.flush()
    }

    /// Replaces the org's state with the state of a dump. The clock continues from the time of the
    /// dump.
    ///
    /// # Errors
    ///
    /// Fails if the dump is broken or belongs to another org or schema. The org is then unchanged.
    pub fn restore(&mut self, input: &mut dyn BufRead) -> Result<(), RestoreError> {
        let mut lines = input.lines().enumerate();
        let wrong = |line: usize, message: String| RestoreError::Line {
            line: line + 1,
            message,
        };
        let first = lines.next().map_or(Ok(String::new()), |(_, line)| line)?;
        let (mut other, now_ms) = self.empty_for(&first).map_err(|text| wrong(0, text))?;
        for (number, line) in lines {
            let line = line?;
            if !line.trim().is_empty() {
                other
                    .restore_line(&line)
                    .map_err(|text| wrong(number, text))?;
            }
        }
        other.bulk.schedule();
        other.rebind_cursors();
        self.replace_with(other);
        self.set_now_ms(now_ms);
        Ok(())
    }

    /// Returns an empty org that matches the first line of a dump, and the time of the dump.
    fn empty_for(&self, first: &str) -> Result<(Self, i64), String> {
        let head: Json = serde_json::from_str(first)
            .map_err(|error| format!("this is not a dump of an org: {error}"))?;
        match &head["salesforce_org_dump"] {
            Json::Null => return Err("this is not a dump of an org".to_owned()),
            form if *form == json!(FORMAT) => {}
            form => return Err(format!("the dump has format {form}, expected {FORMAT}")),
        }
        let head: Head = serde_json::from_value(head)
            .map_err(|error| format!("this is not a dump of an org: {error}"))?;
        if head.org_id != self.org_id() {
            let (found, wanted) = (head.org_id, self.org_id());
            return Err(format!("this is a dump of the org {found}, not {wanted}"));
        }
        if head.org_file != fingerprint(&self.file) {
            let message = "the dump is of an org with other objects and fields; start it with the \
                           org file of that one";
            return Err(message.to_owned());
        }
        let mut other = Self::empty(self.file.clone(), head.now_ms, &head.schema_changes)
            .map_err(|error| error.to_string())?;
        other
            .model
            .declare_events(&self.file)
            .map_err(|error| error.to_string())?;
        other.model.log.clear_history();
        other.restored = true;
        Ok((other, head.now_ms))
    }

    fn restore_line(&mut self, line: &str) -> Result<(), String> {
        let json: Json = serde_json::from_str(line)
            .map_err(|error| format!("not a record or an event: {error}"))?;
        if json.get("part").is_none() {
            return self.model.restore_line(json);
        }
        let Part { part, value } = read(json)?;
        match part.as_str() {
            "model" => self.model.restore_rest(value)?,
            "sessions" => self.sessions = read(value)?,
            "cursors" => self.cursors = read(value)?,
            "usage" => self.usage = read(value)?,
            "stats" => self.stats = read(value)?,
            "bulk" => self.bulk = read(value)?,
            "async_jobs" => self.async_jobs = read(value)?,
            "bus" => self.bus = read(value)?,
            "faults" => self.faults = read(value)?,
            "locks" => self.locks = read(value)?,
            "latency_ms" => self.latency_ms = read(value)?,
            "unconfirmed" => self.model.switches = read(value)?,
            other => return Err(format!("unknown part {other}")),
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(json: Json) -> Result<T, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

/// Returns a text that changes when the objects or fields of the org file change.
fn fingerprint(file: &OrgFile) -> String {
    let schema = file.schema().unwrap_or_default();
    let mut hash = Sha256::new();
    for object in &schema.objects {
        hash.update(format!("{} {}\n", object.name, object.prefix()));
        for field in &object.fields {
            hash.update(format!("{} {:?}\n", field.name, field.kind));
        }
    }
    for event in &file.platform_events {
        hash.update(format!("{}\n", event.name));
    }
    let digest = hash.finalize();
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
