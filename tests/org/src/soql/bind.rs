//! Resolves the names of a query against the schema.

use super::filter::{self, Condition};
use super::{FieldGroup, Item, Query, Select, malformed};
use crate::model::Model;
use crate::model::error::SfError;
use crate::model::schema::{Field, FieldNo, FieldType, Object, ObjectNo};

/// How many parents a path may climb.
const PARENTS_MAX: usize = 5;

/// How many rows a query with `FIELDS(…)` may return.
const FIELDS_LIMIT_MAX: usize = 200;

/// A query whose names are resolved.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) object: ObjectNo,
    /// `None`: only the number of rows is wanted.
    pub(crate) select: Option<Vec<SelectNode>>,
    pub(super) condition: Option<Condition>,
    pub(super) order: Vec<SortKey>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
}

/// A part of a record to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SelectNode {
    Field(FieldNo),
    /// Fields of the record that a reference leads to.
    Parent {
        name: String,
        hop: FieldNo,
        object: ObjectNo,
        children: Vec<SelectNode>,
    },
}

/// A field of a record or of one of its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldPath {
    pub(super) hops: Vec<FieldNo>,
    pub(super) object: ObjectNo,
    pub(super) field: FieldNo,
}

/// One key of a sort.
#[derive(Clone, Debug)]
pub(super) struct SortKey {
    pub(super) path: FieldPath,
    pub(super) descending: bool,
    pub(super) nulls_last: bool,
}

/// Returns the plan of a query.
pub(crate) fn bind(model: &Model, query: &Query) -> Result<Plan, SfError> {
    let object = model
        .schema
        .find(&query.from)
        .ok_or_else(|| unknown_type(&query.from))?;
    let select = match &query.select {
        Select::Count => None,
        Select::Items(items) => Some(select(model, object, items, query.limit)?),
    };
    let condition = query
        .filter
        .as_ref()
        .map(|f| filter::bind(model, object, f))
        .transpose()?;
    let mut order = Vec::with_capacity(query.order.len());
    for key in &query.order {
        let path = FieldPath::resolve(model, object, &key.path)?;
        let field = model.field(path.object, path.field);
        if !sortable(field) {
            let message = format!("field '{}' can not be sorted in a query call", field.name);
            return Err(SfError::new("INVALID_FIELD", message));
        }
        let (descending, nulls_last) = (key.descending, key.nulls_last);
        order.push(SortKey {
            path,
            descending,
            nulls_last,
        });
    }
    Ok(Plan {
        object,
        select,
        condition,
        order,
        limit: query.limit,
        offset: query.offset,
    })
}

/// Tells whether a field can stand in a condition.
pub(crate) fn filterable(field: &Field) -> bool {
    !(field.kind == FieldType::Address || (field.kind == FieldType::Textarea && field.length > 255))
}

/// Tells whether a field can stand in ORDER BY.
pub(crate) fn sortable(field: &Field) -> bool {
    filterable(field) && field.kind != FieldType::Multipicklist
}

fn unknown_type(name: &str) -> SfError {
    let message = format!(
        "sObject type '{name}' is not supported. If you are attempting to use a custom object, be \
         sure to append the '__c' after the entity name. Please reference your WSDL or the \
         describe call for the appropriate names."
    );
    SfError::new("INVALID_TYPE", message)
}

fn unknown_column(name: &str, object: &Object) -> SfError {
    let message = format!(
        "No such column '{name}' on entity '{}'. If you are attempting to use a custom field, be \
         sure to append the '__c' after the custom field name. Please reference your WSDL or the \
         describe call for the appropriate names.",
        object.name
    );
    SfError::new("INVALID_FIELD", message)
}

fn unknown_relationship(name: &str) -> SfError {
    let message = format!(
        "Didn't understand relationship '{name}' in field path. If you are attempting to use a \
         custom relationship, be sure to append the '__r' after the custom relationship name. \
         Please reference your WSDL or the describe call for the appropriate names."
    );
    SfError::new("INVALID_FIELD", message)
}

impl FieldPath {
    /// Resolves `Owner.Name` from `object`.
    pub(super) fn resolve(model: &Model, object: ObjectNo, text: &str) -> Result<Self, SfError> {
        let mut at = object;
        let mut hops = Vec::new();
        let mut parts: Vec<&str> = text.split('.').collect();
        // A field may be written with the name of its own object in front.
        if parts.len() > 1 && parts[0].eq_ignore_ascii_case(&model.object(object).name) {
            let own = model.object(object);
            if own.find_relationship(parts[0]).is_none() {
                parts.remove(0);
            }
        }
        let last = parts.pop().unwrap_or_default();
        if parts.len() > PARENTS_MAX {
            return Err(malformed(
                "SOQL statements cannot query parent relationships more than 5 levels away.",
            ));
        }
        for part in parts {
            let (hop, target) = hop(model, at, part)?;
            hops.push(hop);
            at = target;
        }
        let named = model.object(at);
        let field = named
            .find(last)
            .ok_or_else(|| unknown_column(last, named))?;
        Ok(Self {
            hops,
            object: at,
            field,
        })
    }
}

fn hop(model: &Model, object: ObjectNo, name: &str) -> Result<(FieldNo, ObjectNo), SfError> {
    let hop = model.object(object).find_relationship(name);
    let hop = hop.ok_or_else(|| unknown_relationship(name))?;
    let target = model.schema.find(&model.field(object, hop).reference_to[0]);
    Ok((
        hop,
        target.expect("the org file was checked for unknown targets"),
    ))
}

fn select(
    model: &Model,
    object: ObjectNo,
    items: &[Item],
    limit: Option<usize>,
) -> Result<Vec<SelectNode>, SfError> {
    let mut nodes = Vec::new();
    for item in items {
        match item {
            Item::Path(text) => {
                let path = FieldPath::resolve(model, object, text)?;
                add(model, object, &mut nodes, &path.hops, path.field)?;
            }
            Item::Group(_) if limit.is_none_or(|limit| limit > FIELDS_LIMIT_MAX) => {
                return Err(malformed(
                    "The SOQL FIELDS function must have a LIMIT of at most 200",
                ));
            }
            Item::Group(group) => {
                let fields = model
                    .object(object)
                    .numbered()
                    .filter(|(_, field)| match group {
                        FieldGroup::All => true,
                        FieldGroup::Standard => !field.custom(),
                        FieldGroup::Custom => field.custom(),
                    });
                nodes.extend(fields.map(|(no, _)| SelectNode::Field(no)));
            }
        }
    }
    Ok(nodes)
}

/// Adds the end of a path to the nodes of `object`, below one node for each parent on the way.
fn add(
    model: &Model,
    object: ObjectNo,
    nodes: &mut Vec<SelectNode>,
    hops: &[FieldNo],
    end: FieldNo,
) -> Result<(), SfError> {
    let Some((hop, rest)) = hops.split_first() else {
        let node = SelectNode::Field(end);
        if nodes.contains(&node) {
            let message = format!(
                "duplicate field selected: {}",
                model.field(object, end).name
            );
            return Err(SfError::new("INVALID_FIELD", message));
        }
        nodes.push(node);
        return Ok(());
    };
    for node in &mut *nodes {
        if let SelectNode::Parent {
            hop: known,
            object,
            children,
            ..
        } = node
            && known == hop
        {
            return add(model, *object, children, rest, end);
        }
    }
    let field = model.field(object, *hop);
    let target = model.schema.find(&field.reference_to[0]);
    let target = target.expect("the path was resolved over this hop");
    let mut children = Vec::new();
    add(model, target, &mut children, rest, end)?;
    let name = field.relationship_name.clone().unwrap_or_default();
    nodes.push(SelectNode::Parent {
        name,
        hop: *hop,
        object: target,
        children,
    });
    Ok(())
}
