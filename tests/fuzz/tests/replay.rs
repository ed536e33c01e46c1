//! Every committed input, and mutations of them: the same ones each time, on the ordinary compiler.

use std::collections::BTreeSet;

use syncline_fuzz::{TARGETS, target};

/// A test for each target.
macro_rules! replayed {
    ($($name:ident: $target:literal,)+) => {
        const REPLAYED: &[&str] = &[$($target),+];
        $(
            #[test]
            fn $name() {
                target($target).expect("it is a target").replay();
            }
        )+
    };
}

replayed! {
    configuration_is_read_or_its_mistakes_are_named: "config",
    outbox_row_is_valid_or_refused: "outbox",
    stored_state_is_read_as_it_was_written: "stored",
    names_and_numbers_have_one_form: "names",
    part_of_an_event_is_no_event: "event",
    any_event_schema_is_read_or_refused: "event_schema",
    any_stream_has_positions_that_can_be_stored: "stream",
    relayed_event_is_observed_as_it_stands: "relay",
    describe_is_a_schema_or_an_error: "describe",
    query_loses_no_record: "query",
    write_is_applied_to_its_own_record: "write",
    refusal_has_a_code_and_quotes_nothing: "refusal",
    login_is_a_session_with_tls_or_an_error: "login",
    any_header_is_understood_or_ignored: "headers",
    literal_ends_where_we_end_it: "literal",
    payload_is_read_or_refused: "payload",
    org_answers_any_soql: "org_soql",
    org_ends_any_bulk_job: "org_bulk",
}

#[test]
fn every_target_is_replayed() {
    let known: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(known, REPLAYED.iter().copied().collect());
}
