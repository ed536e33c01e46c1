//! The engine over the real store and the local org's model, driven step by step until both are quiet.
//!
//! Nothing here waits for a clock: a test acts on one side or both, drains, and compares what an
//! onlooker reads on each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_values;
mod both_sides;
mod checking;
mod crashes;
mod delete_guard;
mod failing;
mod faults;
mod filters;
mod identity;
mod local_org;
mod mapping;
mod model_salesforce;
mod one_side;
mod over_the_network;
mod policies;
mod polling;
mod reconcile;
mod relayed;
mod running;
mod stage;
mod streams;
mod wake_ups;
