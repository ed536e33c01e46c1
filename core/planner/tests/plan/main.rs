//! What a plan promises, by example and over a small world of all states.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod after_delete;
mod edit_times;
mod exchanged;
mod facades;
mod filtered_out;
mod fixture;
mod identity;
mod identity_observations;
mod lanes;
mod observation;
mod observation_orders;
mod overwritten_world;
mod records;
mod small_world;
mod story;
