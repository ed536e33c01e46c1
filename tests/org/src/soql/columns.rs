//! A query as a flat table: one column for each item of its select list, in order.

use super::bind::FieldPath;
use super::{FieldGroup, Item, Query, Select, malformed};
use crate::model::error::SfError;
use crate::model::schema::{Field, FieldNo, ObjectNo};
use crate::model::table::RowNo;
use crate::model::value::Value;
use crate::model::view::View;

/// One column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// `Owner.Name`, in the case of the schema.
    pub(crate) name: String,
    path: FieldPath,
}

impl Column {
    /// Returns the field of the column.
    pub(crate) fn field<'m>(&self, view: View<'m>) -> &'m Field {
        view.field(self.path.object, self.path.field)
    }

    /// Returns a record's value in this column.
    pub(crate) fn value<'m>(
        &self,
        view: View<'m>,
        (object, row): (ObjectNo, RowNo),
    ) -> (&'m Value, &'m Field) {
        self.path.value(view, object, row)
    }

    fn of(view: View<'_>, object: ObjectNo, path: FieldPath) -> Self {
        let mut name = String::new();
        let mut at = object;
        for hop in &path.hops {
            let field = view.field(at, *hop);
            name.push_str(field.relationship_name.as_deref().unwrap_or_default());
            name.push('.');
            at = view.schema.target(at, *hop);
        }
        name.push_str(&view.field(path.object, path.field).name);
        Self { name, path }
    }
}

/// Returns the columns of a query; empty for a count.
pub(crate) fn columns(view: View<'_>, query: &Query) -> Result<Vec<Column>, SfError> {
    let object = view.object_named(&query.from)?;
    let items = match &query.select {
        Select::Count => return Ok(Vec::new()),
        Select::Items(items) => items,
    };
    let mut columns = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Item::Path(text) => {
                let path = FieldPath::resolve(view, object, text)?;
                columns.push(Column::of(view, object, path));
            }
            Item::Group(group) => columns.extend(group_of(view, object, *group)),
            Item::Named { .. }
            | Item::Dated { .. }
            | Item::Shown { .. }
            | Item::TypeOf(_)
            | Item::Aggregate { .. }
            | Item::Children(_) => {
                return Err(malformed("Only fields can be columns"));
            }
        }
    }
    Ok(columns)
}

fn group_of(view: View<'_>, object: ObjectNo, group: FieldGroup) -> Vec<Column> {
    let wanted = |field: &Field| match group {
        FieldGroup::All => true,
        FieldGroup::Standard => !field.custom(),
        FieldGroup::Custom => field.custom(),
    };
    let path = |field: FieldNo| FieldPath {
        hops: Vec::new(),
        object,
        field,
    };
    let fields = view.fields(object);
    fields
        .filter(|(_, field)| wanted(field))
        .map(|(no, _)| Column::of(view, object, path(no)))
        .collect()
}
