//! The API of `force-sync`, used as a program uses it, from `syncline::force_sync` alone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod applying;
mod planning;
mod running;
mod stand;
