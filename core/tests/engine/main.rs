//! The engine over the real store and the real Salesforce client, against the local org in this process,
//! driven step by step until both sides are quiet.
//!
//! Nothing here waits for a clock: a test acts on one side or both, drains, and compares what an
//! onlooker reads on each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_values;
mod both_sides;
mod checking;
mod crashes;
mod delete_guard;
mod faults;
mod filters;
mod hostile_rows;
mod identity;
mod local_org;
mod mapping;
mod one_side;
mod over_the_network;
mod pausing;
mod policies;
mod polling;
mod reconcile;
mod relayed;
mod running;
mod stage;
mod streams;
mod wake_ups;
