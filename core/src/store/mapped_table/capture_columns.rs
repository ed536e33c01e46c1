//! The SQL by which the functions of capture read the columns of a mapped table.
//!
//! The functions run with the rights of their owner. So they call nothing that the owner of a table could have made: casts,
//! operators and the functions behind them take Postgres's own types alone, and a value of another type is read by the
//! output function of its type.

use crate::model::column::ColumnKind;
use crate::model::ids::ColumnName;
use crate::ports::MappedObject;
use crate::store::mapped_table::shape::{TableShape, mapped_columns};
use crate::store::quote;

/// The id of the first type that is not one of Postgres's own. Between two of its own, only a superuser can make a cast.
const FIRST_USERS_TYPE: &str = "'16384'::oid";

/// The columns that capture reads: the mapped ones, and those of the primary key.
pub(super) struct CapturedColumns<'a> {
    pub(super) mapped: &'a MappedObject,
    pub(super) shape: &'a TableShape,
}

impl<'a> CapturedColumns<'a> {
    fn columns(&self) -> Vec<&'a ColumnName> {
        // As configured: a field that is withheld for a while does not change the functions.
        mapped_columns(&self.mapped.configured)
    }

    /// Returns the mapped columns, and those of the primary key.
    fn columns_and_keys(&self) -> Vec<&'a ColumnName> {
        let mut columns = self.columns();
        for key in &self.shape.primary_key {
            if !columns.contains(&key) {
                columns.push(key);
            }
        }
        columns
    }

    /// Returns the names of all mapped columns.
    pub(super) fn all_columns(&self) -> String {
        let columns = self.columns();
        let names = quote::text_array(columns.iter().map(|column| column.as_str()));
        format!("{}::text[]", quote::literal(&names))
    }

    fn kind(&self, column: &ColumnName) -> ColumnKind {
        let facts = self.shape.columns.get(column);
        facts.map_or(ColumnKind::Other, |facts| facts.column_type.kind)
    }

    /// Returns whether the column is of one of Postgres's own types.
    fn is_builtin(&self, column: &ColumnName) -> bool {
        let facts = self.shape.columns.get(column);
        facts.is_some_and(|facts| facts.builtin)
    }

    /// Returns the SQL of whether the columns of Postgres's own types still are: then no cast or operator of another one
    /// can take their place.
    ///
    /// They never do if one has the name of a function that takes a row, as `to_jsonb`: without the column Postgres would
    /// call that, which reads every column, by casts of the owner's.
    pub(super) fn fits(&self, alias: &str) -> String {
        let columns = self.columns_and_keys();
        if columns
            .iter()
            .any(|column| self.shape.callable.contains(*column))
        {
            return "false".to_owned();
        }
        let fit: Vec<String> = columns
            .into_iter()
            .filter(|column| self.is_builtin(column))
            .map(|column| {
                let of = format!("pg_typeof({alias}.{})", quote::column(column));
                match same_types(self.kind(column)) {
                    Some(types) => format!("{of} in ({types})"),
                    None => format!("{of}::oid < {FIRST_USERS_TYPE}"),
                }
            })
            .collect();
        if fit.is_empty() {
            return "true".to_owned();
        }
        fit.join(" and ")
    }

    /// Returns whether the session's settings decide how a row's name is written: the same row would get two names.
    pub(super) fn names_vary(&self) -> bool {
        let id = &self.mapped.configured.external_id.column;
        let mut names = self.shape.primary_key.iter().chain([id]);
        names.any(|column| match self.kind(column) {
            ColumnKind::Real | ColumnKind::Double | ColumnKind::Timestamptz | ColumnKind::Other => {
                true
            }
            ColumnKind::Text
            | ColumnKind::Varchar
            | ColumnKind::Char
            | ColumnKind::Citext
            | ColumnKind::Enum
            | ColumnKind::TextArray
            | ColumnKind::Boolean
            | ColumnKind::Smallint
            | ColumnKind::Integer
            | ColumnKind::Bigint
            | ColumnKind::Numeric
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::Time
            | ColumnKind::Uuid => false,
        })
    }

    /// Returns the SQL of a column's value as one of Postgres's own types.
    fn value(&self, column: &ColumnName, value: &str) -> String {
        if self.is_builtin(column) {
            return value.to_owned();
        }
        let kind = self.kind(column);
        match kind {
            ColumnKind::Text
            | ColumnKind::Varchar
            | ColumnKind::Char
            | ColumnKind::Citext
            | ColumnKind::Enum
            | ColumnKind::TextArray
            | ColumnKind::Other => format!("concat({value})"),
            ColumnKind::Boolean
            | ColumnKind::Smallint
            | ColumnKind::Integer
            | ColumnKind::Bigint
            | ColumnKind::Numeric
            | ColumnKind::Real
            | ColumnKind::Double
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::Timestamptz
            | ColumnKind::Time
            | ColumnKind::Uuid => {
                format!("nullif(concat({value}), '')::{}", <&str>::from(kind))
            }
        }
    }

    /// Returns the SQL of the external id, the same as in the row as JSON; null if it has only blanks.
    pub(super) fn external_id(&self, alias: &str) -> String {
        let column = &self.mapped.configured.external_id.column;
        let value = self.value(column, &format!("{alias}.{}", quote::column(column)));
        let text = match self.kind(column) {
            ColumnKind::Text
            | ColumnKind::Varchar
            | ColumnKind::Citext
            | ColumnKind::Smallint
            | ColumnKind::Integer
            | ColumnKind::Bigint
            | ColumnKind::Numeric
            | ColumnKind::Uuid => format!("{value}::text"),
            ColumnKind::Char
            | ColumnKind::Enum
            | ColumnKind::TextArray
            | ColumnKind::Boolean
            | ColumnKind::Real
            | ColumnKind::Double
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::Timestamptz
            | ColumnKind::Time
            | ColumnKind::Other => format!("(to_jsonb({value}) #>> '{{}}')"),
        };
        format!(
            "case when {text} collate \"default\" ~ '[^[:space:][:cntrl:]]' then {text} collate \"C\" end"
        )
    }

    /// Returns the SQL of the primary key as JSON, or of a null if the table lacks one.
    pub(super) fn local_key(&self, alias: &str) -> String {
        self.key_of(|_, column| format!("{alias}.{}", quote::column(column)))
    }

    /// Returns the same of columns that [`Self::picked_keys`] has picked.
    pub(super) fn picked_key(&self, alias: &str) -> String {
        self.key_of(|place, _| format!("{alias}.key_{place}"))
    }

    fn key_of(&self, value: impl Fn(usize, &ColumnName) -> String) -> String {
        let keys = self.shape.primary_key.iter().enumerate();
        let parts: Vec<String> = keys
            .map(|(place, column)| {
                let name = quote::literal(column.as_str());
                let value = self.value(column, &value(place, column));
                format!("{name}, {value}")
            })
            .collect();
        if parts.is_empty() {
            return "null::jsonb".to_owned();
        }
        format!("jsonb_build_object({})", parts.join(", "))
    }

    pub(super) fn picked_keys(&self, alias: &str) -> String {
        let keys = self.shape.primary_key.iter().enumerate();
        let picked: Vec<String> = keys
            .map(|(place, column)| format!("{alias}.{} as key_{place}", quote::column(column)))
            .collect();
        if picked.is_empty() {
            return "null as no_key".to_owned();
        }
        picked.join(", ")
    }

    /// Returns the mapped columns of an alias, and those of the primary key.
    pub(super) fn picked(&self, alias: &str, with_keys: bool) -> String {
        let columns = if with_keys {
            self.columns_and_keys()
        } else {
            self.columns()
        };
        let picked: Vec<String> = columns
            .into_iter()
            .map(|column| format!("{alias}.{}", quote::column(column)))
            .collect();
        picked.join(", ")
    }

    /// Returns the SQL of an array of the changed columns' names.
    pub(super) fn changed(&self, old: &str, new: &str) -> String {
        let columns = self.columns();
        let changed: Vec<String> = columns
            .into_iter()
            .map(|column| {
                let name = quote::literal(column.as_str());
                format!(
                    "case when {} then {name} end",
                    self.differ(column, old, new)
                )
            })
            .collect();
        format!("array_remove(array[{}]::text[], null)", changed.join(", "))
    }

    pub(super) fn differs(&self, column: &ColumnName) -> String {
        self.differ(column, "o", "n")
    }

    /// Returns the SQL of whether a column changed. Operators of other schemas are not in the search path, and those of
    /// some types take different values for equal: the values as they are stored decide.
    fn differ(&self, column: &ColumnName, old: &str, new: &str) -> String {
        let name = quote::column(column);
        // Without the cast Postgres would compare the columns, by an operator of their type.
        let by_image =
            format!("row({old}.{name})::record operator(pg_catalog.*<>) row({new}.{name})::record");
        if !self.is_builtin(column) {
            return by_image;
        }
        match self.kind(column) {
            // Other collations may take different texts for equal.
            ColumnKind::Text | ColumnKind::Varchar => {
                format!("{old}.{name} collate \"C\" is distinct from {new}.{name} collate \"C\"")
            }
            ColumnKind::Boolean
            | ColumnKind::Smallint
            | ColumnKind::Integer
            | ColumnKind::Bigint
            | ColumnKind::Numeric
            | ColumnKind::Real
            | ColumnKind::Double
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::Timestamptz
            | ColumnKind::Time
            | ColumnKind::Uuid => format!("{old}.{name} is distinct from {new}.{name}"),
            ColumnKind::Char
            | ColumnKind::Citext
            | ColumnKind::Enum
            | ColumnKind::TextArray
            | ColumnKind::Other => by_image,
        }
    }
}

/// Returns the types for which the SQL of a column of this kind does: of others, its operators may take different values
/// for equal. None: all of Postgres's own, which are compared as they are stored.
fn same_types(kind: ColumnKind) -> Option<&'static str> {
    match kind {
        ColumnKind::Text | ColumnKind::Varchar => Some("'text'::regtype, 'varchar'::regtype"),
        ColumnKind::Smallint | ColumnKind::Integer | ColumnKind::Bigint | ColumnKind::Numeric => {
            Some("'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype")
        }
        ColumnKind::Boolean => Some("'bool'::regtype"),
        ColumnKind::Real => Some("'float4'::regtype"),
        ColumnKind::Double => Some("'float8'::regtype"),
        ColumnKind::Date => Some("'date'::regtype"),
        ColumnKind::Timestamp => Some("'timestamp'::regtype"),
        ColumnKind::Timestamptz => Some("'timestamptz'::regtype"),
        ColumnKind::Time => Some("'time'::regtype"),
        ColumnKind::Uuid => Some("'uuid'::regtype"),
        ColumnKind::Char
        | ColumnKind::Citext
        | ColumnKind::Enum
        | ColumnKind::TextArray
        | ColumnKind::Other => None,
    }
}
