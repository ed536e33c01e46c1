//! Faults as values, for tests in the same process.

use serde_json::{Value as Json, json};

use crate::Org;

/// A fault and how often it strikes: once, at the next call that it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    action: FaultAction,
    path: Option<String>,
    times: u32,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// A call is answered with an error and does nothing.
    Reject {
        /// HTTP status.
        status: u16,
        /// Salesforce's error code.
        code: String,
        /// Salesforce's message.
        message: String,
    },
    /// A call is answered with this body and does nothing.
    Answer {
        /// HTTP status.
        status: u16,
        /// The body as it is sent.
        body: String,
    },
    /// One record of a call is refused.
    RejectRow {
        /// The record's external id.
        external_id: String,
        /// Salesforce's error code.
        code: String,
        /// Salesforce's message.
        message: String,
    },
    /// The connection closes before the call does anything.
    FailBeforeWrite,
    /// The call does its work, then the connection closes without an answer.
    FailAfterWrite,
    /// The session of a call has ended.
    ExpireSession,
    /// The call does its work, but its answer is sent only after [`Org::release_responses`].
    HoldResponse,
    /// A call is answered late.
    RespondSlowly {
        /// By how much.
        ms: u64,
    },
    /// The events of a delivery come twice.
    DuplicateEvents,
    /// A subscription is cut at its next delivery.
    ResetStream,
}

impl FaultAction {
    /// Returns the fault that does this once, to any call.
    #[must_use]
    pub fn once(self) -> Fault {
        Fault {
            action: self,
            path: None,
            times: 1,
        }
    }
}

impl Fault {
    /// Strikes only calls whose path contains this.
    #[must_use]
    pub fn on(self, path: &str) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..self
        }
    }

    /// Strikes as many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    fn rule(&self) -> Json {
        let mut rule = match &self.action {
            FaultAction::Reject {
                status,
                code,
                message,
            } => json!({
                "action": "status", "status": status,
                "body": [{"errorCode": code, "message": message}],
            }),
            FaultAction::Answer { status, body } => {
                json!({"action": "status", "status": status, "body": body})
            }
            FaultAction::RejectRow {
                external_id,
                code,
                message,
            } => json!({
                "action": "row_error", "external_id": external_id, "code": code, "message": message,
            }),
            FaultAction::FailBeforeWrite => json!({"action": "drop_before"}),
            FaultAction::FailAfterWrite => json!({"action": "drop_after"}),
            FaultAction::ExpireSession => json!({"action": "expire_token"}),
            FaultAction::HoldResponse => json!({"action": "hold"}),
            FaultAction::RespondSlowly { ms } => json!({"action": "delay_ms", "ms": ms}),
            FaultAction::DuplicateEvents => json!({"action": "duplicate_events"}),
            FaultAction::ResetStream => json!({"action": "stream_reset"}),
        };
        if let Some(path) = &self.path {
            rule["match"] = json!({"path_contains": path});
        }
        rule["count"] = self.times.into();
        rule
    }
}

impl Org {
    /// Declares what goes wrong next.
    ///
    /// # Panics
    /// When the fault cannot strike: a path means nothing to events.
    pub fn declare(&mut self, fault: &Fault) {
        if let Err(complaint) = self.declare_faults(fault.rule()) {
            panic!("{fault:?}: {complaint}");
        }
    }

    /// Sends the answers that [`FaultAction::HoldResponse`] holds back.
    pub fn release_responses(&mut self) {
        self.releases += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_a_rule_that_the_org_takes() {
        let text = || "x".to_owned();
        let (code, message) = (text(), text());
        for action in [
            FaultAction::Reject {
                status: 503,
                code: text(),
                message: text(),
            },
            FaultAction::Answer {
                status: 200,
                body: text(),
            },
            FaultAction::RejectRow {
                external_id: text(),
                code,
                message,
            },
            FaultAction::FailBeforeWrite,
            FaultAction::FailAfterWrite,
            FaultAction::ExpireSession,
            FaultAction::HoldResponse,
            FaultAction::RespondSlowly { ms: 1 },
            FaultAction::DuplicateEvents,
            FaultAction::ResetStream,
        ] {
            Org::default().declare(&action.once().times(2));
        }
    }
}
