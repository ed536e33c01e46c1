//! Refusals of the Pub/Sub API: a gRPC status, a text that names the rpc, and two trailers.

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::model::log::StreamError;
use crate::unconfirmed::RPC_ID_TRAILER;

/// Start of every error code.
const CODE_ROOT: &str = "sfdc.platform.eventbus.grpc.";

/// A refusal before it knows its rpc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: Code,
    code: &'static str,
    message: &'static str,
}

pub(crate) const BAD_HEADERS: Refusal = Refusal {
    status: Code::Unauthenticated,
    code: "service.auth.headers.invalid",
    message: AUTH_MESSAGE,
};

pub(crate) const BAD_TOKEN: Refusal = Refusal {
    status: Code::Unauthenticated,
    code: "service.auth.error",
    message: AUTH_MESSAGE,
};

const AUTH_MESSAGE: &str =
    "An authentication exception occurred. Provide valid authentication via metadata headers.";

pub(crate) const EMPTY_TOPIC: Refusal = Refusal {
    status: Code::InvalidArgument,
    code: "topic.validation.empty",
    message: "The topic name is empty. Provide a topic name.",
};

pub(crate) const UNKNOWN_SCHEMA: Refusal = Refusal {
    status: Code::InvalidArgument,
    code: "schema.validation.failed",
    message: "The schema ID is not valid.",
};

pub(crate) const TOPIC_MISMATCH: Refusal = Refusal {
    status: Code::InvalidArgument,
    code: "subscription.fetch.topic.mismatch",
    message: "The topic of a FetchRequest differs from the topic of the subscription.",
};

pub(crate) const BAD_REQUEST_COUNT: Refusal = Refusal {
    status: Code::InvalidArgument,
    code: "subscription.fetch.requested.events.invalid",
    message: "The number of requested events must be greater than zero.",
};

pub(crate) const NO_REQUEST: Refusal = Refusal {
    status: Code::InvalidArgument,
    code: "subscription.fetch.request.invalid",
    message: "The subscription ended before its first FetchRequest.",
};

pub(crate) const IDLE: Refusal = Refusal {
    status: Code::DeadlineExceeded,
    code: "subscription.fetch.request.invalid",
    message: "No FetchRequest arrived in time.",
};

impl From<StreamError> for Refusal {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TopicNotFound => Self {
                status: Code::NotFound,
                code: "topic.not.found",
                message: "An error occurred while getting the metadata for the topic. Ensure the \
                          credentials and topic name are correct.",
            },
            StreamError::ReplayIdCorrupted => Self {
                status: Code::InvalidArgument,
                code: "subscription.fetch.replayid.corrupted",
                message: "The Replay ID is corrupted. Ensure it is within the retention window.",
            },
            StreamError::ReplayIdInvalid => Self {
                status: Code::InvalidArgument,
                code: "subscription.fetch.replayid.validation.failed",
                message: "The Replay ID validation failed. Ensure that the Replay ID is valid.",
            },
        }
    }
}

impl Refusal {
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
