//! The org without protocols: schema, records, transactions and their change events.
//!
//! Pure and synchronous. The time is an argument; randomness comes from a seed.

pub(crate) mod automation;
pub(crate) mod bitmap;
pub(crate) mod change;
pub(crate) mod channel;
pub(crate) mod decode;
pub(crate) mod deletions;
pub(crate) mod delivery;
pub(crate) mod draft;
pub(crate) mod error;
pub(crate) mod event_file;
pub(crate) mod evolve;
pub(crate) mod formula;
pub(crate) mod id;
pub(crate) mod layout;
pub(crate) mod lifecycle;
pub(crate) mod log;
mod lookups;
pub(crate) mod mask;
pub(crate) mod number;
pub(crate) mod org_file;
pub(crate) mod permission;
pub(crate) mod platform_event;
pub(crate) mod publish;
pub(crate) mod rewrite;
mod rich_text;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod stamp;
pub(crate) mod state;
mod stored;
pub(crate) mod table;
pub(crate) mod text_diff;
pub(crate) mod transaction;
pub(crate) mod validation;
pub(crate) mod value;
pub(crate) mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use channel::Channel;
use deletions::Deletions;
use error::SfError;
use evolve::SchemaChange;
use id::RecordId;
use log::ChangeLog;
use permission::Permissions;
use platform_event::PlatformEvent;
use publish::EventLimits;
use schema::{Field, FieldNo, Object, ObjectNo, Schema};
use table::{RowNo, Table};
use value::Value;

use crate::unconfirmed::switches::Switches;

/// Seed of the org's randomness: the same calls give the same ids, tokens and keys.
const SEED: u64 = 0x5359_4e43_4c49_4e45;

/// The user who writes, and the change origin of the write.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) user: RecordId,
    pub(crate) origin: String,
}

/// Fields that Salesforce automation sets in the transaction of a write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) object: ObjectNo,
    pub(crate) when: Option<FieldNo>,
    pub(crate) sets: Vec<(FieldNo, Value)>,
}

/// A change that Salesforce automation makes to a value before it is saved.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Normaliser {
    pub(crate) object: ObjectNo,
    pub(crate) field: FieldNo,
    pub(crate) transform: Transform,
}

/// How a normaliser changes text.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transform {
    Uppercase,
    Lowercase,
}

/// A pseudo-random generator that repeats with its seed (SplitMix64).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Random(u64);

impl Random {
    /// Returns a generator with this seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number of at least 0 and less than 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns the next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Returns a UUID.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

/// The schema, the records and the change log.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) schema: Schema,
    pub(crate) tables: Vec<Table>,
    pub(crate) log: ChangeLog,
    pub(crate) deletions: Deletions,
    pub(crate) flows: Vec<Flow>,
    pub(crate) normalisers: Vec<Normaliser>,
    pub(crate) random: Random,
    pub(crate) now_ms: i64,
    /// How long before its commit the running transaction started. Its records get that time.
    pub(crate) late_ms: i64,
    /// System stamps are rounded down to a multiple of this: one second, or more so that records
    /// tie.
    pub(crate) grain_ms: i64,
    pub(crate) platform_events: Vec<PlatformEvent>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) limits: EventLimits,
    /// How many of an object's next events become gaps, as if Salesforce had failed.
    pub(crate) planned_gaps: BTreeMap<ObjectNo, u32>,
    /// How many planned gaps were sent.
    pub(crate) planned_gaps_sent: u64,
    /// The records that were deleted because another one was.
    deleted_with: HashMap<(ObjectNo, RowNo), Vec<(ObjectNo, RowNo)>>,
    /// The lookups that the delete of a record cleared.
    cleared_with: HashMap<(ObjectNo, RowNo), Vec<lookups::Lookup>>,
    commit_number: i64,
    pub(crate) switches: Switches,
    /// The restrictions of users; others have none.
    pub(crate) permissions: BTreeMap<RecordId, Arc<Permissions>>,
    /// Schema changes since the org file was read.
    pub(crate) changes: Vec<SchemaChange>,
}

impl Model {
    /// Returns an org without records.
    pub(crate) fn new(schema: Schema, now_ms: i64) -> Self {
        Self {
            tables: schema.objects.iter().map(Table::new).collect(),
            log: ChangeLog::new(&schema, now_ms),
            deletions: Deletions::new(now_ms),
            flows: Vec::new(),
            normalisers: Vec::new(),
            random: Random(SEED),
            now_ms,
            late_ms: 0,
            grain_ms: 0,
            platform_events: Vec::new(),
            channels: Vec::new(),
            limits: EventLimits::default(),
            planned_gaps: BTreeMap::new(),
            planned_gaps_sent: 0,
            deleted_with: HashMap::new(),
            cleared_with: HashMap::new(),
            commit_number: 10_736_437_567_061,
            switches: Switches::default(),
            permissions: BTreeMap::new(),
            changes: Vec::new(),
            schema,
        }
    }

    /// Sets the clock to `now_ms` and does what is due: retention and purges.
    pub(crate) fn advance_clock(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.log.advance_clock(now_ms);
        for id in self.deletions.advance_clock(now_ms) {
            if let Some(object) = self.schema.with_prefix(id.prefix())
                && let Some(row) = self.row_of(object, id)
                && self.table(object).is_deleted(self.object(object), row)
            {
                self.tables[object.0].purge(&self.schema.objects[object.0], row);
            }
        }
    }

    /// Returns the stamp of a record that is written now.
    pub(crate) fn stamp_ms(&self) -> i64 {
        let started = stamp::floor_to_second(self.now_ms.saturating_sub(self.late_ms));
        match self.grain_ms {
            ..=1_000 => started,
            grain => started.div_euclid(grain) * grain,
        }
    }

    /// Returns an object.
    pub(crate) fn object(&self, no: ObjectNo) -> &Object {
        self.schema.object(no)
    }

    /// Returns the records of an object.
    pub(crate) fn table(&self, no: ObjectNo) -> &Table {
        &self.tables[no.0]
    }

    /// Returns the object with that name, or Salesforce's error for an unknown object.
    pub(crate) fn object_named(&self, name: &str) -> Result<ObjectNo, SfError> {
        self.schema.find(name).ok_or_else(SfError::not_found)
    }

    /// Returns the id of an existing record.
    pub(crate) fn id_of(&self, object: ObjectNo, row: RowNo) -> RecordId {
        let object = self.object(object);
        let numbered = || RecordId::numbered(object.key_prefix, row);
        object.only_id.unwrap_or_else(numbered)
    }

    /// Returns the record of an object with an id, including deleted ones.
    pub(crate) fn row_of(&self, object: ObjectNo, id: RecordId) -> Option<RowNo> {
        if id.prefix() != self.object(object).key_prefix {
            return None;
        }
        let number = match self.object(object).only_id {
            Some(only) => (id == only).then_some(0),
            None => id.number(),
        };
        number.filter(|row| self.table(object).row(*row).is_some())
    }

    /// Returns the live record that a reference points to.
    pub(crate) fn live_row(&self, id: RecordId) -> Option<(ObjectNo, RowNo)> {
        let object = self.schema.with_prefix(id.prefix())?;
        let row = self.row_of(object, id)?;
        (!self.table(object).is_deleted(self.object(object), row)).then_some((object, row))
    }

    /// Returns the live records whose `field` has the value given as text.
    pub(crate) fn find_by(&self, object: ObjectNo, no: FieldNo, text: &str) -> Vec<RowNo> {
        let field = self.object(object).field(no);
        let key = match Value::from_text(field, text.trim()) {
            Ok(value) => value.index_key(field),
            // No record has a value that the field cannot hold.
            Err(_) => None,
        };
        let found = key.and_then(|key| self.table(object).find(no, &key).map(<[RowNo]>::to_vec));
        found.unwrap_or_default()
    }

    /// Returns the field with that name, or Salesforce's error for an unknown field.
    pub(crate) fn field_named(&self, object: ObjectNo, name: &str) -> Result<FieldNo, SfError> {
        let object = self.object(object);
        object
            .find(name)
            .ok_or_else(|| no_such_column(name, object))
    }

    /// Returns a field.
    pub(crate) fn field(&self, object: ObjectNo, no: FieldNo) -> &Field {
        self.object(object).field(no)
    }
}

/// Returns the error for an unknown field.
pub(crate) fn no_such_column(name: &str, object: &Object) -> SfError {
    let message = format!("No such column '{name}' on sobject of type {}", object.name);
    SfError::new("INVALID_FIELD", message)
}
