//! SOQL: parses a query, binds it to the schema, selects rows, and writes them as JSON.

mod aggregate;
mod bind;
mod columns;
mod date;
mod date_function;
mod display;
mod explain;
mod filter;
mod join;
mod lexer;
mod like;
mod parser;
mod run;

pub(crate) use aggregate::groups;
pub(crate) use bind::{Plan, SelectNode, bind, filterable, groupable, sortable};
pub(crate) use columns::{Column, columns};
pub(crate) use explain::explained;
pub(crate) use parser::parse;
pub(crate) use run::{Datetimes, LeftOver, Writer, rows};

use crate::model::error::SfError;
use crate::model::schema::ObjectNo;
use crate::model::table::RowNo;
use crate::model::view::View;
pub(crate) use date::Relative;
pub(crate) use date_function::DateFunction;
pub(crate) use display::Show;

/// Id prefix of query locators.
pub(crate) const LOCATOR_PREFIX: [u8; 3] = *b"01g";

/// Maximum length of a statement, in characters.
const STATEMENT_CHARS_MAX: usize = 100_000;

/// A parsed query. Names are not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) select: Select,
    pub(crate) from: String,
    pub(crate) filter: Option<Filter>,
    pub(crate) group: Vec<Term>,
    pub(crate) having: Vec<Having>,
    pub(crate) order: Vec<OrderBy>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
}

/// The select list of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Select {
    Count,
    Items(Vec<Item>),
}

/// One item of a select list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A field of the object or a parent: `Owner.Name`.
    Path(String),
    /// `FIELDS(ALL)` and similar.
    Group(FieldGroup),
    /// A grouped field with an alias: `Industry i`.
    Named { path: String, alias: String },
    /// `CALENDAR_YEAR(CreatedDate) year`.
    Dated { term: Term, alias: Option<String> },
    /// `toLabel(Industry)`, `FORMAT(AnnualRevenue) revenue`.
    Shown {
        how: Show,
        path: String,
        alias: Option<String>,
    },
    /// `TYPEOF Owner WHEN User THEN Email ELSE Name END`.
    TypeOf(TypeOf),
    /// `COUNT(Id)`, `SUM(AnnualRevenue) total`.
    Aggregate { call: Call, alias: Option<String> },
    /// `(SELECT Id FROM Contacts)`. FROM is the relationship name.
    Children(Box<Query>),
}

/// A field, or a date function of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) function: Option<DateFunction>,
    pub(crate) path: String,
}

/// Fields of a parent that depend on the parent's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypeOf {
    pub(crate) relationship: String,
    /// An object and its fields.
    pub(crate) branches: Vec<(String, Vec<String>)>,
    /// The fields of any other object.
    pub(crate) otherwise: Vec<String>,
}

/// An aggregate function and its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) path: String,
}

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    CountDistinct,
    Sum,
    Avg,
    Min,
    Max,
}

/// A HAVING condition: a function, a comparison, a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Having {
    pub(crate) call: Call,
    pub(crate) operator: Operator,
    pub(crate) number: String,
}

/// The group of a `FIELDS(…)`.
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
    /// A comparison of a date function.
    Dated {
        function: DateFunction,
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
    /// A semi-join, or an anti-join if negated.
    InQuery {
        path: String,
        negated: bool,
        query: Box<Query>,
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
    /// Relative days: `LAST_N_DAYS:7`.
    Relative(Relative),
}

/// One key of a sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderBy {
    /// A field, an alias, or a function in the form of [`Call::text`].
    pub(crate) path: String,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}

impl Call {
    /// Returns the call in the form that sort keys use.
    pub(crate) fn text(&self) -> String {
        format!("{}({})", self.function.name(), self.path.to_lowercase())
    }
}

impl Term {
    /// Returns the term in the form that sort keys use.
    pub(crate) fn text(&self) -> String {
        match self.function {
            Some(function) => format!("{}({})", function.name(), self.path.to_lowercase()),
            None => self.path.clone(),
        }
    }
}

impl Function {
    /// Returns the function with that name, ignoring case.
    fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Count,
            Self::CountDistinct,
            Self::Sum,
            Self::Avg,
            Self::Min,
            Self::Max,
        ];
        all.into_iter()
            .find(|function| function.name().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::CountDistinct => "count_distinct",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// A condition on the records of one object, used outside of a query.
#[derive(Clone, Debug)]
pub(crate) struct Criterion(filter::Condition);

impl Criterion {
    /// Parses the text that would follow WHERE.
    pub(crate) fn parse(view: View<'_>, object: ObjectNo, text: &str) -> Result<Self, SfError> {
        let name = &view.object(object).name;
        let query = parse(&format!("SELECT Id FROM {name} WHERE {text}"))?;
        let plan = bind(view, &query)?;
        let condition = plan
            .condition
            .ok_or_else(|| malformed("the expression is empty"))?;
        Ok(Self(condition))
    }

    /// Returns whether a record meets the condition.
    pub(crate) fn holds(&self, view: View<'_>, object: ObjectNo, row: RowNo) -> bool {
        self.0.holds(view, object, row)
    }
}

/// Returns the error for an invalid statement.
fn malformed(message: impl Into<String>) -> SfError {
    SfError::new("MALFORMED_QUERY", message)
}

#[cfg(test)]
mod tests;
