//! `columns=true`: what a query would return, without running it. Data Loader asks this first.

use serde_json::{Value as Json, json};

use crate::model::schema::{Field, FieldNo, FieldType, ObjectNo};
use crate::model::view::View;
use crate::soql::{Plan, SelectNode};

/// What a column shows.
struct Column<'a> {
    name: &'a str,
    /// Whether it has several values, or a value of several records.
    aggregate: bool,
    /// `None` for a parent or a list of children.
    field: Option<&'a Field>,
    joined: Vec<Json>,
}

/// Returns the description of a query's result.
pub(super) fn describe(view: View<'_>, plan: &Plan) -> Json {
    let object = view.object(plan.object);
    let nodes = plan.select.as_deref().unwrap_or_default();
    let columns: Vec<Json> = match &plan.aggregation {
        Some(aggregation) => {
            let columns = aggregation.described(view).into_iter();
            let column = |(name, aggregate, field)| {
                Column {
                    name,
                    aggregate,
                    field: Some(field),
                    joined: Vec::new(),
                }
                .to_json()
            };
            columns.map(column).collect()
        }
        None => all_of(view, plan.object, nodes),
    };
    let is_id =
        |node: &SelectNode| matches!(node, SelectNode::Field(no) if *no == object.system.id);
    json!({
        "columnMetadata": columns,
        "entityName": object.name,
        "groupBy": plan.aggregation.is_some(),
        "idSelected": nodes.iter().any(is_id),
        "keyPrefix": object.prefix(),
    })
}

fn all_of(view: View<'_>, object: ObjectNo, nodes: &[SelectNode]) -> Vec<Json> {
    let nodes = nodes.iter();
    nodes.map(|node| one_of(view, object, node)).collect()
}

fn one_of(view: View<'_>, object: ObjectNo, node: &SelectNode) -> Json {
    let field = |no: FieldNo| view.field(object, no);
    let (name, aggregate, field, joined) = match node {
        SelectNode::Field(no) => (field(*no).name.as_str(), false, Some(field(*no)), vec![]),
        SelectNode::Shown { name, path, .. } => {
            (name.as_str(), false, Some(path.field_of(view)), vec![])
        }
        SelectNode::Parent {
            name,
            object,
            children,
            ..
        } => (name.as_str(), false, None, all_of(view, *object, children)),
        SelectNode::TypeOf { name, .. } => (name.as_str(), false, None, vec![]),
        SelectNode::Children { name, plan, .. } => {
            let nodes = plan.select.as_deref().unwrap_or_default();
            (name.as_str(), true, None, all_of(view, plan.object, nodes))
        }
    };
    Column {
        name,
        aggregate,
        field,
        joined,
    }
    .to_json()
}

impl Column<'_> {
    fn to_json(&self) -> Json {
        let kind = self.field.map(|field| field.kind);
        let number = matches!(
            kind,
            Some(FieldType::Int | FieldType::Double | FieldType::Currency | FieldType::Percent)
        );
        let own = self.field.filter(|_| !self.aggregate);
        json!({
            "aggregate": self.aggregate,
            "apexType": kind.map(apex_type),
            "booleanType": kind == Some(FieldType::Boolean),
            "columnName": self.name,
            "custom": own.is_some_and(Field::custom),
            "displayName": self.name,
            "foreignKeyName": own.and_then(|field| field.relationship_name.as_deref()),
            "insertable": own.is_some_and(|field| field.createable),
            "joinColumns": self.joined,
            "numberType": number,
            "textType": kind.is_some_and(FieldType::is_text),
            "updatable": own.is_some_and(|field| field.updateable),
        })
    }
}

/// Returns the Apex type of a field's values.
fn apex_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Id | FieldType::Reference => "Id",
        FieldType::Boolean => "Boolean",
        FieldType::Int => "Integer",
        FieldType::Double | FieldType::Currency | FieldType::Percent => "Double",
        FieldType::Date => "Date",
        FieldType::Datetime => "Datetime",
        FieldType::Time => "Time",
        FieldType::Address => "Address",
        FieldType::String
        | FieldType::Textarea
        | FieldType::Encryptedstring
        | FieldType::Picklist
        | FieldType::Multipicklist
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Url
        | FieldType::PersonName => "String",
    }
}
