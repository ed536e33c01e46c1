//! The conditions of an org file: validation rules and ignored writes.

use serde::Deserialize;

use super::{OrgFile, OrgFileError, content};
use crate::model::schema::Schema;
use crate::model::validation::{Declared, IgnoredWrite, ValidationRule};

/// A validation rule, as declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidationEntry {
    name: String,
    /// True for an invalid record.
    formula: String,
    message: String,
    /// The field that shows the message; the top of the page by default.
    field: Option<String>,
}

impl OrgFile {
    /// Reads all validation rules, or returns the first invalid one.
    pub(super) fn validation_rules(
        &self,
        schema: &Schema,
    ) -> Result<Vec<ValidationRule>, OrgFileError> {
        let mut rules = Vec::new();
        for entry in &self.objects {
            let object = schema.find(&entry.name);
            for rule in &entry.validation_rules {
                let declared = object.map(|object| Declared {
                    object,
                    formula: &rule.formula,
                    message: &rule.message,
                    field: rule.field.as_deref(),
                });
                let read = declared.map(|declared| ValidationRule::read(schema, &declared));
                let wrong = |why: String| content(format!("{}.{}: {why}", entry.name, rule.name));
                rules.extend(read.transpose().map_err(wrong)?);
            }
        }
        Ok(rules)
    }

    /// Reads the conditions while which writes of a field are ignored, or returns the first invalid
    /// one.
    pub(super) fn ignored_writes(
        &self,
        schema: &Schema,
    ) -> Result<Vec<IgnoredWrite>, OrgFileError> {
        let mut ignored = Vec::new();
        for entry in &self.objects {
            let Some(object) = schema.find(&entry.name) else {
                continue;
            };
            for field in &entry.fields {
                if let Some(condition) = &field.ignored_while {
                    let wrong = |why| content(format!("{}.{}: {why}", entry.name, field.name));
                    let at = (object, field.name.as_str());
                    ignored.push(IgnoredWrite::read(schema, at, condition).map_err(wrong)?);
                }
            }
        }
        Ok(ignored)
    }
}
