//! A full comparison of one object: its progress, and what it has counted. It contains keys, never values.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::ids::{FieldName, ObjectName, RecordId, SalesforceId};
use crate::model::value::Payload;

use super::record::ObservedRecord;

/// Most samples that are kept of each class.
const SAMPLES_MAX: usize = 10;

/// What a full comparison found of one record.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RecordClass {
    /// Every mapped field is equal.
    Equal,
    /// The row is marked as deleted, and Salesforce has the record no more.
    Deleted,
    /// It has open work, or its change is on its way.
    Pending,
    /// It appeared or was linked after the comparison began; the next one compares it.
    Appeared,
    /// A rule keeps the sides apart: a direction, an owner, ignored deletes, an automation in Salesforce.
    KeptApart,
    /// In Salesforce it is outside the object's filter; its row is left alone.
    FilteredOut,
    /// It has an open conflict.
    Conflicting,
    /// It stopped with a reason.
    Parked,
    /// The delete guard withholds its delete.
    DeleteWithheld,
    /// A mapped field cannot be written or compared; the others are equal.
    Withheld,
    /// Salesforce does not let us read the record, or the value of a mapped field.
    Unreadable,
    /// Only Salesforce has it, and nothing explains that.
    OnlyInSalesforce,
    /// Only Postgres has it, and nothing explains that.
    OnlyInPostgres,
    /// It has no external id, and no record is known for it.
    WithoutId,
    /// Both sides have it, and nothing explains the difference.
    Unexplained,
}

impl RecordClass {
    /// Returns whether nothing explains the difference: the record is planned again.
    pub fn is_unexplained(self) -> bool {
        match self {
            Self::OnlyInSalesforce | Self::OnlyInPostgres | Self::WithoutId | Self::Unexplained => {
                true
            }
            Self::Equal
            | Self::Deleted
            | Self::Pending
            | Self::Appeared
            | Self::KeptApart
            | Self::FilteredOut
            | Self::Conflicting
            | Self::Parked
            | Self::DeleteWithheld
            | Self::Withheld
            | Self::Unreadable => false,
        }
    }

    /// Returns whether a person must act, or the engine did not do what it should.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Conflicting
            | Self::Parked
            | Self::DeleteWithheld
            | Self::Withheld
            | Self::Unreadable => true,
            Self::Equal
            | Self::Deleted
            | Self::Pending
            | Self::Appeared
            | Self::KeptApart
            | Self::FilteredOut => false,
            Self::OnlyInSalesforce | Self::OnlyInPostgres | Self::WithoutId | Self::Unexplained => {
                true
            }
        }
    }
}

/// What is counted of one record. It stands for its rows and for its record in Salesforce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedRecord {
    /// Its class.
    pub class: RecordClass,
    /// Its rows: usually one, none if only Salesforce has it, several if they share a key.
    pub rows: u64,
    /// Salesforce has it.
    pub in_salesforce: bool,
    /// The fields that differ or cannot be compared.
    pub fields: Vec<FieldName>,
    /// Its external id, Salesforce id or primary key.
    pub key: String,
}

/// A record that a person may want to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its class.
    pub class: RecordClass,
    /// Its external id, Salesforce id or primary key.
    pub key: String,
    /// The fields that differ or cannot be compared.
    pub fields: Vec<FieldName>,
}

/// The counts of a comparison. A record on both sides is one entry, as is each further row with its key, so
/// the classes sum up to `rows + in_salesforce - pairs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rows that were classified.
    pub rows: u64,
    /// Records in Salesforce that were classified.
    pub in_salesforce: u64,
    /// Rows that were compared with a record in Salesforce.
    pub pairs: u64,
    /// Rows that the walk of the table met. Differs from `rows` if rows came or went meanwhile.
    pub rows_met: u64,
    /// Links of records that neither side has any more. They are no entries.
    pub gone: u64,
    /// Entries by class; a class without entries is left out.
    pub classes: BTreeMap<RecordClass, u64>,
    /// By field, the records in which it differs or cannot be compared.
    pub fields: BTreeMap<FieldName, u64>,
    /// Some records of each class that is a fault.
    pub samples: Vec<Sample>,
}

impl Tally {
    /// Counts one record.
    pub fn add(&mut self, finding: CountedRecord) {
        let in_salesforce = u64::from(finding.in_salesforce);
        let pairs = finding.rows.min(in_salesforce);
        self.rows += finding.rows;
        self.in_salesforce += in_salesforce;
        self.pairs += pairs;
        let entries = finding.rows + in_salesforce - pairs;
        if entries == 0 {
            self.gone += 1;
            return;
        }
        *self.classes.entry(finding.class).or_default() += entries;
        for field in &finding.fields {
            *self.fields.entry(field.clone()).or_default() += 1;
        }
        let known = self.samples.iter();
        if finding.class.is_fault()
            && known.filter(|known| known.class == finding.class).count() < SAMPLES_MAX
        {
            self.samples.push(Sample {
                class: finding.class,
                key: finding.key,
                fields: finding.fields,
            });
        }
    }

    /// Returns the entries of a class.
    pub fn of(&self, class: RecordClass) -> u64 {
        self.classes.get(&class).copied().unwrap_or_default()
    }

    /// Returns the entries of all classes.
    pub fn records(&self) -> u64 {
        self.classes.values().sum()
    }

    /// Returns the entries that nothing explains.
    pub fn unexplained(&self) -> u64 {
        let classes = self.classes.iter();
        let unexplained = classes.filter(|(class, _)| class.is_unexplained());
        unexplained.map(|(_, count)| count).sum()
    }

    /// Returns whether no entry is a fault.
    pub fn is_well(&self) -> bool {
        !self.classes.keys().any(|class| class.is_fault())
    }

    /// Returns whether every row and every record was met, and is equal or deleted on both sides.
    pub fn is_verified_equal(&self) -> bool {
        self.rows == self.rows_met
            && self.of(RecordClass::Equal) + self.of(RecordClass::Deleted) == self.records()
    }
}

/// How far a comparison is. Records of Salesforce come first, with their rows; then the rows, of which those
/// are counted that were not met before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "side")]
pub enum WalkPosition {
    /// After this Salesforce id.
    Salesforce {
        /// The last id; none at the beginning.
        after: Option<SalesforceId>,
    },
    /// After this row.
    Postgres {
        /// What identifies the last row; none at the beginning.
        after: Option<serde_json::Value>,
    },
}

/// A full comparison of one object, under way or finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The object.
    pub object: ObjectName,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it had compared everything; none while it is under way.
    pub finished_at: Option<DateTime<Utc>>,
    /// The configuration under which it compares.
    pub config_hash: String,
    /// Where it goes on; none when it is finished.
    pub position: Option<WalkPosition>,
    /// What it has counted so far.
    #[serde(flatten)]
    pub tally: Tally,
}

/// When a comparison is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Now, unless one is under way: that one goes on.
    Now,
    /// Unless one is under way, or the last one began less than this many milliseconds ago.
    After {
        /// The milliseconds.
        ms: i64,
    },
    /// Never: only one that is under way goes on.
    Never,
}

/// A Salesforce id of a page, and what was read there.
#[derive(Debug, Clone, Copy)]
pub struct PageRecord<'a> {
    /// The id.
    pub salesforce_id: &'a SalesforceId,
    /// The fields that were read; none if Salesforce does not return the record.
    pub fields: Option<&'a Payload>,
    /// The external id that was read.
    pub external_id: Option<&'a str>,
}

/// Links and live rows of the records of one page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedPage {
    /// The records that are linked.
    pub linked: Vec<ObservedRecord>,
    /// Of records that are not linked, the record that has their external id.
    pub named: BTreeMap<SalesforceId, RecordId>,
    /// Records that were linked after the comparison began.
    pub appeared: BTreeSet<RecordId>,
}

/// A page of rows in the order of their identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowPage {
    /// Its rows.
    pub rows: u64,
    /// Rows of records with a Salesforce id, which were linked after the comparison began.
    pub appeared: u64,
    /// Records without a Salesforce id, with their rows of this page.
    pub unlinked: Vec<ObservedRecord>,
    /// Rows that belong to no record.
    pub unknown: Vec<UnknownRow>,
    /// What identifies its last row; none if no row follows.
    pub next: Option<serde_json::Value>,
}

/// A row that belongs to no record.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownRow {
    /// What identifies it.
    pub identity: serde_json::Value,
    /// Its external id, unless it is blank.
    pub external_id: Option<String>,
    /// A change of it waits in the outbox.
    pub is_captured: bool,
}

/// What may explain that the sides of some records differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanations {
    /// The object is being read again, so any record may be about to change.
    pub needs_resync: bool,
    /// By record.
    pub work: BTreeMap<RecordId, OpenWork>,
}

/// What may explain that the sides of a record differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenWork {
    /// It has work that is due or waits, a write under way, or a change in the outbox.
    pub is_pending: bool,
    /// The code with which it is parked.
    pub parked: Option<String>,
    /// The field that is parked, if not the whole record is.
    pub parked_field: Option<FieldName>,
    /// Fields with an open conflict; `None` is a conflict about the whole record.
    pub conflicts: BTreeSet<Option<FieldName>>,
}
