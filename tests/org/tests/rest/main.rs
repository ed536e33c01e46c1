//! The REST surface, call by call, without sockets.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod access;
mod collections;
mod composite;
mod control;
mod declared;
mod events;
mod fixture;
mod functions;
mod login;
mod mutations;
mod persons;
mod platform;
mod prices;
mod properties;
mod protocol;
mod queries;
mod records;
mod replica;
mod replication;
mod validation;
