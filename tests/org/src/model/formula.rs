//! Formula fields: values computed from other values and never written by a caller.
//!
//! A small part of Salesforce's formula language: operands joined by one kind of operator, `&` for
//! text, `+` and `-`, or `*` for numbers. An operand is a field (also of a parent), a quoted text,
//! or a number; a factor may also be `(1 - Percentage)`. The behaviour that callers depend on is complete: a formula changes no stamp, sends
//! no change event, and changes when its parent does.

use super::Model;
use super::id::RecordId;
use super::number::Number;
use super::schema::{Field, FieldNo, FieldType, ObjectNo, Schema};
use super::table::RowNo;
use super::value::Value;

/// Maximum number of parents in the path of an operand.
const PARENTS_MAX: usize = 5;

/// The value of a field of a parent that does not exist.
const NULL: Value = Value::Null;

/// The formula of one field.
#[derive(Clone, Debug)]
pub(crate) struct Formula {
    object: ObjectNo,
    field: FieldNo,
    first: Operand,
    rest: Vec<(Operator, Operand)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Concatenate,
    Add,
    Subtract,
    Multiply,
    /// Multiplies by one minus a percentage; a blank percentage counts as zero.
    Discount,
}

/// An operand or a constant.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Text(String),
    Number(Number),
    Field {
        hops: Vec<FieldNo>,
        field: FieldNo,
        object: ObjectNo,
    },
}

impl Formula {
    /// Reads a formula, or returns what is wrong with it.
    pub(crate) fn parse(
        schema: &Schema,
        (object, field): (ObjectNo, FieldNo),
        text: &str,
    ) -> Result<Self, String> {
        let mut rest = text.trim();
        let (first, after) = operand(schema, object, rest)?;
        rest = after;
        let mut formula = Self {
            object,
            field,
            first,
            rest: Vec::new(),
        };
        while let Some(symbol) = rest.chars().next() {
            let operator = match symbol {
                '&' => Operator::Concatenate,
                '+' => Operator::Add,
                '-' => Operator::Subtract,
                '*' => Operator::Multiply,
                other => return Err(format!("{other} is not an operator")),
            };
            let behind = rest[1..].trim_start();
            rest = match behind.strip_prefix("(1 -") {
                Some(inner) if operator == Operator::Multiply => {
                    let (next, after) = operand(schema, object, inner.trim_start())?;
                    formula.rest.push((Operator::Discount, next));
                    let closed = after.strip_prefix(')').ok_or("a bracket is not closed")?;
                    closed.trim_start()
                }
                _ => {
                    let (next, after) = operand(schema, object, behind)?;
                    formula.rest.push((operator, next));
                    after
                }
            };
        }
        formula.check(schema)?;
        Ok(formula)
    }

    /// Refuses mixed operators and operators that do not fit the field's type.
    fn check(&self, schema: &Schema) -> Result<(), String> {
        let kind = schema.object(self.object).field(self.field).kind;
        let number = matches!(
            kind,
            FieldType::Int | FieldType::Double | FieldType::Currency | FieldType::Percent
        );
        let fits = |operator: Operator| match operator {
            Operator::Concatenate => kind.is_text(),
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Discount => number,
        };
        let product =
            |operator: Operator| matches!(operator, Operator::Multiply | Operator::Discount);
        let mut operators = self.rest.iter().map(|(operator, _)| *operator);
        let copies = self.rest.is_empty() && self.first.field().is_some();
        if !operators.clone().all(fits) || !(number || kind.is_text() || copies) {
            return Err("the operators do not fit the type of the field".to_owned());
        }
        if let Some(first) = operators.next()
            && operators.any(|operator| product(operator) != product(first))
        {
            return Err("* cannot be mixed with + and -".to_owned());
        }
        Ok(())
    }

    /// Returns the paths over parents that the operands use.
    fn parent_paths(&self) -> impl Iterator<Item = &[FieldNo]> {
        let operands = std::iter::once(&self.first).chain(self.rest.iter().map(|(_, o)| o));
        operands.filter_map(|operand| match operand {
            Operand::Field { hops, .. } if !hops.is_empty() => Some(hops.as_slice()),
            Operand::Field { .. } | Operand::Text(_) | Operand::Number(_) => None,
        })
    }

    /// Returns the field that the formula computes.
    pub(super) fn field(&self) -> FieldNo {
        self.field
    }

    /// Returns the value for a stored record.
    pub(super) fn value(&self, model: &Model, row: RowNo) -> Value {
        let own = |no: FieldNo| model.table(self.object).get(row, no);
        self.value_of(model, &own)
    }

    /// Returns the value for a record that may not be stored yet.
    pub(super) fn value_of<'m>(
        &self,
        model: &'m Model,
        own: &dyn Fn(FieldNo) -> &'m Value,
    ) -> Value {
        let field = model.field(self.object, self.field);
        if let Some(value) = self.copied(model, own) {
            return value.clone();
        }
        if field.kind.is_text() {
            let mut text = self.first.text(model, self.object, own);
            for (_, operand) in &self.rest {
                text.push_str(&operand.text(model, self.object, own));
            }
            let text = text.trim();
            return if text.is_empty() {
                Value::Null
            } else {
                Value::Text(text.into())
            };
        }
        let number = self.number(model, own);
        number.map_or(Value::Null, |number| number.into_value(field))
    }

    /// Returns the value of a formula that only copies a field of the same kind.
    fn copied<'m>(
        &self,
        model: &'m Model,
        own: &dyn Fn(FieldNo) -> &'m Value,
    ) -> Option<&'m Value> {
        let (object, no) = self.first.field().filter(|_| self.rest.is_empty())?;
        let (from, to) = (
            model.field(object, no),
            model.field(self.object, self.field),
        );
        let same = from.kind == to.kind && from.scale == to.scale;
        let value = || self.first.reached(model, self.object, own);
        same.then(|| value().unwrap_or(&NULL))
    }

    /// Returns the number, or `None` if an operand is null or the number is too large.
    fn number<'m>(&self, model: &'m Model, own: &dyn Fn(FieldNo) -> &'m Value) -> Option<Number> {
        let mut total = self.first.number(model, self.object, own)?;
        for (operator, operand) in &self.rest {
            let next = operand.number(model, self.object, own);
            total = match operator {
                Operator::Discount => {
                    let percentage = next.unwrap_or(Number::whole(0));
                    total.times(percentage.rest_of_hundred()?)?
                }
                Operator::Multiply => total.times(next?)?,
                Operator::Subtract => total.minus(next?)?,
                Operator::Add | Operator::Concatenate => total.plus(next?)?,
            };
        }
        Some(total)
    }
}

/// Reads one operand and returns the text after it.
pub(super) fn operand<'a>(
    schema: &Schema,
    object: ObjectNo,
    text: &'a str,
) -> Result<(Operand, &'a str), String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    if let Some(quote) = quote {
        let closed = text[1..].split_once(quote);
        let (inner, after) = closed.ok_or("a text is not closed")?;
        return Ok((Operand::Text(inner.to_owned()), after.trim_start()));
    }
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let length = text.find(|c: char| !part(c)).unwrap_or(text.len());
    let (word, after) = text.split_at(length);
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let number = Number::parse(word).ok_or_else(|| format!("{word} is not a number"))?;
        return Ok((Operand::Number(number), after.trim_start()));
    }
    Ok((path(schema, object, word)?, after.trim_start()))
}

fn path(schema: &Schema, object: ObjectNo, word: &str) -> Result<Operand, String> {
    let mut at = object;
    let mut hops = Vec::new();
    let mut parts: Vec<&str> = word.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    if parts.len() > PARENTS_MAX {
        return Err(format!("{word} has too many parents"));
    }
    for part in parts {
        let hop = schema.object(at).find_relationship(part);
        let hop = hop.ok_or_else(|| format!("{part} is not a relationship"))?;
        hops.push(hop);
        at = schema.target(at, hop);
    }
    let field = schema
        .object(at)
        .find(last)
        .ok_or_else(|| format!("{last} is not a field"))?;
    if schema.object(at).field(field).formula.is_some() {
        return Err(format!("{last} is a formula itself"));
    }
    Ok(Operand::Field {
        hops,
        field,
        object: at,
    })
}

impl Operand {
    /// Returns the field and its object.
    pub(super) fn field(&self) -> Option<(ObjectNo, FieldNo)> {
        match self {
            Self::Field { object, field, .. } => Some((*object, *field)),
            Self::Text(_) | Self::Number(_) => None,
        }
    }

    /// Returns whether it is a field of the record itself.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Field { hops, .. } if hops.is_empty())
    }

    /// Returns the field's value for a record that may not be stored yet, or `None` if a parent in
    /// the path is missing.
    pub(super) fn reached<'m>(
        &self,
        model: &'m Model,
        object: ObjectNo,
        own: impl Fn(FieldNo) -> &'m Value,
    ) -> Option<&'m Value> {
        let Self::Field {
            hops,
            field,
            object: end,
        } = self
        else {
            return None;
        };
        let Some((first, rest)) = hops.split_first() else {
            return Some(own(*field));
        };
        let climbed = |from: ObjectNo, hop: FieldNo, id: &Value| {
            let expected = model.schema.target(from, hop);
            let found = model.live_row(id.as_id()?);
            found.filter(|found| found.0 == expected)
        };
        let mut at = climbed(object, *first, own(*first))?;
        for hop in rest {
            at = climbed(at.0, *hop, model.table(at.0).get(at.1, *hop))?;
        }
        (at.0 == *end).then(|| model.table(at.0).get(at.1, *field))
    }

    fn text<'m>(
        &self,
        model: &'m Model,
        object: ObjectNo,
        own: &dyn Fn(FieldNo) -> &'m Value,
    ) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.text(),
            Self::Field { .. } => {
                let mut text = String::new();
                if let Some(value) = self.reached(model, object, own) {
                    value.push_plain(&mut text);
                }
                text
            }
        }
    }

    fn number<'m>(
        &self,
        model: &'m Model,
        object: ObjectNo,
        own: &dyn Fn(FieldNo) -> &'m Value,
    ) -> Option<Number> {
        match self {
            Self::Text(_) => None,
            Self::Number(number) => Some(*number),
            Self::Field { .. } => Number::of_value(self.reached(model, object, own)?),
        }
    }
}

impl Number {
    /// Returns the number of a value, if it is one.
    pub(super) fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(int) => Some(Self::whole(i64::from(*int))),
            Value::Double(number) => Self::of(*number),
            Value::Null
            | Value::Bool(_)
            | Value::Date(_)
            | Value::Datetime(_)
            | Value::Time(_)
            | Value::Id(_)
            | Value::Text(_) => None,
        }
    }

    /// Returns the value of a field with this number; null if the number is too large.
    pub(super) fn into_value(self, field: &Field) -> Value {
        match self.rounded(field.scale) {
            None => Value::Null,
            Some(number) if field.kind == FieldType::Int => {
                number.double().whole().map_or(Value::Null, Value::Int)
            }
            Some(number) => Value::Double(number.double()),
        }
    }
}

impl Model {
    /// Recalculates the formulas that depend on these records.
    pub(crate) fn recalculate(&mut self, touched: &[(ObjectNo, RowNo)]) {
        if self.schema.formulas.is_empty() {
            return;
        }
        let mut computed: Vec<(ObjectNo, RowNo, FieldNo, Value)> = Vec::new();
        for formula in &self.schema.formulas {
            for row in self.dependents_of(formula, touched) {
                if self.table(formula.object).row(row).is_some() {
                    let value = formula.value(self, row);
                    computed.push((formula.object, row, formula.field, value));
                }
            }
        }
        for (object, row, field, value) in computed {
            self.tables[object.0].set(&self.schema.objects[object.0], row, field, value);
        }
    }

    /// Returns the records whose formula value may have changed.
    fn dependents_of(&self, formula: &Formula, touched: &[(ObjectNo, RowNo)]) -> Vec<RowNo> {
        let own = touched
            .iter()
            .filter(|(object, _)| *object == formula.object);
        let mut rows: Vec<RowNo> = own.map(|(_, row)| *row).collect();
        for hops in formula.parent_paths() {
            let mut at = formula.object;
            let mut passed = Vec::with_capacity(hops.len());
            for hop in hops {
                at = self.schema.target(at, *hop);
                passed.push(at);
            }
            let parents = touched.iter().filter(|(object, _)| passed.contains(object));
            let parents: Vec<_> = parents
                .map(|(object, row)| self.id_of(*object, *row))
                .collect();
            let table = self.table(formula.object);
            let found = |id: &RecordId| match hops {
                [hop] => table.children_of(*hop, *id),
                _ => None,
            };
            match parents.iter().map(found).collect::<Option<Vec<_>>>() {
                Some(found) => rows.extend(found.into_iter().flatten()),
                // Without an index, or over several parents, any record may be affected.
                None => rows.extend(table.all()),
            }
        }
        rows.sort_unstable();
        rows.dedup();
        rows
    }
}
