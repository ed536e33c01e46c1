//! Writes the mapping of an object as the TOML that [`super::parse`] reads.

use std::fmt::Write as _;

use crate::model::ids::{ColumnName, TenantId};

use super::{Deletes, Direction, ObjectSync, Owner};

impl ObjectSync {
    /// Returns the object's section of `syncline.toml` for a tenant whose tables are in `schema`. Only what differs from
    /// the defaults is written, of the rules that a person chooses first: direction and deletes.
    pub fn to_toml(&self, tenant: &TenantId, schema: &str) -> String {
        let mut toml = format!("[[tenant.{tenant}.object]]\n");
        let mut line = |key: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(toml, "{key} = {value}");
        };
        line("object", text(self.object.as_str()));
        line("table", text(&self.table_text(schema)));
        let field = text(self.external_id.field.as_str());
        let key = column(&self.external_id.column);
        line("external_id", format!("{{ field = {field}, {key} }}"));
        if self.direction != Direction::default() {
            line("direction", text(self.direction.as_str()));
        }
        if self.deletes.mode != Deletes::default().mode {
            let mode = text(self.deletes.mode.as_str());
            line("deletes", format!("{{ mode = {mode} }}"));
        }
        let _ = writeln!(toml, "\n[tenant.{tenant}.object.fields]");
        for (name, field) in &self.fields {
            let mut keys = vec![column(&field.column)];
            if field.owner != Owner::default() {
                keys.push(format!("owner = {}", text(field.owner.as_str())));
            }
            if let Some(parent) = &field.references {
                keys.push(format!("references = {}", text(parent.as_str())));
            }
            let _ = writeln!(toml, "{name} = {{ {} }}", keys.join(", "));
        }
        toml
    }

    /// Returns the table as it is written: a name with a point in it needs its schema.
    fn table_text(&self, schema: &str) -> String {
        let table = self.table.table.as_str();
        if self.table.schema.as_str() == schema && !table.contains('.') {
            table.to_owned()
        } else {
            format!("{}.{table}", self.table.schema)
        }
    }
}

fn column(column: &ColumnName) -> String {
    format!("column = {}", text(column.as_str()))
}

/// Returns a basic string of TOML, which escapes as JSON does, and the delete character too.
fn text(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.replace('\u{7f}', "\\u007f")
}
