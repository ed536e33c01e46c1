//! Parses the payloads of the functions.
//!
//! An unknown payload is refused with an error that names the field: a misspelt `keep_polling_seconds` must
//! not silently disable polling.

use std::fmt;

use aws_lambda_events::sqs::SqsEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use syncline::model::Side;
use syncline::model::ids::{ObjectName, TenantId};
use syncline::ports::WakeUp;

/// The version of wake-ups that this build sends and receives.
const WAKE_UP_VERSION: u8 = 1;

/// Longest time that a capture may keep polling: the longest that a function may run.
const KEEP_POLLING_SECONDS_MAX: u32 = 900;

/// What is wrong with a payload, and the valid form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a payload of {expected}: {problem}")]
pub struct PayloadError {
    problem: String,
    expected: Expected,
}

/// The valid payloads, as an operator writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Capture,
    Reconcile,
    WakeUp,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capture => {
                r#"capture, {"job":"capture","side":"postgres"|"salesforce","tenant"?:"…","keep_polling_seconds"?:50} or a batch of its queue"#
            }
            Self::Reconcile => {
                r#"reconcile, {"job":"sweep"|"incremental"|"full"|"migrate","tenant"?:"…"}"#
            }
            Self::WakeUp => {
                r#"apply, {"v":1,"job":"apply","tenant":"…","object":"…","permit":0}"#
            }
        })
    }
}

/// A payload of the capture function.
#[derive(Debug)]
pub enum CaptureCall {
    /// A job from a schedule or an operator.
    Job(CaptureJob),
    /// Events that Salesforce relayed, from their queue.
    Relayed(SqsEvent),
}

impl CaptureCall {
    /// Parses the payload of an invocation.
    pub fn parse(payload: Value) -> Result<Self, PayloadError> {
        if payload.get("Records").is_none() {
            return CaptureJob::parse(payload).map(Self::Job);
        }
        serde_path_to_error::deserialize(payload)
            .map(Self::Relayed)
            .map_err(|error| PayloadError {
                // The error itself may quote a message.
                problem: format!(
                    "it is not a batch of messages of a queue: `{}` is not what it has there",
                    shortened(&error.path().to_string())
                ),
                expected: Expected::Capture,
            })
    }
}

/// A capture job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureJob {
    /// The side to capture.
    pub side: Side,
    /// The only tenant, or all of them.
    pub tenant: Option<TenantId>,
    /// How long to keep polling for new changes after everything is drained.
    pub keep_polling_seconds: u32,
}

/// A reconcile job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileJob {
    /// What to do.
    pub kind: ReconcileKind,
    /// The only tenant, or all of them.
    pub tenant: Option<TenantId>,
}

/// What reconcile does. Its text is the same in payloads, results and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ReconcileKind {
    /// Repairs what was lost or has expired.
    Sweep,
    /// Compares what changed lately.
    Incremental,
    /// Compares everything.
    Full,
    /// Brings the control plane's schema up to date.
    Migrate,
}

impl CaptureJob {
    /// Parses the payload of a schedule.
    pub fn parse(payload: Value) -> Result<Self, PayloadError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            side: Side,
            tenant: Option<TenantId>,
            #[serde(default)]
            keep_polling_seconds: u32,
        }
        let (job, rest) = split(payload, Expected::Capture)?;
        if job != "capture" {
            return Err(unknown_job(&job, Expected::Capture));
        }
        let fields: Fields = fields(rest, Expected::Capture)?;
        if fields.keep_polling_seconds > KEEP_POLLING_SECONDS_MAX {
            return Err(PayloadError {
                problem: format!("`keep_polling_seconds` is more than {KEEP_POLLING_SECONDS_MAX}"),
                expected: Expected::Capture,
            });
        }
        Ok(Self {
            side: fields.side,
            tenant: fields.tenant,
            keep_polling_seconds: fields.keep_polling_seconds,
        })
    }
}

impl ReconcileJob {
    /// Parses the payload of a schedule or of an operator.
    pub fn parse(payload: Value) -> Result<Self, PayloadError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            tenant: Option<TenantId>,
        }
        let (job, rest) = split(payload, Expected::Reconcile)?;
        let kind = job
            .parse()
            .map_err(|_| unknown_job(&job, Expected::Reconcile))?;
        let fields: Fields = fields(rest, Expected::Reconcile)?;
        Ok(Self {
            kind,
            tenant: fields.tenant,
        })
    }
}

/// Parses the body of a wake-up.
pub fn wake_up(body: &str) -> Result<WakeUp, PayloadError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        v: u8,
        tenant: TenantId,
        object: ObjectName,
        permit: i32,
    }
    let payload = serde_json::from_str(body).map_err(|error| PayloadError {
        problem: format!("it is not JSON ({error})"),
        expected: Expected::WakeUp,
    })?;
    let (job, rest) = split(payload, Expected::WakeUp)?;
    if job != "apply" {
        return Err(unknown_job(&job, Expected::WakeUp));
    }
    let fields: Fields = fields(rest, Expected::WakeUp)?;
    if fields.v != WAKE_UP_VERSION {
        return Err(PayloadError {
            problem: format!(
                "version {} is unknown to this function; deploy the functions together",
                fields.v
            ),
            expected: Expected::WakeUp,
        });
    }
    Ok(WakeUp::Apply {
        v: fields.v,
        tenant: fields.tenant,
        object: fields.object,
        permit: fields.permit,
    })
}

/// Separates the job's name, so that the rest can be parsed by its own strict type.
fn split(payload: Value, expected: Expected) -> Result<(String, Map<String, Value>), PayloadError> {
    let problem = |problem: &str| PayloadError {
        problem: problem.to_owned(),
        expected,
    };
    let Value::Object(mut fields) = payload else {
        return Err(problem("it is not a JSON object"));
    };
    match fields.remove("job") {
        Some(Value::String(job)) => Ok((job, fields)),
        Some(_) => Err(problem("`job` is not a text")),
        None if fields.contains_key("Records") => {
            Err(problem("it is a batch of messages of a queue or a stream"))
        }
        None => Err(problem("`job` is missing")),
    }
}

fn fields<T: DeserializeOwned>(
    rest: Map<String, Value>,
    expected: Expected,
) -> Result<T, PayloadError> {
    serde_json::from_value(Value::Object(rest)).map_err(|error| PayloadError {
        problem: shortened(&error.to_string()),
        expected,
    })
}

fn unknown_job(job: &str, expected: Expected) -> PayloadError {
    PayloadError {
        problem: format!("there is no job `{}` here", shortened(job).escape_debug()),
        expected,
    }
}

/// Most characters of a payload that an error repeats.
const REPEATED_MAX: usize = 200;

fn shortened(text: &str) -> String {
    text.chars().take(REPEATED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem<T: fmt::Debug>(parsed: Result<T, PayloadError>) -> String {
        parsed.expect_err("it must be refused").problem
    }

    #[test]
    fn capture_payload_has_side_tenant_and_polling() {
        let full = json!({"job": "capture", "side": "salesforce", "tenant": "acme", "keep_polling_seconds": 50});
        assert_eq!(
            CaptureJob::parse(full),
            Ok(CaptureJob {
                side: Side::Salesforce,
                tenant: TenantId::parse("acme").ok(),
                keep_polling_seconds: 50,
            })
        );
        assert_eq!(
            CaptureJob::parse(json!({"job": "capture", "side": "postgres"})),
            Ok(CaptureJob {
                side: Side::Postgres,
                tenant: None,
                keep_polling_seconds: 0,
            })
        );
    }

    #[test]
    fn invalid_capture_payload_is_refused_with_the_field() {
        let refused = |payload| problem(CaptureJob::parse(payload));
        let misspelt = json!({"job": "capture", "side": "postgres", "keep_poling": 50});
        assert!(refused(misspelt).contains("`keep_poling`"));
        assert!(refused(json!({"job": "capture"})).contains("`side`"));
        assert!(refused(json!({"side": "postgres"})).contains("`job`"));
        assert!(refused(json!({"job": "sweep"})).contains("`sweep`"));
        assert!(refused(json!({"job": 1})).contains("`job`"));
        assert!(refused(json!(["capture"])).contains("object"));
        assert!(refused(json!({"Records": []})).contains("batch of messages"));
        let tenant = json!({"job": "capture", "side": "postgres", "tenant": "ACME"});
        assert!(refused(tenant).contains("ACME"));
        let polling = json!({"job": "capture", "side": "postgres", "keep_polling_seconds": 901});
        assert!(refused(polling).contains("`keep_polling_seconds`"));
    }

    #[test]
    fn reconcile_jobs_parse_from_their_text() {
        for kind in [
            ReconcileKind::Sweep,
            ReconcileKind::Incremental,
            ReconcileKind::Full,
            ReconcileKind::Migrate,
        ] {
            let parsed = ReconcileJob::parse(json!({"job": <&str>::from(kind), "tenant": "acme"}));
            assert_eq!(parsed.map(|job| job.kind), Ok(kind));
        }
        assert!(problem(ReconcileJob::parse(json!({"job": "capture"}))).contains("`capture`"));
        let unknown = json!({"job": "sweep", "keep_polling_seconds": 5});
        assert!(problem(ReconcileJob::parse(unknown)).contains("`keep_polling_seconds`"));
    }

    #[test]
    fn refusal_of_a_batch_quotes_no_message() {
        for (batch, path) in [
            (json!({"Records": "Acme"}), "`Records`"),
            (
                json!({"Records": [{"body": "{}", "attributes": "Acme"}]}),
                "`Records[0].attributes`",
            ),
        ] {
            let refused = problem(CaptureCall::parse(batch));
            assert!(
                refused.contains(path) && !refused.contains("Acme"),
                "{refused}"
            );
        }
        let long = json!({"job": "x".repeat(5_000)});
        assert!(problem(ReconcileJob::parse(long)).len() < 300);
    }

    #[test]
    fn sent_wake_up_is_parsed() {
        let sent = WakeUp::Apply {
            v: 1,
            tenant: TenantId::parse("acme").unwrap(),
            object: ObjectName::parse("Account").unwrap(),
            permit: 3,
        };
        let body = serde_json::to_string(&sent).unwrap();
        assert_eq!(wake_up(&body), Ok(sent));
    }

    #[test]
    fn wake_up_of_another_version_is_refused() {
        let refused = |body: &str| problem(wake_up(body));
        assert!(refused("hello").contains("not JSON"));
        let newer = r#"{"v":2,"job":"apply","tenant":"acme","object":"Account","permit":0}"#;
        assert!(refused(newer).contains("version 2"));
        let more =
            r#"{"v":1,"job":"apply","tenant":"acme","object":"Account","permit":0,"record":"x"}"#;
        assert!(refused(more).contains("`record`"));
        let bulk = r#"{"v":1,"job":"bulk","bulk_job":"750x"}"#;
        assert!(refused(bulk).contains("`bulk`"));
    }
}
