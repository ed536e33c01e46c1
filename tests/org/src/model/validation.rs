//! Validation rules: conditions that refuse a record when it is saved.
//!
//! A rule is a formula that is true for invalid records, as in Salesforce's setup. Supported are
//! `AND`, `OR`, `NOT`, `&&`, `||`, `!`, comparisons, fields of the record and its parents, texts,
//! numbers, `TRUE`, `FALSE`, `ISBLANK`, `ISNULL`, `ISPICKVAL`, `ISCHANGED`, `ISNEW`, `PRIORVALUE`,
//! `LEN`, `CONTAINS`, `BEGINS`, `TODAY` and `NOW`. Blank numbers count as zero, blank texts as
//! empty.

mod parse;

pub(crate) use parse::Declared;

use std::cmp::Ordering;

use super::Model;
use super::error::SfError;
use super::formula::Operand;
use super::id::RecordId;
use super::number::Number;
use super::schema::{FieldNo, ObjectNo};
use super::stamp;
use super::table::RowNo;
use super::value::Value;

/// One rule of one object.
#[derive(Clone, Debug)]
pub(crate) struct ValidationRule {
    object: ObjectNo,
    name: String,
    wrong_if: Test,
    message: String,
    /// The field that shows the message; `None` for the top of the page.
    field: Option<String>,
}

/// A field whose writes are accepted and ignored while a condition holds, such as the amount of an
/// opportunity with products. Source: Help article 004052228.
#[derive(Clone, Debug)]
pub(crate) struct IgnoredWrite {
    object: ObjectNo,
    field: FieldNo,
    condition: Test,
}

/// A formula that is true or false.
#[derive(Clone, Debug)]
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Compare(Term, Comparison, Term),
    Blank(Term),
    Contains(Term, Term),
    Begins(Term, Term),
    Changed(FieldNo),
    New,
    True(Term),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// An operand of a comparison.
#[derive(Clone, Debug)]
enum Term {
    Operand(Operand),
    Prior(FieldNo),
    Length(Box<Term>),
    Bool(bool),
    Today,
    Now,
}

/// A record that is about to be saved.
pub(super) struct Candidate<'a> {
    pub(super) object: ObjectNo,
    /// The new value of each field.
    pub(super) new: &'a dyn Fn(FieldNo) -> &'a Value,
    /// The current value of each field; `None` for a new record.
    pub(super) old: Option<&'a dyn Fn(FieldNo) -> &'a Value>,
}

/// The value of a term.
#[derive(Clone, Debug)]
enum TermValue {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Id(RecordId),
    Date(i32),
    Datetime(i64),
    Time(i32),
}

impl ValidationRule {
    /// Returns the name of the rule.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it is the object's rule with this name.
    pub(crate) fn is_named(&self, object: ObjectNo, name: &str) -> bool {
        self.object == object && self.name == name
    }
}

impl Model {
    /// Refuses a record for which a rule is true. The first such rule gives the message.
    pub(super) fn check_rules(&self, candidate: &Candidate<'_>) -> Result<(), SfError> {
        let rules = self.schema.validation_rules.iter();
        let mut of_object = rules.filter(|rule| rule.object == candidate.object);
        match of_object.find(|rule| rule.wrong_if.holds(self, candidate)) {
            None => Ok(()),
            Some(rule) => {
                let error = SfError::of_record("FIELD_CUSTOM_VALIDATION_EXCEPTION", &rule.message);
                Err(error.with_fields(rule.field.iter().cloned().collect()))
            }
        }
    }
}

impl Model {
    /// Returns whether a write of a field of a stored record is ignored.
    pub(super) fn ignores(&self, object: ObjectNo, row: RowNo, field: FieldNo) -> bool {
        let stored = |no: FieldNo| self.table(object).get(row, no);
        let candidate = Candidate {
            object,
            new: &stored,
            old: Some(&stored),
        };
        let mut ignored = self.schema.ignored_writes.iter();
        ignored.any(|ignored| {
            (ignored.object, ignored.field) == (object, field)
                && ignored.condition.holds(self, &candidate)
        })
    }
}

impl Test {
    fn holds(&self, model: &Model, candidate: &Candidate<'_>) -> bool {
        let text = |term: &Term| match term.value(model, candidate) {
            TermValue::Text(text) => text,
            _ => String::new(),
        };
        match self {
            Self::All(tests) => tests.iter().all(|test| test.holds(model, candidate)),
            Self::Any(tests) => tests.iter().any(|test| test.holds(model, candidate)),
            Self::Not(test) => !test.holds(model, candidate),
            Self::Compare(left, comparison, right) => {
                let (left, right) = (left.value(model, candidate), right.value(model, candidate));
                comparison.holds(left.order(&right))
            }
            Self::Blank(term) => match term.value(model, candidate) {
                TermValue::Null => true,
                TermValue::Text(text) => text.is_empty(),
                _ => false,
            },
            Self::Contains(whole, part) => text(whole).contains(&text(part)),
            Self::Begins(whole, start) => text(whole).starts_with(&text(start)),
            Self::Changed(field) => {
                let old = candidate.old.map(|old| old(*field));
                old.is_some_and(|old| old != (candidate.new)(*field))
            }
            Self::New => candidate.old.is_none(),
            Self::True(term) => matches!(term.value(model, candidate), TermValue::Bool(true)),
        }
    }
}

impl Comparison {
    /// Values that cannot be compared are neither equal nor ordered.
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order.is_some_and(Ordering::is_lt),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::Greater => order.is_some_and(Ordering::is_gt),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Term {
    fn value(&self, model: &Model, candidate: &Candidate<'_>) -> TermValue {
        match self {
            Self::Operand(Operand::Text(text)) => TermValue::Text(text.clone()),
            Self::Operand(Operand::Number(number)) => TermValue::Number(*number),
            Self::Operand(operand) => {
                let value = operand.reached(model, candidate.object, |no| (candidate.new)(no));
                value.map_or(TermValue::Null, TermValue::of)
            }
            Self::Prior(no) => {
                let prior = candidate.old.unwrap_or(candidate.new);
                TermValue::of(prior(*no))
            }
            Self::Length(term) => {
                // `LEN` counts UTF-16 units. Source: Help article 005166849.
                let length = match term.value(model, candidate) {
                    TermValue::Text(text) => text.encode_utf16().count(),
                    _ => 0,
                };
                TermValue::Number(Number::whole(i64::try_from(length).unwrap_or(i64::MAX)))
            }
            Self::Bool(yes) => TermValue::Bool(*yes),
            Self::Today => TermValue::Date(stamp::day_of(model.now_ms)),
            Self::Now => TermValue::Datetime(stamp::floor_to_second(model.now_ms)),
        }
    }
}

impl TermValue {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Int(int) => Self::Number(Number::whole(i64::from(*int))),
            Value::Double(number) => Number::of(*number).map_or(Self::Null, Self::Number),
            Value::Date(day) => Self::Date(*day),
            Value::Datetime(ms) => Self::Datetime(*ms),
            Value::Time(ms) => Self::Time(*ms),
            Value::Id(id) => Self::Id(*id),
            Value::Text(text) => Self::Text(text.to_string()),
        }
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, Self::Number(number)) => Number::whole(0).order(*number),
            (Self::Number(number), Self::Null) => number.order(Number::whole(0)),
            (Self::Null, Self::Text(text)) => Some("".cmp(text)),
            (Self::Text(text), Self::Null) => Some(text.as_str().cmp("")),
            (Self::Number(a), Self::Number(b)) => a.order(*b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Id(id), Self::Text(text)) | (Self::Text(text), Self::Id(id)) => {
                (RecordId::parse(text) == Some(*id)).then_some(Ordering::Equal)
            }
            (Self::Id(a), Self::Id(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Date(a), Self::Date(b)) | (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Datetime(a), Self::Datetime(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}
