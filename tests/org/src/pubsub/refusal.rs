//! Refusals of the Pub/Sub API: a gRPC status, a text with the rpc's name, and two trailers.
//!
//! Codes and texts are those of the Pub/Sub API guide, "Handle Errors". Where the guide gives no
//! gRPC status, a plausible one is used.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::model::log::StreamError;
use crate::unconfirmed::RPC_ID_TRAILER;

/// Start of every error code.
const CODE_ROOT: &str = "sfdc.platform.eventbus.grpc.";

/// A refusal that is not bound to an rpc yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: Code,
    code: &'static str,
    message: &'static str,
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code)
    }
}

impl<'de> Deserialize<'de> for Refusal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::by_code(&code).ok_or_else(|| D::Error::custom(format!("there is no code {code}")))
    }
}

const fn refusal(status: Code, code: &'static str, message: &'static str) -> Refusal {
    Refusal {
        status,
        code,
        message,
    }
}

const AUTH_MESSAGE: &str =
    "An authentication exception occurred. Provide valid authentication via metadata headers.";
const TOPIC_MESSAGE: &str = "An error occurred while getting the metadata for the topic. Ensure \
                             the credentials and topic name are correct.";
const UNAVAILABLE_MESSAGE: &str = "The service is unavailable. Try again later.";
const OVERLOAD_MESSAGE: &str = "The service is protecting itself. Try again later.";

pub(crate) const BAD_HEADERS: Refusal = refusal(
    Code::Unauthenticated,
    "service.auth.headers.invalid",
    AUTH_MESSAGE,
);
pub(crate) const BAD_TOKEN: Refusal =
    refusal(Code::Unauthenticated, "service.auth.error", AUTH_MESSAGE);
pub(crate) const BAD_REFRESH: Refusal = refusal(
    Code::Unauthenticated,
    "service.auth.refresh.invalid",
    AUTH_MESSAGE,
);
const SERVICE_UNAVAILABLE: Refusal = refusal(
    Code::Unavailable,
    "service.unavailable",
    UNAVAILABLE_MESSAGE,
);
const PROTECTION: Refusal = refusal(
    Code::ResourceExhausted,
    "service.protection.triggered",
    OVERLOAD_MESSAGE,
);
const STREAM_PROTECTION: Refusal = refusal(
    Code::ResourceExhausted,
    "service.protection.stream.limit.triggered",
    OVERLOAD_MESSAGE,
);
pub(crate) const TOO_MANY_CLIENTS: Refusal = refusal(
    Code::ResourceExhausted,
    "concurrent.client.limit.exceeded",
    "The number of concurrent clients is exceeded.",
);
const TENANT_LICENSE: Refusal = refusal(
    Code::PermissionDenied,
    "service.tenant.license",
    "The org has no license for the service.",
);
const TOPIC_NOT_FOUND: Refusal = refusal(Code::NotFound, "topic.not.found", TOPIC_MESSAGE);
pub(crate) const EMPTY_TOPIC: Refusal = refusal(
    Code::InvalidArgument,
    "topic.validation.empty",
    "The topic name is empty. Provide a topic name.",
);
pub(crate) const TOPIC_PERMISSION: Refusal = refusal(
    Code::PermissionDenied,
    "topic.meta.permission",
    TOPIC_MESSAGE,
);
const TOPIC_UNAVAILABLE: Refusal =
    refusal(Code::Unavailable, "topic.api.unavailable", TOPIC_MESSAGE);
const CANNOT_SUBSCRIBE: Refusal = refusal(
    Code::PermissionDenied,
    "subscription.topic.cannot.subscribe",
    "The user cannot subscribe to the topic.",
);
pub(crate) const UNKNOWN_SCHEMA: Refusal = refusal(
    Code::InvalidArgument,
    "schema.validation.failed",
    "The schema ID is not valid.",
);
const SCHEMA_PERMISSION: Refusal = refusal(
    Code::PermissionDenied,
    "schema.meta.permission",
    "The user cannot see the schema.",
);
const SCHEMA_UNAVAILABLE: Refusal = refusal(
    Code::Unavailable,
    "schema.api.unavailable",
    UNAVAILABLE_MESSAGE,
);
const REPLAY_CORRUPTED: Refusal = refusal(
    Code::InvalidArgument,
    "subscription.fetch.replayid.corrupted",
    "The Replay ID is corrupted. Ensure it is within the retention window.",
);
const REPLAY_INVALID: Refusal = refusal(
    Code::InvalidArgument,
    "subscription.fetch.replayid.validation.failed",
    "The Replay ID validation failed. Ensure that the Replay ID is valid.",
);
pub(crate) const REPLAY_REPEATED: Refusal = refusal(
    Code::InvalidArgument,
    "subscription.fetch.replay.repeated",
    "Only the first FetchRequest of a subscription carries a Replay ID.",
);
pub(crate) const TOPIC_MISMATCH: Refusal = refusal(
    Code::InvalidArgument,
    "subscription.fetch.topic.mismatch",
    "The topic of a FetchRequest differs from the topic of the subscription.",
);
pub(crate) const NO_REQUEST: Refusal = refusal(
    Code::InvalidArgument,
    "subscription.fetch.request.invalid",
    "The subscription ended before its first FetchRequest.",
);
pub(crate) const IDLE: Refusal = refusal(
    Code::DeadlineExceeded,
    "subscription.fetch.request.invalid",
    "No FetchRequest arrived in time.",
);
pub(crate) const BAD_REQUEST_COUNT: Refusal = refusal(
    Code::InvalidArgument,
    "subscription.fetch.requested.events.invalid",
    "The number of requested events must be greater than zero.",
);
const FETCH_OVERFLOW: Refusal = refusal(
    Code::InvalidArgument,
    "subscription.fetch.overflow",
    "Too many FetchRequests are waiting.",
);
pub(crate) const DELIVERIES_SPENT: Refusal = refusal(
    Code::ResourceExhausted,
    "subscription.limit.exceeded",
    "You have exceeded the event delivery limit for your org.",
);
const SUBSCRIPTION_INTERNAL: Refusal = refusal(
    Code::Internal,
    "subscription.internal.error",
    "An internal error occurred. Try again later.",
);
pub(crate) const PUBLISH_IDLE: Refusal = refusal(
    Code::DeadlineExceeded,
    "publish.stream.sweeper.timeout",
    "No PublishRequest arrived in time.",
);
pub(crate) const PUBLISH_COUNT: Refusal = refusal(
    Code::InvalidArgument,
    "publish.event.count.invalid",
    "A PublishRequest carries 1 to 200 events.",
);
pub(crate) const PUBLISH_MISMATCH: Refusal = refusal(
    Code::InvalidArgument,
    "publish.topic.mismatch",
    "The topic of a PublishRequest differs from the topic of the stream.",
);
pub(crate) const PUBLISH_EMPTY_TOPIC: Refusal = refusal(
    Code::InvalidArgument,
    "publish.topic.validation.empty",
    "The topic name is empty. Provide a topic name.",
);
pub(crate) const PUBLISH_REFRESH: Refusal = refusal(
    Code::Unauthenticated,
    "publish.auth.refresh.invalid",
    AUTH_MESSAGE,
);
pub(crate) const MANAGED_ACTIVE: Refusal = refusal(
    Code::FailedPrecondition,
    "managed.subscription.already.active",
    "Another client uses the managed subscription.",
);
pub(crate) const MANAGED_STOPPED: Refusal = refusal(
    Code::FailedPrecondition,
    "managed.subscription.config.stopped",
    "The managed subscription is stopped.",
);
pub(crate) const MANAGED_DELETED: Refusal = refusal(
    Code::FailedPrecondition,
    "managed.subscription.config.deleted",
    "The managed subscription was deleted.",
);
pub(crate) const MANAGED_NAME_NOT_FOUND: Refusal = refusal(
    Code::NotFound,
    "managed.subscription.developer.name.not.found",
    "No managed subscription has the developer name.",
);
pub(crate) const MANAGED_ID_NOT_FOUND: Refusal = refusal(
    Code::NotFound,
    "managed.subscription.subscription.id.not.found",
    "No managed subscription has the ID.",
);
pub(crate) const MANAGED_ID_INVALID: Refusal = refusal(
    Code::InvalidArgument,
    "managed.subscription.subscription.id.invalid",
    "The ID is not one of a managed subscription.",
);
pub(crate) const MANAGED_UNNAMED: Refusal = refusal(
    Code::InvalidArgument,
    "managed.subscription.id.or.developer.name.empty",
    "Provide the ID or the developer name of a managed subscription.",
);
pub(crate) const MANAGED_COUNT: Refusal = refusal(
    Code::InvalidArgument,
    "managed.subscription.fetch.request.events.invalid",
    "The number of requested events must be greater than zero.",
);
pub(crate) const MANAGED_REQUEST: Refusal = refusal(
    Code::InvalidArgument,
    "managed.subscription.fetch.request.invalid",
    "The ManagedFetchRequest is not valid.",
);
pub(crate) const MANAGED_COMMIT_FIRST: Refusal = refusal(
    Code::InvalidArgument,
    "managed.subscription.fetch.request.commit.request.restricted",
    "The first ManagedFetchRequest cannot carry a commit.",
);
const MANAGED_AUTH_FIRST: Refusal = refusal(
    Code::InvalidArgument,
    "managed.subscription.fetch.request.auth.request.restricted",
    "The first ManagedFetchRequest cannot carry new credentials.",
);

/// Every refusal with a code of its own, which tests can plan by code.
const ALL: [Refusal; 41] = [
    BAD_HEADERS,
    BAD_TOKEN,
    BAD_REFRESH,
    SERVICE_UNAVAILABLE,
    PROTECTION,
    STREAM_PROTECTION,
    TOO_MANY_CLIENTS,
    TENANT_LICENSE,
    TOPIC_NOT_FOUND,
    EMPTY_TOPIC,
    TOPIC_PERMISSION,
    TOPIC_UNAVAILABLE,
    CANNOT_SUBSCRIBE,
    UNKNOWN_SCHEMA,
    SCHEMA_PERMISSION,
    SCHEMA_UNAVAILABLE,
    REPLAY_CORRUPTED,
    REPLAY_INVALID,
    REPLAY_REPEATED,
    TOPIC_MISMATCH,
    NO_REQUEST,
    BAD_REQUEST_COUNT,
    FETCH_OVERFLOW,
    DELIVERIES_SPENT,
    SUBSCRIPTION_INTERNAL,
    PUBLISH_IDLE,
    PUBLISH_COUNT,
    PUBLISH_MISMATCH,
    PUBLISH_EMPTY_TOPIC,
    PUBLISH_REFRESH,
    MANAGED_ACTIVE,
    MANAGED_STOPPED,
    MANAGED_DELETED,
    MANAGED_NAME_NOT_FOUND,
    MANAGED_ID_NOT_FOUND,
    MANAGED_ID_INVALID,
    MANAGED_UNNAMED,
    MANAGED_COUNT,
    MANAGED_REQUEST,
    MANAGED_COMMIT_FIRST,
    MANAGED_AUTH_FIRST,
];

impl From<StreamError> for Refusal {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TopicNotFound => TOPIC_NOT_FOUND,
            StreamError::NotAllowed => CANNOT_SUBSCRIBE,
            StreamError::ReplayIdCorrupted => REPLAY_CORRUPTED,
            StreamError::ReplayIdInvalid => REPLAY_INVALID,
        }
    }
}

impl Refusal {
    /// Returns the refusal with that code, given without the common root.
    pub(crate) fn by_code(code: &str) -> Option<Self> {
        let code = code.strip_prefix(CODE_ROOT).unwrap_or(code);
        ALL.into_iter().find(|refusal| refusal.code == code)
    }

    /// Returns the text for a refusal without a status, such as one commit of a stream.
    pub(crate) fn message(self) -> &'static str {
        self.message
    }

    /// Returns the gRPC status.
    pub(crate) fn status(self, rpc_id: Uuid) -> Status {
        let mut trailers = MetadataMap::new();
        let code = format!("{CODE_ROOT}{}", self.code);
        trailers.insert("error-code", code.parse().expect("error codes are ASCII"));
        let id = rpc_id.to_string();
        trailers.insert(RPC_ID_TRAILER, id.parse().expect("a UUID is ASCII"));
        Status::with_metadata(
            self.status,
            format!("{} rpcId: {rpc_id}", self.message),
            trailers,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Refusal};

    #[test]
    fn codes_are_unique() {
        for refusal in ALL {
            assert_eq!(Refusal::by_code(refusal.code), Some(refusal));
        }
        assert_eq!(Refusal::by_code("no.such.code"), None);
    }
}
