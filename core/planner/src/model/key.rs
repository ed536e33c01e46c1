//! The canonical identity of a record across both sides.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::canonical::trimmed;
use super::ids::{IdentifierError, ObjectName, TenantId};
use super::schema::FieldSchema;
use super::value::Decimal;

/// Tenant, object and external id: the identity a person would name a record by.
///
/// Salesforce matches external ids without case (unless the field is case-sensitive) and trims
/// them, Postgres does not; so the key holds the id as given and the id as compared. Equality is on
/// the canonical one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(
    feature = "typescript",
    ts(type = "{ tenant: string, object: string, external_id: string }")
)]
#[serde(try_from = "KeyParts", into = "KeyParts")]
pub struct SyncKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// The external id as it was given.
    pub external_id: String,
    /// The external id as it is compared.
    pub canonical_id: String,
}

impl SyncKey {
    /// Returns the key of a record whose external id compares without case, as Salesforce does
    /// unless the field is case-sensitive.
    ///
    /// Fails with the part that is empty or not an identifier.
    ///
    /// ```
    /// use syncline_planner::SyncKey;
    /// let key = SyncKey::new("acme", "Account", " AB-1 ").unwrap();
    /// assert_eq!(key, SyncKey::new("acme", "Account", "ab-1").unwrap());
    /// let error = SyncKey::new("acme", "Account", "  ").unwrap_err();
    /// assert_eq!(error.to_string(), "the external id of a sync key is empty");
    /// ```
    pub fn new(tenant: &str, object: &str, external_id: &str) -> Result<Self, SyncKeyError> {
        Self::with_form(tenant, object, external_id, KeyForm::CaseFolded)
    }

    /// Returns the key of a record whose external ids compare by `form`.
    ///
    /// Fails with the part that is empty or not an identifier.
    pub fn with_form(
        tenant: &str,
        object: &str,
        external_id: &str,
        form: KeyForm,
    ) -> Result<Self, SyncKeyError> {
        for (part, text) in [("tenant", tenant), ("object", object)] {
            if trimmed(text).is_empty() {
                return Err(SyncKeyError::Empty { part });
            }
        }
        Ok(Self {
            tenant: TenantId::parse(tenant)?,
            object: ObjectName::parse(object)?,
            external_id: external_id.to_owned(),
            canonical_id: form.canonical(external_id)?,
        })
    }
}

impl PartialEq for SyncKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.tenant, &self.object, &self.canonical_id)
            == (&other.tenant, &other.object, &other.canonical_id)
    }
}

impl Eq for SyncKey {}

impl fmt::Display for SyncKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.object, self.external_id)
    }
}

/// Why three texts are not a sync key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncKeyError {
    /// A part is missing.
    #[error("the {part} of a sync key is empty")]
    Empty {
        /// Which one.
        part: &'static str,
    },
    /// A part is not what it should be.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
    /// The external id field is a number and this is not one.
    #[error("the external id is not a number, but its field is one")]
    NotANumber,
    /// Postgres text cannot hold it.
    #[error("the external id holds a NUL character")]
    Nul,
}

/// How external ids of one object are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyForm {
    /// Without case: Salesforce's rule unless the field is case-sensitive.
    #[default]
    CaseFolded,
    /// With case.
    CaseSensitive,
    /// As numbers: `007` is `7`.
    Numeric,
}

impl KeyForm {
    /// Returns how the external ids of `field` are compared.
    pub fn of(field: &FieldSchema) -> Self {
        match (field.field_type.is_number(), field.case_sensitive) {
            (true, _) => Self::Numeric,
            (false, true) => Self::CaseSensitive,
            (false, false) => Self::CaseFolded,
        }
    }

    /// Returns the form in which `external_id` is compared: trimmed, then without case or as a
    /// number.
    ///
    /// Fails if nothing remains, if a NUL character is in it, or if a number is needed and it is not one.
    pub fn canonical(self, external_id: &str) -> Result<String, SyncKeyError> {
        let text = trimmed(external_id);
        match (text.is_empty(), text.contains('\0'), self) {
            (true, _, _) => Err(SyncKeyError::Empty {
                part: "external id",
            }),
            (false, true, _) => Err(SyncKeyError::Nul),
            // Letter by letter: `str::to_lowercase` treats a sigma at a word's end differently.
            (false, false, Self::CaseFolded) => {
                Ok(text.chars().flat_map(char::to_lowercase).collect())
            }
            (false, false, Self::CaseSensitive) => Ok(text.to_owned()),
            (false, false, Self::Numeric) => Decimal::parse(text)
                .and_then(|number| number.nearest_double())
                .map(|number| number.to_string())
                .ok_or(SyncKeyError::NotANumber),
        }
    }
}

/// A key as it is written down: what compares is derived again on reading.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyParts {
    tenant: String,
    object: String,
    external_id: String,
}

impl TryFrom<KeyParts> for SyncKey {
    type Error = SyncKeyError;
    fn try_from(parts: KeyParts) -> Result<Self, Self::Error> {
        Self::new(&parts.tenant, &parts.object, &parts.external_id)
    }
}

impl From<SyncKey> for KeyParts {
    fn from(key: SyncKey) -> Self {
        Self {
            tenant: key.tenant.into(),
            object: key.object.into(),
            external_id: key.external_id,
        }
    }
}
