//! Whether conflicts and discarded values are those that the policies of the world make of the users' edits.

use super::{End, Found, Json, word};
use crate::script::Side;
use crate::shapes::SHAPES;

/// Longest difference between two edits of which neither is taken for the later one, beside the skew of the clocks:
/// times of Salesforce are whole seconds.
const TIE_MS: i64 = 5_000;

impl End<'_> {
    /// Open conflicts that the world does not ask for, or that are not about edits of both sides.
    pub(super) fn wrong_conflicts(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for ((place, key, field), conflict) in &self.conflicts {
            let asks_person = if field.is_empty() {
                self.world.on_edit == "manual"
            } else {
                self.world.conflicts == "manual_review"
            };
            let mut complain = |what: &str| {
                let what = format!(
                    "conflict of {} {key}.{field}: {what}",
                    SHAPES[*place].object
                );
                found.push(("I7", Some((*place, key.clone())), what));
            };
            // What both sides hold and have never agreed on is a person's to decide.
            let never_agreed = self.users.log.hid_field
                && field == SHAPES[*place].fields[1].0
                && conflict["base_value"].is_null();
            if !asks_person && !never_agreed {
                complain("by policy no person is asked");
            }
            if !SHAPES[*place].fields.iter().any(|(name, _)| name == field) {
                continue;
            }
            if field == SHAPES[*place].fields[1].0 && self.world.owner != "shared" {
                complain("the field has an owner");
            }
            for (value, side) in [
                (&conflict["postgres_value"], Side::Postgres),
                (&conflict["salesforce_value"], Side::Salesforce),
            ] {
                let is_of_side = value
                    .as_str()
                    .is_none_or(|value| self.was_written(*place, key, field, value, side));
                if !is_of_side {
                    complain(&format!("no user of {side:?} wrote {value}"));
                }
            }
        }
        found
    }

    /// Discarded values that lost by a rule that this world does not have, or to an edit that is older.
    pub(super) fn wrong_losers(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for row in &self.discarded {
            let (place, key) = (self.users.place_of(row), self.users.record_of(row));
            let (rule, field) = (word(row, "rule"), word(row, "field"));
            let side = if row["side"] == "postgres" {
                Side::Postgres
            } else {
                Side::Salesforce
            };
            let policy = self.world.conflicts;
            let is_right = match rule.as_str() {
                "salesforce_wins" => side == Side::Postgres && policy == "salesforce_wins",
                "postgres_wins" => side == Side::Salesforce && policy == "postgres_wins",
                "tie_goes_to_salesforce" => side == Side::Postgres && policy == "last_writer_wins",
                "later_edit_wins" => {
                    policy == "last_writer_wins" && self.lost_to_a_later(place, &key, row, side)
                }
                "salesforce_owns" => side == Side::Postgres && self.world.owner == "salesforce",
                "postgres_owns" => side == Side::Salesforce && self.world.owner == "postgres",
                _ => true,
            };
            if !is_right {
                let object = SHAPES[place].object;
                let what = format!("{object} {key}.{field} of {side:?} lost by {rule}: {row}");
                found.push(("I2", Some((place, key)), what));
            }
        }
        found
    }

    fn was_written(&self, place: usize, key: &str, field: &str, value: &str, side: Side) -> bool {
        let mut edits = self.users.log.written.iter();
        edits.any(|((of, known, named, given), (by, _))| {
            (*of, known.as_str(), *named, *by) == (place, key, field, side)
                && (given == value || self.world.schema.kept(given) == value)
        })
    }

    /// Returns true if the other side's users have edited the field later than this value was written, as far as the
    /// clocks can tell.
    fn lost_to_a_later(&self, place: usize, key: &str, row: &Json, side: Side) -> bool {
        let (field, value) = (word(row, "field"), word(row, "value"));
        let edits = || {
            self.users
                .log
                .written
                .iter()
                .filter(|((of, known, named, _), _)| {
                    (*of, known.as_str(), *named) == (place, key, field.as_str())
                })
        };
        let Some(at) = edits()
            .find(|((.., given), _)| *given == value)
            .map(|(_, (_, at))| *at)
        else {
            // A cleared value has no time here.
            return true;
        };
        let slack = TIE_MS + self.world.skew_ms.abs();
        // A value may have lost to one that was cleared.
        let others: Vec<i64> = edits()
            .filter(|(_, (by, _))| *by != side)
            .map(|(_, (_, at))| *at)
            .collect();
        others.is_empty() || others.iter().any(|other| other + slack >= at)
    }
}
