//! JSON as the types of the engine read it, with the place of what does not fit.
//!
//! The ready-made way to know that place wraps every type once more, and a deserializer that tries
//! every kind of JSON on every type compiles each of them for each: both would make up a quarter of the
//! whole module. Here a type is given only what it asks for.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value as Json};

/// A JSON value that is read into a type.
pub(super) struct Located(pub(super) Json);

/// Why a value does not fit, and where it stands.
#[derive(Debug)]
pub(super) struct Misfit {
    /// The place, as `fields.Name.owner` or `rows[3]`.
    pub(super) path: String,
    pub(super) message: String,
}

impl Misfit {
    /// Returns the misfit as seen from outside of the member `name`.
    pub(super) fn below(mut self, name: &str) -> Self {
        self.path = match (name.is_empty(), self.path.chars().next()) {
            (true, _) => self.path,
            (false, None) => name.to_owned(),
            (false, Some('[')) => format!("{name}{}", self.path),
            (false, Some(_)) => format!("{name}.{}", self.path),
        };
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            path: String::new(),
            message: message.to_string(),
        }
    }
}

impl<'de> Deserializer<'de> for Located {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Json::Null => visitor.visit_unit(),
            Json::Bool(boolean) => visitor.visit_bool(boolean),
            // All digits of a number are known to its own deserializer alone.
            Json::Number(number) => number.deserialize_any(visitor).map_err(Misfit::custom),
            Json::String(text) => visitor.visit_string(text),
            Json::Array(items) => visitor.visit_seq(Items {
                items: items.into_iter(),
                place: 0,
            }),
            Json::Object(members) => visitor.visit_map(Fields {
                members: members.into_iter(),
                value: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Json::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    /// The enums of inputs are words.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Json::String(word) => visitor.visit_enum(named(word)),
            other => Err(misfit(&other, &Word)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Json::Object(members) => visitor.visit_map(Fields {
                members: members.into_iter(),
                value: None,
            }),
            other => Err(misfit(&other, &visitor)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Json::Array(items) => visitor.visit_seq(Items {
                items: items.into_iter(),
                place: 0,
            }),
            other => Err(misfit(&other, &visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Json::String(text) => visitor.visit_string(text),
            other => Err(misfit(&other, &visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Json::Bool(boolean) => visitor.visit_bool(boolean),
            other => Err(misfit(&other, &visitor)),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0.as_i64() {
            Some(number) => visitor.visit_i64(number),
            None => Err(misfit(&self.0, &visitor)),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0.as_u64() {
            Some(number) => visitor.visit_u64(number),
            None => Err(misfit(&self.0, &visitor)),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_u64(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

/// What an enum is read from.
struct Word;

impl Expected for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }
}

fn misfit(json: &Json, expected: &dyn Expected) -> Misfit {
    Misfit::invalid_type(unexpected(json), expected)
}

fn unexpected(json: &Json) -> Unexpected<'_> {
    match json {
        Json::Null => Unexpected::Unit,
        Json::Bool(boolean) => Unexpected::Bool(*boolean),
        Json::Number(_) => Unexpected::Other("number"),
        Json::String(text) => Unexpected::Str(text),
        Json::Array(_) => Unexpected::Seq,
        Json::Object(_) => Unexpected::Map,
    }
}

fn named(text: String) -> StringDeserializer<Misfit> {
    text.into_deserializer()
}

struct Items {
    items: std::vec::IntoIter<Json>,
    place: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let place = self.place;
        self.place += 1;
        match seed.deserialize(Located(item)) {
            Ok(item) => Ok(Some(item)),
            Err(misfit) => Err(misfit.below(&format!("[{place}]"))),
        }
    }
}

struct Fields {
    members: <Map<String, Json> as IntoIterator>::IntoIter,
    value: Option<(String, Json)>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Misfit;

    /// A name that is wrong is its own place.
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        let Some((name, value)) = self.members.next() else {
            return Ok(None);
        };
        self.value = Some((name.clone(), value));
        match seed.deserialize(named(name.clone())) {
            Ok(key) => Ok(Some(key)),
            Err(misfit) => Err(misfit.below(&name)),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (name, value) = self.value.take().expect("a name comes before its value");
        seed.deserialize(Located(value))
            .map_err(|misfit| misfit.below(&name))
    }
}
