//! Conditions with resolved names and literals, and their evaluation on a record.

use std::cmp::Ordering;

use super::bind::{FieldPath, filterable};
use super::join::bind_join;
use super::like::Pattern;
use super::{DateFunction, Filter, Literal, Operator};
use crate::model::error::{Place, SfError};
use crate::model::id::RecordId;
use crate::model::number::Double;
use crate::model::schema::{Field, FieldNo, FieldType, ObjectNo};
use crate::model::stamp;
use crate::model::table::RowNo;
use crate::model::value::Value;
use crate::model::view::View;

/// A resolved condition.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare {
        path: FieldPath,
        operator: Operator,
        value: Value,
    },
    Dated {
        path: FieldPath,
        function: DateFunction,
        operator: Operator,
        value: Value,
    },
    Like {
        path: FieldPath,
        pattern: Pattern,
    },
    In {
        path: FieldPath,
        negated: bool,
        values: Vec<Value>,
    },
    Includes {
        path: FieldPath,
        negated: bool,
        sets: Vec<Vec<String>>,
    },
    /// Whether an id is in this sorted list.
    Among {
        path: FieldPath,
        negated: bool,
        values: Vec<Value>,
    },
}

/// Resolves a filter.
pub(super) fn bind(
    view: View<'_>,
    object: ObjectNo,
    filter: &Filter,
) -> Result<Condition, SfError> {
    let all = |filters: &[Filter]| -> Result<Vec<Condition>, SfError> {
        filters
            .iter()
            .map(|filter| bind(view, object, filter))
            .collect()
    };
    Ok(match filter {
        Filter::All(filters) => Condition::All(all(filters)?),
        Filter::Any(filters) => Condition::Any(all(filters)?),
        Filter::Not(inner) => Condition::Not(Box::new(bind(view, object, inner)?)),
        Filter::Compare {
            path,
            operator,
            literal,
        } => comparison(view, object, path, (*operator, literal))?,
        Filter::Dated {
            function,
            path,
            operator,
            literal,
        } => dated(view, object, (*function, path), (*operator, literal))?,
        Filter::In {
            path,
            negated,
            literals,
        } => membership(view, object, path, *negated, literals)?,
        Filter::InQuery {
            path,
            negated,
            query,
        } => bind_join(view, object, (path, *negated), query)?,
        Filter::Includes {
            path,
            negated,
            literals,
        } => includes(view, object, path, *negated, literals)?,
    })
}

fn comparison(
    view: View<'_>,
    object: ObjectNo,
    path: &str,
    (operator, literal): (Operator, &Literal),
) -> Result<Condition, SfError> {
    let (path, field) = resolve(view, object, path)?;
    Ok(match (operator, literal) {
        (Operator::Like, Literal::Text(text)) if field.kind.is_text() => Condition::Like {
            path,
            pattern: Pattern::new(text),
        },
        (Operator::Like, _) => return Err(wrong_operator(field)),
        (operator, Literal::Relative(relative)) => {
            let value = |day: i32| match field.kind {
                FieldType::Date => Some(Value::Date(day)),
                FieldType::Datetime => Some(Value::Datetime(stamp::day_start_ms(day))),
                _ => None,
            };
            let compare = |operator: Operator, value: &Value| Condition::Compare {
                path: path.clone(),
                operator,
                value: value.clone(),
            };
            let (first, end) = relative.days(view.now_ms);
            let stretch = value(first)
                .zip(value(end))
                .ok_or_else(|| wrong_type(field))?;
            within(stretch, operator, compare).ok_or_else(|| wrong_operator(field))?
        }
        (operator, literal) => Condition::Compare {
            path,
            operator,
            value: constant(field, literal)?,
        },
    })
}

fn membership(
    view: View<'_>,
    object: ObjectNo,
    path: &str,
    negated: bool,
    literals: &[Literal],
) -> Result<Condition, SfError> {
    let (path, field) = resolve(view, object, path)?;
    let values = literals.iter().map(|literal| constant(field, literal));
    let mut values = values.collect::<Result<Vec<_>, _>>()?;
    // Ids are compared as they are, so that long lists can use binary search.
    Ok(
        if matches!(field.kind, FieldType::Id | FieldType::Reference) {
            values.sort_unstable();
            values.dedup();
            Condition::Among {
                path,
                negated,
                values,
            }
        } else {
            Condition::In {
                path,
                negated,
                values,
            }
        },
    )
}

fn includes(
    view: View<'_>,
    object: ObjectNo,
    path: &str,
    negated: bool,
    literals: &[Literal],
) -> Result<Condition, SfError> {
    let (path, field) = resolve(view, object, path)?;
    if field.kind != FieldType::Multipicklist {
        return Err(wrong_operator(field));
    }
    let set = |literal: &Literal| match literal {
        Literal::Text(text) => Ok(text.to_lowercase().split(';').map(str::to_owned).collect()),
        Literal::Null
        | Literal::Bool(_)
        | Literal::Number(_)
        | Literal::Date(_)
        | Literal::Datetime(_)
        | Literal::Relative(_) => Err(wrong_type(field)),
    };
    let sets = literals.iter().map(set).collect::<Result<_, _>>()?;
    Ok(Condition::Includes {
        path,
        negated,
        sets,
    })
}

/// Returns the condition on a date function.
fn dated(
    view: View<'_>,
    object: ObjectNo,
    (function, path): (DateFunction, &str),
    (operator, literal): (Operator, &Literal),
) -> Result<Condition, SfError> {
    let (path, field) = resolve(view, object, path)?;
    function.check(field)?;
    let days = function == DateFunction::DayOnly;
    let compare = |operator: Operator, value: &Value| Condition::Dated {
        path: path.clone(),
        function,
        operator,
        value: value.clone(),
    };
    let wrong = || {
        let message = format!(
            "value of filter criterion for {}({}) must be of type {}",
            function.name(),
            field.name,
            if days { "date" } else { "int" }
        );
        SfError::new("INVALID_FIELD", message).placed(Place::Word(field.name.clone()))
    };
    let value = match literal {
        _ if operator == Operator::Like => return Err(wrong_operator(field)),
        Literal::Null => Value::Null,
        Literal::Date(day) if days => Value::Date(*day),
        Literal::Relative(relative) if days => {
            let (first, end) = relative.days(view.now_ms);
            let stretch = (Value::Date(first), Value::Date(end));
            return within(stretch, operator, compare).ok_or_else(wrong);
        }
        Literal::Number(text) if !days => Value::Int(text.parse().map_err(|_| wrong())?),
        Literal::Bool(_)
        | Literal::Number(_)
        | Literal::Date(_)
        | Literal::Datetime(_)
        | Literal::Text(_)
        | Literal::Relative(_) => return Err(wrong()),
    };
    Ok(compare(operator, &value))
}

impl DateFunction {
    /// Refuses a field that the function does not accept.
    pub(super) fn check(self, field: &Field) -> Result<(), SfError> {
        if self.fits(field.kind) {
            return Ok(());
        }
        let message = format!("field {} does not support {}", field.name, self.name());
        Err(SfError::new("INVALID_FIELD", message).placed(Place::Word(field.name.clone())))
    }
}

/// Returns the comparison with a range of days: `=` is within it, `>` after it. `None` for an
/// operator that dates do not support.
fn within(
    (first, end): (Value, Value),
    operator: Operator,
    compare: impl Fn(Operator, &Value) -> Condition,
) -> Option<Condition> {
    Some(match operator {
        Operator::Equal => Condition::All(vec![
            compare(Operator::AtLeast, &first),
            compare(Operator::Less, &end),
        ]),
        Operator::NotEqual => Condition::Not(Box::new(Condition::All(vec![
            compare(Operator::AtLeast, &first),
            compare(Operator::Less, &end),
        ]))),
        Operator::Less => compare(Operator::Less, &first),
        Operator::AtMost => compare(Operator::Less, &end),
        Operator::Greater => compare(Operator::AtLeast, &end),
        Operator::AtLeast => compare(Operator::AtLeast, &first),
        Operator::Like => return None,
    })
}

fn resolve<'a>(
    view: View<'a>,
    object: ObjectNo,
    path: &str,
) -> Result<(FieldPath, &'a Field), SfError> {
    let path = FieldPath::resolve(view, object, path)?;
    let field = view.field(path.object, path.field);
    if !filterable(field) {
        let message = format!("field '{}' can not be filtered in a query call", field.name);
        let error = SfError::new("INVALID_FIELD", message);
        return Err(error.placed(Place::Word(field.name.clone())));
    }
    Ok((path, field))
}

fn wrong_operator(field: &Field) -> SfError {
    let message = format!("invalid operator on {} field", field.kind.name());
    SfError::new("INVALID_FIELD", message).placed(Place::Word(field.name.clone()))
}

fn wrong_type(field: &Field) -> SfError {
    let (kind, quotes) = match field.kind {
        kind if kind.is_text() => ("string", "should be enclosed in quotes"),
        FieldType::Id | FieldType::Reference => ("id", "should be enclosed in quotes"),
        kind => (kind.name(), "should not be enclosed in quotes"),
    };
    let message = format!(
        "value of filter criterion for field '{}' must be of type {kind} and {quotes}",
        field.name
    );
    SfError::new("INVALID_FIELD", message).placed(Place::Word(field.name.clone()))
}

/// Converts a literal to a value of the field, in lower case if the comparison ignores case.
fn constant(field: &Field, literal: &Literal) -> Result<Value, SfError> {
    Ok(match (literal, field.kind) {
        (Literal::Null, _) => Value::Null,
        (Literal::Text(text), kind) if kind.is_text() => {
            let plain = text.replace("\\\\", "\\");
            match plain {
                plain if plain.is_empty() => Value::Null,
                plain if field.case_sensitive => Value::Text(plain.into()),
                plain => Value::Text(plain.to_lowercase().into()),
            }
        }
        (Literal::Text(text), FieldType::Id | FieldType::Reference) => match text.as_str() {
            "" => Value::Null,
            text => Value::Id(RecordId::parse(text).ok_or_else(|| invalid_id(text))?),
        },
        (Literal::Bool(yes), FieldType::Boolean) => Value::Bool(*yes),
        (Literal::Number(text), FieldType::Int) => {
            let whole = Double::parse(text).and_then(Double::whole);
            Value::Int(whole.ok_or_else(|| wrong_type(field))?)
        }
        (Literal::Number(text), FieldType::Double | FieldType::Currency | FieldType::Percent) => {
            Value::Double(Double::parse(text).ok_or_else(|| wrong_type(field))?)
        }
        (Literal::Date(days), FieldType::Date) => Value::Date(*days),
        (Literal::Datetime(ms), FieldType::Datetime) => Value::Datetime(*ms),
        _ => return Err(wrong_type(field)),
    })
}

fn invalid_id(text: &str) -> SfError {
    SfError::new(
        "INVALID_QUERY_FILTER_OPERATOR",
        format!("invalid ID field: {text}"),
    )
}

impl Condition {
    /// Returns whether a record meets the condition.
    pub(super) fn holds(&self, view: View<'_>, object: ObjectNo, row: RowNo) -> bool {
        match self {
            Self::All(all) => all.iter().all(|c| c.holds(view, object, row)),
            Self::Any(any) => any.iter().any(|c| c.holds(view, object, row)),
            Self::Not(inner) => !inner.holds(view, object, row),
            Self::Compare {
                path,
                operator,
                value,
            } => {
                let (stored, field) = path.value(view, object, row);
                compare(field, stored, *operator, value)
            }
            Self::Dated {
                path,
                function,
                operator,
                value,
            } => {
                let (stored, field) = path.value(view, object, row);
                compare(field, &function.of(stored), *operator, value)
            }
            Self::Like { path, pattern } => {
                let stored = path.value(view, object, row).0.as_text();
                stored.is_some_and(|text| pattern.matches(text))
            }
            Self::In {
                path,
                negated,
                values,
            } => {
                let (stored, field) = path.value(view, object, row);
                let among = |value| compare(field, stored, Operator::Equal, value);
                values.iter().any(among) != *negated
            }
            Self::Includes {
                path,
                negated,
                sets,
            } => {
                let stored = path.value(view, object, row).0.as_text();
                let stored = stored.unwrap_or_default().to_lowercase();
                let stored: Vec<&str> = stored.split(';').collect();
                let covers = |set: &Vec<String>| set.iter().all(|v| stored.contains(&v.as_str()));
                sets.iter().any(covers) != *negated
            }
            Self::Among {
                path,
                negated,
                values,
            } => {
                let (stored, _) = path.value(view, object, row);
                values.binary_search(stored).is_ok() != *negated
            }
        }
    }

    /// Returns the equality lists and lower bounds that every matching record meets.
    pub(super) fn required(&self) -> Vec<(&FieldPath, Bound<'_>)> {
        match self {
            Self::All(all) => all.iter().flat_map(Self::required).collect(),
            Self::Compare {
                path,
                operator,
                value,
            } => match operator {
                Operator::Equal => vec![(path, Bound::Among(std::slice::from_ref(value)))],
                Operator::Greater | Operator::AtLeast => vec![(path, Bound::From(value))],
                Operator::NotEqual | Operator::Less | Operator::AtMost | Operator::Like => vec![],
            },
            Self::In {
                path,
                negated: false,
                values,
            }
            | Self::Among {
                path,
                negated: false,
                values,
            } => vec![(path, Bound::Among(values))],
            Self::Any(_)
            | Self::Not(_)
            | Self::Dated { .. }
            | Self::Like { .. }
            | Self::In { negated: true, .. }
            | Self::Among { negated: true, .. }
            | Self::Includes { .. } => vec![],
        }
    }
}

/// The constraint of a condition on one field.
pub(super) enum Bound<'a> {
    Among(&'a [Value]),
    From(&'a Value),
}

static NULL: Value = Value::Null;

impl FieldPath {
    /// Returns the value of the path, or null if a parent is missing or deleted.
    pub(super) fn value<'a>(
        &self,
        view: View<'a>,
        object: ObjectNo,
        row: RowNo,
    ) -> (&'a Value, &'a Field) {
        let field = view.field(self.object, self.field);
        let value = self.end(view, (object, row)).and_then(|(object, row)| {
            // A reference to several objects may point to another object than the path was resolved
            // for.
            let no = if object == self.object {
                self.field
            } else {
                view.find_field(object, &field.name)?
            };
            Some(view.table(object).get(row, no))
        });
        (value.unwrap_or(&NULL), field)
    }

    /// Returns the record that has the path's field.
    fn end(&self, view: View<'_>, start: (ObjectNo, RowNo)) -> Option<(ObjectNo, RowNo)> {
        let mut at = start;
        let mut expected = start.0;
        for hop in &self.hops {
            if at.0 != expected {
                return None;
            }
            expected = view.schema.target(at.0, *hop);
            at = parent(view, at, *hop)?;
        }
        Some(at)
    }
}

/// Returns the live record that a reference points to.
pub(super) fn parent(
    view: View<'_>,
    (object, row): (ObjectNo, RowNo),
    hop: FieldNo,
) -> Option<(ObjectNo, RowNo)> {
    view.live_row(view.table(object).get(row, hop).as_id()?)
}

fn compare(field: &Field, stored: &Value, operator: Operator, wanted: &Value) -> bool {
    let null = *stored == Value::Null || *wanted == Value::Null;
    let order = || order(field, stored, wanted);
    match operator {
        Operator::Equal if null => stored == wanted,
        Operator::NotEqual if null => stored != wanted,
        Operator::Equal => order() == Ordering::Equal,
        Operator::NotEqual => order() != Ordering::Equal,
        Operator::Less => !null && order() == Ordering::Less,
        Operator::AtMost => !null && order() != Ordering::Greater,
        Operator::Greater => !null && order() == Ordering::Greater,
        Operator::AtLeast => !null && order() != Ordering::Less,
        Operator::Like => false,
    }
}

/// Compares a stored value with the result of [`constant`].
fn order(field: &Field, stored: &Value, wanted: &Value) -> Ordering {
    match (stored, wanted) {
        (Value::Text(stored), Value::Text(wanted)) if !field.case_sensitive => {
            order_ignoring_case(stored, wanted)
        }
        (stored, wanted) => stored.cmp(wanted),
    }
}

/// Compares text ignoring case; `lower` is in lower case already.
fn order_ignoring_case(text: &str, lower: &str) -> Ordering {
    text.chars().flat_map(char::to_lowercase).cmp(lower.chars())
}
