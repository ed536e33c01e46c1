//! The engine over its ports: one method per job, called by the functions and the command line.

pub mod ports;
