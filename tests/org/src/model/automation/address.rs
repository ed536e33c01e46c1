//! State and country picklists: an address whose state and country are chosen from lists, each with a
//! name and a code that are saved together.

use crate::model::Model;
use crate::model::draft::Draft;
use crate::model::error::SfError;
use crate::model::schema::FieldNo;
use crate::model::table::RowNo;
use crate::model::value::Value;

/// A country and its states: codes and names.
#[derive(Clone, Debug)]
pub(crate) struct Country {
    pub(crate) code: String,
    pub(crate) name: String,
    /// No state is known of a country without states, so any is accepted.
    pub(crate) states: Vec<(String, String)>,
}

/// The fields of one address that are validated together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) country: Pair,
    pub(crate) state: Pair,
}

/// A field with a name and a field with its code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) name: FieldNo,
    pub(crate) code: FieldNo,
}

/// What a write makes of a pair.
enum Asked<'a> {
    /// It sets neither field.
    Kept,
    Cleared,
    Chosen(&'a str),
}

impl Model {
    /// Checks the state and country of an address and completes the name or the code of each.
    pub(super) fn complete_address(
        &self,
        draft: &mut Draft,
        row: Option<RowNo>,
        address: Address,
    ) -> Result<(), SfError> {
        let countries = &self.schema.countries;
        let pairs = countries.iter().map(|one| (&*one.code, &*one.name));
        let country = match asked(draft, address.country) {
            Asked::Cleared => None,
            Asked::Chosen(text) => Some(
                found(pairs, text)
                    .ok_or_else(|| self.problem(draft, address.country, "country"))?,
            ),
            Asked::Kept => {
                let kept = row.map(|row| self.table(draft.object).get(row, address.country.code));
                let code = kept.and_then(Value::as_text).unwrap_or_default();
                found(pairs, code)
            }
        };
        let kept_state = row.map(|row| self.table(draft.object).get(row, address.state.code));
        let kept_state = kept_state.and_then(Value::as_text);
        let state = match (asked(draft, address.state), kept_state) {
            (Asked::Cleared, _) | (Asked::Kept, None) => None,
            (Asked::Chosen(text), _) | (Asked::Kept, Some(text)) => Some(text.to_owned()),
        };
        let state = match (country, state) {
            (_, None) => None,
            (None, Some(_)) => return Err(self.state_alone(draft, address.state)),
            (Some((code, _)), Some(text)) => {
                let known = countries.iter().find(|one| one.code == code);
                let states = known.map_or(&[][..], |one| &one.states);
                let states = states.iter().map(|(code, name)| (&**code, &**name));
                let problem = || self.problem(draft, address.state, "state");
                Some(found(states, &text).ok_or_else(problem)?)
            }
        };
        let set = |draft: &mut Draft, pair: Pair, chosen: Option<(&str, &str)>| {
            let text = |text: Option<&str>| text.map_or(Value::Null, |t| Value::Text(t.into()));
            draft.put(pair.code, text(chosen.map(|one| one.0)));
            draft.put(pair.name, text(chosen.map(|one| one.1)));
        };
        let named = |pair: Pair| move |no: FieldNo| no == pair.name || no == pair.code;
        if draft.sets.iter().any(|(no, _)| named(address.country)(*no)) {
            set(draft, address.country, country);
        }
        if draft.sets.iter().any(|(no, _)| named(address.state)(*no)) {
            set(draft, address.state, state);
        }
        Ok(())
    }

    fn problem(&self, draft: &Draft, pair: Pair, what: &str) -> SfError {
        let field = self.field(draft.object, pair.name);
        let list = if what == "state" {
            "states"
        } else {
            "countries"
        };
        let message = format!(
            "There's a problem with this {what}, even though it may appear correct. Please select \
             a {what} from the list of valid {list}.: {}",
            field.label
        );
        SfError::of_field("FIELD_INTEGRITY_EXCEPTION", message, &field.name)
    }

    fn state_alone(&self, draft: &Draft, state: Pair) -> SfError {
        let field = self.field(draft.object, state.name);
        let message = format!(
            "A country must be specified before specifying a state value for field: {}",
            field.label
        );
        SfError::of_field("FIELD_INTEGRITY_EXCEPTION", message, &field.name)
    }
}

/// Returns what a write makes of a pair; the code counts if both are set.
fn asked(draft: &Draft, pair: Pair) -> Asked<'_> {
    let set = |no: FieldNo| draft.sets.iter().rev().find(|(known, _)| *known == no);
    let values = [set(pair.code), set(pair.name)];
    let mut values = values.into_iter().flatten().map(|(_, value)| value);
    match values.clone().find_map(Value::as_text) {
        Some(text) => Asked::Chosen(text),
        None if values.next().is_some() => Asked::Cleared,
        None => Asked::Kept,
    }
}

/// Returns the code and name of the entry with that code or name, ignoring case.
fn found<'a>(
    mut entries: impl Iterator<Item = (&'a str, &'a str)>,
    text: &str,
) -> Option<(&'a str, &'a str)> {
    entries.find(|(code, name)| code.eq_ignore_ascii_case(text) || name.eq_ignore_ascii_case(text))
}
