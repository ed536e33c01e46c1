//! The names of `force-sync`, as a program uses them: only `syncline::force_sync` is imported for them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod applying;
mod planning;
mod running;
mod stand;
