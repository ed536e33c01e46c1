//! Third-party Salesforce clients, unchanged, against the local org.
//!
//! Tests marked `ignore` need a client that takes minutes to install: `make clients` runs them.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod accounts;
mod aiosalesforce;
mod cumulusci;
mod django_salesforce;
mod dlt;
mod force;
mod jsforce;
mod pubsub_api_client;
mod pubsub_python;
mod salesforce_cli;
mod simple_salesforce;
mod tap_salesforce;
