//! The order in which the changes of a batch are taken.
//!
//! A statement is captured when it ends: after the statements of the triggers that it fired, which may have changed its
//! rows again. So a row is seen to lose a name before it is seen to get it. Such a change is taken after the one that
//! gave its row the name: else the row would become two records.
//!
//! A trigger before the statement's own changes is captured in the true order. Its rows have their names already, and
//! external ids are unique: so the order is that of the outbox unless no row has the name.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{KeyedChange, RowKey};
use crate::model::change::OutboxOperation;
use crate::model::hash::canonical_json;
use crate::model::ids::{ObjectName, TenantId};

/// What a row is known by: its external id or, without one, its primary key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowName {
    /// A canonical external id.
    External(String),
    /// A primary key as canonical JSON.
    Local(String),
}

/// A name at its object.
pub type NameAt = (TenantId, ObjectName, RowName);

/// Returns the positions of the changes in the order in which to take them. `is_live`: a row is known to have the name
/// before the batch.
pub fn order(changes: &[&KeyedChange], is_live: impl Fn(&NameAt) -> bool) -> Vec<usize> {
    if !changes.iter().any(|change| change.nested) {
        return (0..changes.len()).collect();
    }
    let mut batch = Batch {
        changes,
        givers: givers(changes),
        live: BTreeMap::new(),
        begun: vec![false; changes.len()],
        taken: vec![false; changes.len()],
        order: Vec::with_capacity(changes.len()),
    };
    for place in 0..changes.len() {
        batch.take(place, &is_live);
    }
    batch.order
}

/// Returns the external ids that rows had, as written, when triggers changed them, and that no change of the batch gave
/// them: the statements that fired the triggers may not be among the changes.
pub fn names_given_later<'a>(
    changes: &[&'a KeyedChange],
) -> BTreeSet<(&'a TenantId, &'a ObjectName, &'a str)> {
    let given: BTreeSet<NameAt> = givers(changes).into_keys().collect();
    let nested = changes.iter().filter(|change| change.nested);
    nested
        .filter(|change| before(change).is_some_and(|name| !given.contains(&name)))
        .filter_map(|change| {
            let key = key_before(change)?;
            Some((&change.tenant, &change.object, key.raw.as_str()))
        })
        .collect()
}

struct Batch<'a> {
    changes: &'a [&'a KeyedChange],
    /// The changes that give a row a name, by the name.
    givers: BTreeMap<NameAt, Vec<usize>>,
    /// Names that the changes taken so far have given or taken away.
    live: BTreeMap<NameAt, bool>,
    begun: Vec<bool>,
    taken: Vec<bool>,
    order: Vec<usize>,
}

impl Batch<'_> {
    /// Takes a change, and before it those that gave its row the name. A loop instead of a recursion: a row may have been
    /// renamed as often as there are changes.
    fn take(&mut self, place: usize, is_live: &impl Fn(&NameAt) -> bool) {
        let mut waiting = vec![place];
        while let Some(place) = waiting.last().copied() {
            let is_new = !std::mem::replace(&mut self.begun[place], true);
            if let Some(giver) = self.giver(place, is_live).filter(|_| is_new) {
                waiting.push(giver);
                continue;
            }
            waiting.pop();
            if !std::mem::replace(&mut self.taken[place], true) {
                self.settle(place);
            }
        }
    }

    /// Returns the change that gave the row of a nested change its name, if no row has it and that one is still to be taken.
    fn giver(&self, place: usize, is_live: &impl Fn(&NameAt) -> bool) -> Option<usize> {
        let change = self.changes[place];
        let name = before(change).filter(|_| change.nested)?;
        if self
            .live
            .get(&name)
            .copied()
            .unwrap_or_else(|| is_live(&name))
        {
            return None;
        }
        let givers = self.givers.get(&name)?;
        givers.iter().copied().find(|giver| !self.begun[*giver])
    }

    fn settle(&mut self, place: usize) {
        if let Some(name) = before(self.changes[place]) {
            self.live.insert(name, false);
        }
        if let Some(name) = after(self.changes[place]) {
            self.live.insert(name, true);
        }
        self.order.push(place);
    }
}

/// Returns the changes after which a row has a name that it did not have before.
fn givers(changes: &[&KeyedChange]) -> BTreeMap<NameAt, Vec<usize>> {
    let mut givers: BTreeMap<NameAt, Vec<usize>> = BTreeMap::new();
    for (place, change) in changes.iter().enumerate() {
        if let Some(name) = after(change).filter(|name| before(change).as_ref() != Some(name)) {
            givers.entry(name).or_default().push(place);
        }
    }
    givers
}

fn key_before(change: &KeyedChange) -> Option<&RowKey> {
    match change.operation {
        OutboxOperation::Insert
        | OutboxOperation::Backfill
        | OutboxOperation::Truncate
        | OutboxOperation::Uncaptured => None,
        OutboxOperation::Update if change.old_key.is_some() => change.old_key.as_ref(),
        // It had no external id before.
        OutboxOperation::Update if change.local_key.is_some() => None,
        OutboxOperation::Update | OutboxOperation::Delete => change.key.as_ref(),
    }
}

/// Returns what the row was known by before the change.
fn before(change: &KeyedChange) -> Option<NameAt> {
    let is_change = matches!(
        change.operation,
        OutboxOperation::Update | OutboxOperation::Delete
    );
    let name = match key_before(change) {
        Some(key) => Some(RowName::External(key.canonical.clone())),
        None if is_change => local(change),
        None => None,
    };
    Some((change.tenant.clone(), change.object.clone(), name?))
}

/// Returns what the row is known by after the change.
fn after(change: &KeyedChange) -> Option<NameAt> {
    let name = match change.operation {
        OutboxOperation::Delete | OutboxOperation::Truncate | OutboxOperation::Uncaptured => None,
        OutboxOperation::Insert | OutboxOperation::Update | OutboxOperation::Backfill => change
            .key
            .as_ref()
            .map(|key| RowName::External(key.canonical.clone()))
            .or_else(|| local(change)),
    };
    Some((change.tenant.clone(), change.object.clone(), name?))
}

fn local(change: &KeyedChange) -> Option<RowName> {
    change
        .local_key
        .as_ref()
        .map(canonical_json)
        .map(RowName::Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Option<RowKey> {
        Some(RowKey {
            raw: name.to_owned(),
            canonical: name.to_lowercase(),
        })
    }

    fn change(operation: OutboxOperation, old: Option<&str>, new: &str) -> KeyedChange {
        KeyedChange {
            tenant: TenantId::parse("acme").unwrap(),
            object: ObjectName::parse("Account").unwrap(),
            operation,
            key: key(new),
            old_key: old.and_then(key),
            local_key: None,
            generated: None,
            changed_at_ms: None,
            fields: Vec::new(),
            nested: false,
        }
    }

    fn rename(old: &str, new: &str) -> KeyedChange {
        change(OutboxOperation::Update, Some(old), new)
    }

    fn by_trigger(change: KeyedChange) -> KeyedChange {
        KeyedChange {
            nested: true,
            ..change
        }
    }

    /// Returns the order if rows are known by these names.
    fn ordered(changes: &[KeyedChange], known: &[&str]) -> Vec<usize> {
        let changes: Vec<&KeyedChange> = changes.iter().collect();
        order(&changes, |(_, _, name)| match name {
            RowName::External(name) => known.contains(&name.as_str()),
            RowName::Local(_) => false,
        })
    }

    #[test]
    fn name_is_given_before_a_trigger_takes_it_away() {
        let renamed = [by_trigger(rename("B", "C")), rename("A", "B")];
        assert_eq!(ordered(&renamed, &["a"]), [1, 0]);
        let thrice = [
            by_trigger(rename("C", "D")),
            by_trigger(rename("B", "C")),
            rename("A", "B"),
        ];
        assert_eq!(ordered(&thrice, &["a"]), [2, 1, 0]);
        let inserted = [
            by_trigger(change(OutboxOperation::Delete, None, "A")),
            change(OutboxOperation::Insert, None, "A"),
        ];
        assert_eq!(ordered(&inserted, &[]), [1, 0]);
        let edited = [
            by_trigger(change(OutboxOperation::Update, None, "B")),
            rename("A", "B"),
        ];
        assert_eq!(ordered(&edited, &["a"]), [1, 0]);
    }

    #[test]
    fn name_that_a_trigger_freed_first_is_given_later() {
        let freed = [by_trigger(rename("B", "C")), rename("A", "B")];
        assert_eq!(ordered(&freed, &["a", "b"]), [0, 1]);
        let replaced = [
            by_trigger(change(OutboxOperation::Delete, None, "A")),
            change(OutboxOperation::Insert, None, "A"),
        ];
        assert_eq!(ordered(&replaced, &["a"]), [0, 1]);
        // The name was given, taken away and given again in one batch.
        let again = [
            change(OutboxOperation::Insert, None, "A"),
            change(OutboxOperation::Delete, None, "A"),
            by_trigger(rename("A", "B")),
            change(OutboxOperation::Insert, None, "A"),
        ];
        assert_eq!(ordered(&again, &[]), [0, 1, 3, 2]);
    }

    #[test]
    fn changes_of_statements_alone_keep_their_order() {
        let swapped = [rename("B", "C"), rename("A", "B"), rename("C", "A")];
        assert_eq!(ordered(&swapped, &[]), [0, 1, 2]);
        let circle = [by_trigger(rename("B", "A")), by_trigger(rename("A", "B"))];
        assert_eq!(ordered(&circle, &[]), [1, 0], "each is taken once");
    }

    #[test]
    fn other_tables_give_no_names() {
        let other = KeyedChange {
            object: ObjectName::parse("Contact").unwrap(),
            ..rename("A", "B")
        };
        let changes = [by_trigger(rename("B", "C")), other];
        assert_eq!(ordered(&changes, &["a"]), [0, 1]);
        let changes: Vec<&KeyedChange> = changes.iter().collect();
        let later = names_given_later(&changes);
        let names: Vec<&str> = later.iter().map(|(_, _, name)| *name).collect();
        assert_eq!(names, ["B"], "as written");
    }
}
