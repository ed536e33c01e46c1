//! Aggregates: groups rows and returns each group as an `AggregateResult`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::bind::{FieldPath, Plan, filterable, groupable};
use super::{
    Call, DateFunction, Function, Having, Item, Operator, OrderBy, Query, Term, malformed,
};
use crate::model::error::{Place, SfError};
use crate::model::number::{Double, Number};
use crate::model::schema::{Field, FieldType, ObjectNo};
use crate::model::table::RowNo;
use crate::model::value::{Value, push_json_text};
use crate::model::view::View;

/// Maximum number of groups in an answer, which has only one page.
const GROUPS_MAX: usize = 2_000;

/// How rows are grouped and what is shown of the groups.
#[derive(Clone, Debug)]
pub(crate) struct Aggregation {
    groups: Vec<Grouping>,
    columns: Vec<Column>,
    having: Vec<Test>,
    order: Vec<Key>,
    limit: Option<usize>,
    offset: usize,
}

/// A value that rows are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grouping {
    function: Option<DateFunction>,
    path: FieldPath,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// The value that the rows of a group share.
    Group(usize),
    Function(Function, FieldPath),
}

#[derive(Clone, Debug)]
struct Test {
    source: Source,
    operator: Operator,
    number: f64,
}

#[derive(Clone, Debug)]
struct Key {
    source: Source,
    descending: bool,
    nulls_last: bool,
}

/// The result of a function.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Count(usize),
    Sum(f64),
    Average(f64),
    Value(Value),
}

/// Returns whether a query uses groups.
pub(super) fn wanted(query: &Query, items: &[Item]) -> bool {
    !query.group.is_empty()
        || !query.having.is_empty()
        || items
            .iter()
            .any(|item| matches!(item, Item::Aggregate { .. } | Item::Dated { .. }))
}

impl Aggregation {
    /// Resolves the select list, HAVING and ORDER BY of a query with groups.
    pub(super) fn bind(
        view: View<'_>,
        object: ObjectNo,
        query: &Query,
        items: &[Item],
    ) -> Result<Self, SfError> {
        let resolve = |term: &Term| Grouping::resolve(view, object, term);
        let groups: Vec<Grouping> = query.group.iter().map(resolve).collect::<Result<_, _>>()?;
        let mut columns = Vec::with_capacity(items.len());
        let mut unnamed = 0;
        for item in items {
            columns.push(column(view, object, &groups, item, &mut unnamed)?);
        }
        let having = |having: &Having| -> Result<Test, SfError> {
            let number = having.number.parse::<f64>();
            Ok(Test {
                source: function_source(view, object, &having.call)?,
                operator: having.operator,
                number: number.map_err(|_| malformed("HAVING compares with numbers"))?,
            })
        };
        let mut aggregation = Self {
            groups,
            columns,
            having: query.having.iter().map(having).collect::<Result<_, _>>()?,
            order: Vec::new(),
            limit: query.limit,
            offset: query.offset,
        };
        for key in &query.order {
            let source = aggregation.sort_source(view, object, key)?;
            aggregation.order.push(Key {
                source,
                descending: key.descending,
                nulls_last: key.nulls_last,
            });
        }
        Ok(aggregation)
    }

    /// Returns what an alias, a function or a grouped field in ORDER BY refers to.
    fn sort_source(
        &self,
        view: View<'_>,
        object: ObjectNo,
        key: &OrderBy,
    ) -> Result<Source, SfError> {
        let named = |column: &&Column| column.name.eq_ignore_ascii_case(&key.path);
        if let Some(column) = self.columns.iter().find(named) {
            return Ok(column.source.clone());
        }
        let mut term = Term {
            function: None,
            path: key.path.clone(),
        };
        if let Some((name, rest)) = key.path.split_once('(') {
            let path = rest.trim_end_matches(')').to_owned();
            if let Some(function) = Function::named(name) {
                let call = Call { function, path };
                return function_source(view, object, &call);
            }
            term = Term {
                function: DateFunction::named(name),
                path,
            };
        }
        let wanted = Grouping::resolve(view, object, &term)?;
        let group = self.groups.iter().position(|group| *group == wanted);
        group
            .map(Source::Group)
            .ok_or_else(|| not_grouped(&key.path))
    }
}

impl Grouping {
    fn resolve(view: View<'_>, object: ObjectNo, term: &Term) -> Result<Self, SfError> {
        let path = FieldPath::resolve(view, object, &term.path)?;
        let field = view.field(path.object, path.field);
        // A date function groups by its result, whatever the field's own type.
        if term.function.is_none() && !groupable(field) {
            let message = format!("field '{}' can not be grouped in a query call", field.name);
            let error = SfError::new("INVALID_FIELD", message);
            return Err(error.placed(Place::Word(term.path.clone())));
        }
        if let Some(function) = term.function {
            function.check(field)?;
        }
        Ok(Self {
            function: term.function,
            path,
        })
    }

    fn value(&self, view: View<'_>, object: ObjectNo, row: RowNo) -> Value {
        let (value, _) = self.path.value(view, object, row);
        match self.function {
            Some(function) => function.of(value),
            None => value.clone(),
        }
    }
}

fn column(
    view: View<'_>,
    object: ObjectNo,
    groups: &[Grouping],
    item: &Item,
    unnamed: &mut usize,
) -> Result<Column, SfError> {
    let grouped = |term: &Term, name: Option<&String>| {
        let wanted = Grouping::resolve(view, object, term)?;
        let place = groups.iter().position(|group| *group == wanted);
        let field = &view.field(wanted.path.object, wanted.path.field).name;
        Ok(Column {
            name: name.unwrap_or(field).clone(),
            source: Source::Group(place.ok_or_else(|| not_grouped(&term.text()))?),
        })
    };
    let plain = |path: &String| Term {
        function: None,
        path: path.clone(),
    };
    let mut named = |alias: &Option<String>| {
        alias.clone().unwrap_or_else(|| {
            *unnamed += 1;
            format!("expr{}", *unnamed - 1)
        })
    };
    match item {
        Item::Path(path) => grouped(&plain(path), None),
        Item::Named { path, alias } => grouped(&plain(path), Some(alias)),
        Item::Dated { term, alias } => grouped(term, Some(&named(alias))),
        Item::Aggregate { call, alias } => Ok(Column {
            name: named(alias),
            source: function_source(view, object, call)?,
        }),
        Item::Group(_) | Item::Children(_) | Item::Shown { .. } | Item::TypeOf(_) => Err(
            malformed("Grouped queries select grouped fields and aggregate functions"),
        ),
    }
}

fn not_grouped(path: &str) -> SfError {
    let message = format!("Field must be grouped or aggregated: {path}");
    malformed(message).placed(Place::Word(path.to_owned()))
}

fn function_source(view: View<'_>, object: ObjectNo, call: &Call) -> Result<Source, SfError> {
    let path = FieldPath::resolve(view, object, &call.path)?;
    let field = view.field(path.object, path.field);
    let number = matches!(
        field.kind,
        FieldType::Int | FieldType::Double | FieldType::Currency | FieldType::Percent
    );
    let fits = filterable(field)
        && match call.function {
            Function::Count | Function::CountDistinct => true,
            Function::Sum | Function::Avg => number,
            Function::Min | Function::Max => field.kind != FieldType::Boolean,
        };
    if fits {
        return Ok(Source::Function(call.function, path));
    }
    let operator = call.function.name().to_uppercase();
    let message = format!(
        "field {} does not support aggregate operator {operator}",
        field.name
    );
    Err(SfError::new("INVALID_FIELD", message).placed(Place::Word(call.path.clone())))
}

/// Returns the groups of a plan's rows, as JSON.
pub(crate) fn groups(
    view: View<'_>,
    plan: &Plan,
    aggregation: &Aggregation,
    rows: &[RowNo],
) -> Result<Vec<String>, SfError> {
    let mut by_key: BTreeMap<Vec<Value>, Vec<RowNo>> = BTreeMap::new();
    if aggregation.groups.is_empty() {
        // Without GROUP BY there is always one group, even without rows.
        by_key.insert(Vec::new(), Vec::new());
    }
    for row in rows {
        let value = |group: &Grouping| group.value(view, plan.object, *row);
        let key: Vec<Value> = aggregation.groups.iter().map(value).collect();
        by_key.entry(key).or_default().push(*row);
    }
    let outcome = |source: &Source, (key, rows): (&Vec<Value>, &Vec<RowNo>)| match source {
        Source::Group(place) => Outcome::Value(key[*place].clone()),
        Source::Function(function, path) => computed(view, plan.object, (*function, path), rows),
    };
    let mut found: Vec<(&Vec<Value>, &Vec<RowNo>)> = by_key.iter().collect();
    found.retain(|group| {
        let tests = &mut aggregation.having.iter();
        tests.all(|test| test.holds(&outcome(&test.source, *group)))
    });
    found.sort_by(|a, b| {
        let keys = aggregation.order.iter();
        keys.fold(Ordering::Equal, |so_far, key| {
            so_far.then_with(|| key.order(&outcome(&key.source, *a), &outcome(&key.source, *b)))
        })
    });
    found.drain(..aggregation.offset.min(found.len()));
    found.truncate(aggregation.limit.unwrap_or(usize::MAX));
    if found.len() > GROUPS_MAX {
        return Err(SfError::new(
            "EXCEEDED_ID_LIMIT",
            "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a \
             single batch",
        ));
    }
    let record = |group: &(&Vec<Value>, &Vec<RowNo>)| {
        let mut out = String::from(r#"{"attributes":{"type":"AggregateResult"}"#);
        for column in &aggregation.columns {
            out.push(',');
            push_json_text(&mut out, &column.name);
            out.push(':');
            let field = aggregation.field(view, &column.source);
            outcome(&column.source, *group).push_json(field, &mut out);
        }
        out.push('}');
        out
    };
    Ok(found.iter().map(record).collect())
}

impl Aggregation {
    /// Returns the name of each column, whether a function computes it, and its field.
    pub(crate) fn described<'m>(&'m self, view: View<'m>) -> Vec<(&'m str, bool, &'m Field)> {
        let columns = self.columns.iter();
        let described = |column: &'m Column| {
            let computed = matches!(column.source, Source::Function(..));
            let field = self.field(view, &column.source);
            (column.name.as_str(), computed, field)
        };
        columns.map(described).collect()
    }

    fn field<'m>(&self, view: View<'m>, source: &Source) -> &'m Field {
        let path = match source {
            Source::Group(place) => &self.groups[*place].path,
            Source::Function(_, path) => path,
        };
        view.field(path.object, path.field)
    }
}

fn computed(
    view: View<'_>,
    object: ObjectNo,
    (function, path): (Function, &FieldPath),
    rows: &[RowNo],
) -> Outcome {
    let values = || {
        let values = rows.iter().map(|row| path.value(view, object, *row).0);
        values.filter(|value| **value != Value::Null)
    };
    let exact = |value: &Value| match value {
        Value::Int(int) => Some(Number::whole(i64::from(*int))),
        Value::Double(number) => Number::of(*number),
        _ => None,
    };
    let sum = || {
        let mut numbers = values().filter_map(exact);
        let sum = numbers.try_fold(Number::whole(0), Number::plus);
        sum.map_or(f64::MAX, |sum| sum.double().get())
    };
    let count = values().count();
    let none = Outcome::Value(Value::Null);
    match function {
        Function::Count => Outcome::Count(count),
        Function::CountDistinct => Outcome::Count(values().collect::<BTreeSet<_>>().len()),
        Function::Sum | Function::Avg if count == 0 => none,
        Function::Sum => Outcome::Sum(sum()),
        Function::Avg => Outcome::Average(sum() / count as f64),
        Function::Min => values()
            .min()
            .map_or(none, |value| Outcome::Value(value.clone())),
        Function::Max => values()
            .max()
            .map_or(none, |value| Outcome::Value(value.clone())),
    }
}

impl Outcome {
    fn push_json(&self, field: &Field, out: &mut String) {
        match self {
            Self::Count(count) => out.push_str(&count.to_string()),
            Self::Sum(sum) if field.kind == FieldType::Int => out.push_str(&sum.to_string()),
            Self::Sum(sum) => Double::of(*sum).push(out),
            Self::Average(number) => out.push_str(&format!("{number:?}")),
            Self::Value(value) => value.push_json(out),
        }
    }

    fn number(&self) -> Option<f64> {
        Some(match self {
            Self::Count(count) => *count as f64,
            Self::Sum(number) | Self::Average(number) => *number,
            Self::Value(Value::Int(int)) => f64::from(*int),
            Self::Value(_) => return None,
        })
    }

    fn is_null(&self) -> bool {
        *self == Self::Value(Value::Null)
    }
}

impl Test {
    fn holds(&self, outcome: &Outcome) -> bool {
        let order = outcome
            .number()
            .and_then(|number| number.partial_cmp(&self.number));
        order.is_some_and(|order| match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::AtMost => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::AtLeast => order.is_ge(),
            Operator::Like => false,
        })
    }
}

impl Key {
    fn order(&self, a: &Outcome, b: &Outcome) -> Ordering {
        let order = match (a, b) {
            (Outcome::Value(a), Outcome::Value(b)) => a.cmp(b),
            (a, b) => a
                .number()
                .partial_cmp(&b.number())
                .unwrap_or(Ordering::Equal),
        };
        match (a.is_null(), b.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if self.nulls_last => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, true) if self.nulls_last => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) if self.descending => order.reverse(),
            (false, false) => order,
        }
    }
}
