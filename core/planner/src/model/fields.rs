//! Fields by their place among an object's mapped fields, and what is known of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A mapped field: its place in a [`Mapping`](crate::mapping::Mapping).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub usize);

/// Something for each of some fields, in the order of the fields.
///
/// Inside the planner a field is a [`FieldId`]; at its edges it is a
/// [`FieldName`](super::ids::FieldName). Of values: a field that is absent was never seen, which
/// differs from a field that is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMap<F, T>(Vec<(F, T)>);

impl<F, T> Default for FieldMap<F, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F, T> FieldMap<F, T> {
    /// Returns an empty map with room for so many fields.
    pub fn with_capacity(fields: usize) -> Self {
        Self(Vec::with_capacity(fields))
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the fields with what they have, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&F, &T)> {
        self.0.iter().map(|(field, held)| (field, held))
    }

    /// Returns the fields, in order.
    pub fn keys(&self) -> impl Iterator<Item = &F> {
        self.0.iter().map(|(field, _)| field)
    }

    /// Returns what the fields have, in their order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, held)| held)
    }

    /// Keeps the fields of which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(&F, &T) -> bool) {
        self.0.retain(|(field, held)| keep(field, held));
    }

    /// Returns the same under other keys; a field without one is left out.
    pub fn rekeyed<G: Ord>(self, key: impl Fn(F) -> Option<G>) -> FieldMap<G, T> {
        let fields = self.0.into_iter();
        fields
            .filter_map(|(field, held)| Some((key(field)?, held)))
            .collect()
    }
}

impl<F: Ord, T> FieldMap<F, T> {
    /// Returns what the field has.
    pub fn get(&self, field: &F) -> Option<&T> {
        let place = self.place(field).ok()?;
        self.0.get(place).map(|(_, held)| held)
    }

    /// Returns whether the field has something.
    pub fn contains_key(&self, field: &F) -> bool {
        self.place(field).is_ok()
    }

    /// Sets what the field has.
    pub fn insert(&mut self, field: F, held: T) {
        match self.place(&field) {
            Ok(place) => self.0[place].1 = held,
            Err(place) => self.0.insert(place, (field, held)),
        }
    }

    fn place(&self, field: &F) -> Result<usize, usize> {
        match self.0.last() {
            // Fields come in order, so most are the next one.
            Some((last, _)) if last < field => Err(self.0.len()),
            Some(_) | None => self.0.binary_search_by(|(known, _)| known.cmp(field)),
        }
    }
}

impl<T> FieldMap<FieldId, T> {
    /// Returns what the field has. As [`Self::get`], but looks first where a map that lacks none has the field.
    pub fn at(&self, field: FieldId) -> Option<&T> {
        match self.0.get(field.0) {
            Some((known, held)) if *known == field => Some(held),
            Some(_) | None if self.0.is_empty() => None,
            Some(_) | None => self.get(&field),
        }
    }
}

impl<F: Ord, T> Extend<(F, T)> for FieldMap<F, T> {
    fn extend<I: IntoIterator<Item = (F, T)>>(&mut self, fields: I) {
        for (field, held) in fields {
            self.insert(field, held);
        }
    }
}

impl<F: Ord, T> FromIterator<(F, T)> for FieldMap<F, T> {
    fn from_iter<I: IntoIterator<Item = (F, T)>>(fields: I) -> Self {
        let fields = fields.into_iter();
        let mut map = Self::with_capacity(fields.size_hint().0);
        map.extend(fields);
        map
    }
}

impl<F, T> IntoIterator for FieldMap<F, T> {
    type Item = (F, T);
    type IntoIter = std::vec::IntoIter<(F, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<F: Serialize, T: Serialize> Serialize for FieldMap<F, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, F, T> Deserialize<'de> for FieldMap<F, T>
where
    F: Deserialize<'de> + Ord,
    T: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from_iter)
    }
}
