//! A simulator of Syncline.
//!
//! One seed decides a world: its tables, policies, users, processes, faults, and the order in which everything happens.
//! The store is a real Postgres, the client of Salesforce is the real one, and the org is the local one without
//! sockets. Only one process moves at a time: from one call or statement to its next. So the same seed ends the same
//! way, and a failing one can be made short and played again.
//!
//! `scripts/sim` searches; the test `worlds` plays a fixed set.

mod clock;
mod faults;
mod gate;
mod leases;
mod met;
mod operator;
mod oracle;
pub mod planted;
mod process;
mod rest;
mod run;
mod script;
mod shapes;
mod shrink;
mod transport;
mod users;
mod wire;

pub use gate::Fate;
pub use met::everything_to_meet;
pub use oracle::Finding;
pub use run::{Verdict, play};
pub use script::{
    Act, FaultKind, JobName, Mistake, Operation, OrgFault, Script, Side, Step, World,
};
pub use shapes::{Names, OnDelete, Refusal, Schema, Second};
pub use shrink::shrink;
