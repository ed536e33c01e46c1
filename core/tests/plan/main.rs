//! What a plan promises, by example and over a small world of all states.

mod facades;
mod fixture;
mod fold;
mod lanes;
mod outside;
mod records;
mod small_world;
