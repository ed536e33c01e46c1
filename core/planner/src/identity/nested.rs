//! The order in which the changes of a batch are taken.
//!
//! A statement is captured when it ends: after the statements of the triggers that it fired, which may have changed its
//! rows again. So a row is seen to lose a name before it is seen to get it. Such a change is taken after the one that
//! gave its row the name: else the row would become two records. And a row is seen to get a name before another one is
//! seen to lose it: such a change is taken after the one that took the name away.
//!
//! A trigger before the statement's own changes is captured in the true order. Its rows have their names already, and
//! external ids are unique: so the order is that of the outbox unless no row has the name.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{KeyedChange, RowKey};
use crate::model::change::OutboxOperation;
use crate::model::hash::canonical_json;
use crate::model::ids::{ObjectName, TenantId};
use crate::model::link::Presence;

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

/// Returns the positions of the changes in the order in which to take them. `presence`: that of the row known by a name
/// before the batch.
pub fn order(
    changes: &[&KeyedChange],
    presence: impl Fn(&NameAt) -> Option<Presence>,
) -> Vec<usize> {
    if !changes.iter().any(|change| change.nested) {
        return (0..changes.len()).collect();
    }
    let mut batch = Batch {
        changes,
        givers: givers(changes),
        takers: takers(changes),
        presence,
        emptied: BTreeSet::new(),
        live: BTreeMap::new(),
        begun: vec![false; changes.len()],
        order: Vec::with_capacity(changes.len()),
    };
    for place in 0..changes.len() {
        batch.take(place);
    }
    batch.order
}

/// A change that came before a change of a batch, but may be captured after the batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Earlier<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The object.
    pub object: &'a ObjectName,
    /// The name of its row.
    pub name: RowName,
    /// The name as written: an external id, or a primary key as canonical JSON.
    pub written: String,
    /// What it did with the name.
    pub step: Step,
}

/// What a change did with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// It gave it to its row.
    Gave,
    /// It took it from its row, if one had it.
    Took {
        /// A change of the batch gave it to a row.
        live: bool,
    },
}

/// Returns the changes that came before those of triggers and are not in the batch: the statements that fired the
/// triggers are captured later.
pub fn captured_later<'a>(changes: &[&'a KeyedChange]) -> BTreeSet<Earlier<'a>> {
    let (givers, takers) = (givers(changes), takers(changes));
    let mut later = BTreeSet::new();
    for change in changes.iter().filter(|change| change.nested) {
        let (before, after) = (before(change), after(change));
        let mut add = |(_, _, name): NameAt, key: Option<&RowKey>, step| {
            let written = match &name {
                RowName::External(_) => key.map(|key| key.raw.clone()),
                RowName::Local(key) => Some(key.clone()),
            };
            later.extend(written.map(|written| Earlier {
                tenant: &change.tenant,
                object: &change.object,
                name,
                written,
                step,
            }));
        };
        let given = after.filter(|name| before.as_ref() != Some(name));
        if let Some(name) = before.filter(|name| !givers.contains_key(name)) {
            add(name, key_before(change), Step::Gave);
        }
        if let Some(name) = given.filter(|name| !takers.contains_key(name)) {
            let live = givers.get(&name).is_some_and(|givers| givers.len() > 1);
            add(name, change.key.as_ref(), Step::Took { live });
        }
    }
    later
}

struct Batch<'a, P> {
    changes: &'a [&'a KeyedChange],
    /// The changes that give a row a name, by the name.
    givers: BTreeMap<NameAt, Vec<usize>>,
    /// The changes that take a name from a row, by the name.
    takers: BTreeMap<NameAt, Vec<usize>>,
    presence: P,
    /// Objects whose tables the changes taken so far have emptied.
    emptied: BTreeSet<(TenantId, ObjectName)>,
    /// Names that the changes taken so far have given or taken away.
    live: BTreeMap<NameAt, bool>,
    begun: Vec<bool>,
    order: Vec<usize>,
}

impl<P: Fn(&NameAt) -> Option<Presence>> Batch<'_, P> {
    /// Takes a change, and before it those without which it could not have been made. A loop instead of a recursion: a
    /// row may have been renamed as often as there are changes.
    fn take(&mut self, place: usize) {
        if std::mem::replace(&mut self.begun[place], true) {
            return;
        }
        let mut waiting = vec![place];
        while let Some(place) = waiting.last().copied() {
            if let Some(earlier) = self.earlier(place) {
                self.begun[earlier] = true;
                waiting.push(earlier);
                continue;
            }
            waiting.pop();
            self.settle(place);
        }
    }

    /// Returns a change that is still to be taken and that came before a nested one: it gave the row its name, if no row
    /// has it, or took the row's new name from another row that has it.
    fn earlier(&self, place: usize) -> Option<usize> {
        let change = self.changes[place];
        if !change.nested {
            return None;
        }
        let (before, after) = (before(change), after(change));
        let unbegun = |places: &BTreeMap<NameAt, Vec<usize>>, name: &NameAt| {
            let mut places = places.get(name)?.iter().copied();
            places.find(|place| !self.begun[*place])
        };
        let given = after.filter(|name| before.as_ref() != Some(name));
        let giver = before
            .filter(|name| matches!(self.presence(name), None | Some(Presence::Deleted)))
            .and_then(|name| unbegun(&self.givers, &name));
        giver.or_else(|| {
            given
                .filter(|name| self.presence(name) == Some(Presence::Present))
                .and_then(|name| unbegun(&self.takers, &name))
        })
    }

    /// Returns the presence of the row that has the name after the changes taken so far.
    fn presence(&self, name: &NameAt) -> Option<Presence> {
        match self.live.get(name) {
            Some(true) => Some(Presence::Present),
            Some(false) => Some(Presence::Deleted),
            None if self.emptied.contains(&(name.0.clone(), name.1.clone())) => {
                Some(Presence::Deleted)
            }
            None => (self.presence)(name),
        }
    }

    fn settle(&mut self, place: usize) {
        let change = self.changes[place];
        if change.operation == OutboxOperation::Truncate {
            let emptied = (change.tenant.clone(), change.object.clone());
            self.live
                .retain(|name, _| (&name.0, &name.1) != (&emptied.0, &emptied.1));
            self.emptied.insert(emptied);
        }
        if let Some(name) = before(change) {
            self.live.insert(name, false);
        }
        if let Some(name) = after(change) {
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

/// Returns the changes after which a row no longer has the name that it had before.
fn takers(changes: &[&KeyedChange]) -> BTreeMap<NameAt, Vec<usize>> {
    let mut takers: BTreeMap<NameAt, Vec<usize>> = BTreeMap::new();
    for (place, change) in changes.iter().enumerate() {
        if let Some(name) = before(change).filter(|name| after(change).as_ref() != Some(name)) {
            takers.entry(name).or_default().push(place);
        }
    }
    takers
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
            RowName::External(name) => known.contains(&name.as_str()).then_some(Presence::Present),
            RowName::Local(_) => None,
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
    fn name_is_taken_away_before_a_trigger_gives_it() {
        let copied = [
            by_trigger(change(OutboxOperation::Insert, None, "A")),
            rename("A", "B"),
        ];
        assert_eq!(ordered(&copied, &["a"]), [1, 0]);
        let restored = [
            by_trigger(change(OutboxOperation::Insert, None, "A")),
            change(OutboxOperation::Delete, None, "A"),
        ];
        assert_eq!(ordered(&restored, &["a"]), [1, 0]);
        let handed_on = [by_trigger(rename("B", "A")), rename("A", "C")];
        assert_eq!(ordered(&handed_on, &["a", "b"]), [1, 0]);
        // The row got the name when no other had it.
        assert_eq!(ordered(&restored, &[]), [0, 1]);
        let emptied = [
            change(OutboxOperation::Truncate, None, ""),
            by_trigger(change(OutboxOperation::Insert, None, "A")),
            change(OutboxOperation::Delete, None, "A"),
        ];
        assert_eq!(ordered(&emptied, &["a"]), [0, 1, 2]);
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
        let later = captured_later(&changes);
        let later: Vec<(&str, Step)> = later
            .iter()
            .map(|earlier| (earlier.written.as_str(), earlier.step))
            .collect();
        let took = Step::Took { live: false };
        assert_eq!(later, [("B", Step::Gave), ("C", took)], "as written");
    }
}
