//! Finds lookups whose parents neither side has: Salesforce refuses them, and they are withheld.
//!
//! Parents are planned before their children, so what an object has is known when its children are planned. Lookups within
//! an object are judged when all of it is planned. A lookup to an object that is not planned, or not yet, is taken as good.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::tenant::mapped_object;
use crate::model::ids::{FieldName, ObjectName};
use crate::model::intent::WriteAction;
use crate::model::key::KeyForm;
use crate::model::value::Value;
use crate::ports::MappedObject;
use crate::ports::apply_store::PlannedRecord;
use crate::ports::record::{MISSING_PARENT, ParkReason};

use super::met::of_text;

/// External ids that are remembered of all parents, eight bytes each; with more, no lookup is judged.
const KEYS_MAX: usize = 5_000_000;

/// Lookups within an object that are judged at its end; more are taken as good.
const PENDING_MAX: usize = 200_000;

/// The external ids of the records that lookups may point to.
#[derive(Debug)]
pub(super) struct ParentKeys<'a> {
    mapped_objects: &'a [MappedObject],
    /// Those of each referenced object that was planned, or is being planned.
    keys: BTreeMap<&'a ObjectName, BTreeSet<u64>>,
    complete: BTreeSet<&'a ObjectName>,
    count: usize,
}

/// A lookup within the object that is being planned.
#[derive(Debug)]
pub(super) struct Pending {
    parent: u64,
    /// The record.
    pub(super) key: String,
    /// The lookup.
    pub(super) field: FieldName,
}

impl<'a> ParentKeys<'a> {
    pub(super) fn new(mapped_objects: &'a [MappedObject]) -> Self {
        let fields = mapped_objects
            .iter()
            .flat_map(|mapped| mapped.sync.fields.values());
        let referenced = fields.filter_map(|field| field.references.as_ref());
        Self {
            mapped_objects,
            keys: referenced.map(|object| (object, BTreeSet::new())).collect(),
            complete: BTreeSet::new(),
            count: 0,
        }
    }

    /// Remembers a record that both sides will have.
    pub(super) fn add(&mut self, object: &ObjectName, canonical_id: &str) {
        if let Some(keys) = self.keys.get_mut(object) {
            self.count += usize::from(self.count < KEYS_MAX && keys.insert(of_text(canonical_id)));
        }
    }

    /// Notes that every record of the object was planned.
    pub(super) fn complete(&mut self, object: &'a ObjectName) {
        self.complete.insert(object);
    }

    /// Withholds the lookups of a planned record that point to no record, as Salesforce's refusal would. Returns those
    /// that can only be judged at the end of the object.
    pub(super) fn judge(
        &self,
        mapped: &MappedObject,
        key: &str,
        record: &mut PlannedRecord,
    ) -> Vec<Pending> {
        let Some(intent) = &mut record.intent else {
            return Vec::new();
        };
        let mut pending = Vec::new();
        for (name, field) in &mapped.sync.fields {
            let (Some(object), Some(value)) = (&field.references, intent.fields.get(name)) else {
                continue;
            };
            let Some(parent) = self.key(object, value) else {
                continue;
            };
            if *object == mapped.sync.object {
                pending.push(Pending {
                    parent,
                    key: key.to_owned(),
                    field: name.clone(),
                });
            } else if self.lacks(object, parent) {
                intent.fields.remove(name);
                let reason = missing_parent(mapped, name, object);
                record.withheld.reasons.push(reason);
            }
        }
        if intent.action == WriteAction::Update && intent.fields.is_empty() {
            record.intent = None;
        }
        pending
    }

    /// Returns why a lookup within its object is withheld, if it is.
    pub(super) fn judge_pending(
        &self,
        mapped: &MappedObject,
        pending: &Pending,
    ) -> Option<ParkReason> {
        let object = &mapped.sync.object;
        let lacks = self.lacks(object, pending.parent);
        lacks.then(|| missing_parent(mapped, &pending.field, object))
    }

    /// Returns whether it is known that no record of the object has the external id.
    fn lacks(&self, object: &ObjectName, parent: u64) -> bool {
        let keys = self
            .keys
            .get(object)
            .filter(|_| self.complete.contains(object));
        self.count < KEYS_MAX && keys.is_some_and(|keys| !keys.contains(&parent))
    }

    fn key(&self, object: &ObjectName, value: &Value) -> Option<u64> {
        let parent = mapped_object(self.mapped_objects, object)?;
        if parent.sync.filter.is_some() {
            // Salesforce also finds the parents that the filter hides from us.
            return None;
        }
        let key = parent.schema.fields.get(&parent.sync.external_id.field)?;
        let canonical = match value {
            Value::Text(text) => KeyForm::of(key).canonical(text).ok()?,
            Value::Number(number) => KeyForm::of(key).canonical(&number.to_string()).ok()?,
            Value::Null | Value::Boolean(_) => return None,
        };
        Some(of_text(&canonical))
    }
}

/// Returns whether so many lookups are pending that no more are kept.
pub(super) fn is_full(pending: &[Pending]) -> bool {
    pending.len() >= PENDING_MAX
}

fn missing_parent(mapped: &MappedObject, field: &FieldName, parent: &ObjectName) -> ParkReason {
    ParkReason {
        code: MISSING_PARENT.to_owned(),
        field: Some(field.clone()),
        message: format!(
            "no {parent} on either side has the external id that {}.{field} names: the other fields are written, and \
             this one when there is such a record",
            mapped.sync.object
        ),
    }
}
