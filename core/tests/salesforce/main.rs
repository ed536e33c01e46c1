//! The Salesforce client against a local org, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod custom_objects;
mod events;
mod reads;
mod sessions;
mod stand;
mod writes;
