//! The Pub/Sub API: its messages and its server.

pub(crate) mod bus;
pub(crate) mod managed;
mod publishing;
pub(crate) mod refusal;
pub(crate) mod rpc;
mod subscription;

pub(crate) use subscription::KeepAlive;

/// Messages, client and server of `eventbus.v1`, generated from `proto/pubsub.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    clippy::str_to_string
)]
pub mod proto {
    tonic::include_proto!("eventbus.v1");
}
