//! What an org file declares for the whole org: currencies, countries and queues, and the fields that
//! every object has because of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::field::plain;
use super::{FieldEntry, ObjectEntry, OrgFile};
use crate::model::automation::{Address, Country, Pair};
use crate::model::schema::{Field, FieldNo, FieldType, Object};

/// A country of the state and country picklists.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CountryEntry {
    code: String,
    name: String,
    /// Codes and names.
    #[serde(default)]
    states: BTreeMap<String, String>,
}

/// A queue, which can own records of some objects.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueEntry {
    pub(crate) name: String,
    pub(crate) objects: Vec<String>,
}

impl OrgFile {
    pub(super) fn countries(&self) -> Vec<Country> {
        let country = |entry: &CountryEntry| Country {
            code: entry.code.clone(),
            name: entry.name.clone(),
            states: entry.states.clone().into_iter().collect(),
        };
        self.countries.iter().map(country).collect()
    }

    /// Returns an object with the fields that the settings of the org add to it.
    pub(super) fn with_platform_fields(&self, entry: &ObjectEntry) -> ObjectEntry {
        let mut entry = entry.clone();
        if !self.countries.is_empty() {
            let parts: Vec<FieldEntry> =
                entry.fields.iter().flat_map(|f| self.code_of(f)).collect();
            entry.fields.extend(parts);
        }
        if let Some(first) = self.org.currencies.first()
            && entry.writable.unwrap_or(true)
        {
            entry.fields.push(FieldEntry {
                label: Some("Currency ISO Code".to_owned()),
                length: Some(3),
                values: self.org.currencies.clone(),
                default: Some(first.clone().into()),
                ..choice("CurrencyIsoCode")
            });
        }
        entry
    }

    /// Returns the field with the code of a state or country.
    fn code_of(&self, field: &FieldEntry) -> Option<FieldEntry> {
        let codes: Vec<(String, String)> = if field.name.ends_with("Country") {
            let all = self.countries.iter();
            all.map(|one| (one.code.clone(), one.name.clone()))
                .collect()
        } else if field.name.ends_with("State") {
            let all = self.countries.iter().flat_map(|one| one.states.clone());
            let all: BTreeMap<String, String> = all.collect();
            all.into_iter().collect()
        } else {
            return None;
        };
        Some(FieldEntry {
            label: Some(format!(
                "{} Code",
                field.label.as_ref().unwrap_or(&field.name)
            )),
            length: Some(10),
            values: codes.iter().map(|(code, _)| code.clone()).collect(),
            labels: codes.into_iter().collect(),
            compound: Some(field.compound.clone()?),
            ..choice(&format!("{}Code", field.name))
        })
    }
}

/// Returns a restricted picklist that callers may write.
fn choice(name: &str) -> FieldEntry {
    FieldEntry {
        required: false,
        restricted: true,
        createable: Some(true),
        updateable: Some(true),
        ..plain(name, FieldType::Picklist)
    }
}

/// Returns the addresses of an object whose states and countries are chosen from lists.
pub(super) fn addresses(object: &Object) -> Vec<Address> {
    let compounds = object
        .fields
        .iter()
        .filter(|f| f.kind == FieldType::Address);
    let address = |compound: &Field| {
        let part = |wanted: &str| -> Option<FieldNo> {
            let named = |no: &&FieldNo| {
                let part = object.field(**no).part_of.as_ref();
                part.is_some_and(|(_, name)| name == wanted)
            };
            compound.parts.iter().find(named).copied()
        };
        let pair = |name: &str| {
            Some(Pair {
                name: part(name)?,
                code: part(&format!("{name}Code"))?,
            })
        };
        Some(Address {
            country: pair("Country")?,
            state: pair("State")?,
        })
    };
    compounds.filter_map(address).collect()
}
