//! The Salesforce client against a local org, over real sockets, and against answers that no org should give.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod answers;
mod custom_objects;
mod events;
mod reads;
mod sessions;
mod stand;
mod writes;
