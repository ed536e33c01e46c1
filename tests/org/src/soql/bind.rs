//! Resolves the names of a query against the schema.

use super::aggregate::{self, Aggregation};
use super::filter::{self, Condition};
use super::{FieldGroup, Item, Query, Select, Show, TypeOf, join, malformed};
use crate::model::error::{Place, SfError};
use crate::model::permission::Action;
use crate::model::schema::{Field, FieldNo, FieldType, Object, ObjectNo};
use crate::model::view::View;

/// Maximum number of parents in a path.
const PARENTS_MAX: usize = 5;

/// Maximum number of rows of a query with `FIELDS(…)`.
const FIELDS_LIMIT_MAX: usize = 200;

/// A query with resolved names.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) object: ObjectNo,
    /// `None` if only the number of rows is selected.
    pub(crate) select: Option<Vec<SelectNode>>,
    /// The grouping, if the query has groups.
    pub(crate) aggregation: Option<Aggregation>,
    pub(super) condition: Option<Condition>,
    pub(super) order: Vec<SortKey>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
}

/// A part of a record to write.
#[derive(Clone, Debug)]
pub(crate) enum SelectNode {
    Field(FieldNo),
    /// Fields of a parent.
    Parent {
        name: String,
        hop: FieldNo,
        object: ObjectNo,
        children: Vec<SelectNode>,
    },
    /// A formatted or translated value with its own name.
    Shown {
        name: String,
        how: Show,
        path: FieldPath,
    },
    /// Fields of a parent that depend on the parent's object.
    TypeOf {
        name: String,
        hop: FieldNo,
        branches: Vec<(ObjectNo, Vec<SelectNode>)>,
    },
    /// The child records with that reference field.
    Children {
        name: String,
        link: FieldNo,
        plan: Box<Plan>,
    },
}

/// A field of a record or of one of its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldPath {
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
pub(crate) fn bind(view: View<'_>, query: &Query) -> Result<Plan, SfError> {
    let object = view
        .find_object(&query.from)
        .ok_or_else(|| unknown_type(&query.from))?;
    bind_on(view, object, query)
}

/// Returns the plan of a query on this object; its FROM is ignored.
fn bind_on(view: View<'_>, object: ObjectNo, query: &Query) -> Result<Plan, SfError> {
    join::check(query)?;
    let condition = query
        .filter
        .as_ref()
        .map(|f| filter::bind(view, object, f))
        .transpose()?;
    let mut plan = Plan {
        object,
        select: None,
        aggregation: None,
        condition,
        order: Vec::new(),
        limit: query.limit,
        offset: query.offset,
    };
    match &query.select {
        Select::Items(items) if aggregate::wanted(query, items) => {
            plan.aggregation = Some(Aggregation::bind(view, object, query, items)?);
            plan.select = Some(Vec::new());
            (plan.limit, plan.offset) = (None, 0);
            return Ok(plan);
        }
        Select::Items(items) => plan.select = Some(select(view, object, items, query.limit)?),
        Select::Count => {}
    }
    for key in &query.order {
        let path = FieldPath::resolve(view, object, &key.path)?;
        let field = view.field(path.object, path.field);
        if !sortable(field) {
            let message = format!("field '{}' can not be sorted in a query call", field.name);
            let error = SfError::new("INVALID_FIELD", message);
            return Err(error.placed(Place::Word(key.path.clone())));
        }
        let (descending, nulls_last) = (key.descending, key.nulls_last);
        plan.order.push(SortKey {
            path,
            descending,
            nulls_last,
        });
    }
    Ok(plan)
}

/// Returns whether a field can be used in a condition.
pub(crate) fn filterable(field: &Field) -> bool {
    !(matches!(field.kind, FieldType::Address | FieldType::Encryptedstring) || field.long_text())
}

/// Returns whether a field can be used in ORDER BY.
pub(crate) fn sortable(field: &Field) -> bool {
    filterable(field) && field.kind != FieldType::Multipicklist
}

/// Returns whether rows can be grouped by a field, as describe reports. Source: SOQL and SOSL
/// Reference, "Considerations When Using GROUP BY".
pub(crate) fn groupable(field: &Field) -> bool {
    let kind = match field.kind {
        FieldType::Id
        | FieldType::Reference
        | FieldType::String
        | FieldType::Textarea
        | FieldType::Picklist
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Url
        | FieldType::Boolean
        | FieldType::Int
        | FieldType::Date
        | FieldType::PersonName => true,
        FieldType::Multipicklist
        | FieldType::Encryptedstring
        | FieldType::Double
        | FieldType::Currency
        | FieldType::Percent
        | FieldType::Datetime
        | FieldType::Time
        | FieldType::Address => false,
    };
    kind && filterable(field) && !field.calculated()
}

fn unknown_type(name: &str) -> SfError {
    let message = format!(
        "sObject type '{name}' is not supported. If you are attempting to use a custom object, be \
         sure to append the '__c' after the entity name. Please reference your WSDL or the \
         describe call for the appropriate names."
    );
    SfError::new("INVALID_TYPE", message).placed(Place::Word(name.to_owned()))
}

fn unknown_column(name: &str, object: &Object) -> SfError {
    let message = format!(
        "No such column '{name}' on entity '{}'. If you are attempting to use a custom field, be \
         sure to append the '__c' after the custom field name. Please reference your WSDL or the \
         describe call for the appropriate names.",
        object.name
    );
    SfError::new("INVALID_FIELD", message).placed(Place::Word(name.to_owned()))
}

fn unknown_child(name: &str) -> SfError {
    let message = format!(
        "Didn't understand relationship '{name}' in FROM part of query call. If you are \
         attempting to use a custom relationship, be sure to append the '__r' after the custom \
         relationship name. Please reference your WSDL or the describe call for the appropriate \
         names."
    );
    SfError::new("INVALID_TYPE", message).placed(Place::Word(name.to_owned()))
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
    /// Returns the field at the end of the path.
    pub(crate) fn field_of<'m>(&self, view: View<'m>) -> &'m Field {
        view.field(self.object, self.field)
    }

    /// Resolves `Owner.Name` from `object`.
    pub(super) fn resolve(view: View<'_>, object: ObjectNo, text: &str) -> Result<Self, SfError> {
        let mut at = object;
        let mut hops = Vec::new();
        let mut parts: Vec<&str> = text.split('.').collect();
        // A field may be prefixed with the name of its own object.
        if parts.len() > 1 && parts[0].eq_ignore_ascii_case(&view.object(object).name) {
            let own = view.object(object);
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
            let found = hop(view, at, part);
            let (hop, target) = found.map_err(|e| e.placed(Place::Word(text.to_owned())))?;
            hops.push(hop);
            at = target;
        }
        let named = view.object(at);
        let field = view
            .find_field(at, last)
            .ok_or_else(|| unknown_column(last, named))?;
        Ok(Self {
            hops,
            object: at,
            field,
        })
    }
}

fn hop(view: View<'_>, object: ObjectNo, name: &str) -> Result<(FieldNo, ObjectNo), SfError> {
    let hop = view.find_relationship(object, name);
    let hop = hop.ok_or_else(|| unknown_relationship(name))?;
    let target = view.schema.target(object, hop);
    if view.allows(target, Action::Read) {
        Ok((hop, target))
    } else {
        Err(unknown_relationship(name))
    }
}

fn select(
    view: View<'_>,
    object: ObjectNo,
    items: &[Item],
    limit: Option<usize>,
) -> Result<Vec<SelectNode>, SfError> {
    let mut nodes = Vec::new();
    for item in items {
        match item {
            Item::Named { alias, .. } => {
                let error = malformed("only aggregate expressions use field aliasing");
                return Err(error.placed(Place::Word(alias.clone())));
            }
            Item::Aggregate { .. } => return Err(malformed("Field must be grouped or aggregated")),
            Item::Children(query) => nodes.push(children(view, object, query)?),
            Item::Path(text) => {
                let path = FieldPath::resolve(view, object, text)?;
                let end = SelectNode::Field(path.field);
                add(view, object, &mut nodes, &path.hops, end)?;
            }
            Item::Dated { term, .. } => {
                let message = format!("Field must be grouped or aggregated: {}", term.text());
                return Err(malformed(message).placed(Place::Word(term.path.clone())));
            }
            Item::Shown { how, path, alias } => {
                shown(view, object, &mut nodes, (*how, path, alias.as_ref()))?;
            }
            Item::TypeOf(item) => nodes.push(type_of(view, object, item)?),
            Item::Group(_) if limit.is_none_or(|limit| limit > FIELDS_LIMIT_MAX) => {
                return Err(malformed(
                    "The SOQL FIELDS function must have a LIMIT of at most 200",
                ));
            }
            Item::Group(group) => {
                let fields = view.fields(object).filter(|(_, field)| match group {
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

/// Adds a formatted value, in place of its field or with an alias.
fn shown(
    view: View<'_>,
    object: ObjectNo,
    nodes: &mut Vec<SelectNode>,
    (how, text, alias): (Show, &str, Option<&String>),
) -> Result<(), SfError> {
    let path = FieldPath::resolve(view, object, text)?;
    let field = view.field(path.object, path.field);
    if !how.fits(field) {
        let message = format!("field {} does not support {}", field.name, how.name());
        let error = SfError::new("INVALID_FIELD", message);
        return Err(error.placed(Place::Word(text.to_owned())));
    }
    if let Some(alias) = alias {
        let name = alias.clone();
        return add(
            view,
            object,
            nodes,
            &[],
            SelectNode::Shown { name, how, path },
        );
    }
    let own = FieldPath {
        hops: Vec::new(),
        ..path.clone()
    };
    let end = SelectNode::Shown {
        name: field.name.clone(),
        how,
        path: own,
    };
    add(view, object, nodes, &path.hops, end)
}

/// Resolves a TYPEOF: each object that the reference can point to gets its fields.
fn type_of(view: View<'_>, object: ObjectNo, item: &TypeOf) -> Result<SelectNode, SfError> {
    let (hop, _) = hop(view, object, &item.relationship)
        .map_err(|error| error.placed(Place::Word(item.relationship.clone())))?;
    let field = view.field(object, hop);
    let refused =
        |message: String| malformed(message).placed(Place::Word(item.relationship.clone()));
    if field.reference_to.len() < 2 {
        let message = "TYPEOF is for relationships that lead to several objects";
        return Err(refused(message.to_owned()));
    }
    let mut branches: Vec<(ObjectNo, Vec<SelectNode>)> = Vec::new();
    for (name, fields) in &item.branches {
        let target = view.find_object(name).ok_or_else(|| unknown_type(name))?;
        let named = &view.object(target).name;
        if !field.reference_to.contains(named) || branches.iter().any(|(no, _)| *no == target) {
            let relationship = &item.relationship;
            return Err(refused(format!(
                "{relationship} does not lead to {named} here"
            )));
        }
        branches.push((target, fields_of(view, target, fields)?));
    }
    if let Some(unknown) = item.otherwise.iter().find(|name| !of_any_name(name)) {
        let message = format!("No such column '{unknown}' on entity 'Name'.");
        return Err(SfError::new("INVALID_FIELD", message).placed(Place::Word(unknown.clone())));
    }
    for name in &field.reference_to {
        let Some(target) = view.find_object(name) else {
            continue;
        };
        if !item.otherwise.is_empty() && !branches.iter().any(|(no, _)| *no == target) {
            // Fields that the object does not have are skipped.
            let has = |name: &&String| view.find_field(target, name).is_some();
            let fields: Vec<String> = item.otherwise.iter().filter(has).cloned().collect();
            branches.push((target, fields_of(view, target, &fields)?));
        }
    }
    Ok(SelectNode::TypeOf {
        name: field.relationship_name.clone().unwrap_or_default(),
        hop,
        branches,
    })
}

/// Returns whether the object Name, which represents records of any object, has a field.
fn of_any_name(name: &str) -> bool {
    const FIELDS: [&str; 13] = [
        "Alias",
        "Email",
        "FirstName",
        "Id",
        "IsActive",
        "LastName",
        "Name",
        "Phone",
        "Profile",
        "Title",
        "Type",
        "UserRole",
        "Username",
    ];
    FIELDS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn fields_of(
    view: View<'_>,
    object: ObjectNo,
    paths: &[String],
) -> Result<Vec<SelectNode>, SfError> {
    let items: Vec<Item> = paths.iter().cloned().map(Item::Path).collect();
    select(view, object, &items, None)
}

/// Resolves a child subquery.
fn children(view: View<'_>, object: ObjectNo, query: &Query) -> Result<SelectNode, SfError> {
    let found = view.schema.child_relationship(object, &query.from);
    let found = found
        .filter(|(child, link)| view.allows(*child, Action::Read) && view.shows(*child, *link));
    let (child, link) = found.ok_or_else(|| unknown_child(&query.from))?;
    let nested = match &query.select {
        Select::Count => true,
        Select::Items(items) => {
            aggregate::wanted(query, items)
                || items.iter().any(|item| matches!(item, Item::Children(_)))
        }
    };
    if nested {
        return Err(malformed(
            "Only root queries support aggregate expressions and child subqueries",
        ));
    }
    let name = &view.field(child, link).child_relationship_name;
    Ok(SelectNode::Children {
        name: name.clone().unwrap_or_default(),
        link,
        plan: Box::new(bind_on(view, child, query)?),
    })
}

/// Adds the field of a path to the nodes of `object`, below one node for each parent in the path.
fn add(
    view: View<'_>,
    object: ObjectNo,
    nodes: &mut Vec<SelectNode>,
    hops: &[FieldNo],
    end: SelectNode,
) -> Result<(), SfError> {
    let Some((hop, rest)) = hops.split_first() else {
        let name = |node: &SelectNode| match node {
            SelectNode::Field(no) => view.field(object, *no).name.clone(),
            SelectNode::Shown { name, .. }
            | SelectNode::Parent { name, .. }
            | SelectNode::TypeOf { name, .. }
            | SelectNode::Children { name, .. } => name.clone(),
        };
        let own = name(&end);
        if nodes.iter().any(|node| name(node) == own) {
            let message = format!("duplicate field selected: {own}");
            return Err(SfError::new("INVALID_FIELD", message));
        }
        nodes.push(end);
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
            return add(view, *object, children, rest, end);
        }
    }
    let field = view.field(object, *hop);
    let target = view.schema.target(object, *hop);
    let mut children = Vec::new();
    add(view, target, &mut children, rest, end)?;
    let name = field.relationship_name.clone().unwrap_or_default();
    nodes.push(SelectNode::Parent {
        name,
        hop: *hop,
        object: target,
        children,
    });
    Ok(())
}
