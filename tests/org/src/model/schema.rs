//! The objects and fields of an org.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::automation::{Automation, Country, Prices};
use super::formula::Formula;
use super::id::RecordId;
use super::mask::Mask;
use super::validation::{IgnoredWrite, ValidationRule};
use super::value::Value;

/// Index of an object in [`Schema::objects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ObjectNo(pub(crate) usize);

/// Index of a field in [`Object::fields`] and of its value in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct FieldNo(pub(crate) usize);

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldType {
    Id,
    Reference,
    String,
    Textarea,
    /// Text that is stored encrypted and shown masked.
    Encryptedstring,
    Picklist,
    Multipicklist,
    Email,
    Phone,
    Url,
    Boolean,
    Int,
    Double,
    Currency,
    Percent,
    Date,
    Datetime,
    Time,
    /// A compound of street, city and so on; never stored, never writable.
    Address,
    /// A full name made of its parts; never writable.
    PersonName,
}

impl FieldType {
    /// Returns the name in describe results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Reference => "reference",
            Self::String | Self::PersonName => "string",
            Self::Textarea => "textarea",
            Self::Encryptedstring => "encryptedstring",
            Self::Picklist => "picklist",
            Self::Multipicklist => "multipicklist",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Url => "url",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Double => "double",
            Self::Currency => "currency",
            Self::Percent => "percent",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Time => "time",
            Self::Address => "address",
        }
    }

    /// Returns whether values are text.
    pub(crate) fn is_text(self) -> bool {
        match self {
            Self::String
            | Self::Textarea
            | Self::Encryptedstring
            | Self::Picklist
            | Self::Multipicklist
            | Self::Email
            | Self::Phone
            | Self::Url
            | Self::PersonName => true,
            Self::Id
            | Self::Reference
            | Self::Boolean
            | Self::Int
            | Self::Double
            | Self::Currency
            | Self::Percent
            | Self::Date
            | Self::Datetime
            | Self::Time
            | Self::Address => false,
        }
    }

    /// Returns whether the field is a compound of others.
    pub(crate) fn is_compound(self) -> bool {
        self == Self::Address || self == Self::PersonName
    }
}

/// One field of an object.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: FieldType,
    pub(crate) length: u32,
    pub(crate) precision: u32,
    pub(crate) scale: u32,
    pub(crate) digits: u32,
    pub(crate) nillable: bool,
    pub(crate) unique: bool,
    pub(crate) external_id: bool,
    pub(crate) id_lookup: bool,
    pub(crate) case_sensitive: bool,
    pub(crate) values: Vec<String>,
    /// Labels that differ from their values.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) restricted: bool,
    pub(crate) reference_to: Vec<String>,
    pub(crate) relationship_name: Option<String>,
    pub(crate) child_relationship_name: Option<String>,
    pub(crate) cascade_delete: bool,
    pub(crate) createable: bool,
    pub(crate) updateable: bool,
    pub(crate) default: Value,
    /// Whether the text is HTML, which is sanitised when it is stored.
    pub(crate) html: bool,
    /// How the text is shown to users without "View Encrypted Data".
    pub(crate) mask: Option<Mask>,
    /// The formula of a computed field.
    pub(crate) formula: Option<String>,
    /// Whether it is a roll-up summary field.
    pub(crate) roll_up: bool,
    /// The format of an auto number: `INV-{0000}`.
    pub(crate) auto_number: Option<String>,
    pub(crate) name_field: bool,
    pub(crate) switchable_name: bool,
    /// The compound that contains this field, and the name of the part in it.
    pub(crate) part_of: Option<(FieldNo, String)>,
    /// The parts of this compound, in order.
    pub(crate) parts: Vec<FieldNo>,
}

impl Field {
    /// Returns whether the field is custom, which its name shows.
    pub(crate) fn custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    /// Returns whether the field is a formula or a roll-up summary, which have no part in events.
    pub(crate) fn calculated(&self) -> bool {
        self.formula.is_some() || self.roll_up
    }

    /// Returns whether the field holds multi-line text.
    pub(crate) fn long_text(&self) -> bool {
        self.kind == FieldType::Textarea && self.length > 255
    }

    /// Returns the label of a picklist value.
    pub(crate) fn label_of<'a>(&'a self, value: &'a str) -> &'a str {
        self.labels.get(value).map_or(value, String::as_str)
    }

    /// Returns whether records can be found by a value of this field.
    pub(crate) fn finds_records(&self) -> bool {
        self.external_id || self.id_lookup || self.unique
    }

    /// Returns whether Salesforce fills the field if a create omits it.
    pub(crate) fn defaulted_on_create(&self) -> bool {
        self.default != Value::Null
            || (self.system() && self.name != "OwnerId")
            || self.owner()
            || self.auto_number.is_some()
    }

    /// Returns whether this is the owner field.
    pub(crate) fn owner(&self) -> bool {
        self.name == "OwnerId"
    }

    /// Returns whether only the org writes this field.
    pub(crate) fn system(&self) -> bool {
        SYSTEM_FIELDS.contains(&self.name.as_str())
    }
}

/// The field of a merged record that refers to its master; never part of events.
pub(crate) const MASTER_RECORD: &str = "MasterRecordId";

/// The field that marks person accounts and their contacts.
pub(crate) const PERSON_MARK: &str = "IsPersonAccount";

/// The object whose only record describes the org.
pub(crate) const ORGANIZATION: &str = "Organization";

/// The object with the permissions of the user who reads it.
pub(crate) const OWN_PERMISSIONS: &str = "UserPermissionAccess";

/// The object of price books.
pub(crate) const PRICE_BOOK: &str = "Pricebook2";

/// Names of the fields that only the org writes.
const SYSTEM_FIELDS: [&str; 7] = [
    "Id",
    "IsDeleted",
    "CreatedDate",
    "CreatedById",
    "LastModifiedDate",
    "LastModifiedById",
    "SystemModstamp",
];

/// Indexes of the fields that only the org writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemFields {
    pub(crate) id: FieldNo,
    pub(crate) is_deleted: FieldNo,
    pub(crate) created_date: FieldNo,
    pub(crate) created_by: FieldNo,
    pub(crate) modified_date: FieldNo,
    pub(crate) modified_by: FieldNo,
    pub(crate) modstamp: FieldNo,
    pub(crate) owner: Option<FieldNo>,
    /// The compound full name, if the object has one.
    /// Whether the record is archived, on objects whose old records are.
    pub(crate) is_archived: Option<FieldNo>,
    /// The mark of person accounts and their contacts.
    pub(crate) is_person: Option<FieldNo>,
    pub(crate) person_name: Option<FieldNo>,
}

/// A record type of one object, with its own picklist values and layouts.
#[derive(Clone, Debug)]
pub(crate) struct RecordType {
    pub(crate) id: RecordId,
    pub(crate) name: String,
    pub(crate) developer_name: String,
    pub(crate) default: bool,
    pub(crate) person: bool,
}

/// The field with the record type of a record.
pub(crate) const RECORD_TYPE_FIELD: &str = "RecordTypeId";

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) label_plural: String,
    pub(crate) key_prefix: [u8; 3],
    pub(crate) writable: bool,
    pub(crate) change_events: bool,
    /// An administrator has not removed it from the selection for change events.
    pub(crate) is_selected: bool,
    pub(crate) fields: Vec<Field>,
    pub(crate) system: SystemFields,
    /// The id of the only record of an object that always has exactly one.
    pub(crate) only_id: Option<RecordId>,
    /// The record types besides the master, which every object has.
    pub(crate) record_types: Vec<RecordType>,
    pub(crate) by_name: HashMap<String, FieldNo>,
    pub(crate) by_relationship: HashMap<String, FieldNo>,
}

impl Object {
    /// Returns whether the object is custom.
    pub(crate) fn custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    /// Returns the key prefix as text.
    pub(crate) fn prefix(&self) -> &str {
        std::str::from_utf8(&self.key_prefix).expect("a key prefix is ASCII")
    }

    /// Returns the field with that name, ignoring case.
    pub(crate) fn find(&self, name: &str) -> Option<FieldNo> {
        self.by_name
            .get(name)
            .or_else(|| self.by_name.get(&name.to_ascii_lowercase()))
            .copied()
    }

    /// Returns the reference field with a relationship name, ignoring case.
    pub(crate) fn find_relationship(&self, name: &str) -> Option<FieldNo> {
        self.by_relationship
            .get(&name.to_ascii_lowercase())
            .copied()
    }

    /// Returns a field.
    pub(crate) fn field(&self, no: FieldNo) -> &Field {
        &self.fields[no.0]
    }

    /// Returns every field with its index.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (FieldNo, &Field)> {
        self.fields
            .iter()
            .enumerate()
            .map(|(no, field)| (FieldNo(no), field))
    }

    /// Returns the name of the change event, `AccountChangeEvent` or `Foo__ChangeEvent`.
    pub(crate) fn event_name(&self) -> String {
        match self.name.strip_suffix("__c") {
            Some(stem) => format!("{stem}__ChangeEvent"),
            None => format!("{}ChangeEvent", self.name),
        }
    }
}

/// All objects of the org.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) objects: Vec<Object>,
    pub(crate) formulas: Vec<Formula>,
    pub(crate) ignored_writes: Vec<IgnoredWrite>,
    pub(crate) validation_rules: Vec<ValidationRule>,
    /// The countries of the state and country picklists.
    pub(crate) countries: Vec<Country>,
    /// The automation of each object.
    pub(crate) automation: Vec<Automation>,
    /// The fields with prices, if the org has products.
    pub(crate) prices: Option<Prices>,
    /// The object with the permissions of the user who reads it.
    pub(crate) own_permissions: Option<ObjectNo>,
    by_name: HashMap<String, ObjectNo>,
    by_prefix: HashMap<[u8; 3], ObjectNo>,
}

impl Schema {
    /// Returns the schema of these objects.
    pub(crate) fn new(objects: Vec<Object>) -> Self {
        let mut schema = Self::default();
        for (number, object) in objects.iter().enumerate() {
            schema.by_name.insert(object.name.clone(), ObjectNo(number));
            schema
                .by_name
                .insert(object.name.to_ascii_lowercase(), ObjectNo(number));
            schema.by_prefix.insert(object.key_prefix, ObjectNo(number));
        }
        schema
            .automation
            .resize_with(objects.len(), Automation::default);
        schema.own_permissions = schema.by_name.get(OWN_PERMISSIONS).copied();
        Self { objects, ..schema }
    }

    /// Returns the automation of an object.
    pub(crate) fn automation(&self, no: ObjectNo) -> &Automation {
        &self.automation[no.0]
    }

    /// Returns the object with that name, ignoring case.
    pub(crate) fn find(&self, name: &str) -> Option<ObjectNo> {
        self.by_name
            .get(name)
            .or_else(|| self.by_name.get(&name.to_ascii_lowercase()))
            .copied()
    }

    /// Returns the object whose ids start with that prefix.
    pub(crate) fn with_prefix(&self, prefix: [u8; 3]) -> Option<ObjectNo> {
        self.by_prefix.get(&prefix).copied()
    }

    /// Returns the object that a reference points to, or the first of several.
    pub(crate) fn target(&self, object: ObjectNo, reference: FieldNo) -> ObjectNo {
        let named = &self.object(object).field(reference).reference_to;
        let found = named.first().and_then(|name| self.find(name));
        found.expect("the org file was checked: references name existing objects")
    }

    /// Returns the child object and its reference for a parent's relationship name.
    pub(crate) fn child_relationship(
        &self,
        parent: ObjectNo,
        name: &str,
    ) -> Option<(ObjectNo, FieldNo)> {
        let parent = &self.object(parent).name;
        self.numbered().find_map(|(no, child)| {
            let named = |field: &Field| {
                let own = field.child_relationship_name.as_deref();
                own.is_some_and(|own| own.eq_ignore_ascii_case(name))
                    && field.reference_to.contains(parent)
            };
            let (field, _) = child.numbered().find(|(_, field)| named(field))?;
            Some((no, field))
        })
    }

    /// Returns an object.
    pub(crate) fn object(&self, no: ObjectNo) -> &Object {
        &self.objects[no.0]
    }

    /// Returns every object with its index.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (ObjectNo, &Object)> {
        self.objects
            .iter()
            .enumerate()
            .map(|(no, object)| (ObjectNo(no), object))
    }
}
