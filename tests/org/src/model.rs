//! The org without any protocol: schema, records, transactions and the change events they leave.
//!
//! Pure and synchronous. Time is a number that somebody else sets; randomness comes from a seed.

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
pub(crate) mod org_file;
pub(crate) mod permission;
pub(crate) mod platform_event;
pub(crate) mod publish;
pub(crate) mod rewrite;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod stamp;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod text_diff;
pub(crate) mod transaction;
pub(crate) mod validation;
pub(crate) mod value;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use channel::Channel;
use deletions::Deletions;
use error::SfError;
use evolve::SchemaChange;
use id::RecordId;
use log::ChangeLog;
use platform_event::PlatformEvent;
use publish::EventLimits;
use schema::{Field, FieldNo, Object, ObjectNo, Schema};
use table::{RowNo, Table};
use value::Value;

/// Seed of the org's randomness: the same calls give the same ids, tokens and keys.
const SEED: u64 = 0x5359_4e43_4c49_4e45;

/// Who writes, and what the change events say about it.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) user: RecordId,
    pub(crate) origin: String,
}

/// Something that Salesforce automation sets in the transaction of a write.
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

/// What a normaliser does to text.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transform {
    Uppercase,
    Lowercase,
}

/// A source of numbers that look random and repeat with their seed (SplitMix64).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Returns a source that repeats with this seed.
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

/// Schema, records and change log.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) schema: Schema,
    pub(crate) tables: Vec<Table>,
    pub(crate) log: ChangeLog,
    pub(crate) deletions: Deletions,
    pub(crate) flows: Vec<Flow>,
    pub(crate) normalisers: Vec<Normaliser>,
    pub(crate) dice: Dice,
    pub(crate) now_ms: i64,
    /// How long before its commit the running transaction started: its records carry that time.
    pub(crate) late_ms: i64,
    /// The grid that system stamps lie on: a second, or wider, so that many records tie.
    pub(crate) grain_ms: i64,
    pub(crate) platform_events: Vec<PlatformEvent>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) limits: EventLimits,
    /// How many events of an object are still to be sent as gaps, as if Salesforce had failed.
    pub(crate) planned_gaps: BTreeMap<ObjectNo, u32>,
    /// How many were.
    pub(crate) planned_gaps_sent: u64,
    /// The records that went to the recycle bin because another one did.
    gone_with: HashMap<(ObjectNo, RowNo), Vec<(ObjectNo, RowNo)>>,
    commit_number: i64,
    /// What became of the schema of the org file since.
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
            dice: Dice(SEED),
            now_ms,
            late_ms: 0,
            grain_ms: 0,
            platform_events: Vec::new(),
            channels: Vec::new(),
            limits: EventLimits::default(),
            planned_gaps: BTreeMap::new(),
            planned_gaps_sent: 0,
            gone_with: HashMap::new(),
            commit_number: 10_736_437_567_061,
            changes: Vec::new(),
            schema,
        }
    }

    /// Puts the clock to `now_ms` and does what falls due: retention, purges.
    pub(crate) fn keep_time(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.log.keep_time(now_ms);
        for id in self.deletions.keep_time(now_ms) {
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

    /// Returns the object of that name, or Salesforce's complaint that there is none.
    pub(crate) fn object_named(&self, name: &str) -> Result<ObjectNo, SfError> {
        self.schema.find(name).ok_or_else(SfError::not_found)
    }

    /// Returns the id of an existing record.
    pub(crate) fn id_of(&self, object: ObjectNo, row: RowNo) -> RecordId {
        RecordId::numbered(self.object(object).key_prefix, row)
    }

    /// Returns the record of an object behind an id, the deleted ones included.
    pub(crate) fn row_of(&self, object: ObjectNo, id: RecordId) -> Option<RowNo> {
        if id.prefix() != self.object(object).key_prefix {
            return None;
        }
        id.number()
            .filter(|row| self.table(object).row(*row).is_some())
    }

    /// Returns the live record that an id in a reference names.
    pub(crate) fn live_row(&self, id: RecordId) -> Option<(ObjectNo, RowNo)> {
        let object = self.schema.with_prefix(id.prefix())?;
        let row = self.row_of(object, id)?;
        (!self.table(object).is_deleted(self.object(object), row)).then_some((object, row))
    }

    /// Returns the live records whose `field` holds the value that `text` writes.
    pub(crate) fn find_by(&self, object: ObjectNo, no: FieldNo, text: &str) -> Vec<RowNo> {
        let field = self.object(object).field(no);
        let key = match Value::from_text(field, text.trim()) {
            Ok(value) => value.index_key(field),
            // A value that the field could not hold is held by no record.
            Err(_) => None,
        };
        let found = key.and_then(|key| self.table(object).find(no, &key).map(<[RowNo]>::to_vec));
        found.unwrap_or_default()
    }

    /// Returns the field of that name, or Salesforce's complaint that there is none.
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

/// Returns the refusal of an unknown field.
pub(crate) fn no_such_column(name: &str, object: &Object) -> SfError {
    let message = format!("No such column '{name}' on sobject of type {}", object.name);
    SfError::new("INVALID_FIELD", message)
}
