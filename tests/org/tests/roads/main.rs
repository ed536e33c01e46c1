//! Behaviour that is the same whatever road a write or read takes: single records, composite,
//! collections, both bulk APIs, queries, events.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod automation;
mod lookups;
mod permissions;
mod restored;
mod road;
mod values;
