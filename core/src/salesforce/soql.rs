//! Builds SOQL: identifiers are typed, and one function escapes all literals.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::ids::{FieldName, ObjectName, SalesforceId};
use crate::model::schema::FieldType;
use crate::model::value::Decimal;

/// Most bytes of a percent-encoded statement in a URI.
///
/// Salesforce refuses URIs over 16,384 bytes with 414; the difference is for host and path.
pub(super) const ENCODED_BYTES_MAX: usize = 15_000;

/// Characters of a Salesforce id in its longer form.
const SALESFORCE_ID_CHARS: usize = 18;

/// A value inside a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    /// Quoted.
    Text(String),
    /// Bare.
    Number(Decimal),
}

impl Literal {
    /// Returns the literal that compares with a field of this type, or `None` if no record can have this
    /// value.
    pub(super) fn of(field: &FieldType, value: &str) -> Option<Self> {
        if field.is_number() {
            Decimal::parse(value).map(Self::Number)
        } else {
            (!value.is_empty()).then(|| Self::Text(value.to_owned()))
        }
    }

    fn soql(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Which columns of which object a statement reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection<'a> {
    /// The object.
    pub(super) object: &'a ObjectName,
    /// The columns, without duplicates.
    pub(super) columns: &'a [FieldName],
}

impl Selection<'_> {
    /// Returns the statements that together select all records whose `field` is one of `literals` and that
    /// match `filter`. Each is short enough for a URI. Returns `None` if columns and filter leave no room
    /// for one literal.
    pub(super) fn by_values(
        &self,
        field: &FieldName,
        literals: &[Literal],
        filter: Option<&str>,
    ) -> Option<Vec<String>> {
        self.by_values_then(field, literals, filter, ")")
    }

    /// Returns the statements that together select each of `literals` that is the value of `field` in any record
    /// that matches `filter`, once.
    pub(super) fn values_among(
        &self,
        field: &FieldName,
        literals: &[Literal],
        filter: Option<&str>,
    ) -> Option<Vec<String>> {
        self.by_values_then(field, literals, filter, &format!(") GROUP BY {field}"))
    }

    fn by_values_then(
        &self,
        field: &FieldName,
        literals: &[Literal],
        filter: Option<&str>,
        end: &str,
    ) -> Option<Vec<String>> {
        let shown = filter.map_or_else(String::new, |filter| format!("({filter}) AND "));
        let head = format!("{} WHERE {shown}{field} IN (", self.head());
        let room = ENCODED_BYTES_MAX.checked_sub(encoded_length(&head) + encoded_length(end))?;
        let mut statements: Vec<String> = Vec::new();
        let mut used = room;
        for literal in literals {
            let text = literal.soql();
            let length = encoded_length(&text) + encoded_length(",");
            if length > room {
                return None;
            }
            match statements.last_mut().filter(|_| used + length <= room) {
                Some(statement) => {
                    write!(statement, ",{text}").expect("a String takes all text");
                    used += length;
                }
                None => {
                    statements.push(format!("{head}{text}"));
                    used = length;
                }
            }
        }
        for statement in &mut statements {
            statement.push_str(end);
        }
        Some(statements)
    }

    /// Returns the statement for the next page of all live records in id order.
    pub(super) fn page(
        &self,
        filter: Option<&str>,
        after: Option<&SalesforceId>,
        rows: usize,
    ) -> String {
        let conditions: Vec<String> = filter
            .map(|filter| format!("({filter})"))
            .into_iter()
            .chain(after.map(|id| format!("Id > {}", quoted(id.as_str()))))
            .collect();
        format!(
            "{}{} ORDER BY Id LIMIT {rows}",
            self.head(),
            where_clause(&conditions)
        )
    }

    /// Returns the statements that try a filter, or `None` if it leaves no room for an id. The first
    /// combines the filter with a condition that no record meets: a filter that closes our parenthesis is
    /// refused there, or still selects records.
    pub(super) fn trial(&self, id: &FieldName, filter: &str) -> Option<[String; 2]> {
        let longest = Literal::Text("0".repeat(SALESFORCE_ID_CHARS));
        self.by_values(id, &[longest], Some(filter))?;
        let head = format!("SELECT {id} FROM {} WHERE ({filter})", self.object);
        Some([
            format!("{head} AND {id} = null LIMIT 1"),
            format!("{head} LIMIT 1"),
        ])
    }

    /// Returns the statement for the records changed at or after a time; with `after`, of those at exactly
    /// that time only the ones with a higher id.
    pub(super) fn changed_since(
        &self,
        stamp: &FieldName,
        since_ms: i64,
        after: Option<&SalesforceId>,
        rows: usize,
    ) -> Option<String> {
        let since = moment(since_ms)?;
        let condition = match after {
            None => format!("{stamp} >= {since}"),
            Some(id) => format!(
                "({stamp} > {since} OR ({stamp} = {since} AND Id > {}))",
                quoted(id.as_str())
            ),
        };
        Some(format!(
            "{} WHERE {condition} ORDER BY {stamp}, Id LIMIT {rows}",
            self.head()
        ))
    }

    fn head(&self) -> String {
        let columns: Vec<&str> = self.columns.iter().map(FieldName::as_str).collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.object)
    }
}

/// Returns the statement that counts live records; with `empty`, those without a value in this field.
pub(super) fn count(
    object: &ObjectName,
    filter: Option<&str>,
    empty: Option<&FieldName>,
) -> String {
    let conditions: Vec<String> = filter
        .map(|filter| format!("({filter})"))
        .into_iter()
        .chain(empty.map(|field| format!("{field} = null")))
        .collect();
    format!("SELECT COUNT() FROM {object}{}", where_clause(&conditions))
}

/// Returns ` WHERE` with all conditions, or nothing.
fn where_clause(conditions: &[String]) -> String {
    match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    }
}

/// Characters that a form escapes (URL Standard, "application/x-www-form-urlencoded"). A form encodes a
/// space as `+`, so a space counts as one byte here.
const FORM_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b' ')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*');

/// Returns the encoded length of a text in a URI's query.
pub(super) fn encoded_length(text: &str) -> usize {
    utf8_percent_encode(text, FORM_ESCAPED).map(str::len).sum()
}

/// Quotes a text (SOQL and SOSL Reference, "Quoted String Escape Sequences").
fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for c in text.chars() {
        match c {
            '\'' => literal.push_str("\\'"),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            c if c.is_control() => {
                write!(literal, "\\u{:04X}", u32::from(c)).expect("a String takes all text");
            }
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

fn moment(ms: i64) -> Option<String> {
    DateTime::from_timestamp_millis(ms)
        .map(|moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns(names: &[&str]) -> Vec<FieldName> {
        names
            .iter()
            .map(|name| FieldName::parse(name).unwrap())
            .collect()
    }

    fn account() -> ObjectName {
        ObjectName::parse("Account").unwrap()
    }

    fn texts(values: &[&str]) -> Vec<Literal> {
        values
            .iter()
            .map(|value| Literal::Text((*value).to_owned()))
            .collect()
    }

    /// Parses a quoted literal as Salesforce does.
    fn unquoted(literal: &str) -> Option<String> {
        let mut text = String::new();
        let mut chars = literal.strip_prefix('\'')?.chars();
        loop {
            match chars.next()? {
                '\'' => return chars.next().is_none().then_some(text),
                '\\' => match chars.next()? {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    'u' => {
                        let digits: String = chars.by_ref().take(4).collect();
                        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn quoted_text_parses_back_to_the_same_text(text in any::<String>()) {
            prop_assert_eq!(unquoted(&quoted(&text)), Some(text));
        }

        #[test]
        fn statements_fit_and_select_every_value_once(
            values in proptest::collection::vec("[a-z'%é]{1,90}", 0..300),
            filtered in any::<bool>(),
        ) {
            let columns = columns(&["Id", "Name"]);
            let object = account();
            let selection = Selection { object: &object, columns: &columns };
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let field = FieldName::parse("External_Id__c").unwrap();
            let filter = filtered.then_some("Type = 'a' OR Type = 'b'");
            let statements = selection.by_values(&field, &texts(&values), filter).unwrap();
            let asked: Vec<String> = statements
                .iter()
                .flat_map(|statement| {
                    let list = statement.split_once("IN (").unwrap().1;
                    list.strip_suffix(')').unwrap().split(',').map(|l| unquoted(l).unwrap())
                })
                .collect();
            prop_assert_eq!(asked, values);
            for statement in &statements {
                prop_assert_eq!(statement.contains("WHERE (Type = 'a' OR Type = 'b') AND "), filtered);
                prop_assert!(encoded_length(statement) <= ENCODED_BYTES_MAX);
            }
        }
    }

    #[test]
    fn pages_are_ordered_by_id_and_parenthesise_the_filter() {
        let columns = columns(&["Id", "Name"]);
        let object = account();
        let selection = Selection {
            object: &object,
            columns: &columns,
        };
        let after = SalesforceId::parse("001D000000IqhSLIAZ").unwrap();
        assert_eq!(
            selection.page(Some("Type = 'a' OR Type = 'b'"), Some(&after), 2_000),
            "SELECT Id, Name FROM Account WHERE (Type = 'a' OR Type = 'b') \
             AND Id > '001D000000IqhSLIAZ' ORDER BY Id LIMIT 2000"
        );
        assert_eq!(
            selection.page(None, None, 50),
            "SELECT Id, Name FROM Account ORDER BY Id LIMIT 50"
        );
    }

    #[test]
    fn filter_is_tried_with_another_condition_and_alone() {
        let columns = columns(&["Id", "Name"]);
        let object = account();
        let selection = Selection {
            object: &object,
            columns: &columns,
        };
        let id = FieldName::parse("Id").unwrap();
        assert_eq!(
            selection.trial(&id, "Type = 'a' OR Type = 'b'").unwrap(),
            [
                "SELECT Id FROM Account WHERE (Type = 'a' OR Type = 'b') AND Id = null LIMIT 1",
                "SELECT Id FROM Account WHERE (Type = 'a' OR Type = 'b') LIMIT 1",
            ]
        );
        let endless = format!("Name = '{}'", "x".repeat(ENCODED_BYTES_MAX));
        assert_eq!(selection.trial(&id, &endless), None);
    }

    #[test]
    fn polling_continues_after_an_id_of_the_same_time() {
        let columns = columns(&["Id"]);
        let object = account();
        let selection = Selection {
            object: &object,
            columns: &columns,
        };
        let stamp = FieldName::parse("SystemModstamp").unwrap();
        let after = SalesforceId::parse("001D000000IqhSLIAZ").unwrap();
        assert_eq!(
            selection
                .changed_since(&stamp, 1_777_627_800_000, Some(&after), 2_000)
                .unwrap(),
            "SELECT Id FROM Account WHERE (SystemModstamp > 2026-05-01T09:30:00.000Z OR \
             (SystemModstamp = 2026-05-01T09:30:00.000Z AND Id > '001D000000IqhSLIAZ')) \
             ORDER BY SystemModstamp, Id LIMIT 2000"
        );
    }

    #[test]
    fn numbers_are_unquoted_and_invalid_values_are_skipped() {
        let number = FieldType::Decimal {
            precision: 18,
            scale: 0,
        };
        assert_eq!(Literal::of(&number, "007").unwrap().soql(), "7");
        assert_eq!(Literal::of(&number, "x' OR 'a'='a"), None);
        assert_eq!(Literal::of(&FieldType::Id, ""), None);
    }
}
