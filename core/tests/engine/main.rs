//! The engine with the real store and the real Salesforce client, against the local org in this process.
//!
//! A test changes one side or both, drains all work, and compares both sides by reading them without the
//! engine. No test waits for real time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod activity;
mod bad_values;
mod both_sides;
mod cascades;
mod check_tables;
mod checking;
mod cleared_values;
mod column_types;
mod comparison;
mod compounds;
mod connections;
mod crashes;
mod delete_guard;
mod deleted_records;
mod describes;
mod edit_times;
mod faults;
mod fence;
mod filters;
mod first_contact;
mod generating;
mod generating_tables;
mod hostile_postgres;
mod hostile_rows;
mod hostile_salesforce;
mod identity;
mod late_events;
mod local_org;
mod logical_replica;
mod lookups;
mod mapping;
mod mass_edits;
mod missing_rows;
mod names;
mod new_fields;
mod one_side;
mod other_table;
mod outages;
mod over_the_network;
mod parameters;
mod partitions;
mod pausing;
mod planning;
mod policies;
mod polling;
mod proxy;
mod random;
mod reconcile;
mod relayed;
mod retries;
mod row_security;
mod running;
mod ssm_fence;
mod stage;
mod stored_values;
mod streams;
mod swapped_keys;
mod unreadable_records;
mod unseen_edits;
mod unseen_fields;
mod wake_ups;
mod which_database;
mod withheld;
