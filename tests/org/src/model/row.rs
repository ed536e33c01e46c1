//! The values of one record, stored without nulls, because most fields of most records are empty.

use std::ops::Index;

use super::schema::FieldNo;
use super::value::Value;

/// The value of an absent field.
static NULL: Value = Value::Null;

/// The values of one record. An empty row holds no record.
#[derive(Debug, Default)]
pub(crate) struct Row {
    present: Bits,
    /// The non-null values, in the order of their fields.
    values: Box<[Value]>,
}

/// Which fields have a value: one word for most objects, more for wide ones.
#[derive(Debug)]
enum Bits {
    Few(u64),
    Many(Box<[u64]>),
}

impl Default for Bits {
    fn default() -> Self {
        Self::Few(0)
    }
}

impl Bits {
    fn words(&self) -> &[u64] {
        match self {
            Self::Few(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }

    fn has(&self, field: usize) -> bool {
        let word = self.words().get(field / 64);
        word.is_some_and(|word| word >> (field % 64) & 1 == 1)
    }

    /// Returns the number of fields with a value.
    fn count(&self) -> usize {
        let ones = self.words().iter().map(|word| word.count_ones() as usize);
        ones.sum()
    }

    /// Returns the number of fields with a value before this one.
    fn rank(&self, field: usize) -> usize {
        let (whole, part) = (field / 64, field % 64);
        let words = self.words();
        let before: u32 = words.iter().take(whole).map(|word| word.count_ones()).sum();
        let last = words.get(whole).map_or(0, |word| {
            let below = (1_u64 << part) - 1;
            (word & below).count_ones()
        });
        (before + last) as usize
    }

    fn put(&mut self, field: usize, present: bool) {
        let (word, bit) = (field / 64, 1_u64 << (field % 64));
        if self.words().len() <= word {
            let mut wider = self.words().to_vec();
            wider.resize(word + 1, 0);
            *self = Self::Many(wider.into());
        }
        let place = match self {
            Self::Few(only) => only,
            Self::Many(words) => &mut words[word],
        };
        if present {
            *place |= bit;
        } else {
            *place &= !bit;
        }
    }
}

impl Row {
    /// Returns a row with these values, one for each field.
    pub(crate) fn of(values: Box<[Value]>) -> Self {
        let mut present = Bits::default();
        for (field, value) in values.iter().enumerate() {
            if *value != Value::Null {
                present.put(field, true);
            }
        }
        let mut kept = Vec::with_capacity(present.count());
        kept.extend(values.into_iter().filter(|value| *value != Value::Null));
        Self {
            present,
            values: kept.into(),
        }
    }

    /// Returns whether the row holds no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns a value. A field added after the row was stored is null.
    pub(crate) fn get(&self, field: FieldNo) -> &Value {
        if !self.present.has(field.0) {
            return &NULL;
        }
        &self.values[self.present.rank(field.0)]
    }

    /// Sets a value and returns the previous one.
    pub(crate) fn set(&mut self, field: FieldNo, new: Value) -> Value {
        let (known, place) = (self.present.has(field.0), self.present.rank(field.0));
        match (known, new == Value::Null) {
            (false, true) => Value::Null,
            (true, false) => std::mem::replace(&mut self.values[place], new),
            (false, false) => {
                let mut values = std::mem::take(&mut self.values).into_vec();
                values.reserve_exact(1);
                values.insert(place, new);
                self.values = values.into();
                self.present.put(field.0, true);
                Value::Null
            }
            (true, true) => {
                let mut values = std::mem::take(&mut self.values).into_vec();
                let old = values.remove(place);
                self.values = values.into();
                self.present.put(field.0, false);
                old
            }
        }
    }
}

impl Index<usize> for Row {
    type Output = Value;

    fn index(&self, field: usize) -> &Value {
        self.get(FieldNo(field))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packed_row_equals_its_array(
            start in proptest::collection::vec(proptest::option::of(0_i32..9), 1..150),
            edits in proptest::collection::vec((0_usize..150, proptest::option::of(0_i32..9)), 0..40),
        ) {
            let value = |int: Option<i32>| int.map_or(Value::Null, Value::Int);
            let mut plain: Vec<Value> = start.into_iter().map(value).collect();
            let mut row = Row::of(plain.clone().into());
            for (field, int) in edits {
                let field = field % plain.len();
                let old = std::mem::replace(&mut plain[field], value(int));
                prop_assert_eq!(row.set(FieldNo(field), value(int)), old);
            }
            prop_assert!(plain.iter().enumerate().all(|(field, value)| row[field] == *value));
            prop_assert_eq!(row.is_empty(), plain.iter().all(|value| *value == Value::Null));
            prop_assert_eq!(row.get(FieldNo(700)), &Value::Null);
        }
    }
}
