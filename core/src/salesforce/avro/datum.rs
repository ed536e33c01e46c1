//! Reads one Avro datum to its last byte, of a schema whose values a few bytes cannot multiply.
//!
//! Schemas and events come from outside, and Avro's own reader trusts both: it takes the end of the input for null, it
//! follows a schema into itself as deep as the input says, and it allocates what a schema announces.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{DecimalSchema, InnerDecimalSchema, Name, UuidSchema};
use apache_avro::types::Value as Avro;

/// Most values of an event beside the items of its lists: an object has at most 800 fields, a compound some ten parts.
const VALUES_MAX: usize = 20_000;

/// Most records within each other: an event has a header and compounds, which have no records.
const LEVELS_MAX: usize = 8;

/// Most values of one item of a list: a scalar in a union.
const ITEM_VALUES_MAX: usize = 2;

/// Most bytes of a value whose length the schema says: events have at most 1 MB.
const FIXED_BYTES_MAX: usize = 1024 * 1024;

/// Returns the datum that `bytes` are, or `None` if they are not exactly one.
pub(super) fn read(schema: &Schema, bytes: &[u8]) -> Option<Avro> {
    let mut bytes = Exactly(bytes);
    let reader = GenericDatumReader::builder(schema).build().ok()?;
    let datum = reader.read_value(&mut bytes).ok()?;
    bytes.0.is_empty().then_some(datum)
}

/// Returns whether the values of a schema are bounded by the bytes that they are read from.
pub(super) fn is_bounded(schema: &Schema) -> bool {
    let size = Sizes::default().of(schema);
    size.is_some_and(|size| size.values <= VALUES_MAX)
}

/// Bytes that fail when they end. Of an input that ends, Avro's reader makes null where a text, a boolean or a union was
/// to follow, so that a part of an event would look like an event whose last fields were cleared.
struct Exactly<'a>(&'a [u8]);

impl Read for Exactly<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        if self.0.is_empty() && !into.is_empty() {
            return Err(Error::from(ErrorKind::InvalidData));
        }
        self.0.read(into)
    }
}

/// What a value of a schema is made of.
#[derive(Clone, Copy)]
struct Size {
    /// Most values, without the items of lists.
    values: usize,
    /// Least bytes that it is read from.
    bytes_min: usize,
    levels: usize,
    has_list: bool,
}

impl Size {
    fn scalar(bytes_min: usize) -> Self {
        Self {
            values: 1,
            bytes_min,
            levels: 0,
            has_list: false,
        }
    }

    fn fixed(bytes: usize) -> Option<Self> {
        (bytes <= FIXED_BYTES_MAX).then_some(Self::scalar(bytes))
    }
}

/// The sizes of the types that have a name and are complete. A type that contains itself is not yet among them when it
/// is named.
#[derive(Default)]
struct Sizes<'s>(BTreeMap<&'s str, Size>);

impl<'s> Sizes<'s> {
    /// Returns the size of a schema, or `None` if it has no bound.
    fn of(&mut self, schema: &'s Schema) -> Option<Size> {
        match schema {
            Schema::Null => Some(Size::scalar(0)),
            Schema::Fixed(fixed) => self.named(&fixed.name, Size::fixed(fixed.size)?),
            Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                self.named(&fixed.name, Size::fixed(fixed.size)?)
            }
            Schema::Decimal(DecimalSchema { inner, .. }) => match inner {
                InnerDecimalSchema::Fixed(fixed) => {
                    self.named(&fixed.name, Size::fixed(fixed.size)?)
                }
                InnerDecimalSchema::Bytes => Some(Size::scalar(1)),
            },
            Schema::Enum(symbols) => self.named(&symbols.name, Size::scalar(1)),
            Schema::Ref { name } => self.0.get(name.name()).copied(),
            Schema::Array(list) => self.list_of(&list.items),
            Schema::Map(map) => self.list_of(&map.types),
            Schema::Union(union) => {
                let choice = self.all(union.variants(), usize::max)?;
                let bytes_min = 1;
                Some(Size {
                    bytes_min,
                    ..choice
                })
            }
            Schema::Record(record) => {
                let fields = record.fields.iter().map(|field| &field.schema);
                let mut whole = self.all(fields, usize::saturating_add)?;
                whole.levels += 1;
                let size = (whole.levels <= LEVELS_MAX).then_some(whole)?;
                self.named(&record.name, size)
            }
            // All others are numbers, texts and bytes, each with its length or its own end.
            _ => Some(Size::scalar(1)),
        }
    }

    /// Remembers the size of a type by its name, which stands for one type alone.
    fn named(&mut self, name: &'s Name, size: Size) -> Option<Size> {
        self.0.insert(name.name(), size).is_none().then_some(size)
    }

    /// Returns the size of one value that has all of these, or one of them.
    fn all(
        &mut self,
        schemas: impl IntoIterator<Item = &'s Schema>,
        values: fn(usize, usize) -> usize,
    ) -> Option<Size> {
        let mut whole = Size {
            values: 0,
            ..Size::scalar(0)
        };
        for schema in schemas {
            let part = self.of(schema)?;
            whole = Size {
                values: values(whole.values, part.values),
                bytes_min: whole.bytes_min.saturating_add(part.bytes_min),
                levels: whole.levels.max(part.levels),
                has_list: whole.has_list || part.has_list,
            };
        }
        whole.values = whole.values.saturating_add(1);
        Some(whole)
    }

    /// Each item takes at least a byte, and is not a list itself.
    fn list_of(&mut self, items: &'s Schema) -> Option<Size> {
        let item = self.of(items)?;
        let is_bounded = item.bytes_min > 0 && !item.has_list && item.values <= ITEM_VALUES_MAX;
        is_bounded.then_some(Size {
            has_list: true,
            ..Size::scalar(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(fields: &str) -> bool {
        let schema = format!(r#"{{"type":"record","name":"Event","fields":[{fields}]}}"#);
        is_bounded(&Schema::parse_str(&schema).unwrap())
    }

    #[test]
    fn schema_that_multiplies_a_few_bytes_is_unbounded() {
        let fine = [
            r#"{"name":"a","type":["null","string",{"type":"record","name":"R","fields":[
                {"name":"b","type":["null","double"]}]}]},{"name":"c","type":["null","R"]}"#,
            r#"{"name":"a","type":{"type":"array","items":["null","string"]}}"#,
            r#"{"name":"a","type":{"type":"fixed","name":"F","size":16}}"#,
        ];
        for fields in fine {
            assert!(bounded(fields), "{fields}");
        }
        let unbounded = [
            r#"{"name":"a","type":["null",{"type":"record","name":"R","fields":[
                {"name":"b","type":["null","R"]}]}]}"#,
            r#"{"name":"a","type":{"type":"array","items":"null"}}"#,
            r#"{"name":"a","type":{"type":"array","items":{"type":"array","items":"int"}}}"#,
            r#"{"name":"a","type":{"type":"fixed","name":"F","size":10000000000000}}"#,
        ];
        for fields in unbounded {
            assert!(!bounded(fields), "{fields}");
        }
    }

    #[test]
    fn records_that_multiply_each_other_are_unbounded() {
        let mut fields = vec![
            r#"{"name":"a0","type":{"type":"record","name":"R0","fields":[{"name":"n","type":"null"}]}}"#
                .to_owned(),
        ];
        for level in 1..6 {
            let inner: Vec<String> = (0..10)
                .map(|place| format!(r#"{{"name":"f{place}","type":"R{}"}}"#, level - 1))
                .collect();
            fields.push(format!(
                r#"{{"name":"a{level}","type":{{"type":"record","name":"R{level}","fields":[{}]}}}}"#,
                inner.join(",")
            ));
        }
        assert!(bounded(&fields[..3].join(",")));
        assert!(!bounded(&fields.join(",")));
    }
}
