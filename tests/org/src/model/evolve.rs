//! Schema changes while the org runs: their effect on records and on subscribers.

use serde::{Deserialize, Serialize};

use super::change::ChangeKind;
use super::layout::Layout;
use super::log::Source;
use super::org_file::{FieldEntry, ValidationEntry, build_field};
use super::schema::{Field, FieldNo, FieldType, ObjectNo};
use super::value::Value;
use super::{Actor, Model};
use crate::unconfirmed::MERGED_RECORDS_MAX;

/// A schema change as requested. Repeating it gives an org the same fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaChange {
    object: String,
    change: Alteration,
    at_ms: i64,
}

/// What an administrator changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Alteration {
    /// Adds a field.
    AddField(Box<FieldEntry>),
    /// Converts the field with that name.
    ConvertField(Box<FieldEntry>),
    /// Adds a validation rule, or replaces the one with that name.
    AddValidationRule(ValidationEntry),
    /// Removes a validation rule.
    RemoveValidationRule(String),
    /// Selects the object for change events, or removes it from the selection.
    SelectForEvents(bool),
}

/// What a field conversion does to existing values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Values stay, and no event is sent.
    Nothing,
    /// A gap event names the records.
    Published,
    /// Values are lost, and one event covers all records.
    Everything,
}

impl Model {
    /// Adds a field. Existing records get its default, and events get a new schema.
    pub(crate) fn add_field(&mut self, no: ObjectNo, entry: &FieldEntry) -> Result<(), String> {
        let field = self.built(no, entry)?;
        let object = &mut self.schema.objects[no.0];
        if object.find(&field.name).is_some() {
            return Err(format!("{}.{} exists", object.name, field.name));
        }
        if field.kind.is_compound() {
            return Err("a compound field cannot be added to a running org".to_owned());
        }
        let place = FieldNo(object.fields.len());
        object.by_name.insert(field.name.clone(), place);
        object
            .by_name
            .insert(field.name.to_ascii_lowercase(), place);
        if let Some(name) = &field.relationship_name {
            object
                .by_relationship
                .insert(name.to_ascii_lowercase(), place);
        }
        object.fields.push(field);
        self.tables[no.0].widen(&self.schema.objects[no.0], place);
        self.new_layout(no);
        self.note_change(no, Alteration::AddField(Box::new(entry.clone())));
        Ok(())
    }

    /// Returns when an object changed last, or any object; `None` if the org file still describes it.
    pub(crate) fn changed_ms(&self, no: Option<ObjectNo>) -> Option<i64> {
        let named =
            |change: &&SchemaChange| no.is_none_or(|no| self.object(no).name == change.object);
        let changes = self.changes.iter().filter(named);
        changes.map(|change| change.at_ms).max()
    }

    /// Changes the type of a custom field.
    ///
    /// Source: Change Data Capture guide, "Change Events for Custom Field Type Conversions".
    pub(crate) fn convert_field(
        &mut self,
        actor: &Actor,
        no: ObjectNo,
        entry: &FieldEntry,
    ) -> Result<(), String> {
        let field = self.built(no, entry)?;
        let object = self.object(no);
        let place = object.find(&field.name).ok_or("there is no such field")?;
        let old = object.field(place);
        if !old.custom() || old.kind.is_compound() || field.kind.is_compound() {
            return Err("only a custom field that is not a compound can be converted".to_owned());
        }
        let loss = loss(old.kind, field.kind);
        let rows: Vec<_> = self.table(no).all().collect();
        let object = &self.schema.objects[no.0];
        let to_checkbox = field.kind == FieldType::Boolean;
        if loss == Loss::Everything || to_checkbox {
            let empty = if to_checkbox {
                Value::Bool(false)
            } else {
                Value::Null
            };
            for row in &rows {
                self.tables[no.0].set(object, *row, place, empty.clone());
            }
        }
        self.schema.objects[no.0].fields[place.0] = field;
        self.tables[no.0].index_field(&self.schema.objects[no.0], place);
        self.new_layout(no);
        self.note_change(no, Alteration::ConvertField(Box::new(entry.clone())));
        match loss {
            Loss::Nothing => {}
            Loss::Everything => {
                self.publish_without_content(actor, no, ChangeKind::Update, Vec::new());
            }
            Loss::Published => {
                let ids: Vec<String> = rows
                    .iter()
                    .map(|row| self.id_of(no, *row).to_string())
                    .collect();
                for ids in ids.chunks(MERGED_RECORDS_MAX) {
                    self.publish_without_content(actor, no, ChangeKind::GapUpdate, ids.to_vec());
                }
            }
        }
        Ok(())
    }

    /// Adds a validation rule, or replaces the one with that name. Stored records are not checked.
    pub(crate) fn add_validation_rule(
        &mut self,
        no: ObjectNo,
        entry: &ValidationEntry,
    ) -> Result<(), String> {
        let rule = entry.read(&self.schema, no)?;
        let rules = &mut self.schema.validation_rules;
        rules.retain(|known| !known.is_named(no, rule.name()));
        rules.push(rule);
        self.note_change(no, Alteration::AddValidationRule(entry.clone()));
        Ok(())
    }

    /// Removes a validation rule.
    pub(crate) fn remove_validation_rule(
        &mut self,
        no: ObjectNo,
        name: &str,
    ) -> Result<(), String> {
        let rules = &mut self.schema.validation_rules;
        let before = rules.len();
        rules.retain(|known| !known.is_named(no, name));
        if rules.len() == before {
            return Err(format!("there is no validation rule {name}"));
        }
        self.note_change(no, Alteration::RemoveValidationRule(name.to_owned()));
        Ok(())
    }

    /// Selects an object for change events, or removes it from the selection: its changes have no events
    /// any more.
    pub(crate) fn select_for_events(&mut self, no: ObjectNo, selected: bool) {
        self.schema.objects[no.0].is_selected = selected;
        self.note_change(no, Alteration::SelectForEvents(selected));
    }

    /// Repeats a change in an org without records and subscribers.
    pub(crate) fn repeat(&mut self, change: &SchemaChange) -> Result<(), String> {
        let named = self.schema.find(&change.object);
        let no = named.ok_or_else(|| format!("the org has no object {}", change.object))?;
        match &change.change {
            Alteration::AddField(field) => self.add_field(no, field)?,
            Alteration::ConvertField(field) => self.repeat_conversion(no, field)?,
            Alteration::AddValidationRule(rule) => self.add_validation_rule(no, rule)?,
            Alteration::RemoveValidationRule(name) => self.remove_validation_rule(no, name)?,
            Alteration::SelectForEvents(selected) => self.select_for_events(no, *selected),
        }
        self.date_change(change.at_ms);
        Ok(())
    }

    fn repeat_conversion(&mut self, no: ObjectNo, entry: &FieldEntry) -> Result<(), String> {
        let field = self.built(no, entry)?;
        let place = self.object(no).find(&field.name);
        let place = place.ok_or_else(|| format!("the org has no field {}", field.name))?;
        self.schema.objects[no.0].fields[place.0] = field;
        self.tables[no.0].index_field(&self.schema.objects[no.0], place);
        self.new_layout(no);
        self.note_change(no, Alteration::ConvertField(Box::new(entry.clone())));
        Ok(())
    }

    /// Returns the field that a request describes.
    fn built(&self, no: ObjectNo, entry: &FieldEntry) -> Result<Field, String> {
        let field = build_field(entry, &self.object(no).name).map_err(|error| error.to_string())?;
        if field.formula.is_some() || entry.is_automated() {
            return Err("formulas and automation can only be declared in the org file".to_owned());
        }
        let mut targets = field.reference_to.iter();
        match targets.find(|name| self.schema.find(name).is_none()) {
            Some(name) => Err(format!("there is no object {name}")),
            None => Ok(field),
        }
    }

    fn note_change(&mut self, no: ObjectNo, change: Alteration) {
        self.changes.push(SchemaChange {
            object: self.object(no).name.clone(),
            change,
            at_ms: self.now_ms,
        });
    }

    /// Gives a repeated change its first time.
    fn date_change(&mut self, at_ms: i64) {
        if let Some(change) = self.changes.last_mut() {
            change.at_ms = at_ms;
        }
    }

    fn new_layout(&mut self, no: ObjectNo) {
        let object = self.object(no);
        if object.change_events {
            let layout = Layout::new(object);
            self.log.set_layout(Source::Object(no), layout);
        }
    }
}

fn loss(from: FieldType, to: FieldType) -> Loss {
    let plain_text = |kind: FieldType| kind.is_text() && kind != FieldType::Multipicklist;
    match (from, to) {
        (from, to) if from == to => Loss::Nothing,
        (FieldType::Picklist, FieldType::Boolean | FieldType::Multipicklist) => Loss::Published,
        (from, to) if plain_text(from) && plain_text(to) => Loss::Nothing,
        _ => Loss::Everything,
    }
}
