//! SOQL: text to query, query to plan against the schema, plan to rows, rows to JSON.

mod bind;
mod filter;
mod lexer;
mod like;
mod parser;
mod run;

pub(crate) use bind::{SelectNode, bind, filterable, sortable};
pub(crate) use parser::parse;
pub(crate) use run::{push_record, rows};

use crate::model::error::SfError;

/// Longest statement that Salesforce accepts, in characters.
const STATEMENT_CHARS_MAX: usize = 100_000;

/// A parsed query; names are not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) select: Select,
    pub(crate) from: String,
    pub(crate) filter: Option<Filter>,
    pub(crate) order: Vec<OrderBy>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
}

/// What a query returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Select {
    Count,
    Items(Vec<Item>),
}

/// One item of a select list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A field, by way of parents: `Owner.Name`.
    Path(String),
    /// `FIELDS(ALL)` and its kin.
    Group(FieldGroup),
}

/// Which fields `FIELDS(…)` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldGroup {
    All,
    Standard,
    Custom,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Compare {
        path: String,
        operator: Operator,
        literal: Literal,
    },
    In {
        path: String,
        negated: bool,
        literals: Vec<Literal>,
    },
    Includes {
        path: String,
        negated: bool,
        literals: Vec<Literal>,
    },
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Like,
}

/// A literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Number(String),
    Date(i32),
    Datetime(i64),
    Text(String),
}

/// One key of a sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderBy {
    pub(crate) path: String,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}

/// Returns the refusal of a statement.
fn malformed(message: impl Into<String>) -> SfError {
    SfError::new("MALFORMED_QUERY", message)
}

#[cfg(test)]
mod tests;
