//! Semi-joins and anti-joins: `AccountId IN (SELECT Id FROM Account WHERE …)`.

use super::bind::{FieldPath, bind};
use super::filter::Condition;
use super::{Filter, Item, Query, Select, malformed, rows};
use crate::model::error::{Place, SfError};
use crate::model::schema::{FieldType, ObjectNo};
use crate::model::value::Value;
use crate::model::view::View;

/// Maximum number of joins in a query.
const JOINS_MAX: usize = 2;

/// Refuses joins where Salesforce does not allow them.
pub(super) fn check(query: &Query) -> Result<(), SfError> {
    let Some(filter) = &query.filter else {
        return Ok(());
    };
    let joins = joins(filter, false)?;
    if joins.len() > JOINS_MAX {
        return Err(malformed("Maximum 2 semi join sub-selects are allowed"));
    }
    let nested = |inner: &&Query| match &inner.filter {
        Some(filter) => !joins_of(filter).is_empty(),
        None => false,
    };
    if joins.iter().any(nested) {
        return Err(malformed("Nested semi join sub-selects are not supported"));
    }
    Ok(())
}

fn joins_of(filter: &Filter) -> Vec<&Query> {
    joins(filter, false).unwrap_or_default()
}

fn joins(filter: &Filter, below_or: bool) -> Result<Vec<&Query>, SfError> {
    let mut found = Vec::new();
    match filter {
        Filter::All(filters) => {
            for filter in filters {
                found.extend(joins(filter, below_or)?);
            }
        }
        Filter::Any(filters) => {
            for filter in filters {
                found.extend(joins(filter, true)?);
            }
        }
        Filter::Not(inner) => found.extend(joins(inner, below_or)?),
        Filter::InQuery { .. } if below_or => {
            return Err(malformed(
                "Semi join sub-selects are not allowed with the 'OR' operator",
            ));
        }
        Filter::InQuery { query, .. } => found.push(&**query),
        Filter::Compare { .. }
        | Filter::Dated { .. }
        | Filter::In { .. }
        | Filter::Includes { .. } => {}
    }
    Ok(found)
}

/// Runs the inner query and returns the condition with its ids.
pub(super) fn bind_join(
    view: View<'_>,
    object: ObjectNo,
    (path, negated): (&str, bool),
    query: &Query,
) -> Result<Condition, SfError> {
    let left = FieldPath::resolve(view, object, path)?;
    let inner_object = view.find_object(&query.from);
    let plan = bind(view, query)?;
    let selected = match &query.select {
        Select::Items(items) => match items.as_slice() {
            [Item::Path(text)] => Some(text),
            _ => None,
        },
        Select::Count => None,
    };
    let Some((text, inner_object)) = selected.zip(inner_object) else {
        return Err(malformed(
            "A semi join sub-select selects exactly one field",
        ));
    };
    let right = FieldPath::resolve(view, inner_object, text)?;
    if query.limit.is_some() || query.offset > 0 || !query.order.is_empty() {
        return Err(malformed(
            "Semi join sub-selects are not allowed with ORDER BY, LIMIT or OFFSET",
        ));
    }
    let (ours, theirs) = (targets(view, &left), targets(view, &right));
    if !ours.iter().any(|target| theirs.contains(target)) {
        let message = format!(
            "The selected field '{text}' in the subquery and the left operand field in the where \
             expression in the outer query '{path}' should point to the same object type"
        );
        return Err(malformed(message).placed(Place::Word(path.to_owned())));
    }
    let found = rows(view, &plan, false).into_iter();
    let mut values: Vec<Value> = found
        .map(|row| right.value(view, inner_object, row).0.clone())
        .filter(|value| *value != Value::Null)
        .collect();
    values.sort_unstable();
    values.dedup();
    Ok(Condition::Among {
        path: left,
        negated,
        values,
    })
}

/// Returns the objects whose ids a field holds; empty for a field without ids.
fn targets(view: View<'_>, path: &FieldPath) -> Vec<String> {
    let field = view.field(path.object, path.field);
    match field.kind {
        FieldType::Id => vec![view.object(path.object).name.clone()],
        FieldType::Reference => field.reference_to.clone(),
        _ => Vec::new(),
    }
}
