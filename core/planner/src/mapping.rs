//! The mapped fields of an object by place: names are looked up once, at the edges.

use crate::config::ObjectSync;
use crate::model::fields::FieldId;
use crate::model::ids::FieldName;

use super::field::Authority;

/// The rules of an object, and its mapped fields in order: the external id first, then by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    rules: ObjectSync,
    names: Vec<FieldName>,
    /// Whose value stands, by place.
    authorities: Vec<Option<Authority>>,
}

impl Mapping {
    /// The field that holds the external id.
    pub const EXTERNAL_ID: FieldId = FieldId(0);

    /// Returns the mapping that these rules are.
    pub fn new(rules: ObjectSync) -> Self {
        let external_id = &rules.external_id.field;
        let others = rules.fields.keys().filter(|name| *name != external_id);
        let names: Vec<FieldName> = std::iter::once(external_id)
            .chain(others)
            .cloned()
            .collect();
        let authorities = names
            .iter()
            .map(|name| Authority::over(name, &rules))
            .collect();
        Self {
            rules,
            names,
            authorities,
        }
    }

    /// Returns the rules.
    pub fn rules(&self) -> &ObjectSync {
        &self.rules
    }

    /// Returns the mapped fields, in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldId> + use<> {
        (0..self.names.len()).map(FieldId)
    }

    /// Returns the field of this name, if it is mapped.
    pub fn field(&self, name: &FieldName) -> Option<FieldId> {
        let (external_id, others) = self.names.split_first()?;
        if name == external_id {
            return Some(Self::EXTERNAL_ID);
        }
        others
            .binary_search(name)
            .ok()
            .map(|place| FieldId(place + 1))
    }

    /// Returns the name of a field of this mapping.
    pub fn name(&self, field: FieldId) -> &FieldName {
        &self.names[field.0]
    }

    pub(super) fn authority(&self, field: FieldId) -> Option<Authority> {
        self.authorities[field.0]
    }
}
