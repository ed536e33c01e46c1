//! Change events, platform events, and how clients receive them.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod changes;
mod channels;
mod gaps;
mod managed;
mod publishing;
mod refusals;
mod relay;
mod schema;
mod stage;
mod subscribe;
mod subscriber;
mod tooling;
mod user_edits;
