//! What a plan promises, by example and over a small world of all states.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod absorbing;
mod after_delete;
mod batches;
mod edit_times;
mod exchanged;
mod facades;
mod facts;
mod filtered_out;
mod fixture;
mod freshness;
mod identity;
mod identity_observations;
mod lanes;
mod observation;
mod observation_orders;
mod overwritten_world;
mod reasons;
mod records;
mod small_world;
mod story;
