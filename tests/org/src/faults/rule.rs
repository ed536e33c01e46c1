//! A declared rule: what it is for, how often it strikes, and what it then does.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::operation::Sight;

/// One declared rule, as JSON says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    #[serde(default, rename = "match")]
    pub(super) matching: Matching,
    pub(super) action: Action,
    /// How often it strikes at most: once, unless a probability says how often it does.
    pub(super) count: Option<u32>,
    /// How many chances it lets pass first.
    #[serde(default)]
    pub(super) skip: u32,
    /// Share of the chances at which it strikes, from 0 to 1.
    pub(super) probability: Option<f64>,
    /// What its chances are drawn from: the same seed and calls, the same strikes.
    pub(super) seed: Option<u64>,
    pub(super) status: Option<u16>,
    pub(super) body: Option<Json>,
    pub(super) ms: Option<u64>,
    pub(super) ms_max: Option<u64>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) when: Option<Moment>,
    pub(super) edit: Option<Edit>,
    pub(super) user: Option<String>,
    pub(super) id: Option<String>,
    pub(super) set: Option<Map<String, Json>>,
    #[allow(dead_code, reason = "bulk jobs ask for it when they begin")]
    pub(super) after_rows: Option<usize>,
}

/// Which calls, records or events a rule is for; an empty one is for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matching {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) path_contains: Option<String>,
    pub(super) object: Option<String>,
    pub(super) operation: Option<String>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Status,
    RequestLimit,
    DropBefore,
    DropAfter,
    ExpireToken,
    DelayMs,
    Hold,
    Contend,
    LateVisible,
    TieStamps,
    Person,
    RowError,
    Flow,
    FailJob,
    StreamReset,
    DuplicateEvents,
    MissingEvents,
    ReorderEvents,
    ExpireReplay,
}

/// Where in a call a person edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Moment {
    /// After the caller has read, before the org does the caller's work.
    BeforeWork,
    /// After the commit, before the caller hears of it.
    BeforeAnswer,
}

/// What a person does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Edit {
    Update,
    Delete,
    Undelete,
}

/// What kind of chance a rule waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Call,
    Row,
    Job,
    Delivery,
    Subscription,
}

impl Action {
    /// Returns the name under which strikes are counted.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::RequestLimit => "request_limit",
            Self::DropBefore => "drop_before",
            Self::DropAfter => "drop_after",
            Self::ExpireToken => "expire_token",
            Self::DelayMs => "delay_ms",
            Self::Hold => "hold",
            Self::Contend => "contend",
            Self::LateVisible => "late_visible",
            Self::TieStamps => "tie_stamps",
            Self::Person => "person",
            Self::RowError => "row_error",
            Self::Flow => "flow",
            Self::FailJob => "fail_job",
            Self::StreamReset => "stream_reset",
            Self::DuplicateEvents => "duplicate_events",
            Self::MissingEvents => "missing_events",
            Self::ReorderEvents => "reorder_events",
            Self::ExpireReplay => "expire_replay",
        }
    }

    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Status
            | Self::RequestLimit
            | Self::DropBefore
            | Self::DropAfter
            | Self::ExpireToken
            | Self::DelayMs
            | Self::Hold
            | Self::Contend
            | Self::LateVisible
            | Self::TieStamps
            | Self::Person => Scope::Call,
            Self::RowError | Self::Flow => Scope::Row,
            Self::FailJob => Scope::Job,
            Self::StreamReset
            | Self::DuplicateEvents
            | Self::MissingEvents
            | Self::ReorderEvents => Scope::Delivery,
            Self::ExpireReplay => Scope::Subscription,
        }
    }
}

impl Rule {
    /// Says what the rule lacks; `None` if it can strike.
    pub(super) fn complaint(&self) -> Option<String> {
        let action = self.action.name();
        let lacks = |member: &str| Some(format!("a rule with action {action} needs {member}"));
        if self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Some("probability is a number from 0 to 1".to_owned());
        }
        if self.ms_max.is_some_and(|max| max < self.ms.unwrap_or(0)) {
            return Some("ms_max is not smaller than ms".to_owned());
        }
        if let Some(status) = self.status
            && !(200..=599).contains(&status)
        {
            return Some("status is a number from 200 to 599".to_owned());
        }
        match self.action {
            Action::DelayMs | Action::LateVisible | Action::TieStamps if self.ms.is_none() => {
                lacks("ms")
            }
            Action::Flow if self.set.is_none() => lacks("set"),
            Action::Person if self.user.is_none() => lacks("user"),
            Action::Person if self.edit_to_make() == Edit::Update && self.set.is_none() => {
                lacks("set")
            }
            _ => None,
        }
    }

    /// Returns what the person of the rule does: an update, unless it says otherwise.
    pub(super) fn edit_to_make(&self) -> Edit {
        self.edit.unwrap_or(Edit::Update)
    }
}

impl Matching {
    /// Tells whether a call is meant.
    pub(super) fn fits_call(&self, sight: &Sight<'_>) -> bool {
        let same = |wanted: &Option<String>, seen: &str| {
            wanted.as_ref().is_none_or(|w| w.eq_ignore_ascii_case(seen))
        };
        self.fits_path(sight)
            && same(&self.operation, sight.operation())
            && self
                .object
                .as_ref()
                .is_none_or(|wanted| sight.names_object(wanted))
    }

    /// Tells whether method and path of a call are meant.
    pub(super) fn fits_path(&self, sight: &Sight<'_>) -> bool {
        let method = self.method.as_ref();
        let part = self.path_contains.as_ref();
        method.is_none_or(|method| method.eq_ignore_ascii_case(sight.method()))
            && self.path.as_ref().is_none_or(|path| path == sight.path())
            && part.is_none_or(|part| sight.path().contains(part.as_str()))
    }

    /// Tells whether a record, job or event of this object and operation is meant.
    pub(super) fn fits_record(&self, object: &str, operation: &str) -> bool {
        let same = |wanted: &Option<String>, seen: &str| {
            wanted.as_ref().is_none_or(|w| w.eq_ignore_ascii_case(seen))
        };
        same(&self.object, object) && same(&self.operation, operation)
    }
}
