//! What to do about one record, and by which lane.
//!
//! Pure: no clock, no I/O, no randomness, and it cannot fail. The same inputs give the same plan in
//! a Lambda, in a simulation and in the browser. Start at [`record::plan_record`]; lanes are chosen
//! afterwards, for many plans at once, by [`route::route`]; what one sighting in Salesforce means
//! for a record is [`fold::absorb`]. [`merge`] and [`change`] are two-way façades;
//! [`facts`] are what a plan was made of, kept so that it can be made again.

pub mod change;
pub mod delete_guard;
pub mod facts;
mod field;
pub mod merge;
pub mod observation;
pub mod record;
pub mod retry;
pub mod route;
pub mod rule;
mod text;
