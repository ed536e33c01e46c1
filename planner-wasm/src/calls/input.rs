//! Reads inputs so that a problem can name the member that is wrong, at any depth.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::located::Located;
use super::{INPUT_BYTES_MAX, Problem};

/// The members of a JSON object, taken one by one.
pub(super) struct Members {
    members: Map<String, Json>,
}

impl Members {
    pub(super) fn read(input: &str) -> Result<Self, Problem> {
        match json(input)? {
            Json::Object(members) => Ok(Self { members }),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                Err(no_object(""))
            }
        }
    }

    pub(super) fn of(json: Json) -> Result<Self, Problem> {
        match json {
            Json::Object(members) => Ok(Self { members }),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                Err(no_object(""))
            }
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Json> {
        self.members.remove(name)
    }

    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Problem> {
        match self.take(name) {
            Some(member) => parsed(name, member),
            None => Err(Problem::at(name, "it is missing", format!("add {name:?}"))),
        }
    }

    /// A member that is missing or null has its default.
    pub(super) fn optional<T: DeserializeOwned + Default>(
        &mut self,
        name: &str,
    ) -> Result<T, Problem> {
        match self.take(name) {
            Some(Json::Null) | None => Ok(T::default()),
            Some(member) => parsed(name, member),
        }
    }

    /// Returns what is left as one value.
    pub(super) fn all<T: DeserializeOwned>(self) -> Result<T, Problem> {
        parsed("", Json::Object(self.members))
    }

    /// Refuses what is left; `known` are the members that there may be.
    pub(super) fn finish(self, known: &[&str]) -> Result<(), Problem> {
        match self.members.keys().next() {
            Some(name) => {
                let fix = format!("remove it; there may be {}", known.join(", "));
                Err(Problem::at(name, "it is unknown", fix))
            }
            None => Ok(()),
        }
    }
}

/// Returns the JSON that a text of bounded length holds. Depth is bounded by the parser.
pub(super) fn json(text: &str) -> Result<Json, Problem> {
    within_bounds(text)?;
    serde_json::from_str(text)
        .map_err(|error| Problem::at("", error, "give the whole of one JSON text"))
}

pub(super) fn within_bounds(input: &str) -> Result<(), Problem> {
    if input.len() > INPUT_BYTES_MAX {
        let message = format!("it is longer than {INPUT_BYTES_MAX} bytes");
        let fix = "give less at once: a batch can be given in chunks";
        return Err(Problem::at("", message, fix));
    }
    Ok(())
}

fn no_object(path: &str) -> Problem {
    Problem::at(path, "it is not a JSON object", "give an object: { … }")
}

/// Reads a value found under `name`, and names the place in it that is wrong.
fn parsed<T: DeserializeOwned>(name: &str, json: Json) -> Result<T, Problem> {
    T::deserialize(Located(json)).map_err(|misfit| {
        let misfit = misfit.below(name);
        let fix = fix_for(&misfit.message);
        Problem::at(&misfit.path, misfit.message, fix)
    })
}

/// The parser's own words say what is wrong; these say what to do about it.
fn fix_for(message: &str) -> String {
    match message.split('`').nth(1) {
        Some(name) if message.starts_with("missing field") => format!("add {name:?}"),
        Some(_) if message.starts_with("unknown field") => "remove it".to_owned(),
        Some(_) if message.starts_with("unknown variant") => "write one of these words".to_owned(),
        Some(_) | None if message.starts_with("invalid type") => {
            "give what is expected there".to_owned()
        }
        Some(_) | None => "correct the value".to_owned(),
    }
}
