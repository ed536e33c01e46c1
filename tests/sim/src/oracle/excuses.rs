//! What of a world excuses that a record is not in step.

use super::{DUPLICATE_VALUE, End, MASS_DELETE, ROW_MISSING, STILL_REFERENCED, WAITS_FOR_CHILDREN};
use crate::shapes::{BAD, Refusal, SHAPES, Second, TOO_LONG};
use crate::users::{Seen, SeenRecords};

impl End<'_> {
    /// Returns true if the record is parked, and for a reason that this world has: a side refuses a value that the
    /// other side holds, or a table was emptied.
    pub(super) fn is_rightly_parked(&self, place: usize, key: &str) -> bool {
        let Some(code) = self.parked.get(&(place, key.to_owned())) else {
            return false;
        };
        if code == MASS_DELETE {
            return self.users.log.emptied;
        }
        if code == ROW_MISSING {
            // The row was deleted under a name that another record had been given in Salesforce: the comparison tells.
            return self
                .users
                .log
                .deleted
                .contains_key(&(place, key.to_owned()));
        }
        if code == WAITS_FOR_CHILDREN {
            return self.would_take_along(place, key) || self.is_held_by_child(place, key);
        }
        if code == STILL_REFERENCED {
            return self.is_noted(place, key);
        }
        let field = SHAPES[place].fields[1].0;
        if self.world.schema.second == Second::Unique && self.is_taken(place, key, field) {
            return true;
        }
        // The row of a deleted record keeps its external id where deletes are ignored.
        if self.world.deletes == "ignore" && self.is_taken(place, key, "External_Id__c") {
            return true;
        }
        if self.is_held_here(place, key) {
            return true;
        }
        self.shows_bad_value(place, key)
            || code == DUPLICATE_VALUE && self.is_taken_by_bad(place, key)
    }

    /// Returns true if the other side refuses a value that one side holds.
    fn shows_bad_value(&self, place: usize, key: &str) -> bool {
        let field = SHAPES[place].fields[1].0;
        let is_bad = |side: &[SeenRecords]| {
            let value = side[place]
                .get(key)
                .and_then(|record| record[field].as_str());
            value.is_some_and(|value| value.starts_with(BAD))
        };
        let refuses = !matches!(self.world.schema.refusal, None | Some(Refusal::Keep));
        refuses && (is_bad(&self.postgres) || is_bad(&self.salesforce))
    }

    /// Returns true if Postgres cannot do what Salesforce asks: delete a row that a rule keeps, or take a name that is too
    /// long.
    pub(super) fn is_held_here(&self, place: usize, key: &str) -> bool {
        let there = self.salesforce[place].get(key);
        let is_kept = place == 1 && self.world.schema.refusal == Some(Refusal::Keep);
        let name = there.and_then(|record| record["External_Id__c"].as_str());
        let parent = there.and_then(|record| record["parent"].as_str());
        let is_too_long = [name, parent]
            .into_iter()
            .flatten()
            .any(|name| name.ends_with(TOO_LONG));
        there.is_none() && is_kept || is_too_long
    }

    /// Returns true if the record's parent is outside the filter.
    pub(super) fn is_outside(&self, place: usize, key: &str) -> bool {
        let there = self.salesforce[place].get(key);
        there.is_some_and(|record| record["is_outside"] == true)
    }

    /// Returns true if Salesforce has deleted the record, and a row that is not mapped still points to its row.
    pub(super) fn is_noted(&self, place: usize, key: &str) -> bool {
        place == 0
            && self.world.deletes == "propagate"
            && self.users.log.noted.contains(key)
            && !self.salesforce[place].contains_key(key)
    }

    /// Returns true if the sides may differ in this record.
    pub(super) fn is_stuck(&self, place: usize, key: &str) -> bool {
        self.is_rightly_parked(place, key)
            || self.is_noted(place, key)
            || self.is_held_by_child(place, key)
            || self.users.log.twins.contains(&(place, key.to_owned()))
    }

    /// Returns true if Salesforce has deleted the record, and its row stays for one that points to it and cannot change.
    pub(super) fn is_held_by_child(&self, place: usize, key: &str) -> bool {
        let mut children = SHAPES.iter().enumerate();
        !self.salesforce[place].contains_key(key)
            && children.any(|(child, shape)| {
                let mut rows = self.postgres[child].iter();
                child != place
                    && shape.parent == place
                    && rows.any(|(of, row)| {
                        self.is_parent_of(place, key, row)
                            && (self.is_rightly_parked(child, of)
                                || self.was_linked_here(child, of, row))
                    })
            })
    }

    /// Returns true if the record waits for the parent that its row names, and that Salesforce does not show of it: a
    /// user of Postgres has linked it to a record that was deleted in Salesforce meanwhile.
    fn was_linked_here(&self, place: usize, key: &str, row: &Seen) -> bool {
        let there = self.salesforce[place].get(key);
        self.orphans.contains(&(place, key.to_owned()))
            && there.is_some_and(|there| there["parent"] != row["parent"])
    }

    /// Returns true if a child names this record as its parent, by a name that it has or had.
    fn is_parent_of(&self, place: usize, key: &str, child: &Seen) -> bool {
        let name = child["parent"].as_str().unwrap_or_default();
        let named = self.users.log.names.get(&(place, name.to_owned()));
        named.is_some_and(|named| named == key)
    }

    /// Returns true if another row has the value that Salesforce shows of this record.
    pub(super) fn is_taken(&self, place: usize, key: &str, field: &str) -> bool {
        self.takers(place, key, field).next().is_some()
    }

    /// Returns true if the row has the record's external id whose own change its table refuses.
    fn is_taken_by_bad(&self, place: usize, key: &str) -> bool {
        let mut takers = self.takers(place, key, "External_Id__c");
        takers.any(|other| self.shows_bad_value(place, other))
    }

    /// Returns the records whose rows have the value that Salesforce shows of this one.
    fn takers<'b>(
        &'b self,
        place: usize,
        key: &'b str,
        field: &'b str,
    ) -> impl Iterator<Item = &'b String> {
        let wanted = self.salesforce[place].get(key).map(|record| &record[field]);
        let wanted = wanted.filter(|wanted| wanted.is_string());
        self.postgres[place]
            .iter()
            .filter(move |(other, row)| *other != key && Some(&row[field]) == wanted)
            .map(|(other, _)| other)
    }

    /// Returns true if Salesforce would delete records of another object together with this one.
    pub(super) fn would_take_along(&self, place: usize, key: &str) -> bool {
        let mut children = SHAPES.iter().enumerate();
        children.any(|(child, shape)| {
            child != place
                && shape.parent == place
                && self.salesforce[child]
                    .values()
                    .any(|child| self.is_parent_of(place, key, child))
        })
    }
}
