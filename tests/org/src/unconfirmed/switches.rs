//! The unconfirmed behaviour that a test can switch.
//!
//! A switch exists only if its kind side would hide a mistake of a client. The harsh side, on which
//! such a mistake shows, is the default. An org file or the control endpoint sets single switches;
//! the environment variable [`VARIABLE`] sets those that the org file does not.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// `kind` sets all switches to their kind side, `harsh` to their harsh side.
pub(crate) const VARIABLE: &str = "SYNCLINE_ORG_UNCONFIRMED";

/// The client tag of `Sforce-Call-Options` on `/composite*`, which is not in the documented list of
/// resources that honour it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientTagOnComposite {
    /// The change origin of such a write has no client.
    #[default]
    Ignored,
    /// Hides a client that recognises its own writes by nothing else.
    Kept,
}

/// `If-Unmodified-Since` of a call inside `/composite`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConditionsInComposite {
    /// The call is executed without its condition.
    #[default]
    Ignored,
    /// Hides a client that relies on them and overwrites the edits of users.
    Checked,
}

/// How long a query locator is valid after its last use. Both are documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QueryLocatorLife {
    #[default]
    FifteenMinutes,
    /// Hides a client that cannot restart a query whose locator is gone.
    TwoDays,
}

/// Which equal changes of one transaction share an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MergedEvents {
    /// Some do, chosen by the org's random numbers.
    #[default]
    ByChance,
    /// All do: hides a client that expects them to.
    Always,
    /// None does: hides a client that reads only the first id of an event.
    Never,
}

/// The form in which an e-mail address is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Email {
    #[default]
    LowerCase,
    /// Hides a client that takes the changed case for a user's edit and writes it again and again.
    AsSent,
}

/// The unit of the length of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TextLength {
    #[default]
    Utf16Units,
    /// Hides a client that counts characters, so that its writes of emoji are refused or cut.
    Characters,
}

/// What the API returns of a masked text to a user without "View Encrypted Data".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MaskedText {
    #[default]
    Masked,
    /// Hides a client that stores the mask as the value, or writes it back.
    Plain,
}

/// What a quote in the middle of an uploaded cell does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StrayQuoteInBulk {
    #[default]
    FailsJob,
    /// Hides a client that repeats a failed job without end.
    FailsRow,
}

/// Whether an optional lookup that is cleared because its parent was deleted sends an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClearedLookups {
    #[default]
    WithoutEvent,
    /// Hides a client that keeps the reference until the next full comparison.
    WithEvent,
}

/// What `Sforce-Limit-Info` and `/limits` show of the calls of the last minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitInfo {
    /// The figure is up to five minutes old.
    #[default]
    Delayed,
    /// Hides a client that spends more calls than it has, because it waits for the figure to grow.
    Exact,
}

/// Whether an archived record can be read by its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ArchivedById {
    /// It is only in queryAll.
    #[default]
    NotFound,
    /// Hides a client that takes a record for deleted because it cannot read it.
    Readable,
}

/// The position of every switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switches {
    pub(crate) client_tag_on_composite: ClientTagOnComposite,
    pub(crate) conditions_in_composite: ConditionsInComposite,
    pub(crate) query_locator_life: QueryLocatorLife,
    pub(crate) merged_events: MergedEvents,
    pub(crate) email: Email,
    pub(crate) text_length: TextLength,
    pub(crate) masked_text: MaskedText,
    pub(crate) stray_quote_in_bulk: StrayQuoteInBulk,
    pub(crate) cleared_lookups: ClearedLookups,
    pub(crate) limit_info: LimitInfo,
    pub(crate) archived_by_id: ArchivedById,
}

impl Switches {
    /// Returns all switches on their kind side.
    pub(crate) fn kind() -> Self {
        Self {
            client_tag_on_composite: ClientTagOnComposite::Kept,
            conditions_in_composite: ConditionsInComposite::Checked,
            query_locator_life: QueryLocatorLife::TwoDays,
            merged_events: MergedEvents::Never,
            email: Email::AsSent,
            text_length: TextLength::Characters,
            masked_text: MaskedText::Plain,
            stray_quote_in_bulk: StrayQuoteInBulk::FailsRow,
            cleared_lookups: ClearedLookups::WithEvent,
            limit_info: LimitInfo::Exact,
            archived_by_id: ArchivedById::Readable,
        }
    }

    /// Returns the side that the value of [`VARIABLE`] names, or what is wrong with it.
    pub(crate) fn named(side: Option<&str>) -> Result<Self, String> {
        match side {
            None | Some("harsh") => Ok(Self::default()),
            Some("kind") => Ok(Self::kind()),
            Some(other) => Err(format!("{VARIABLE} is kind or harsh, not {other}")),
        }
    }

    /// Returns these switches with the named ones changed.
    pub(crate) fn with(self, changes: &Map<String, Json>) -> Result<Self, String> {
        let mut members = match serde_json::to_value(self) {
            Ok(Json::Object(members)) => members,
            other => unreachable!("switches are an object, not {other:?}"),
        };
        members.extend(changes.clone());
        serde_json::from_value(members.into())
            .map_err(|error| format!("unconfirmed behaviour: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Email, MergedEvents, Switches};
    use serde_json::json;

    #[test]
    fn named_switches_change_and_others_stay() {
        let changes = json!({"email": "lower_case", "merged_events": "always"});
        let switches = Switches::kind().with(changes.as_object().unwrap()).unwrap();
        let expected = Switches {
            email: Email::LowerCase,
            merged_events: MergedEvents::Always,
            ..Switches::kind()
        };
        assert_eq!(switches, expected);
    }

    #[test]
    fn unknown_switches_and_positions_are_refused_by_name() {
        for (changes, named) in [
            (json!({"e_mail": "as_sent"}), "e_mail"),
            (json!({"email": "upper_case"}), "upper_case"),
        ] {
            let refused = Switches::default().with(changes.as_object().unwrap());
            assert!(refused.unwrap_err().contains(named));
        }
        let refused = Switches::named(Some("gentle"));
        assert!(refused.unwrap_err().contains("gentle"));
    }

    #[test]
    fn every_switch_has_another_kind_side() {
        let (harsh, kind) = (json!(Switches::default()), json!(Switches::kind()));
        for (name, side) in harsh.as_object().unwrap() {
            assert_ne!(kind[name], *side, "{name}");
        }
    }
}
