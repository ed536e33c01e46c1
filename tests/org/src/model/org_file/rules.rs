//! The conditions of an org file: validation rules and ignored writes.

use serde::{Deserialize, Serialize};

use super::{OrgFile, OrgFileError, content};
use crate::model::schema::{ObjectNo, Schema};
use crate::model::validation::{Declared, IgnoredWrite, ValidationRule};

/// A validation rule, as declared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValidationEntry {
    name: String,
    /// True for an invalid record.
    formula: String,
    message: String,
    /// The field that shows the message; the top of the page by default.
    field: Option<String>,
}

impl ValidationEntry {
    /// Reads the rule of an object, or returns what is wrong with it.
    pub(crate) fn read(&self, schema: &Schema, object: ObjectNo) -> Result<ValidationRule, String> {
        let declared = Declared {
            object,
            name: &self.name,
            formula: &self.formula,
            message: &self.message,
            field: self.field.as_deref(),
        };
        ValidationRule::read(schema, &declared)
    }
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
                let read = object.map(|object| rule.read(schema, object));
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
