//! Guarantees of the model: canonical values, keys, cursors, versions, refusals.

use std::collections::BTreeMap;

use serde_json::json;
use syncline_planner::model::canonical::{
    ValueError, datetime_ms, from_csv, from_epoch_ms, from_postgres, from_salesforce_json,
    to_postgres_json,
};
use syncline_planner::model::change::{OutboxRefusal, OutboxRow, validate_outbox};
use syncline_planner::model::fields::FieldMap;
use syncline_planner::model::generate;
use syncline_planner::model::hash::{canonical_hash, payload_hash};
use syncline_planner::model::ids::{
    ColumnName, FieldName, IntentId, RecordId, SalesforceId, TableName, TenantId,
};
use syncline_planner::model::key::KeyForm;
use syncline_planner::model::link::{AutomationOverride, Replaced};
use syncline_planner::model::observation::{Version, VersionOrder};
use syncline_planner::model::schema::FieldType;
use syncline_planner::model::value::{Decimal, Value};
use syncline_planner::{SourceCursor, SyncKey};

const TEXT: FieldType = FieldType::Text { length: 20 };
const MONEY: FieldType = FieldType::Decimal {
    precision: 18,
    scale: 2,
};

fn reference() -> FieldType {
    FieldType::Reference {
        to: vec![],
        relationship: None,
    }
}

#[test]
fn every_path_gives_the_same_canonical_value() {
    let reads = [
        (
            TEXT,
            json!("  Acme \n"),
            json!("Acme"),
            "Acme",
            json!("Acme"),
        ),
        (TEXT, json!("   "), json!(null), "", json!(null)),
        (
            FieldType::Boolean,
            json!(null),
            json!(false),
            "false",
            json!(false),
        ),
        (
            FieldType::Boolean,
            json!(true),
            json!(true),
            "true",
            json!(true),
        ),
        (
            FieldType::MultiPicklist,
            json!("b; a;b"),
            json!("a;b"),
            "b;a",
            json!("a;b"),
        ),
        (
            FieldType::DateTime,
            json!("2026-05-01T11:30:00.9999+02:00"),
            json!("2026-05-01T09:30:00.000+0000"),
            "2026-05-01T09:30:00.000Z",
            json!("2026-05-01T09:30:00.000Z"),
        ),
        (
            FieldType::Date,
            json!("2026-05-01"),
            json!("2026-05-01"),
            "2026-05-01",
            json!("2026-05-01"),
        ),
        (
            FieldType::Time,
            json!("09:30:00"),
            json!("09:30:00.000Z"),
            "09:30:00.000Z",
            json!("09:30:00.000Z"),
        ),
    ];
    for (field, postgres, salesforce, cell, canonical) in reads {
        let canonical = Value::from_json(&canonical).expect("a scalar");
        assert_eq!(from_postgres(&field, &postgres).as_ref(), Ok(&canonical));
        assert_eq!(
            from_salesforce_json(&field, &salesforce).as_ref(),
            Ok(&canonical)
        );
        assert_eq!(from_csv(&field, cell).as_ref(), Ok(&canonical));
        let again = to_postgres_json(&field, &canonical);
        assert_eq!(from_postgres(&field, &again).as_ref(), Ok(&canonical));
        let again = canonical.to_json();
        assert_eq!(
            from_salesforce_json(&field, &again).as_ref(),
            Ok(&canonical)
        );
    }
}

#[test]
fn a_number_is_the_double_that_salesforce_holds() {
    let number = |text: &str| {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        let read = from_postgres(&MONEY, &json).unwrap();
        assert_eq!(from_csv(&MONEY, text), Ok(read.clone()), "{text}");
        read.to_json().to_string()
    };
    for (written, held) in [
        ("1.005", "1.005"),
        ("0.1234567890123456789", "0.12345678901234568"),
        ("9007199254740993", "9007199254740992"),
        ("999999999999999.99", "1000000000000000"),
        ("-0.00", "0"),
        ("9.12260031E8", "912260031"),
    ] {
        assert_eq!(number(written), held, "{written}");
        assert_eq!(number(held), held, "{written}");
    }
}

#[test]
fn number_without_room_is_refused_from_postgres_alone() {
    assert_eq!(
        from_postgres(&FieldType::Integer, &json!(1.5)),
        Err(ValueError::NotWhole { held: 1 })
    );
    assert_eq!(
        from_postgres(&FieldType::Integer, &json!(2_147_483_648_i64)),
        Err(ValueError::BeyondInteger)
    );
    assert_eq!(
        from_postgres(&MONEY, &json!("12345678901234567")),
        Err(ValueError::TooManyWholeDigits { held: 17, most: 16 })
    );
    assert!(from_csv(&MONEY, "12345678901234567").is_ok());
    assert_eq!(
        from_postgres(&MONEY, &json!("NaN")),
        Err(ValueError::NotA { wanted: "a number" })
    );
}

#[test]
fn values_too_large_for_a_field_are_refused_not_cut() {
    for text in ["a\0b", "\0", "a\0 "] {
        assert_eq!(from_postgres(&TEXT, &json!(text)), Err(ValueError::Nul));
    }
    assert_eq!(
        from_postgres(&TEXT, &json!("123456789012345678901")),
        Err(ValueError::TooLong {
            held: 21,
            length: 20
        })
    );
    for moment in [
        "infinity",
        "2026-02-30T00:00:00Z",
        "2026-05-01T24:00:00",
        "2026-05-01T23:59:60Z",
        "2026-05-01Tx",
        "2026-05-01T09:30:00+9",
    ] {
        assert!(
            from_postgres(&FieldType::DateTime, &json!(moment)).is_err(),
            "{moment}"
        );
    }
    for date in [
        "0044-03-15 BC",
        "10000-01-01",
        "1699-12-31",
        "2026-05-01T00:00:01",
        "2026-5-1",
    ] {
        assert!(
            from_postgres(&FieldType::Date, &json!(date)).is_err(),
            "{date}"
        );
    }
    assert!(from_postgres(&TEXT, &json!(["a"])).is_err());
    assert!(from_salesforce_json(&reference(), &json!("not an id")).is_err());
}

#[test]
fn references_are_ids_in_salesforce_external_ids_in_postgres() {
    let id = from_salesforce_json(&reference(), &json!("001000000000001"));
    assert_eq!(id, Ok(Value::text("001000000000001AAA")));
    assert_eq!(
        from_postgres(&reference(), &json!(" K-7 ")),
        Ok(Value::text("K-7"))
    );
}

#[test]
fn milliseconds_of_an_event_give_the_value_of_a_read() {
    let ms = 1_777_627_800_999;
    let moment = from_epoch_ms(&FieldType::DateTime, ms).unwrap();
    assert_eq!(moment, Value::text("2026-05-01T09:30:00.000Z"));
    let midnight = from_epoch_ms(&FieldType::Date, 1_777_593_600_000).unwrap();
    assert_eq!(midnight, Value::text("2026-05-01"));
    let noon = from_epoch_ms(&FieldType::Time, 43_200_000).unwrap();
    assert_eq!(noon, Value::text("12:00:00.000Z"));
}

#[test]
fn keys_compare_as_salesforce_compares_them() {
    let canonical = |form: KeyForm, text| form.canonical(text).unwrap();
    assert_eq!(canonical(KeyForm::CaseFolded, " AB-1\t"), "ab-1");
    assert_eq!(
        canonical(KeyForm::CaseFolded, "ΟΔΟΣ"),
        canonical(KeyForm::CaseFolded, "οδοσ")
    );
    assert_eq!(canonical(KeyForm::CaseSensitive, " AB-1"), "AB-1");
    assert_eq!(canonical(KeyForm::Numeric, "007.0"), "7");
    assert!(KeyForm::Numeric.canonical("seven").is_err());
}

#[test]
fn an_empty_part_of_a_key_is_named() {
    for (tenant, object, external_id, part) in [
        ("", "Account", "1", "tenant"),
        ("acme", " ", "1", "object"),
        ("acme", "Account", "", "external id"),
    ] {
        let error = SyncKey::new(tenant, object, external_id).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_cursor_reads_back_and_an_empty_one_is_refused() {
    for cursor in [
        SourceCursor::SalesforceReplayId(vec![0, 1, 254, 255, 7, 0, 0, 0, 0, 9]),
        SourceCursor::OutboxId("42".to_owned()),
        SourceCursor::Snapshot("page:2".to_owned()),
    ] {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    for broken in [
        "",
        "42",
        "postgres-lsn:",
        "salesforce-replay-id:0x",
        "salesforce-replay-id:0x123",
        "salesforce-replay-id:-1",
        "salesforce-replay-id:0xzz",
    ] {
        assert!(broken.parse::<SourceCursor>().is_err(), "{broken}");
    }
}

#[test]
fn versions_order_by_commit_number_then_by_stamp() {
    let version = |modified_ms, commit_number| Version {
        modified_ms,
        commit_number,
    };
    let event = |commit| version(Some(1_000), Some(commit));
    assert_eq!(event(1).order(event(2)), VersionOrder::Older);
    assert_eq!(event(2).order(event(2)), VersionOrder::Same);
    assert_eq!(Version::stamped(2_000).order(event(9)), VersionOrder::Newer);
    assert_eq!(
        Version::stamped(1_000).order(event(9)),
        VersionOrder::Incomparable
    );
    assert_eq!(
        Version::default().order(event(9)),
        VersionOrder::Incomparable
    );
}

#[test]
fn a_generated_id_is_always_the_same() {
    let id = |text| SalesforceId::parse(text).unwrap();
    let generated = || generate::for_salesforce(&id("00D000000000001"), &id("001000000000002"));
    assert_eq!(generated(), generated());
    assert_ne!(
        generated(),
        generate::for_salesforce(&id("00D000000000002"), &id("001000000000002"))
    );
    let table: TableName =
        serde_json::from_value(json!({"schema": "public", "table": "account"})).unwrap();
    let row = |key| generate::for_postgres(&TenantId::parse("acme").unwrap(), &table, &key);
    assert_eq!(row(json!({"a": 1, "b": 2})), row(json!({"b": 2, "a": 1})));
    assert_ne!(row(json!({"a": 1})), row(json!({"a": 2})));
}

const GOOD: OutboxRow<'static> = OutboxRow {
    outbox_id: 7,
    tenant: "acme",
    object: "Account",
    operation: "update",
    external_id: Some("K1"),
    local_key: None,
    tombstone: false,
    cursor: None,
};

#[test]
fn an_outbox_row_passes_with_either_key() {
    let valid = validate_outbox(&GOOD).unwrap();
    assert_eq!(valid.cursor, SourceCursor::OutboxId("7".to_owned()));
    let key = json!({"id": 1});
    let generated = OutboxRow {
        external_id: None,
        local_key: Some(&key),
        ..GOOD
    };
    assert!(validate_outbox(&generated).is_ok());
}

#[test]
fn an_invalid_outbox_row_is_refused_with_the_reason() {
    let code = |row: OutboxRow<'_>| validate_outbox(&row).map_err(|refusal| refusal.code());
    for broken in [
        OutboxRow {
            tenant: " ",
            ..GOOD
        },
        OutboxRow { object: "", ..GOOD },
        OutboxRow {
            external_id: Some(" "),
            ..GOOD
        },
        OutboxRow {
            external_id: None,
            ..GOOD
        },
        OutboxRow {
            cursor: Some(""),
            ..GOOD
        },
    ] {
        assert_eq!(code(broken), Err("outbox_empty_part"));
    }
    let encoded = OutboxRow {
        cursor: Some("postgres-lsn:7"),
        ..GOOD
    };
    assert_eq!(validate_outbox(&encoded), Err(OutboxRefusal::CursorEncoded));
    assert_eq!(
        code(OutboxRow {
            tombstone: true,
            ..GOOD
        }),
        Err("outbox_contradiction")
    );
    assert_eq!(
        code(OutboxRow {
            operation: "delete",
            ..GOOD
        }),
        Err("outbox_contradiction")
    );
    assert_eq!(
        code(OutboxRow {
            operation: "merge",
            ..GOOD
        }),
        Err("outbox_unknown_operation")
    );
    assert_eq!(
        code(OutboxRow {
            object: "no object",
            ..GOOD
        }),
        Err("outbox_bad_identifier")
    );
}

#[test]
fn moment_beyond_the_years_of_four_digits_is_refused() {
    for edge in ["0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-01:00"] {
        let read = from_salesforce_json(&FieldType::DateTime, &json!(edge));
        assert!(read.is_err(), "{edge} would be {read:?}");
    }
}

#[test]
fn error_repeats_the_beginning_of_a_name_alone() {
    let error = TenantId::parse(&"X".repeat(1_000_000)).unwrap_err();
    assert!(error.to_string().len() < 300);
}

// Texts with a form.

#[test]
fn date_time_counts_from_its_zone() {
    let noon = datetime_ms("2026-05-01T12:00:00.000Z").unwrap();
    for (text, offset_s) in [
        ("2026-05-01 12:00:00", 0),
        ("2026-05-01T12:00:00.000+0000", 0),
        ("2026-05-01 12:00:00+02", 7_200),
        ("2026-05-01 12:00:00-05:30", -19_800),
        ("2026-05-01 12:00:00+0545", 20_700),
        ("2026-05-01 12:00:00+00:19:32", 1_172),
        ("2026-05-01 12:00:00+23:59:59", 86_399),
    ] {
        assert_eq!(datetime_ms(text), Some(noon - offset_s * 1_000), "{text}");
    }
    for text in [
        "2026-05-01 12:00:00+24",
        "2026-05-01 12:00:00+00:60",
        "2026-05-01 12:00:00+00:00:60",
        "2026-05-01 12:00:00+1",
        "2026-05-01 12:00:00Z1",
        "2026-05-01T9:30:00Z",
        "2026-05-01T09:3:00Z",
    ] {
        assert_eq!(datetime_ms(text), None, "{text}");
    }
}

#[test]
fn field_without_a_stated_size_takes_any() {
    let unsized_number = FieldType::Decimal {
        precision: 0,
        scale: 0,
    };
    assert!(from_postgres(&unsized_number, &json!(123)).is_ok());
    assert!(from_postgres(&FieldType::Text { length: 0 }, &json!("abc")).is_ok());
}

#[test]
fn mask_shows_at_most_four_letters_or_digits() {
    let encrypted = FieldType::EncryptedText { length: 20 };
    assert!(from_csv(&encrypted, "XXX-XX-1234").is_err());
    assert!(from_csv(&encrypted, "*****").is_err());
    assert!(from_csv(&encrypted, "XXX-12345").is_ok());
    assert!(from_csv(&encrypted, "1234").is_ok());
}

#[test]
fn names_have_the_form_of_their_side() {
    for (text, is_tenant) in [
        ("acme-2_eu", true),
        ("", false),
        ("Acme", false),
        ("acme.eu", false),
        (&"a".repeat(63), true),
        (&"a".repeat(64), false),
    ] {
        assert_eq!(TenantId::parse(text).is_ok(), is_tenant, "{text:?}");
    }
    for (text, is_column) in [
        ("any thing \"at all\"", true),
        ("", false),
        ("nul\0", false),
        (&"a".repeat(63), true),
        (&"a".repeat(64), false),
    ] {
        assert_eq!(ColumnName::parse(text).is_ok(), is_column, "{text:?}");
    }
}

#[test]
fn ids_are_shown_and_kept_in_one_form() {
    let id = SalesforceId::parse("001000000000001").unwrap();
    assert_eq!(id.as_str(), "001000000000001AAA");
    assert_eq!(id.key_prefix(), "001");
    assert_eq!(String::from(id.clone()), id.to_string());
    assert_eq!(
        serde_json::to_value(&id).unwrap(),
        json!("001000000000001AAA")
    );
    let uuid = uuid::Uuid::from_u128(7);
    assert_eq!(RecordId(uuid).to_string(), uuid.to_string());
    assert_eq!(IntentId(uuid).to_string(), uuid.to_string());
    let cursor = SourceCursor::Snapshot("page:2".to_owned());
    assert_eq!(String::from(cursor), "snapshot:page:2");
    assert!(SourceCursor::is_encoded("snapshot:page:2"));
    assert!(!SourceCursor::is_encoded("page:2"));
}

#[test]
fn sync_keys_are_equal_as_their_ids_compare() {
    let key = |tenant, object, id| SyncKey::new(tenant, object, id).unwrap();
    let one = key("acme", "Account", "AB-1");
    assert_eq!(one, key("acme", "Account", "ab-1"));
    assert_eq!(one.to_string(), "acme/Account/AB-1");
    for other in [
        key("other", "Account", "AB-1"),
        key("acme", "Contact", "AB-1"),
        key("acme", "Account", "AB-2"),
    ] {
        assert_ne!(one, other);
    }
}

/// Links are kept by these: a change of the rule would give every record another id.
#[test]
fn generated_ids_stay_what_they_were() {
    let id = |text| SalesforceId::parse(text).unwrap();
    assert_eq!(
        generate::for_salesforce(&id("00D000000000001"), &id("001000000000002")),
        "91dd3440-c13e-5e1d-a8c9-b2946fe1afe7"
    );
}

#[test]
fn equal_payloads_have_equal_hashes_in_both_forms() {
    let phone = FieldName::parse("Phone").unwrap();
    let payload = BTreeMap::from([(phone, Value::text("1"))]);
    let hash = canonical_hash(&json!({"Phone": "1"}));
    assert_eq!(payload_hash(&payload), hash);
    assert_eq!(hash.len(), 64);
}

#[test]
fn number_is_read_from_json_by_its_digits() {
    let read = |text: &str| serde_json::from_str::<Value>(text);
    let number = |text: &str| Value::Number(Decimal::parse(text).unwrap());
    for (text, canonical) in [("7", "7"), ("-1.50", "-1.5"), ("1E2", "100")] {
        assert_eq!(read(text).unwrap(), number(canonical), "{text}");
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        let read: Value = serde_json::from_value(json).unwrap();
        assert_eq!(read, number(canonical), "{text}");
    }
    for refused in [r#"{"x": "1"}"#, "{}", "[1]"] {
        assert!(read(refused).is_err(), "{refused}");
    }
}

#[test]
fn number_has_one_form_up_to_a_thousand_digits() {
    let form = |text: &str| Decimal::parse(text).map(|number| number.as_str().to_owned());
    for (written, held) in [
        ("0", "0"),
        ("-0", "0"),
        ("007", "7"),
        ("00", "0"),
        ("0.5", "0.5"),
        ("1.", "1"),
        ("1.50", "1.5"),
        ("-0.0", "0"),
        ("-10", "-10"),
        ("10", "10"),
    ] {
        assert_eq!(form(written).as_deref(), Some(held), "{written}");
    }
    let ones = |count: usize| "1".repeat(count);
    assert_eq!(form(&ones(1_000)), Some(ones(1_000)));
    assert_eq!(form(&format!("+{}", ones(1_000))), Some(ones(1_000)));
    assert_eq!(form(&ones(1_001)), None);
    assert_eq!(form(&format!("+{}", ones(1_001))), None);
    assert!(form("1e999").is_some() && form("1e-998").is_some());
    assert!(form("1e1000").is_none() && form("1e-999").is_none());
    assert!(form("0e1000").is_some() && form("0e1001").is_none());
}

// What a link keeps.

#[test]
fn null_before_a_write_is_kept_apart_from_no_value() {
    let mut replaced = Replaced {
        after: Version::default(),
        before: None,
        base: Some(Value::Null),
        seen: None,
        row_edited_ms: None,
    };
    for base in [Some(Value::Null), Some(Value::text("1")), None] {
        replaced.base = base;
        let kept = serde_json::to_string(&replaced).unwrap();
        let read: Replaced = serde_json::from_str(&kept).unwrap();
        assert_eq!(read, replaced);
    }
}

#[test]
fn write_without_effect_takes_its_automation_override_back() {
    let name = |text| FieldName::parse(text).unwrap();
    let counted = |count| AutomationOverride {
        count,
        sent: Value::text("a"),
        stored: Value::text("b"),
    };
    let mut overrides = BTreeMap::from([(name("Once"), counted(1)), (name("Twice"), counted(2))]);
    let others = [name("Other")];
    assert!(!AutomationOverride::uncount(&mut overrides, others.iter()));
    assert_eq!(overrides.len(), 2);
    let written = [name("Once"), name("Twice")];
    assert!(AutomationOverride::uncount(&mut overrides, written.iter()));
    assert_eq!(overrides, BTreeMap::from([(name("Twice"), counted(1))]));
}

#[test]
fn fields_are_kept_in_order_each_once() {
    let mut map: FieldMap<u8, &str> = [(3, "c"), (1, "a"), (2, "b"), (3, "d")]
        .into_iter()
        .collect();
    let held: Vec<_> = map.iter().map(|(field, held)| (*field, *held)).collect();
    assert_eq!(held, [(1, "a"), (2, "b"), (3, "d")]);
    assert_eq!((map.len(), map.is_empty()), (3, false));
    map.retain(|field, _| *field != 2);
    assert!(map.contains_key(&1) && !map.contains_key(&2));
    assert_eq!(map.len(), 2);
    assert!(FieldMap::<u8, u8>::default().is_empty());
}
