//! What a rule matches.

use serde::{Deserialize, Serialize};

use super::operation::{CallSummary, Named};
use super::rule::Target;
use crate::Org;
use crate::model::id::RecordId;

/// The operations of calls.
const CALLS: [&str; 16] = [
    "login",
    "create",
    "read",
    "update",
    "upsert",
    "delete",
    "describe",
    "query",
    "composite",
    "batch",
    "graph",
    "ingest",
    "query_job",
    "async_job",
    "tooling",
    "other",
];

/// The operations on records.
const ROWS: [&str; 3] = ["create", "update", "delete"];

/// The operations of bulk jobs.
const JOBS: [&str; 7] = [
    "insert",
    "update",
    "upsert",
    "delete",
    "hardDelete",
    "query",
    "queryAll",
];

/// The operations of events.
const EVENTS: [&str; 10] = [
    "create",
    "update",
    "delete",
    "undelete",
    "gap_create",
    "gap_update",
    "gap_delete",
    "gap_undelete",
    "gap_overflow",
    "publish",
];

/// Selects the calls, records, jobs, events or subscriptions of a rule. All given members have to
/// match; an empty one matches everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matching {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) path_contains: Option<String>,
    /// API name of an object or a platform event.
    pub(super) object: Option<String>,
    pub(super) operation: Option<String>,
    /// Ids of records; one match is enough.
    #[serde(default)]
    pub(super) ids: Vec<RecordId>,
    pub(super) topic: Option<String>,
}

/// What rules can match of an event.
pub(super) struct EventSummary<'a> {
    pub(super) topic: &'a str,
    pub(super) object: &'a str,
    pub(super) operation: &'a str,
    pub(super) ids: &'a [String],
}

impl Target {
    /// Returns the plural name of the target, the members that can select it, and its operations.
    fn shape(
        self,
    ) -> (
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    ) {
        let of_calls = &[
            "method",
            "path",
            "path_contains",
            "object",
            "operation",
            "ids",
        ];
        match self {
            Self::Call => ("calls", of_calls, &CALLS),
            Self::Row => ("records", of_calls, &ROWS),
            Self::Job => ("jobs", &["object", "operation"], &JOBS),
            Self::Delivery => ("events", &["object", "operation", "ids", "topic"], &EVENTS),
            Self::Subscription => ("subscriptions", &["topic"], &[]),
        }
    }
}

impl Matching {
    /// Returns why this can never match for an action, or `None` if it can.
    pub(super) fn problem(&self, action: &str, target: Target) -> Option<String> {
        let (targets, members, operations) = target.shape();
        let given = [
            ("method", self.method.is_some()),
            ("path", self.path.is_some()),
            ("path_contains", self.path_contains.is_some()),
            ("object", self.object.is_some()),
            ("operation", self.operation.is_some()),
            ("ids", !self.ids.is_empty()),
            ("topic", self.topic.is_some()),
        ];
        let mut given = given.into_iter().filter(|(_, given)| *given);
        if let Some((name, _)) = given.find(|(name, _)| !members.contains(name)) {
            let members = members.join(", ");
            return Some(format!(
                "a rule with action {action} applies to {targets}, which are selected by {members}, \
                 not by {name}"
            ));
        }
        let operation = self.operation.as_deref()?;
        let known = |known: &&str| known.eq_ignore_ascii_case(operation);
        if !operations.iter().any(known) {
            let operations = operations.join(", ");
            return Some(format!(
                "{targets} have no operation {operation}, only {operations}"
            ));
        }
        let nameless = matches!(operation, "login" | "publish") && !self.ids.is_empty()
            || operation == "login" && self.object.is_some();
        nameless.then(|| format!("{operation} has neither ids nor an object"))
    }

    /// Returns whether a call matches.
    pub(super) fn fits_call(&self, call: &CallSummary<'_>) -> bool {
        let named = |named: &Named| matches!(named, Named::Id(id) if self.ids.contains(id));
        self.fits_path(call)
            && same(self.operation.as_ref(), call.operation())
            && self
                .object
                .as_ref()
                .is_none_or(|wanted| call.names_object(wanted))
            && (self.ids.is_empty() || call.records().iter().any(named))
    }

    /// Returns whether the method and path of a call match.
    pub(super) fn fits_path(&self, call: &CallSummary<'_>) -> bool {
        let part = self.path_contains.as_ref();
        same(self.method.as_ref(), call.method())
            && self.path.as_ref().is_none_or(|path| path == call.path())
            && part.is_none_or(|part| call.path().contains(part.as_str()))
    }

    /// Returns whether a record or job with this object and operation matches, whatever its source.
    pub(super) fn fits_work(&self, object: &str, operation: &str) -> bool {
        same(self.object.as_ref(), object) && same(self.operation.as_ref(), operation)
    }

    /// Returns whether a record id matches. A record that is being created has no id yet.
    pub(super) fn fits_id(&self, id: Option<RecordId>) -> bool {
        self.ids.is_empty() || id.is_some_and(|id| self.ids.contains(&id))
    }

    /// Returns whether an event matches.
    pub(super) fn fits_event(&self, event: &EventSummary<'_>) -> bool {
        let id = |id: &String| RecordId::parse(id).is_some_and(|id| self.ids.contains(&id));
        self.fits_work(event.object, event.operation)
            && self.fits_topic(event.topic)
            && (self.ids.is_empty() || event.ids.iter().any(id))
    }

    /// Returns whether a subscription to this topic matches.
    pub(super) fn fits_topic(&self, topic: &str) -> bool {
        self.topic.as_ref().is_none_or(|wanted| wanted == topic)
    }
}

fn same(wanted: Option<&String>, seen: &str) -> bool {
    wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(seen))
}

impl Org {
    /// Returns which object, topic or user of a rule the org does not have.
    pub(super) fn missing_for(&self, matching: &Matching, user: Option<&String>) -> Option<String> {
        if let Some(name) = &matching.object
            && self.model.schema.find(name).is_none()
            && self.model.platform_named(name).is_none()
        {
            return Some(format!("there is no object {name}"));
        }
        if let Some(topic) = &matching.topic
            && self.model.topic(topic).is_err()
        {
            return Some(format!("there is no topic {topic}"));
        }
        let user = user?;
        let unknown = self.user_named(user).is_none();
        unknown.then(|| format!("there is no user {user}"))
    }
}
