//! The whole of Syncline against a real Postgres, a real queue and a local Salesforce org.
//!
//! What stands here starts the parts, moves real records through them and compares both sides without
//! the engine's help. The demo and the end-to-end tests are its callers.

pub mod aws;
pub mod compare;
pub mod converge;
pub mod deployed;
pub mod in_process;
pub mod load;
pub mod mapping;
pub mod observe;
pub mod postgres;
pub mod records;
pub mod salesforce;
pub mod scripts;
pub mod world;
