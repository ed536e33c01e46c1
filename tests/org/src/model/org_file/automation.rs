//! The automation that an org file declares on fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::field::default_value;
use super::platform::addresses;
use super::{FieldEntry, ObjectEntry, OrgFile, OrgFileError, content};
use crate::model::automation::{AccountFields, Automation, Function, Implied, Persons, Total};
use crate::model::formula::Formula;
use crate::model::schema::{FieldNo, Object, ObjectNo, PERSON_MARK, RECORD_TYPE_FIELD, Schema};

/// The automation of one field, as declared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldAutomation {
    /// The fields that each value of this field sets, unless the caller sets them.
    #[serde(default)]
    sets: BTreeMap<String, BTreeMap<String, toml::Value>>,
    /// The value of new records, unless the caller sets it.
    default_formula: Option<String>,
    /// The value that is computed and stored at every write.
    formula: Option<String>,
    /// The total over child records that this field keeps.
    pub(super) total: Option<TotalEntry>,
    /// The field of a person's contact that has the same value.
    person: Option<String>,
    /// Whether a record must not be its own ancestor by this reference.
    #[serde(default)]
    hierarchy: bool,
}

/// A total over child records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TotalEntry {
    /// The object of the children, and their reference to the record.
    object: String,
    reference: String,
    function: Function,
    /// The field of the children; not for a count.
    field: Option<String>,
}

impl FieldEntry {
    /// Returns whether automation is declared on the field.
    pub(crate) fn is_automated(&self) -> bool {
        self.automation != FieldAutomation::default() || self.ignored_while.is_some()
    }
}

impl OrgFile {
    /// Returns the automation of every object.
    pub(super) fn automation(&self, schema: &Schema) -> Result<Vec<Automation>, OrgFileError> {
        let mut all: Vec<Automation> = Vec::new();
        all.resize_with(schema.objects.len(), Automation::default);
        for entry in &self.objects {
            let Some(object) = schema.find(&entry.name) else {
                continue;
            };
            // In the order of the schema, so that one value can follow from another.
            for (no, field) in schema.object(object).numbered() {
                let Some(declared) = declaration(entry, &field.name) else {
                    continue;
                };
                add(&mut all, schema, (object, no), declared).map_err(|why| {
                    content(format!("{}.{}: automation: {why}", entry.name, field.name))
                })?;
            }
            all[object.0].addresses = addresses(schema.object(object));
            if let Some((persons, contact)) = persons(entry, schema, object)? {
                all[contact.0].person_mark = Some(persons.mark);
                all[object.0].persons = Some(persons);
            }
        }
        Ok(all)
    }
}

fn declaration<'a>(entry: &'a ObjectEntry, name: &str) -> Option<&'a FieldAutomation> {
    let field = entry.fields.iter().find(|field| field.name == name);
    field.map(|field: &FieldEntry| &field.automation)
}

/// Adds the automation of one field.
fn add(
    all: &mut [Automation],
    schema: &Schema,
    at: (ObjectNo, FieldNo),
    declared: &FieldAutomation,
) -> Result<(), String> {
    let own = &mut all[at.0.0];
    if !declared.sets.is_empty() {
        own.implied.push(implied(schema, at, declared)?);
    }
    if let Some(text) = &declared.default_formula {
        own.defaults.push(Formula::parse(schema, at, text)?);
    }
    if let Some(text) = &declared.formula {
        own.computed.push(Formula::parse(schema, at, text)?);
    }
    if declared.hierarchy {
        own.hierarchies.push(at.1);
    }
    if let Some(entry) = &declared.total {
        let total = total(schema, at, entry)?;
        all[total.child.0].totals.push(total);
    }
    Ok(())
}

fn implied(
    schema: &Schema,
    (object, by): (ObjectNo, FieldNo),
    declared: &FieldAutomation,
) -> Result<Implied, String> {
    let object = schema.object(object);
    let mut values = Vec::new();
    for (value, sets) in &declared.sets {
        let mut read = Vec::new();
        for (name, toml) in sets {
            let no = object.find(name);
            let no = no.ok_or_else(|| format!("there is no field {name}"))?;
            let set = default_value(object.field(no), toml);
            read.push((
                no,
                set.ok_or_else(|| format!("{toml} does not fit {name}"))?,
            ));
        }
        values.push((value.clone(), read));
    }
    Ok(Implied { by, values })
}

fn total(
    schema: &Schema,
    (parent, field): (ObjectNo, FieldNo),
    entry: &TotalEntry,
) -> Result<Total, String> {
    let unknown = |name: &str| format!("there is no {name}");
    let child = schema.find(&entry.object);
    let child = child.ok_or_else(|| unknown(&entry.object))?;
    let object = schema.object(child);
    let reference = object.find(&entry.reference);
    let reference = reference.ok_or_else(|| unknown(&entry.reference))?;
    let link = object.field(reference);
    if !link.cascade_delete && link.child_relationship_name.is_none() {
        return Err(format!(
            "{} needs a child_relationship_name",
            entry.reference
        ));
    }
    let counts = matches!(entry.function, Function::Count | Function::Exists);
    let of = match (&entry.field, counts) {
        (None, true) => None,
        (Some(name), false) => Some(object.find(name).ok_or_else(|| unknown(name))?),
        (Some(_), true) => return Err("this function needs no field".to_owned()),
        (None, false) => return Err("this function needs a field".to_owned()),
    };
    Ok(Total {
        child,
        reference,
        parent,
        field,
        function: entry.function,
        of,
    })
}

/// Returns how the records of an object hold persons, and the object of their contacts.
fn persons(
    entry: &ObjectEntry,
    schema: &Schema,
    object: ObjectNo,
) -> Result<Option<(Persons, ObjectNo)>, OrgFileError> {
    let shape = schema.object(object);
    let declared = entry.fields.iter();
    let pairs: Vec<(&str, &str)> = declared
        .filter_map(|field| Some((&*field.name, field.automation.person.as_deref()?)))
        .collect();
    if pairs.is_empty() {
        return Ok(None);
    }
    let at = |object: &Object, name: &str| {
        let missing = || content(format!("persons need the field {}.{name}", object.name));
        object.find(name).ok_or_else(missing)
    };
    let link = at(shape, "PersonContactId")?;
    let contact = schema.target(object, link);
    let other = schema.object(contact);
    let mut mirrored = Vec::with_capacity(pairs.len());
    for (from, to) in pairs {
        mirrored.push((at(shape, from)?, at(other, to)?));
    }
    let kinds = shape.record_types.iter().filter(|kind| kind.person);
    let persons = Persons {
        record_types: kinds.map(|kind| kind.id).collect(),
        account: AccountFields {
            record_type: at(shape, RECORD_TYPE_FIELD)?,
            name: at(shape, "Name")?,
            first_name: at(shape, "FirstName")?,
            last_name: at(shape, "LastName")?,
            mark: at(shape, PERSON_MARK)?,
            contact: link,
        },
        contact,
        parent: at(other, "AccountId")?,
        mark: at(other, PERSON_MARK)?,
        mirrored,
    };
    Ok(Some((persons, contact)))
}
