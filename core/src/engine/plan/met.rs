//! Remembers which records and rows were met, so that the walk of the rows finds those that only Postgres has.
//!
//! Of each it keeps eight bytes. That two of ten million records share them has a chance of one in 300,000; one row would
//! then be left out of the plan. Beyond [`MET_MAX`] nothing is remembered, and Salesforce is asked for each row instead.

use std::collections::BTreeSet;

use crate::model::hash::canonical_json;

/// Records and rows that are remembered: about 200 MB in all three sets.
const MET_MAX: usize = 5_000_000;

/// What was met of one object.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// Rows, by what identifies them.
    rows: BTreeSet<u64>,
    /// Records with a row, by canonical external id.
    with_row: BTreeSet<u64>,
    /// Records without a row, by canonical external id.
    without_row: BTreeSet<u64>,
    is_full: bool,
}

/// What is known of a row when the walk of the table meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It was planned with its record.
    Planned,
    /// A record with its external id was planned with another row.
    Second,
    /// A record with its external id was planned without a row: the row spells it otherwise.
    Respelled,
    /// No record that was met has its external id.
    New,
    /// Too many records were met to remember whether one has its external id.
    Unknown,
}

impl Met {
    /// Remembers a record that was planned with these rows.
    pub(super) fn add(&mut self, canonical_id: &str, rows: &[serde_json::Value]) {
        let met = self.rows.len() + self.with_row.len() + self.without_row.len();
        if met >= MET_MAX {
            self.is_full = true;
            return;
        }
        self.rows.extend(rows.iter().map(of_row));
        let records = match rows.is_empty() {
            true => &mut self.without_row,
            false => &mut self.with_row,
        };
        records.insert(of_text(canonical_id));
    }

    /// Returns what is known of a row.
    pub(super) fn place(&self, identity: &serde_json::Value, canonical_id: Option<&str>) -> Place {
        let record = canonical_id.map(of_text);
        if self.rows.contains(&of_row(identity)) {
            return Place::Planned;
        }
        match record {
            Some(record) if self.with_row.contains(&record) => Place::Second,
            Some(record) if self.without_row.contains(&record) => Place::Respelled,
            Some(_) if self.is_full => Place::Unknown,
            Some(_) | None => Place::New,
        }
    }
}

fn of_row(identity: &serde_json::Value) -> u64 {
    of_text(&canonical_json(identity))
}

/// Returns the eight bytes that stand for a text.
pub(super) fn of_text(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let first: [u8; 8] = std::array::from_fn(|place| hash.as_bytes()[place]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_told_apart_by_what_was_met() {
        let mut met = Met::default();
        met.add("k1", &[json!({"id": 1})]);
        met.add("k2", &[]);
        assert_eq!(met.place(&json!({"id": 1}), Some("k1")), Place::Planned);
        assert_eq!(met.place(&json!({"id": 2}), Some("k1")), Place::Second);
        assert_eq!(met.place(&json!({"id": 3}), Some("k2")), Place::Respelled);
        assert_eq!(met.place(&json!({"id": 4}), Some("k3")), Place::New);
        assert_eq!(met.place(&json!({"id": 5}), None), Place::New);
    }
}
