//! Tests of reading change events.

use super::*;
use values::Datum;

#[path = "../../../planner/tests/paths/values.rs"]
mod values;

use crate::salesforce::avro::fixtures::{EventFixture, SCHEMA, event, update};
use crate::salesforce::fixture::{MONEY, TEXT, line_of, mapped, object};

const KIM: &str = "005D0000001LjdWIAS";
const EMPTY: EventFixture<'_> = EventFixture {
    nulled: &[],
    diff: &[],
    changed: &[],
    body: &[],
};

/// Account with these fields mapped; Type is the external id.
fn filter(fields: &[&str], changes: Changes) -> EventFilter {
    let account = object(
        "Account",
        "001",
        &[
            ("Type", TEXT),
            ("Name", TEXT),
            ("BillingCity", TEXT),
            ("BillingStreet", TEXT),
            ("AnnualRevenue", MONEY),
            ("Formula__c", TEXT),
            ("LastModifiedDate", FieldType::DateTime),
        ],
    );
    let (schema, interest) = mapped(account, fields, changes);
    let mut filter = EventFilter::default();
    filter.add(schema, &interest).unwrap();
    filter
}

fn reading(mapped: &[&str], event: &Event) -> EventReading {
    reading_of(mapped, Changes::OfFields, event)
}

fn reading_of(mapped: &[&str], changes: Changes, event: &Event) -> EventReading {
    let ourselves = Ourselves {
        origin_suffix: ";client=syncline".to_owned(),
        user_id: SalesforceId::parse("0055g00000Xy2zZAAR").unwrap(),
    };
    let position = EventPosition {
        replay_id: &[0, 1],
        ordinal: 0,
    };
    let schema = EventSchema::parse(SCHEMA).unwrap();
    filter(mapped, changes).read(&schema, event, &position, &ourselves)
}

/// Returns the event's first observation as a line: the kind, then the fields.
fn line(mapped: &[&str], event: &Event) -> String {
    match reading(mapped, event) {
        EventReading::Observed(observations) => line_of(&observations[0]),
        EventReading::NeedsResync(object) => format!("needs resync {object}"),
        EventReading::OutOfScope => "out of scope".to_owned(),
    }
}

fn some(value: Avro) -> Avro {
    Avro::Union(1, Box::new(value))
}

fn text(text: &str) -> Avro {
    some(Avro::String(text.to_owned()))
}

fn address(street: Avro, city: Avro) -> Avro {
    some(Avro::Record(vec![
        ("Street".to_owned(), street),
        ("City".to_owned(), city),
        ("Latitude".to_owned(), Avro::Null),
    ]))
}

#[test]
fn update_has_only_the_fields_in_its_bitmaps() {
    let schema = EventSchema::parse(SCHEMA).unwrap();
    let golden = schema.decode(&update()).unwrap();
    let mapped = [
        "Name",
        "Type",
        "BillingCity",
        "BillingStreet",
        "AnnualRevenue",
    ];
    assert_eq!(
        line(&mapped, &golden),
        r#"Changed AnnualRevenue=5.5 BillingCity="Lyon" Type=null"#
    );
}

#[test]
fn update_has_record_timestamp_and_commit_number() {
    let schema = EventSchema::parse(SCHEMA).unwrap();
    let golden = schema.decode(&update()).unwrap();
    let EventReading::Observed(observations) = reading(&["Type"], &golden) else {
        panic!("it is about a mapped field");
    };
    let version = observations[0].version;
    assert_eq!(version.modified_ms, Some(1_700_000_000_000));
    assert_eq!(version.commit_number, Some(golden.header.commit_number));
}

#[test]
fn update_of_unmapped_fields_is_out_of_scope() {
    let content = EventFixture {
        changed: &["0x40"],
        ..EMPTY
    };
    let event = event(ChangeType::Update, &content);
    assert_eq!(line(&["Name", "BillingCity"], &event), "out of scope");
}

#[test]
fn update_of_unmapped_fields_is_observed_if_all_changes_count() {
    let content = EventFixture {
        changed: &["0x40"],
        ..EMPTY
    };
    let event = event(ChangeType::Update, &content);
    let EventReading::Observed(observations) = reading_of(&["Name"], Changes::All, &event) else {
        panic!("any change may bring the record into the filter");
    };
    assert_eq!(observations[0].kind, ObservationKind::Changed);
    assert!(observations[0].fields.is_empty());
}

#[test]
fn create_has_every_mapped_field() {
    let content = EventFixture {
        body: &[
            ("Name", text(" Acme ")),
            ("Type", text("a-1")),
            ("BillingAddress", address(Avro::Null, text("Lyon"))),
        ],
        ..EMPTY
    };
    let mapped = [
        "Name",
        "Type",
        "BillingCity",
        "BillingStreet",
        "AnnualRevenue",
    ];
    let event = event(ChangeType::Create, &content);
    assert_eq!(
        line(&mapped, &event),
        r#"Created AnnualRevenue=null BillingCity="Lyon" BillingStreet=null Name="Acme" Type="a-1""#
    );
    let EventReading::Observed(observations) = reading(&mapped, &event) else {
        panic!("it is about mapped fields");
    };
    assert_eq!(observations[0].external_id.as_deref(), Some("a-1"));
}

#[test]
fn ambiguous_update_is_a_gap() {
    let gap = |mapped: &[&str], content: &EventFixture<'_>, why: &str| {
        let event = event(ChangeType::Update, content);
        assert_eq!(line(mapped, &event), "Gap ", "{why}");
    };
    let changed = |changed| EventFixture { changed, ..EMPTY };
    gap(
        &["Type"],
        &changed(&["0x04"]),
        "changed, not nulled, no value",
    );
    gap(&["Type"], &changed(&["0xZZ"]), "a malformed bitmap");
    gap(
        &["BillingCity"],
        &changed(&["0x08"]),
        "a compound changed, the part is unknown",
    );
    gap(
        &["Formula__c"],
        &changed(&["0x40"]),
        "a formula may have changed and is not carried",
    );
    let content = EventFixture {
        diff: &["0x04"],
        changed: &["0x04"],
        body: &[("Type", text("--- \n+++ "))],
        ..EMPTY
    };
    gap(&["Type"], &content, "a diff");
    let wrong_type = EventFixture {
        changed: &["0x20"],
        body: &[("AnnualRevenue", text("many"))],
        ..EMPTY
    };
    gap(&["AnnualRevenue"], &wrong_type, "text in a number");
    let person = EventFixture {
        changed: &["0x02"],
        body: &[("Name", Avro::Union(2, Box::new(Avro::Record(vec![]))))],
        ..EMPTY
    };
    gap(&["Name"], &person, "a name in parts, mapped as a whole");
}

#[test]
fn number_is_the_shortest_decimal_of_its_double() {
    for (double, expected) in [
        (0.1, "Changed AnnualRevenue=0.1"),
        (0.1 + 0.2, "Changed AnnualRevenue=0.30000000000000004"),
        (1e12, "Changed AnnualRevenue=1000000000000"),
        (
            1_234_567_890_123.45,
            "Changed AnnualRevenue=1234567890123.45",
        ),
        (1e17, "Changed AnnualRevenue=100000000000000000"),
        (f64::NAN, "Gap "),
    ] {
        let body = [("AnnualRevenue", some(Avro::Double(double)))];
        let content = EventFixture {
            changed: &["0x20"],
            body: &body,
            ..EMPTY
        };
        let event = event(ChangeType::Update, &content);
        assert_eq!(line(&["AnnualRevenue"], &event), expected, "{double}");
    }
}

#[test]
fn nulled_compound_part_is_cleared_whatever_the_body_has() {
    for body in [
        vec![],
        vec![("BillingAddress", address(Avro::Null, Avro::Null))],
    ] {
        let content = EventFixture {
            nulled: &["3-0x02"],
            changed: &["0x40", "3-0x02"],
            body: &body,
            ..EMPTY
        };
        let event = event(ChangeType::Update, &content);
        let mapped = ["BillingCity", "BillingStreet"];
        assert_eq!(line(&mapped, &event), "Changed BillingCity=null");
    }
}

#[test]
fn delete_has_no_fields_and_the_commit_timestamp() {
    let event = event(ChangeType::Delete, &EMPTY);
    let EventReading::Observed(observations) = reading(&["Name"], &event) else {
        panic!("it is about a mapped object");
    };
    assert_eq!(observations[0].kind, ObservationKind::Deleted);
    assert_eq!(observations[0].version.modified_ms, Some(1_700_000_001_000));
    assert!(!observations[0].ours);
}

#[test]
fn each_record_of_an_event_is_one_observation() {
    let mut event = event(ChangeType::Gap, &EMPTY);
    event
        .header
        .record_ids
        .push("0015f00002J9YYEAA3".to_owned());
    let EventReading::Observed(observations) = reading(&["Name"], &event) else {
        panic!("it is about a mapped object");
    };
    let seen: Vec<(i32, &str)> = observations
        .iter()
        .map(|one| (one.ordinal, one.salesforce_id.as_str()))
        .collect();
    assert_eq!(seen, [(0, "001D000000IqhSLIAZ"), (1, "0015f00002J9YYEAA3")]);
}

#[test]
fn unnamed_records_make_the_object_need_a_resync() {
    for ids in [
        &["001*"][..],
        &["000000000000000AAA"],
        &[],
        &["001D000000IqhSLIAZ", "001*"],
    ] {
        let mut event = event(ChangeType::Update, &EMPTY);
        event.header.record_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(line(&["Name"], &event), "needs resync Account", "{ids:?}");
    }
    let overflow = event(ChangeType::GapOverflow, &EMPTY);
    assert_eq!(line(&["Name"], &overflow), "needs resync Account");
}

#[test]
fn unmapped_object_is_out_of_scope() {
    let mut event = event(ChangeType::Create, &EMPTY);
    event.header.entity_name = "Lead".to_owned();
    assert_eq!(line(&["Name"], &event), "out of scope");
}

#[test]
fn our_changes_are_recognised_by_tag_or_user() {
    for (origin, user, ours) in [
        ("com/salesforce/api/rest/68.0;client=syncline", KIM, true),
        ("com/salesforce/api/rest/68.0", "0055g00000Xy2zZ", true),
        ("com/salesforce/api/rest/68.0;client=syncline2", KIM, false),
        ("", "", false),
    ] {
        let mut event = event(ChangeType::Delete, &EMPTY);
        event.header.change_origin = origin.to_owned();
        event.header.commit_user = user.to_owned();
        let EventReading::Observed(observations) = reading(&["Name"], &event) else {
            panic!("it is about a mapped object");
        };
        assert_eq!(observations[0].ours, ours, "{origin} {user}");
    }
}

#[test]
fn an_event_gives_the_canonical_values_of_the_type_table() {
    for case in values::cases() {
        let expected = Value::from_json(&case.canonical);
        for datum in &case.events {
            let avro = match *datum {
                Datum::Null => Avro::Null,
                Datum::Boolean(boolean) => Avro::Boolean(boolean),
                Datum::Int(int) => Avro::Int(int),
                Datum::Long(long) => Avro::Long(long),
                Datum::Double(double) => Avro::Double(double),
                Datum::Text(text) => Avro::String(text.to_owned()),
            };
            let read = canonical_value(&case.field, &avro);
            assert_eq!(read, expected, "{:?} {datum:?}", case.field);
        }
    }
}
