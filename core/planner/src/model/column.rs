//! What a column of Postgres can hold, and how values are written to it.
//!
//! A value may be written to a column if reading it back gives an equal one. Postgres refuses by itself
//! what is too long or out of range; what it would round or write in another way is refused here.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::schema::FieldType;
use super::value::{Decimal, Value};

/// A kind of column, domains resolved.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// `text`.
    #[strum(serialize = "text")]
    Text,
    /// `varchar(n)`.
    #[strum(serialize = "varchar")]
    Varchar,
    /// `char(n)`, whose padding does not count.
    #[strum(serialize = "char(n)")]
    Char,
    /// `citext`.
    #[strum(serialize = "citext")]
    Citext,
    /// An enum type.
    #[strum(serialize = "an enum")]
    Enum,
    /// `text[]` or `varchar[]`.
    #[strum(serialize = "text[]")]
    TextArray,
    /// `boolean`.
    #[strum(serialize = "boolean")]
    Boolean,
    /// `smallint`.
    #[strum(serialize = "smallint")]
    Smallint,
    /// `integer`.
    #[strum(serialize = "integer")]
    Integer,
    /// `bigint`.
    #[strum(serialize = "bigint")]
    Bigint,
    /// `numeric` or `numeric(p, s)`.
    #[strum(serialize = "numeric")]
    Numeric,
    /// `real`.
    #[strum(serialize = "real")]
    Real,
    /// `double precision`.
    #[strum(serialize = "double precision")]
    Double,
    /// `date`.
    #[strum(serialize = "date")]
    Date,
    /// `timestamp`, taken as UTC.
    #[strum(serialize = "timestamp")]
    Timestamp,
    /// `timestamptz`.
    #[strum(serialize = "timestamptz")]
    Timestamptz,
    /// `time`.
    #[strum(serialize = "time")]
    Time,
    /// `uuid`.
    #[strum(serialize = "uuid")]
    Uuid,
    /// Every other type, which no field can be mapped to: json, bytea, money, interval, ranges, timetz,
    /// network addresses, other arrays, composite types and what extensions bring.
    #[strum(serialize = "other")]
    Other,
}

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnType {
    /// Its kind.
    pub kind: ColumnKind,
    /// Its name in SQL, domains resolved, without length and digits.
    pub name: String,
    /// Characters of a `varchar(n)` or `char(n)`.
    pub length: Option<u32>,
    /// Digits after the point of a `numeric(p, s)`, or of the seconds of a time.
    pub digits: Option<u32>,
}

/// Why a column cannot hold a value without changing it. Holds no record value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// No field of this type fits.
    #[error("a column of type {type_name} cannot hold {described} fields")]
    Unfit {
        /// The column's type.
        type_name: String,
        /// The field's type.
        described: String,
    },
    /// Postgres would round.
    #[error(
        "the column keeps {kept} digits after the point, the value has {held}: Postgres would round it"
    )]
    Rounds {
        /// Digits of the column.
        kept: u32,
        /// Digits of the value.
        held: usize,
    },
    /// The column is a real, which keeps about six digits.
    #[error("a column of type real cannot keep the digits of the value")]
    Imprecise,
    /// Postgres would write it differently.
    #[error("a column of type {type_name} would write the text in another way")]
    Respells {
        /// The column's type.
        type_name: String,
    },
}

/// The most characters that Postgres allows for a `varchar(n)`.
const VARCHAR_LENGTH_MAX: u32 = 10_485_760;

/// A length, scale or precision is kept with this many added (Postgres sources, "VARHDRSZ").
const HEADER: i32 = 4;

impl ColumnType {
    /// Returns the type that the catalogue shows: the name of the type and of its SQL form, whether it is
    /// an enum, and its modifier, -1 if it has none.
    pub fn of(type_name: &str, sql_name: &str, is_enum: bool, modifier: i32) -> Self {
        let kind = match type_name {
            _ if is_enum => ColumnKind::Enum,
            "text" => ColumnKind::Text,
            "varchar" => ColumnKind::Varchar,
            "bpchar" => ColumnKind::Char,
            "citext" => ColumnKind::Citext,
            "_text" | "_varchar" => ColumnKind::TextArray,
            "bool" => ColumnKind::Boolean,
            "int2" => ColumnKind::Smallint,
            "int4" => ColumnKind::Integer,
            "int8" => ColumnKind::Bigint,
            "numeric" => ColumnKind::Numeric,
            "float4" => ColumnKind::Real,
            "float8" => ColumnKind::Double,
            "date" => ColumnKind::Date,
            "timestamp" => ColumnKind::Timestamp,
            "timestamptz" => ColumnKind::Timestamptz,
            "time" => ColumnKind::Time,
            "uuid" => ColumnKind::Uuid,
            _ => ColumnKind::Other,
        };
        let known = (modifier >= 0).then_some(modifier);
        let is_sized = matches!(kind, ColumnKind::Varchar | ColumnKind::Char);
        let digits = match kind {
            // The scale is a signed number of eleven bits.
            ColumnKind::Numeric => {
                known.map(|modifier| (((modifier - HEADER) & 0x7ff) ^ 0x400) - 0x400)
            }
            ColumnKind::Smallint | ColumnKind::Integer | ColumnKind::Bigint => Some(0),
            ColumnKind::Time => known,
            _ => None,
        };
        let unsigned = |number: i32| u32::try_from(number).ok();
        Self {
            // A negative scale rounds whole numbers.
            kind: if digits.is_some_and(i32::is_negative) {
                ColumnKind::Other
            } else {
                kind
            },
            name: sql_name.to_owned(),
            length: known
                .filter(|_| is_sized)
                .and_then(|modifier| unsigned(modifier - HEADER)),
            digits: digits.and_then(unsigned),
        }
    }

    /// Returns the type that the column of a new table gets for such a field: the first kind in its row of the type
    /// table, and for a text the field's length. `None` if no column can hold the field.
    pub fn for_field(field: &FieldType) -> Option<Self> {
        let best = *field.kind().row().columns.first()?;
        let length = field.length();
        let length = length.filter(|length| (1..=VARCHAR_LENGTH_MAX).contains(length));
        let kind = match (best, length) {
            (ColumnKind::Text, Some(_)) => ColumnKind::Varchar,
            (best, _) => best,
        };
        Some(Self {
            length: length.filter(|_| kind == ColumnKind::Varchar),
            ..Self::plain(kind)
        })
    }

    /// Returns the type of this kind without a length or a scale.
    pub fn plain(kind: ColumnKind) -> Self {
        let is_whole = matches!(
            kind,
            ColumnKind::Smallint | ColumnKind::Integer | ColumnKind::Bigint
        );
        Self {
            kind,
            name: <&str>::from(kind).to_owned(),
            length: None,
            digits: is_whole.then_some(0),
        }
    }

    /// Returns whether the column can hold fields of this type.
    pub fn fits(&self, field: &FieldType) -> bool {
        field.kind().row().columns.contains(&self.kind)
    }

    /// Returns whether values are texts of any content, which may be empty.
    pub fn is_text(&self) -> bool {
        matches!(
            self.kind,
            ColumnKind::Text | ColumnKind::Varchar | ColumnKind::Char | ColumnKind::Citext
        )
    }

    /// Fails if the column would give back another value than this canonical one. What Postgres itself
    /// refuses is left to it.
    pub fn holds(&self, field: &FieldType, value: &Value) -> Result<(), ColumnError> {
        if !self.fits(field) {
            return Err(ColumnError::Unfit {
                type_name: self.name.clone(),
                described: <&str>::from(field.kind()).replace('_', " "),
            });
        }
        match (self.kind, value) {
            (ColumnKind::Uuid, Value::Text(text)) => self.spells(is_canonical_uuid(text)),
            (
                ColumnKind::Smallint
                | ColumnKind::Integer
                | ColumnKind::Bigint
                | ColumnKind::Numeric,
                Value::Text(text),
            ) => {
                let number = Decimal::parse(text).filter(|number| number.as_str() == text);
                self.spells(number.is_some())?;
                number.map_or(Ok(()), |number| self.keeps(number.scale()))
            }
            (ColumnKind::Real, Value::Number(number)) => {
                is_real(number).then_some(()).ok_or(ColumnError::Imprecise)
            }
            (_, Value::Number(number)) => self.keeps(number.scale()),
            (ColumnKind::Time, Value::Text(time)) => self.keeps(fraction_digits(time)),
            (_, Value::Null | Value::Boolean(_) | Value::Text(_)) => Ok(()),
        }
    }

    /// Returns the JSON that is cast to the column: a column that refuses null takes empty text, which
    /// Salesforce does not tell from null, and an array takes the choices of a multi-select picklist.
    pub fn wire(&self, not_null: bool, json: Json) -> Json {
        match (self.kind, json) {
            (_, Json::Null) if not_null && self.is_text() => Json::from(""),
            (ColumnKind::TextArray, Json::Null) if not_null => Json::Array(Vec::new()),
            (ColumnKind::TextArray, Json::String(choices)) => {
                Json::Array(choices.split(';').map(Json::from).collect())
            }
            (_, json) => json,
        }
    }

    fn spells(&self, as_it_is: bool) -> Result<(), ColumnError> {
        as_it_is.then_some(()).ok_or_else(|| ColumnError::Respells {
            type_name: self.name.clone(),
        })
    }

    fn keeps(&self, held: usize) -> Result<(), ColumnError> {
        match self.digits {
            Some(kept) if held > kept as usize => Err(ColumnError::Rounds { kept, held }),
            Some(_) | None => Ok(()),
        }
    }
}

fn is_canonical_uuid(text: &str) -> bool {
    uuid::Uuid::parse_str(text).is_ok_and(|uuid| uuid.hyphenated().to_string() == text)
}

/// Returns whether the nearest real is shown as the same number.
fn is_real(number: &Decimal) -> bool {
    number
        .as_str()
        .parse::<f32>()
        .ok()
        .and_then(|real| Decimal::parse(&real.to_string()))
        .is_some_and(|shown| shown == *number)
}

/// Returns the digits of the seconds' fraction that are not trailing zeros.
fn fraction_digits(time: &str) -> usize {
    let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.trim_end_matches('Z').trim_end_matches('0').len()
}
