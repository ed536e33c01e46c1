//! The header row of an upload: which column writes which field.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::csv_text::{Ending, Quotes, Rows};
use super::form::Form;
use super::job::{JobError, Operation};
use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::schema::{Field, FieldNo, FieldType, ObjectNo};
use crate::model::value::{Misfit, Value};
use crate::model::view::View;
use crate::unconfirmed::{BULK_COLUMNS_COUNT_FROM, BULK_MISSING_KEY_COLUMN_FAILS_JOB};

/// Maximum length of the header row, in characters.
const HEADER_CHARS_MAX: usize = 32_000;

/// Maximum number of columns.
const COLUMNS_MAX: usize = 5_000;

/// The cell that clears a field.
const CLEARED: &str = "#N/A";

/// The columns of an upload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) columns: Vec<Column>,
    /// The column names as uploaded.
    pub(super) names: Vec<String>,
    /// Offset at which the first record starts.
    pub(super) end: usize,
}

/// The target of a column.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Column {
    /// The id of the record itself.
    Id,
    /// A field.
    Field(FieldNo),
    /// A reference, given by an external id of the parent.
    Parent {
        hop: FieldNo,
        relationship: String,
        /// The parent's object, needed if the reference can point to several objects.
        target: Option<String>,
        key: String,
    },
}

/// What the columns are used for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Aim {
    pub(crate) object: ObjectNo,
    pub(crate) operation: Operation,
    /// The external id field of an upsert.
    pub(crate) key: Option<FieldNo>,
}

impl Header {
    /// Reads the header row.
    pub(super) fn read(view: View<'_>, csv: &[u8], form: Form, aim: Aim) -> Result<Self, JobError> {
        let mut rows = Rows::new(csv, form, 0);
        let row = rows.read().ok_or_else(JobError::no_data)?;
        if row.quotes != Quotes::Proper {
            return Err(JobError::unescaped_quote());
        }
        if !row.ending.fits(form.line_ending) && row.ending != Ending::None {
            return Err(JobError::line_ending(form.line_ending));
        }
        let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
        let names: Vec<String> = row.cells.iter().map(text).collect();
        let chars: usize = names.iter().map(|name| name.chars().count()).sum();
        if names.len() > COLUMNS_MAX || chars > HEADER_CHARS_MAX {
            let message = "The header row holds more than 5000 columns or 32000 characters";
            return Err(JobError::invalid_batch(message));
        }
        let mut columns = Vec::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            if names[..place]
                .iter()
                .any(|other| other.eq_ignore_ascii_case(name))
            {
                let message = format!("Duplicate column name found : {name}");
                return Err(JobError::invalid_batch(message));
            }
            columns.push(Column::named(view, aim.object, name)?);
        }
        let header = Self {
            columns,
            names,
            end: row.end,
        };
        header.check(view, aim)?;
        Ok(header)
    }

    /// Refuses columns that the operation does not allow.
    fn check(&self, view: View<'_>, aim: Aim) -> Result<(), JobError> {
        let has_id = self
            .columns
            .iter()
            .any(|column| matches!(column, Column::Id));
        let missing = match aim.operation {
            Operation::Delete | Operation::HardDelete => {
                if !has_id || self.columns.len() > 1 {
                    let name = aim.operation.name();
                    let message = format!("The '{name}' batch must contain only ids");
                    return Err(JobError::invalid_batch(message));
                }
                None
            }
            Operation::Insert => None,
            Operation::Update => (!has_id).then_some("Id"),
            Operation::Upsert => aim.key.and_then(|key| {
                let writes = |column: &Column| match column {
                    Column::Id => key == view.object(aim.object).system.id,
                    Column::Field(no) => *no == key,
                    Column::Parent { .. } => false,
                };
                let name = view.field(aim.object, key).name.as_str();
                (!self.columns.iter().any(writes)).then_some(name)
            }),
        };
        match missing {
            Some(name) if BULK_MISSING_KEY_COLUMN_FAILS_JOB => {
                let operation = aim.operation.name();
                let message = format!("The '{operation}' batch must contain the column {name}");
                Err(JobError::invalid_batch(message))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Column {
    fn named(view: View<'_>, object: ObjectNo, name: &str) -> Result<Self, JobError> {
        let described = view.object(object);
        if let Some(no) = view.find_field(object, name) {
            return Ok(if no == described.system.id {
                Self::Id
            } else {
                Self::Field(no)
            });
        }
        let unknown = || JobError::invalid_batch(format!("Field name not found : {name}"));
        let (path, key) = name.split_once('.').ok_or_else(unknown)?;
        let (target, relationship) = match path.split_once(':') {
            Some((target, relationship)) => (Some(target), relationship),
            None => (None, path),
        };
        let Some(hop) = view.find_relationship(object, relationship) else {
            return Err(match target {
                Some(_) => {
                    let message = format!("Unable to find relationship: {relationship}");
                    JobError::invalid_batch(message)
                }
                None => unknown(),
            });
        };
        let allowed = &described.field(hop).reference_to;
        let polymorphic = allowed.len() > 1;
        let named = match (target, polymorphic) {
            (Some(_), false) => {
                return Err(JobError::invalid_batch(format!(
                    "type is not needed for non polymorphic foreign key references: {relationship}"
                )));
            }
            (None, true) => {
                return Err(JobError::invalid_batch(format!(
                    "type is needed for polymorphic foreign key references: {relationship}"
                )));
            }
            (None, false) => &allowed[0],
            (Some(target), true) => allowed
                .iter()
                .find(|known| known.eq_ignore_ascii_case(target))
                .ok_or_else(|| {
                    JobError::invalid_batch(format!("Unable to find object: {target}"))
                })?,
        };
        let found = view.find_object(named);
        if found.is_none_or(|object| view.find_field(object, key).is_none()) {
            return Err(unknown());
        }
        Ok(Self::Parent {
            hop,
            relationship: relationship.to_owned(),
            target: polymorphic.then(|| named.clone()),
            key: key.to_owned(),
        })
    }

    /// Returns the JSON member for a cell, or `None` for an empty cell, which leaves the field
    /// unchanged.
    pub(super) fn member(
        &self,
        view: View<'_>,
        aim: Aim,
        (place, cell): (usize, &str),
    ) -> Result<Option<(String, Json)>, SfError> {
        if cell.is_empty() {
            return Ok(None);
        }
        let object = view.object(aim.object);
        match self {
            Self::Id => Ok(Some(("Id".to_owned(), cell.into()))),
            Self::Field(no) => {
                let field = object.field(*no);
                if cell == CLEARED {
                    return Ok(Some((field.name.clone(), Json::Null)));
                }
                let json = field_json(field, cell);
                check_type(field, &json, place)?;
                Ok(Some((field.name.clone(), json)))
            }
            Self::Parent { hop, .. } if cell == CLEARED => {
                Ok(Some((object.field(*hop).name.clone(), Json::Null)))
            }
            Self::Parent {
                hop,
                relationship,
                target,
                key,
            } => {
                let mut parent = Map::new();
                parent.insert(key.clone(), cell.into());
                if let Some(target) = target {
                    parent.insert("attributes".to_owned(), json!({"type": target}));
                }
                let mut members = Map::new();
                members.insert(relationship.clone(), Json::Object(parent));
                let draft = Draft::read(view, aim.object, aim.purpose(), &members, &[])?;
                let id = draft.sets.first().and_then(|(_, value)| value.as_id());
                let json = id.map_or(Json::Null, |id| id.to_string().into());
                Ok(Some((object.field(*hop).name.clone(), json)))
            }
        }
    }
}

impl Aim {
    /// Returns the purpose for resolving references, before an upsert knows whether it creates.
    fn purpose(self) -> Purpose {
        match self.operation {
            Operation::Insert | Operation::Upsert => Purpose::Create,
            Operation::Update | Operation::Delete | Operation::HardDelete => Purpose::Update,
        }
    }
}

/// Returns a cell as JSON. CSV accepts more words for a checkbox than JSON does.
fn field_json(field: &Field, cell: &str) -> Json {
    if field.kind != FieldType::Boolean {
        return cell.into();
    }
    match cell.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" => true.into(),
        "0" | "no" | "false" => false.into(),
        _ => cell.into(),
    }
}

/// Refuses text of the wrong type, with the bulk deserializer's own message.
fn check_type(field: &Field, json: &Json, place: usize) -> Result<(), SfError> {
    let kind = match field.kind {
        FieldType::Boolean => "xsd:boolean",
        FieldType::Int => "xsd:int",
        FieldType::Double | FieldType::Currency | FieldType::Percent => "xsd:double",
        FieldType::Date => "xsd:date",
        FieldType::Datetime => "xsd:dateTime",
        FieldType::Time => "xsd:time",
        FieldType::Id
        | FieldType::Reference
        | FieldType::String
        | FieldType::Textarea
        | FieldType::Encryptedstring
        | FieldType::Picklist
        | FieldType::Multipicklist
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Url
        | FieldType::Address
        | FieldType::PersonName => return Ok(()),
    };
    match Value::from_json(field, json) {
        Err(Misfit::Type { .. }) => {
            let shown = json.as_str().unwrap_or_default();
            let column = place + BULK_COLUMNS_COUNT_FROM;
            let message = format!(
                "Failed to deserialize field at col {column}. Due to, '{shown}' is not a valid \
                 value for the type {kind}"
            );
            Err(SfError::of_field("INVALID_FIELD", message, &field.name))
        }
        // A value of the right type that is not allowed is refused later, with its record.
        Ok(_) | Err(Misfit::Refused(_)) => Ok(()),
    }
}
