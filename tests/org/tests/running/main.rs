//! The running org: transport, faults, and state that outlives a process.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod contention;
mod faults;
mod frames;
mod program;
mod readme;
mod restored;
mod seed;
mod stand;
mod state;
mod stream_faults;
mod transport;
