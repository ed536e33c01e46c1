//! What is to go wrong, when, and how often it did.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::model::error::SfError;
use crate::rest::message::Request;

/// One declared fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default, rename = "match")]
    matching: Matching,
    action: Action,
    /// How often it still fires.
    #[serde(default = "once")]
    count: u32,
    status: Option<u16>,
    body: Option<Json>,
    ms: Option<u64>,
    code: Option<String>,
    message: Option<String>,
    external_id: Option<String>,
}

/// Which requests a fault is for; an empty one is for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Matching {
    method: Option<String>,
    path_contains: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Status,
    DropBefore,
    DropAfter,
    ExpireToken,
    DelayMs,
    RowError,
    StreamReset,
    DuplicateEvents,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::DropBefore => "drop_before",
            Self::DropAfter => "drop_after",
            Self::ExpireToken => "expire_token",
            Self::DelayMs => "delay_ms",
            Self::RowError => "row_error",
            Self::StreamReset => "stream_reset",
            Self::DuplicateEvents => "duplicate_events",
        }
    }
}

fn once() -> u32 {
    1
}

/// The declared faults and the count of those that fired.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Rule>,
    fired: BTreeMap<&'static str, u64>,
}

/// What happens to one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fired {
    pub(crate) answer: Option<(u16, String)>,
    pub(crate) drop_before: bool,
    pub(crate) drop_after: bool,
    pub(crate) expire_token: bool,
    pub(crate) delay_ms: u64,
    pub(crate) rows: Vec<RowFault>,
}

/// A refusal that waits for certain records within one call.
#[derive(Clone, Debug)]
pub(crate) struct RowFault {
    rule: usize,
    external_id: Option<String>,
    left: u32,
    used: u32,
    error: SfError,
}

impl RowFault {
    /// Tells whether the fault is for a record with one of these external ids.
    pub(crate) fn waits_for(&self, keys: &[&str]) -> bool {
        self.left > self.used
            && self
                .external_id
                .as_ref()
                .is_none_or(|wanted| keys.iter().any(|key| key.eq_ignore_ascii_case(wanted)))
    }

    /// Uses the fault once and returns the refusal.
    pub(crate) fn strike(&mut self) -> SfError {
        self.used += 1;
        self.error.clone()
    }
}

/// What happens to a subscription at its next delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamFault {
    Reset,
    Duplicate,
}

impl Faults {
    /// Adds the rules that a JSON object or array declares.
    pub(crate) fn declare(&mut self, json: Json) -> Result<(), serde_json::Error> {
        let rules: Vec<Rule> = match json {
            Json::Array(_) => serde_json::from_value(json)?,
            one => vec![serde_json::from_value(one)?],
        };
        self.rules.extend(rules);
        Ok(())
    }

    /// Forgets all rules; what fired stays counted.
    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Returns how often each action fired.
    pub(crate) fn fired(&self) -> &BTreeMap<&'static str, u64> {
        &self.fired
    }

    /// Returns what happens to this request and counts it.
    pub(crate) fn fire(&mut self, request: &Request) -> Fired {
        let mut outcome = Fired::default();
        for (number, rule) in self.rules.iter_mut().enumerate() {
            if rule.count == 0 || !rule.matching.fits(request) {
                continue;
            }
            match rule.action {
                Action::RowError => {
                    outcome.rows.push(rule.row_fault(number));
                    continue;
                }
                Action::StreamReset | Action::DuplicateEvents => continue,
                Action::Status => outcome.answer = Some(rule.answer()),
                Action::DropBefore => outcome.drop_before = true,
                Action::DropAfter => outcome.drop_after = true,
                Action::ExpireToken => outcome.expire_token = true,
                Action::DelayMs => outcome.delay_ms += rule.ms.unwrap_or(0),
            }
            rule.count -= 1;
            *self.fired.entry(rule.action.name()).or_default() += 1;
        }
        outcome
    }

    /// Takes back the row faults of a finished call and counts the used ones.
    pub(crate) fn keep_rows(&mut self, rows: Vec<RowFault>) {
        for row in rows.into_iter().filter(|row| row.used > 0) {
            if let Some(rule) = self.rules.get_mut(row.rule) {
                rule.count = rule.count.saturating_sub(row.used);
            }
            *self.fired.entry(Action::RowError.name()).or_default() += u64::from(row.used);
        }
    }

    /// Returns what happens to a subscription now, and counts it.
    pub(crate) fn fire_stream(&mut self) -> Option<StreamFault> {
        let waiting = self.rules.iter_mut().filter(|rule| rule.count > 0);
        let (rule, fault) = waiting.into_iter().find_map(|rule| match rule.action {
            Action::StreamReset => Some((rule, StreamFault::Reset)),
            Action::DuplicateEvents => Some((rule, StreamFault::Duplicate)),
            Action::Status
            | Action::DropBefore
            | Action::DropAfter
            | Action::ExpireToken
            | Action::DelayMs
            | Action::RowError => None,
        })?;
        rule.count -= 1;
        *self.fired.entry(rule.action.name()).or_default() += 1;
        Some(fault)
    }
}

impl Matching {
    fn fits(&self, request: &Request) -> bool {
        let method = self.method.as_ref();
        method.is_none_or(|method| method.eq_ignore_ascii_case(&request.method))
            && self
                .path_contains
                .as_ref()
                .is_none_or(|part| request.path.contains(part))
    }
}

impl Rule {
    fn answer(&self) -> (u16, String) {
        let body = match &self.body {
            Some(Json::String(text)) => text.clone(),
            Some(json) => json.to_string(),
            None => {
                r#"[{"message":"Service unavailable","errorCode":"SERVER_UNAVAILABLE"}]"#.into()
            }
        };
        (self.status.unwrap_or(503), body)
    }

    fn row_fault(&self, rule: usize) -> RowFault {
        let code = self
            .code
            .clone()
            .unwrap_or_else(|| "UNABLE_TO_LOCK_ROW".to_owned());
        let message = self
            .message
            .clone()
            .unwrap_or_else(|| "unable to obtain exclusive access to this record".to_owned());
        RowFault {
            rule,
            external_id: self.external_id.clone(),
            left: self.count,
            used: 0,
            error: SfError::of_record(code, message),
        }
    }
}
