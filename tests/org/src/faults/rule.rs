//! A declared rule: what it matches, how often it fires, and its effect.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::matching::Matching;

/// One declared rule, as in its JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    #[serde(default, rename = "match")]
    pub(super) matching: Matching,
    pub(super) action: Action,
    /// How many times it can fire: 1 by default, without limit if there is a probability.
    pub(super) count: Option<u32>,
    /// How many matches it skips first.
    #[serde(default)]
    pub(super) skip: u32,
    /// The probability that it fires on a match, from 0 to 1.
    pub(super) probability: Option<f64>,
    /// Seed of the probability: the same seed and calls fire the same way.
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
    pub(super) after_rows: Option<usize>,
}

/// The effect of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    UserEdit,
    RowError,
    Flow,
    FailJob,
    StreamReset,
    DuplicateEvents,
    MissingEvents,
    ReorderEvents,
    ExpireReplay,
}

/// When a user edit happens during a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Moment {
    /// After the caller has read, before the org does the caller's work.
    BeforeWork,
    /// After the commit, before the caller gets the answer.
    BeforeAnswer,
}

/// What a user edit does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Edit {
    Update,
    Delete,
    Undelete,
}

/// What a rule applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Call,
    Row,
    Job,
    Delivery,
    Subscription,
}

impl Action {
    /// Returns the name under which faults are counted.
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
            Self::UserEdit => "user_edit",
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

    /// Returns the members that the action uses.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Status => &["status", "body"],
            Self::RequestLimit => &["status"],
            Self::DelayMs | Self::LateVisible | Self::TieStamps => &["ms", "ms_max"],
            Self::UserEdit => &["when", "edit", "user", "id", "set", "external_id"],
            Self::RowError => &["code", "message", "external_id", "parent"],
            Self::Flow => &["set", "external_id", "parent"],
            Self::FailJob => &["after_rows", "message"],
            Self::DropBefore
            | Self::DropAfter
            | Self::ExpireToken
            | Self::Hold
            | Self::Contend
            | Self::StreamReset
            | Self::DuplicateEvents
            | Self::MissingEvents
            | Self::ReorderEvents
            | Self::ExpireReplay => &[],
        }
    }

    pub(super) fn target(self) -> Target {
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
            | Self::UserEdit => Target::Call,
            Self::RowError | Self::Flow => Target::Row,
            Self::FailJob => Target::Job,
            Self::StreamReset
            | Self::DuplicateEvents
            | Self::MissingEvents
            | Self::ReorderEvents => Target::Delivery,
            Self::ExpireReplay => Target::Subscription,
        }
    }
}

impl Rule {
    /// Returns why the rule can never fire, or `None` if it can.
    pub(super) fn problem(&self) -> Option<String> {
        let action = self.action.name();
        let lacks = |member: &str| Some(format!("a rule with action {action} needs {member}"));
        if self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Some("probability must be from 0 to 1".to_owned());
        }
        if self.ms_max.is_some_and(|max| max < self.ms.unwrap_or(0)) {
            return Some("ms_max must not be smaller than ms".to_owned());
        }
        if let Some(status) = self.status
            && !(200..=599).contains(&status)
        {
            return Some("status must be from 200 to 599".to_owned());
        }
        let missing = match self.action {
            Action::DelayMs | Action::LateVisible | Action::TieStamps if self.ms.is_none() => {
                lacks("ms")
            }
            Action::Flow if self.set.is_none() => lacks("set"),
            Action::UserEdit if self.user.is_none() => lacks("user"),
            Action::UserEdit if self.edit_to_make() == Edit::Update && self.set.is_none() => {
                lacks("set")
            }
            _ => None,
        };
        let idle = || {
            let of_action = self.action.members();
            let mut given = self.given();
            let (name, _) = given.find(|(name, given)| *given && !of_action.contains(name))?;
            Some(format!("a rule with action {action} does not use {name}"))
        };
        missing
            .or_else(idle)
            .or_else(|| self.matching.problem(action, self.action.target()))
    }

    /// Returns the members that only some actions use, and whether each is given.
    fn given(&self) -> impl Iterator<Item = (&'static str, bool)> {
        [
            ("status", self.status.is_some()),
            ("body", self.body.is_some()),
            ("ms", self.ms.is_some()),
            ("ms_max", self.ms_max.is_some()),
            ("code", self.code.is_some()),
            ("message", self.message.is_some()),
            ("external_id", self.external_id.is_some()),
            ("parent", self.parent.is_some()),
            ("when", self.when.is_some()),
            ("edit", self.edit.is_some()),
            ("user", self.user.is_some()),
            ("id", self.id.is_some()),
            ("set", self.set.is_some()),
            ("after_rows", self.after_rows.is_some()),
        ]
        .into_iter()
    }

    /// Returns the kind of edit, which is an update by default.
    pub(super) fn edit_to_make(&self) -> Edit {
        self.edit.unwrap_or(Edit::Update)
    }
}
