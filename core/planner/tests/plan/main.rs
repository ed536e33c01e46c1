//! What a plan promises, by example and over a small world of all states.

mod facades;
mod filtered_out;
mod fixture;
mod lanes;
mod observation;
mod records;
mod small_world;
