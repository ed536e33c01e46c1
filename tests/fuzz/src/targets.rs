//! All targets.

mod events;
mod functions;
mod org;
mod planner;
mod rest;

use crate::Target;

/// All targets, those of the engine first.
pub const TARGETS: &[Target] = &[
    target("config", planner::config, 600),
    target("outbox", planner::outbox, 3_000),
    target("stored", planner::stored, 2_000),
    target("names", planner::names, 2_000),
    target("event", events::event, 2_000),
    target("event_schema", events::event_schema, 1_000),
    target("stream", events::stream, 2_000),
    target("relay", events::relay, 2_000),
    target("describe", rest::describe, 1_000),
    target("query", rest::query, 500),
    target("write", rest::write, 500),
    target("refusal", rest::refusal, 6_000),
    target("login", rest::login, 2_000),
    target("headers", rest::headers, 2_000),
    target("literal", rest::literal, 3_000),
    target("payload", functions::payload, 4_000),
    target("org_soql", org::soql, 80),
    target("org_bulk", org::bulk_csv, 60),
];

const fn target(name: &'static str, check: fn(&[u8]), mutations: u64) -> Target {
    Target {
        name,
        check,
        mutations,
    }
}
