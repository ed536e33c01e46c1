//! Third-party Salesforce clients, unchanged, against the local org.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod accounts;
mod force;
mod jsforce;
mod pubsub_api_client;
mod simple_salesforce;
mod tap_salesforce;
