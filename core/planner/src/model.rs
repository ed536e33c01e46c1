//! The terms of the engine as types: sides, ids, keys, values, changes, remote states.
//!
//! Pure: nothing here reads a clock, a socket or an environment.

pub mod canonical;
pub mod change;
pub mod column;
pub mod cursor;
pub mod edit_time;
pub mod fields;
pub mod generate;
pub mod hash;
pub mod ids;
pub mod intent;
pub mod key;
pub mod link;
pub mod observation;
pub mod schema;
pub mod type_table;
pub mod value;

pub use change::{ChangeEnvelope, ChangeOperation, Side};
pub use cursor::SourceCursor;
pub use key::SyncKey;
pub use link::SyncLink;
