//! The type table: for each kind of Salesforce field, its canonical form, what is equal, and the columns
//! that can hold it.
//!
//! Written once: describe is read by it, columns are checked and written by it, and docs/type-table.md is
//! its rendering. [`canonical`](super::canonical) carries the forms out.

use super::column::ColumnKind;
use super::column::ColumnKind::{
    Bigint, Boolean, Char, Citext, Date, Double, Enum, Integer, Numeric, Real, Smallint, Text,
    TextArray, Time, Timestamp, Timestamptz, Uuid, Varchar,
};

/// A kind of field, without what differs from field to field.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum FieldKind {
    /// Text as it is.
    Text,
    /// E-mail addresses.
    Email,
    /// HTML.
    RichText,
    /// Classic encrypted text.
    EncryptedText,
    /// Several choices.
    MultiPicklist,
    /// A lookup.
    Reference,
    /// The record's own id.
    Id,
    /// Checkbox.
    Boolean,
    /// Whole number of 32 bits.
    Integer,
    /// Any other number.
    Decimal,
    /// A day.
    Date,
    /// A moment.
    DateTime,
    /// A time of day.
    Time,
    /// What cannot be mapped.
    Unsupported,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct TypeRow {
    /// The types as describe names them.
    pub described: &'static [&'static str],
    /// The canonical form.
    pub form: &'static str,
    /// What the field holds at most.
    pub limits: &'static str,
    /// Which spellings are one value.
    pub equal: &'static str,
    /// The columns that can hold it, the best one first.
    pub columns: &'static [ColumnKind],
}

/// How describe's `textarea` is named here if it is `htmlFormatted`.
const RICH_TEXTAREA: &str = "textarea (rich text)";

const TEXTS: &[ColumnKind] = &[Text, Varchar, Char, Citext];

/// Text that may be a key: people keep numbers and UUIDs in it.
const KEYS: &[ColumnKind] = &[
    Text, Varchar, Char, Citext, Enum, Uuid, Smallint, Integer, Bigint, Numeric,
];

const TEXT: TypeRow = TypeRow {
    described: &["string", "textarea", "picklist", "phone", "url", "combobox"],
    form: "text, without white space around it; empty is null",
    limits: "the field's length, counted in UTF-16 units",
    equal: "the same text once trimmed; case counts",
    columns: KEYS,
};

const EMAIL: TypeRow = TypeRow {
    described: &["email"],
    form: "text in lower case, without white space around it; empty is null",
    limits: "the field's length, counted in UTF-16 units",
    equal: "the same address in any case: Salesforce stores lower case",
    columns: TEXTS,
};

const RICH_TEXT: TypeRow = TypeRow {
    described: &[RICH_TEXTAREA],
    form: "HTML as Salesforce stores it, without white space around it; empty is null",
    limits: "the field's length, counted in UTF-16 units",
    equal: "the same HTML. Salesforce stores what its sanitiser leaves, and the row takes that",
    columns: TEXTS,
};

const ENCRYPTED_TEXT: TypeRow = TypeRow {
    described: &["encryptedstring"],
    form: "text, without white space around it; empty is null. A masked value is not read",
    limits: "the field's length, counted in UTF-16 units",
    equal: "the same text once trimmed; case counts",
    columns: TEXTS,
};

const MULTI_PICKLIST: TypeRow = TypeRow {
    described: &["multipicklist"],
    form: "the choices, sorted, each once, joined by `;`; none is null",
    limits: "no semicolon in a choice",
    equal: "the same choices in any order",
    columns: &[Text, Varchar, Char, Citext, TextArray],
};

const REFERENCE: TypeRow = TypeRow {
    described: &["reference"],
    form: "the id of 18 characters; in a column with `references`, the parent's external id",
    limits: "an id of 15 or 18 characters",
    equal: "the same record, by either form of its id",
    columns: KEYS,
};

const ID: TypeRow = TypeRow {
    described: &["id"],
    form: "the id of 18 characters",
    limits: "an id of 15 or 18 characters",
    equal: "the same record, by either form of its id",
    columns: TEXTS,
};

const BOOLEAN: TypeRow = TypeRow {
    described: &["boolean"],
    form: "true or false; null is false",
    limits: "",
    equal: "null in Postgres and false",
    columns: &[Boolean],
};

const INTEGER: TypeRow = TypeRow {
    described: &["int"],
    form: "a whole number, without leading zeros",
    limits: "32 bits",
    equal: "the same number: `7`, `07` and `7.0`",
    columns: &[Integer, Bigint, Numeric, Smallint, Double, Real],
};

const DECIMAL: TypeRow = TypeRow {
    described: &["double", "currency", "percent", "long"],
    form: "the shortest decimal of the nearest double (IEEE 754), without exponent; `-0` is `0`",
    limits: "the field's digits before the point; the digits after the point are not limited \
             by its scale, which binds the user interface alone",
    equal: "the same double: beyond 15 digits, decimals that Salesforce cannot tell apart",
    columns: &[Numeric, Double, Real, Integer, Bigint, Smallint],
};

const DATE: TypeRow = TypeRow {
    described: &["date"],
    form: "`2026-05-01`",
    limits: "the years 1700 to 4000",
    equal: "the same day",
    columns: &[Date],
};

const DATE_TIME: TypeRow = TypeRow {
    described: &["datetime"],
    form: "`2026-05-01T09:30:00.000Z`, cut to whole seconds, UTC",
    limits: "the years 1700 to 4000",
    equal: "the same second, in any zone; a column without a zone holds UTC",
    columns: &[Timestamptz, Timestamp],
};

const TIME: TypeRow = TypeRow {
    described: &["time"],
    form: "`09:30:00.000Z`, cut to milliseconds",
    limits: "00:00 to 23:59:59.999",
    equal: "the same millisecond",
    columns: &[Time],
};

const UNSUPPORTED: TypeRow = TypeRow {
    described: &["address", "location", "base64", "anyType", "complexvalue"],
    form: "none: it cannot be mapped. Map the parts of a compound field",
    limits: "",
    equal: "",
    columns: &[],
};

impl FieldKind {
    /// Returns the kind of a field that describe shows with this type.
    pub fn described(type_name: &str, html_formatted: bool) -> Self {
        use strum::IntoEnumIterator;
        let name = if type_name == "textarea" && html_formatted {
            RICH_TEXTAREA
        } else {
            type_name
        };
        Self::iter()
            .find(|kind| kind.row().described.contains(&name))
            .unwrap_or(Self::Unsupported)
    }

    /// Returns the kind's row.
    pub const fn row(self) -> TypeRow {
        match self {
            Self::Text => TEXT,
            Self::Email => EMAIL,
            Self::RichText => RICH_TEXT,
            Self::EncryptedText => ENCRYPTED_TEXT,
            Self::MultiPicklist => MULTI_PICKLIST,
            Self::Reference => REFERENCE,
            Self::Id => ID,
            Self::Boolean => BOOLEAN,
            Self::Integer => INTEGER,
            Self::Decimal => DECIMAL,
            Self::Date => DATE,
            Self::DateTime => DATE_TIME,
            Self::Time => TIME,
            Self::Unsupported => UNSUPPORTED,
        }
    }
}
