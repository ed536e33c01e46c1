//! JSON as the types of the engine, with the place of what does not fit.
//!
//! What serde's derived code would do, in a fraction of its machine code. All members of a type must be
//! named here, or it does not compile; a test compares with what serde reads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Map, Number, Value as Json};
use syncline_planner::config::{Deletes, ExternalId, FieldSync, LaneThresholds, ObjectSync};
use syncline_planner::facts::BySide;
use syncline_planner::model::ids::{ColumnName, FieldName, ObjectName, RelationName, TableName};
use syncline_planner::model::intent::WriteAction;
use syncline_planner::model::link::{AutomationOverride, Presence};
use syncline_planner::model::text::Word;
use syncline_planner::model::value::{Decimal, Value};
use syncline_planner::model::{ChangeOperation, SourceCursor, SourceSystem, SyncKey};
use syncline_planner::{ChangeEnvelope, ConflictPolicy, Owner, PlannerContext, RecordFacts};

use super::Problem;
use super::json::{self, Node};

/// Something that can be read from JSON.
pub trait Read: Sized {
    /// Reads it.
    fn read(node: Node<'_>) -> Result<Self, Problem>;
}

/// Reads a whole text.
pub fn read<T: Read>(text: &str) -> Result<T, Problem> {
    T::read(json::parse(text)?)
}

/// The members of an object, taken one by one.
pub(super) struct Members<'t> {
    members: Vec<(Cow<'t, str>, Node<'t>)>,
}

impl<'t> Members<'t> {
    pub(super) fn of(node: Node<'t>) -> Result<Self, Problem> {
        match node {
            Node::Members(members) => Ok(Self { members }),
            other => Err(misfit(&other, "an object")),
        }
    }

    /// Takes a member. Of several with the same name the last one counts.
    pub(super) fn take(&mut self, name: &str) -> Option<Node<'t>> {
        let mut taken = None;
        let mut at = 0;
        while at < self.members.len() {
            if self.members[at].0 == name {
                taken = Some(self.members.remove(at).1);
            } else {
                at += 1;
            }
        }
        taken
    }

    pub(super) fn required<T: Read>(&mut self, name: &str) -> Result<T, Problem> {
        match self.take(name) {
            Some(member) => within(name, T::read(member)),
            None => Err(missing(name)),
        }
    }

    /// A member that is missing has its default.
    pub(super) fn optional<T: Read + Default>(&mut self, name: &str) -> Result<T, Problem> {
        match self.take(name) {
            Some(member) => within(name, T::read(member)),
            None => Ok(T::default()),
        }
    }

    /// Takes a member that may be missing, and is a value even if it is null.
    pub(super) fn some<T: Read>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let member = self.take(name);
        member
            .map(|member| within(name, T::read(member)))
            .transpose()
    }

    /// Takes an array, item by item.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Node<'t>>, Problem> {
        match self.take(name) {
            Some(Node::List(items)) => Ok(items),
            Some(other) => within(name, Err(misfit(&other, "an array"))),
            None => Err(missing(name)),
        }
    }

    /// Returns what is left as one value.
    pub(super) fn all<T: Read>(self) -> Result<T, Problem> {
        T::read(Node::Members(self.members))
    }

    /// Refuses what is left; `known` are the members that there may be.
    pub(super) fn finish(self, known: &[&str]) -> Result<(), Problem> {
        match self.members.first() {
            Some((name, _)) => {
                let fix = format!("remove it; there may be {}", known.join(", "));
                Err(Problem::at(name, format!("`{name}` is unknown"), fix))
            }
            None => Ok(()),
        }
    }
}

fn within<T>(name: &str, read: Result<T, Problem>) -> Result<T, Problem> {
    read.map_err(|problem| problem.below(name))
}

#[cold]
fn missing(name: &str) -> Problem {
    Problem::at(name, "it is missing", format!("add \"{name}\""))
}

#[cold]
fn misfit(node: &Node<'_>, wanted: &str) -> Problem {
    let given = match node {
        Node::Null => "null",
        Node::Bool(_) => "a boolean",
        Node::Number(number) => number,
        Node::Text(_) => "a text",
        Node::List(_) => "an array",
        Node::Members(_) => "an object",
    };
    let message = format!("it is {given}, not {wanted}");
    Problem::at("", message, "give what is expected there")
}

#[cold]
fn refused(why: &dyn Display) -> Problem {
    Problem::at("", why, "correct the value")
}

/// Reads a struct from an object: the members it must have, then those that have a default. There may be
/// others, unless it says `closed`.
macro_rules! read_object {
    ($name:ty, [$($needed:ident)*], [$($other:ident)*]) => {
        impl Read for $name {
            fn read(node: Node<'_>) -> Result<Self, Problem> {
                let mut members = Members::of(node)?;
                Ok(read_object!(@ members [$($needed)*] [$($other)*]))
            }
        }
    };
    ($name:ty, [$($needed:ident)*], [$($other:ident)*], closed) => {
        impl Read for $name {
            fn read(node: Node<'_>) -> Result<Self, Problem> {
                let mut members = Members::of(node)?;
                let read = read_object!(@ members [$($needed)*] [$($other)*]);
                members.finish(&[$(stringify!($needed),)* $(stringify!($other),)*])?;
                Ok(read)
            }
        }
    };
    (@ $members:ident [$($needed:ident)*] [$($other:ident)*]) => {
        Self {
            $($needed: $members.required(stringify!($needed))?,)*
            $($other: $members.optional(stringify!($other))?,)*
        }
    };
}

read_object!(
    RecordFacts,
    [external_id],
    [
        base agreed postgres salesforce filtered_out presence changed_at_ms late_writes automation_overrides
        under_way under_way_action clock_skew_ms
    ],
    closed
);
read_object!(AutomationOverride, [count sent stored], []);
read_object!(
    ObjectSync,
    [object table external_id fields],
    [direction conflicts seed deletes lanes filter on_filter_exit auto_assign duplicate_rules]
);
read_object!(TableName, [schema table], []);
read_object!(ExternalId, [field column], []);
read_object!(FieldSync, [column], [owner references]);
read_object!(Deletes, [], [mode on_edit column max_per_hour]);
read_object!(LaneThresholds, [rest_max_batch_size bulk_min_batch_size], []);
read_object!(
    PlannerContext,
    [object],
    [current_payload base_payload batch_size urgent has_dependencies],
    closed
);
read_object!(ChangeEnvelope, [key source operation cursor], [tombstone payload], closed);

impl<T: Read> Read for BySide<T> {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        let mut members = Members::of(node)?;
        let read = Self {
            postgres: members.optional("postgres")?,
            salesforce: members.optional("salesforce")?,
        };
        members.finish(&["postgres", "salesforce"])?;
        Ok(read)
    }
}

impl Read for SyncKey {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        let mut members = Members::of(node)?;
        let tenant: String = members.required("tenant")?;
        let object: String = members.required("object")?;
        let external_id: String = members.required("external_id")?;
        members.finish(&["tenant", "object", "external_id"])?;
        Self::new(&tenant, &object, &external_id).map_err(|error| refused(&error))
    }
}

impl Read for SourceCursor {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        text(node)?.parse().map_err(|error| refused(&error))
    }
}

fn text(node: Node<'_>) -> Result<Cow<'_, str>, Problem> {
    match node {
        Node::Text(text) => Ok(text),
        other => Err(misfit(&other, "a text")),
    }
}

impl Read for String {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        text(node).map(Cow::into_owned)
    }
}

macro_rules! read_identifier {
    ($($name:ident)+) => {
        $(impl Read for $name {
            fn read(node: Node<'_>) -> Result<Self, Problem> {
                Self::parse(&text(node)?).map_err(|error| refused(&error))
            }
        })+
    };
}

read_identifier!(ColumnName FieldName ObjectName RelationName);

macro_rules! read_word {
    ($($name:ty)+) => {
        $(impl Read for $name {
            fn read(node: Node<'_>) -> Result<Self, Problem> {
                let word = text(node)?;
                Self::of_word(&word).ok_or_else(|| {
                    unknown_word(&word, &mut Self::WORDS.iter().map(|(word, _)| *word))
                })
            }
        })+
    };
}

read_word!(
    ChangeOperation ConflictPolicy Owner Presence SourceSystem WriteAction
    syncline_planner::config::DeleteMode syncline_planner::config::DeleteOnEdit syncline_planner::config::Direction
    syncline_planner::config::DuplicateRules syncline_planner::config::OnFilterExit syncline_planner::config::Seed
);

#[cold]
fn unknown_word(word: &str, known: &mut dyn Iterator<Item = &'static str>) -> Problem {
    let mut fix = "write one of these words:".to_owned();
    for known in known {
        fix.push(' ');
        fix.push_str(known);
    }
    Problem::at("", format!("`{word}` is unknown"), fix)
}

impl Read for bool {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        match node {
            Node::Bool(boolean) => Ok(boolean),
            other => Err(misfit(&other, "true or false")),
        }
    }
}

macro_rules! read_whole {
    ($($name:ident)+) => {
        $(impl Read for $name {
            fn read(node: Node<'_>) -> Result<Self, Problem> {
                let whole = if let Node::Number(number) = &node {
                    number.parse().ok()
                } else {
                    None
                };
                whole.ok_or_else(|| misfit(&node, "a whole number that fits"))
            }
        })+
    };
}

read_whole!(i64 u32 usize);

impl<T: Read> Read for Option<T> {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        match node {
            Node::Null => Ok(None),
            other => T::read(other).map(Some),
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        let Node::List(items) = node else {
            return Err(misfit(&node, "an array"));
        };
        let mut read = Self::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            let item = T::read(item);
            read.push(item.map_err(|problem| problem.below(&format!("[{place}]")))?);
        }
        Ok(read)
    }
}

impl<T: Read> Read for BTreeMap<FieldName, T> {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        let mut read = Self::new();
        for (name, member) in Members::of(node)?.members {
            let field = FieldName::parse(&name).map_err(|error| refused(&error).below(&name))?;
            read.insert(field, within(&name, T::read(member))?);
        }
        Ok(read)
    }
}

impl Read for Value {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        let read = match node {
            Node::Null => Some(Self::Null),
            Node::Bool(boolean) => Some(Self::Boolean(boolean)),
            Node::Number(number) => Decimal::parse(number).map(Self::Number),
            Node::Text(text) => Some(Self::Text(text.into_owned())),
            Node::List(_) | Node::Members(_) => None,
        };
        let wanted = &"a field value must be null, a boolean, a number or a string";
        read.ok_or_else(|| refused(wanted))
    }
}

impl Read for Json {
    fn read(node: Node<'_>) -> Result<Self, Problem> {
        Ok(json_of(node))
    }
}

fn json_of(node: Node<'_>) -> Json {
    match node {
        Node::Null => Json::Null,
        Node::Bool(boolean) => Json::Bool(boolean),
        // The parser has made sure that it is one; the public way would parse it again.
        Node::Number(number) => Json::Number(Number::from_string_unchecked(number.to_owned())),
        Node::Text(text) => Json::String(text.into_owned()),
        Node::List(items) => Json::Array(items.into_iter().map(json_of).collect()),
        Node::Members(members) => {
            let mut object = Map::new();
            for (name, member) in members {
                object.insert(name.into_owned(), json_of(member));
            }
            Json::Object(object)
        }
    }
}
