//! Properties of the model, over random content.

use proptest::prelude::{
    Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::{Value as Json, json};
use syncline_planner::config::ObjectSync;
use syncline_planner::model::canonical::{
    ValueError, from_csv, from_postgres, from_salesforce_json, to_postgres_json,
};
use syncline_planner::model::hash::{canonical_hash, canonical_json, payload_hash};
use syncline_planner::model::ids::FieldName;
use syncline_planner::model::key::KeyForm;
use syncline_planner::model::observation::{Version, VersionOrder};
use syncline_planner::model::schema::FieldType;
use syncline_planner::model::value::{Payload, Value};
use syncline_planner::{MergeOutcome, Side, SourceCursor, merge_payload};

fn field_type() -> impl Strategy<Value = FieldType> {
    prop_oneof![
        Just(FieldType::Text { length: 0 }),
        Just(FieldType::MultiPicklist),
        Just(FieldType::Boolean),
        Just(FieldType::Integer),
        Just(FieldType::Decimal {
            precision: 18,
            scale: 4
        }),
        Just(FieldType::Date),
        Just(FieldType::DateTime),
        Just(FieldType::Time),
        Just(FieldType::Id),
    ]
}

/// Raw content of any lane, often right for some type, often not.
fn raw() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ ]{0,2}[a-c;]{0,6}[ ]{0,2}",
        "-?[0-9]{1,14}(\\.[0-9]{1,5})?(E[0-9])?",
        "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]",
        "20[0-9]{2}-0[1-9]-[0-2][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|\\+0000|[+-][01][0-9]:[0-5]0)?",
        "[0-2][0-9]:[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,6})?)?Z?",
        "true|false|t|f|1|0",
        "00[13][0-9A-Za-z]{12}",
    ]
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-e]", inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn payload() -> impl Strategy<Value = Json> {
    let value = prop_oneof![Just(json!(null)), Just(json!("a")), Just(json!("b"))];
    prop::collection::btree_map("[A-D]", value, 0..4)
        .prop_map(|members| Json::Object(members.into_iter().collect()))
}

fn object() -> ObjectSync {
    serde_json::from_value(json!({
        "object": "Account",
        "table": {"schema": "public", "table": "account"},
        "external_id": {"field": "Key__c", "column": "key"},
        "fields": {
            "A": {"column": "a"},
            "B": {"column": "b", "owner": "salesforce"},
            "C": {"column": "c", "owner": "postgres"},
        },
    }))
    .expect("rules of an object")
}

/// Returns the value that Postgres gives, or `None` if the field has no room for it.
fn with_room(read: Result<Value, ValueError>) -> Option<Result<Value, ValueError>> {
    match read {
        Err(
            ValueError::TooLong { .. }
            | ValueError::NotWhole { .. }
            | ValueError::BeyondInteger
            | ValueError::TooManyWholeDigits { .. }
            | ValueError::OutOfRange,
        ) => None,
        read => Some(read),
    }
}

proptest! {
    #[test]
    fn canonical_values_read_back_unchanged_by_every_path(field in field_type(), raw in raw()) {
        let Ok(value) = from_salesforce_json(&field, &json!(raw)) else { return Ok(()) };
        prop_assert_eq!(from_salesforce_json(&field, &value.to_json()), Ok(value.clone()));
        if let Some(row) = with_room(from_postgres(&field, &to_postgres_json(&field, &value))) {
            prop_assert_eq!(row, Ok(value.clone()));
        }
        let cell = match value.to_json() {
            Json::Null => String::new(),
            Json::String(text) => text,
            other => other.to_string(),
        };
        prop_assert_eq!(from_csv(&field, &cell), Ok(value.clone()));
    }

    #[test]
    fn equal_content_has_equal_hashes_by_every_path(field in field_type(), raw in raw()) {
        let hash = |value: Value| payload_hash(&Payload::from([(FieldName::parse("F").expect("a field"), value)]));
        let by_rest = from_salesforce_json(&field, &json!(raw)).map(hash);
        prop_assert_eq!(from_csv(&field, &raw).map(hash), by_rest.clone());
        if let Some(row) = with_room(from_postgres(&field, &json!(raw))) {
            prop_assert_eq!(row.map(hash), by_rest);
        }
    }

    #[test]
    fn a_hash_depends_on_content_not_spelling(json in json_value()) {
        let spelled = canonical_json(&json);
        let again: Json = serde_json::from_str(&spelled).expect("canonical JSON is JSON");
        prop_assert_eq!(canonical_json(&again), spelled);
        prop_assert_eq!(canonical_hash(&again), canonical_hash(&json));
        let pretty = serde_json::to_string_pretty(&json).expect("it is JSON");
        let pretty: Json = serde_json::from_str(&pretty).expect("it is JSON");
        prop_assert_eq!(canonical_hash(&pretty), canonical_hash(&json));
        prop_assert!(canonical_hash(&json!([json])) != canonical_hash(&again));
    }

    #[test]
    fn a_canonical_key_is_its_own_canonical_key(text in any::<String>(), form in 0..3_usize) {
        let form = [KeyForm::CaseFolded, KeyForm::CaseSensitive, KeyForm::Numeric][form];
        let Ok(canonical) = form.canonical(&text) else { return Ok(()) };
        prop_assert_eq!(form.canonical(&canonical), Ok(canonical.clone()));
        let padded = format!("\t {text} ");
        prop_assert_eq!(form.canonical(&padded), Ok(canonical));
    }

    #[test]
    fn every_cursor_reads_back(bytes in prop::collection::vec(any::<u8>(), 1..16), name in ".+") {
        for cursor in [
            SourceCursor::SalesforceReplayId(bytes),
            SourceCursor::OutboxId(name.clone()),
            SourceCursor::Snapshot(name),
        ] {
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn comparing_versions_is_antisymmetric(
        one in (prop::option::of(0..4_i64), prop::option::of(0..4_i64)),
        other in (prop::option::of(0..4_i64), prop::option::of(0..4_i64)),
    ) {
        let version = |(modified_ms, commit_number)| Version { modified_ms, commit_number };
        let (one, other) = (version(one), version(other));
        let expected = match one.order(other) {
            VersionOrder::Older => VersionOrder::Newer,
            VersionOrder::Newer => VersionOrder::Older,
            same @ (VersionOrder::Same | VersionOrder::Incomparable) => same,
        };
        prop_assert_eq!(other.order(one), expected);
    }

    #[test]
    fn merging_again_changes_nothing(current in payload(), incoming in payload()) {
        let object = object();
        let merge = |current: &Json| merge_payload(&object, Some(current), Side::Salesforce, &incoming);
        match merge(&current) {
            MergeOutcome::Noop => prop_assert_eq!(current, incoming),
            MergeOutcome::Merged(merged) => {
                let again = merge(&merged);
                prop_assert!(again == MergeOutcome::Noop || again == MergeOutcome::Merged(merged.clone()));
                prop_assert_eq!(&merged["C"], &current["C"], "the other side's field is left alone");
            }
            MergeOutcome::Conflict(fields) => {
                for field in fields {
                    prop_assert!(current[&field] != incoming[&field] && field != "B" && field != "C");
                }
            }
        }
    }
}
