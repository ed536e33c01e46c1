//! Reads JSON texts of bounded length, and reports the place of a mistake.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use syncline_planner::RecordFacts;
use syncline_planner::config::ObjectSync;
use syncline_planner::model::ids::FieldName;

use super::{INPUT_BYTES_MAX, Problem};

/// Reads the whole of a text.
pub(super) fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, Problem> {
    read_seed(text, PhantomData)
}

fn read_seed<'t, S: DeserializeSeed<'t>>(text: &'t str, seed: S) -> Result<S::Value, Problem> {
    within_bounds(text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    match seed.deserialize(tracked) {
        Ok(value) => {
            json.end().map_err(|error| Problem::of_json(&error, ""))?;
            Ok(value)
        }
        Err(error) => {
            // The path of the whole input is a point.
            let path = track.path().to_string();
            Err(Problem::of_json(
                &error,
                if path == "." { "" } else { &path },
            ))
        }
    }
}

pub(super) fn within_bounds(input: &str) -> Result<(), Problem> {
    if input.len() > INPUT_BYTES_MAX {
        let message = format!("it is longer than {INPUT_BYTES_MAX} bytes");
        let fix = "send less at once: a batch may be sent in chunks";
        return Err(Problem::of_input(message, fix));
    }
    Ok(())
}

/// The facts of a record, and the members that may accompany them.
///
/// The facts refuse members that they do not know, so serde's `flatten` cannot read both from one object.
pub(super) struct RecordInput {
    pub(super) facts: RecordFacts<FieldName>,
    /// The rules of the record, if it has its own.
    pub(super) object: Option<ObjectSync>,
    pub(super) urgent: bool,
    pub(super) has_dependencies: bool,
}

/// Reads a record with its rules.
pub(super) fn record(text: &str) -> Result<(RecordFacts<FieldName>, ObjectSync), Problem> {
    let record = read_seed(text, RecordSeed(&["object"]))?;
    let object = record.object.ok_or_else(|| Problem::missing("object"))?;
    Ok((record.facts, object))
}

/// Reads a row of a batch.
pub(super) fn row(text: &str) -> Result<RecordInput, Problem> {
    read_seed(text, RecordSeed(&["urgent", "has_dependencies"]))
}

/// Reads a record that has these members beside its facts.
struct RecordSeed(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for RecordSeed {
    type Value = RecordInput;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RecordInput, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed {
    type Value = RecordInput;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<RecordInput, A::Error> {
        let mut record = RecordInput {
            facts: RecordFacts::new(String::new()),
            object: None,
            urgent: false,
            has_dependencies: false,
        };
        let members = OnlyFacts {
            members,
            beside: self.0,
            record: &mut record,
        };
        record.facts = RecordFacts::deserialize(MapAccessDeserializer::new(members))?;
        Ok(record)
    }
}

/// The members of a record that are facts. The others are read on the way.
struct OnlyFacts<'r, A> {
    members: A,
    beside: &'static [&'static str],
    record: &'r mut RecordInput,
}

impl<'de, A: MapAccess<'de>> OnlyFacts<'_, A> {
    fn read_beside(&mut self, name: &str) -> Result<(), A::Error> {
        match name {
            "object" => self.record.object = Some(self.members.next_value()?),
            "urgent" => self.record.urgent = self.flag()?,
            _ => self.record.has_dependencies = self.flag()?,
        }
        Ok(())
    }

    fn flag(&mut self) -> Result<bool, A::Error> {
        let given: Option<bool> = self.members.next_value()?;
        Ok(given.unwrap_or(false))
    }

    /// Returns the member that must be there and is not.
    fn missing(&self) -> Option<&'static str> {
        let must_be = |name: &&&str| **name == "object" && self.record.object.is_none();
        self.beside.iter().find(must_be).copied()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OnlyFacts<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        mut seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        loop {
            let beside = self.beside;
            match self.members.next_key_seed(KeySeed { seed, beside })? {
                Some(Key::OfFacts(key)) => return Ok(Some(key)),
                Some(Key::Beside(name, unused)) => {
                    self.read_beside(name)?;
                    seed = unused;
                }
                None => match self.missing() {
                    Some(name) => return Err(A::Error::missing_field(name)),
                    None => return Ok(None),
                },
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.members.next_value_seed(seed)
    }
}

/// The name of a member: of a fact, or of a member beside them with the seed that was not needed.
enum Key<Value, Seed> {
    OfFacts(Value),
    Beside(&'static str, Seed),
}

struct KeySeed<Seed> {
    seed: Seed,
    beside: &'static [&'static str],
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<K> {
    type Value = Key<K::Value, K>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for KeySeed<K> {
    type Value = Key<K::Value, K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        match self.beside.iter().find(|known| **known == name) {
            Some(known) => Ok(Key::Beside(known, self.seed)),
            None => self
                .seed
                .deserialize(name.into_deserializer())
                .map(Key::OfFacts),
        }
    }
}
