//! The type table: one value by every reading path, what has no room, and docs/type-table.md.

#[path = "paths/values.rs"]
mod values;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use serde_json::json;
use strum::IntoEnumIterator;
use syncline_planner::model::canonical::{
    ValueError, from_csv, from_postgres, from_salesforce_json,
};
use syncline_planner::model::column::{ColumnKind, ColumnType};
use syncline_planner::model::hash::payload_hash;
use syncline_planner::model::ids::{FieldName, ObjectName};
use syncline_planner::model::key::KeyForm;
use syncline_planner::model::schema::{FieldSchema, FieldType, ObjectSchema};
use syncline_planner::model::type_table::FieldKind;
use syncline_planner::model::value::{Payload, Value};

use values::{Case, ID_15, ID_18, cases};

fn canonical(case: &Case) -> Value {
    Value::from_json(&case.canonical).expect("a scalar")
}

#[test]
fn every_path_reads_the_same_canonical_value() {
    let hash = |value: Value| {
        payload_hash(&Payload::from([(
            FieldName::parse("F").expect("a field"),
            value,
        )]))
    };
    for case in cases() {
        let expected = canonical(&case);
        let rest = case
            .rest
            .iter()
            .map(|json| from_salesforce_json(&case.field, json));
        let csv = case.csv.iter().map(|cell| from_csv(&case.field, cell));
        let postgres = case
            .postgres
            .iter()
            .map(|json| from_postgres(&case.field, json));
        for read in rest.chain(csv).chain(postgres) {
            assert_eq!(read.as_ref(), Ok(&expected), "{:?}", case.field);
            assert_eq!(read.map(hash), Ok(hash(expected.clone())));
        }
    }
}

#[test]
fn every_kind_of_field_has_values() {
    let tried: BTreeSet<FieldKind> = cases().iter().map(|case| case.field.kind()).collect();
    let missing: Vec<FieldKind> = FieldKind::iter()
        .filter(|kind| *kind != FieldKind::Unsupported && !tried.contains(kind))
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn every_type_that_describe_names_has_one_row() {
    let mut seen = BTreeSet::new();
    for kind in FieldKind::iter() {
        for name in kind.row().described {
            assert!(seen.insert(name), "{name}");
            let rich = name.contains("rich text");
            let type_name = if rich { "textarea" } else { name };
            assert_eq!(FieldKind::described(type_name, rich), kind, "{name}");
        }
    }
    assert_eq!(FieldKind::described("new", false), FieldKind::Unsupported);
    assert_eq!(FieldKind::described("string", true), FieldKind::Text);
}

#[test]
fn text_is_measured_in_utf16_units() {
    let field = FieldType::Text { length: 10 };
    assert_eq!(
        from_postgres(&field, &json!("😀😀😀😀😀a")),
        Err(ValueError::TooLong {
            held: 11,
            length: 10
        })
    );
    let shown = from_salesforce_json(&field, &json!("longer than ten"));
    assert_eq!(shown, Ok(Value::text("longer than ten")));
}

#[test]
fn masked_text_is_never_a_value() {
    let field = FieldType::EncryptedText { length: 40 };
    for masked in [
        "*****",
        "XXXX",
        "****-****-****-1234",
        "XXXXXX9876",
        "***-**-6789",
        "** ** ** ** *",
        "XX.XXX/XX",
    ] {
        let read = from_salesforce_json(&field, &json!(masked));
        assert_eq!(read, Err(ValueError::Masked), "{masked}");
        assert_eq!(
            from_csv(&field, masked),
            Err(ValueError::Masked),
            "{masked}"
        );
        let text = FieldType::Text { length: 40 };
        assert!(from_salesforce_json(&text, &json!(masked)).is_ok());
    }
    for clear in ["4711", "AX*81-B", "A****"] {
        assert!(
            from_salesforce_json(&field, &json!(clear)).is_ok(),
            "{clear}"
        );
    }
}

#[test]
fn choices_of_an_array_are_texts_without_separators() {
    let read = |json| from_postgres(&FieldType::MultiPicklist, &json);
    assert_eq!(read(json!(["a;b"])), Err(ValueError::Separator));
    for odd in [json!([null]), json!([1]), json!([["a"]])] {
        assert!(read(odd).is_err());
    }
    let text = FieldType::Text { length: 10 };
    assert!(from_postgres(&text, &json!(["a"])).is_err());
}

fn column(type_name: &str, modifier: i32) -> ColumnType {
    ColumnType::of(type_name, type_name, type_name == "color", modifier)
}

/// A type's name in the catalogue, its modifier, a value, and whether the column holds it.
type Trial = (&'static str, i32, Value, bool);

fn check_columns(field: &FieldType, trials: &[Trial]) {
    for (name, modifier, value, holds) in trials {
        let held = column(name, *modifier).holds(field, value);
        assert_eq!(
            held.is_ok(),
            *holds,
            "{name}({modifier}): {value:?}: {held:?}"
        );
    }
}

#[test]
fn column_refuses_text_it_would_respell() {
    let uuid = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
    check_columns(
        &FieldType::Text { length: 80 },
        &[
            ("text", -1, Value::text("007"), true),
            ("bpchar", 9, Value::text("a"), true),
            ("color", -1, Value::text("red"), true),
            ("int8", -1, Value::text("42"), true),
            ("int8", -1, Value::Null, true),
            ("int8", -1, Value::text("007"), false),
            ("int4", -1, Value::text("seven"), false),
            ("numeric", -1, Value::text("1.50"), false),
            ("uuid", -1, Value::text(uuid), true),
            ("uuid", -1, Value::text(&uuid.to_uppercase()), false),
            ("interval", -1, Value::text("1 day"), false),
            ("_text", -1, Value::text("a"), false),
            ("jsonb", -1, Value::text("a"), false),
        ],
    );
}

#[test]
fn column_refuses_number_it_would_round() {
    let number = |text: &str| {
        Value::from_json(&serde_json::from_str(text).expect("JSON")).expect("a scalar")
    };
    let money = FieldType::Decimal {
        precision: 18,
        scale: 2,
    };
    let numeric = |precision: i32, scale: i32| (precision << 16) + scale + 4;
    check_columns(
        &money,
        &[
            ("money", -1, number("1"), false),
            ("numeric", numeric(18, 2), number("1.25"), true),
            ("numeric", numeric(18, 2), number("1.005"), false),
            // A scale of minus two, in eleven bits.
            ("numeric", numeric(5, 2_046), number("100"), false),
            ("numeric", -1, number("1.005"), true),
            ("int4", -1, number("3"), true),
            ("int4", -1, number("3.5"), false),
            ("float8", -1, number("0.30000000000000004"), true),
            ("float4", -1, number("0.1"), true),
            ("float4", -1, number("16777217"), false),
        ],
    );
}

#[test]
fn column_refuses_time_it_would_round() {
    let clock = Value::text("09:30:00.120Z");
    check_columns(
        &FieldType::Time,
        &[
            ("time", -1, clock.clone(), true),
            ("time", 2, clock.clone(), true),
            ("time", 1, clock.clone(), false),
            ("timetz", -1, clock, false),
        ],
    );
    let moment = Value::text("2026-05-01T09:30:00.000Z");
    check_columns(
        &FieldType::DateTime,
        &[
            ("timestamptz", 0, moment.clone(), true),
            ("timestamp", -1, moment.clone(), true),
            ("date", -1, moment, false),
        ],
    );
}

#[test]
fn null_becomes_empty_in_a_not_null_text_column() {
    let wire = |name, not_null, json| column(name, -1).wire(not_null, json);
    assert_eq!(wire("text", true, json!(null)), json!(""));
    assert_eq!(wire("bpchar", true, json!(null)), json!(""));
    assert_eq!(wire("text", false, json!(null)), json!(null));
    assert_eq!(wire("int4", true, json!(null)), json!(null));
    assert_eq!(wire("_text", true, json!(null)), json!([]));
    assert_eq!(wire("_text", false, json!("a;b")), json!(["a", "b"]));
}

#[test]
fn both_forms_of_an_id_are_one_value() {
    for id in [ID_15, ID_18] {
        let read = from_postgres(&FieldType::Id, &json!(id));
        assert_eq!(read, Ok(Value::text(ID_18)));
    }
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the test holds a file, the planner does not"
)]
fn the_type_table_is_documented() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/type-table.md");
    let rendered = rendered();
    if std::env::var_os("SYNCLINE_WRITE_TYPE_TABLE").is_some() {
        std::fs::write(&path, &rendered).expect("docs can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == rendered,
        "docs/type-table.md is not the type table; SYNCLINE_WRITE_TYPE_TABLE=1 writes it"
    );
}

// What describe and the catalogue show.

const TEXT: FieldType = FieldType::Text { length: 20 };
const MONEY: FieldType = FieldType::Decimal {
    precision: 18,
    scale: 2,
};

fn described(name: &str, field_type: FieldType) -> FieldSchema {
    FieldSchema {
        name: FieldName::parse(name).expect("a field"),
        field_type,
        createable: true,
        updateable: true,
        nillable: false,
        defaulted_on_create: false,
        external_id: false,
        unique: false,
        case_sensitive: false,
        calculated: false,
        was_updateable: true,
    }
}

#[test]
fn field_is_required_unless_something_fills_it() {
    let text = described("Name", TEXT);
    assert!(text.is_required());
    assert!(!described("Active", FieldType::Boolean).is_required());
    let mut given = text.clone();
    given.createable = false;
    let mut optional = text.clone();
    optional.nillable = true;
    let mut filled = text;
    filled.defaulted_on_create = true;
    for field in [given, optional, filled] {
        assert!(!field.is_required(), "{field:?}");
    }
}

#[test]
fn lost_and_regained_rights_are_noticed() {
    let object = |updateable: bool, was_updateable: bool| {
        let field = FieldSchema {
            updateable,
            was_updateable,
            ..described("Name", TEXT)
        };
        ObjectSchema {
            object: ObjectName::parse("Account").unwrap(),
            key_prefix: "001".to_owned(),
            fields: [(field.name.clone(), field)].into(),
            cascades: Vec::new(),
        }
    };
    let lost = |object: &ObjectSchema| object.fields.values().any(FieldSchema::became_read_only);
    let (free, read_only, never) = (
        object(true, true),
        object(false, true),
        object(false, false),
    );
    assert!(lost(&read_only) && !lost(&free) && !lost(&never));
    let follow = |mut now: ObjectSchema, earlier: &ObjectSchema| (now.follow(earlier), lost(&now));
    assert_eq!(follow(never.clone(), &free), (false, true));
    assert_eq!(follow(never.clone(), &never), (false, false));
    assert_eq!(follow(free.clone(), &read_only), (true, false));
    assert_eq!(follow(free.clone(), &free), (false, false));
    assert_eq!(follow(read_only.clone(), &never), (false, true));
    assert_eq!(follow(read_only.clone(), &read_only), (false, true));
    let mut formula = read_only;
    let field = formula.fields.values_mut().next().unwrap();
    field.calculated = true;
    assert!(!lost(&formula));
}

#[test]
fn field_types_answer_for_lookups_numbers_and_checkboxes() {
    let account = vec![ObjectName::parse("Account").unwrap()];
    let lookup = FieldType::Reference {
        to: account.clone(),
        relationship: Some("Parent".to_owned()),
    };
    assert_eq!(lookup.targets(), Some(account.as_slice()));
    assert_eq!(lookup.relationship(), Some("Parent"));
    assert_eq!((TEXT.targets(), TEXT.relationship()), (None, None));
    assert!(MONEY.is_number() && FieldType::Integer.is_number() && !TEXT.is_number());
    assert!(FieldType::Boolean.is_boolean() && !TEXT.is_boolean());
    let form = |field_type: FieldType, case_sensitive: bool| {
        KeyForm::of(&FieldSchema {
            case_sensitive,
            ..described("Key", field_type)
        })
    };
    assert_eq!(form(MONEY, false), KeyForm::Numeric);
    assert_eq!(form(TEXT, true), KeyForm::CaseSensitive);
    assert_eq!(form(TEXT, false), KeyForm::CaseFolded);
}

#[test]
fn columns_fit_the_fields_they_can_hold() {
    for (name, field) in [
        ("text", TEXT),
        ("varchar", TEXT),
        ("citext", TEXT),
        ("bool", FieldType::Boolean),
        ("int2", FieldType::Integer),
        ("date", FieldType::Date),
        ("numeric", MONEY),
    ] {
        assert!(column(name, -1).fits(&field), "{name}");
        assert!(!column("xml", -1).fits(&field), "{name}");
    }
    assert_eq!(column("varchar", 24).length, Some(20));
    // numeric(18, 2) and numeric(3, -2), with the header of four.
    assert_eq!(column("numeric", (18 << 16 | 2) + 4).digits, Some(2));
    assert_eq!(column("numeric", (18 << 16) + 4).digits, Some(0));
    assert!(!column("numeric", (3 << 16 | 0x7fe) + 4).fits(&MONEY));
    let array = column("_text", -1);
    assert_eq!(array.wire(true, json!(null)), json!([]));
    assert_eq!(array.wire(false, json!(null)), json!(null));
    assert_eq!(column("text", -1).wire(true, json!(null)), json!(""));
    assert_eq!(column("text", -1).wire(false, json!(null)), json!(null));
}

const INTRODUCTION: &str = "# Types

How the values of each Salesforce type compare, and which columns of Postgres can hold them. This page is
written from the table that the engine itself uses (`core/planner/src/model/type_table.rs`); a test holds
it. What follows from it for merging is in [How records are merged](merging.md#what-is-compared).

Every value has one **canonical form**: what Salesforce would hold. Values are equal if their canonical
forms are the same, whether they came by REST, Bulk, a change event or from a row.

A column may be mapped if it is of a type below, or of a domain over one. `syncline check` names a column
that cannot hold its field. A value that the column would change (round, or write in another way) is not
written: its field parks with the reason.

| Salesforce type | canonical form | holds at most | equal are | columns |
| --- | --- | --- | --- | --- |
";

const COLUMNS: &str = "
- **`char(n)`**: its padding does not count.
- **`numeric(p, s)`**, integers: a value with more digits after the point parks. Salesforce keeps every digit
  that the API sent, whatever the field's scale, and formulas usually have more digits than they show: use
  `numeric` without a scale for those.
- **`real`** keeps about six digits; what it would change parks.
- **Integers and `numeric` for a text**: only texts that are written as the column writes them: `42`, not
  `007`.
- **`uuid`**: only in lower case and with hyphens; for the external id, in any case.
- **enum**: a text that is no label parks.
- **`text[]`**: the choices of a multi-select picklist.
- **NOT NULL**: a text column takes empty text instead of null, a `text[]` the empty array.
- **Encrypted text**: a value that looks masked (asterisks or `X`, and at most four other letters or digits) parks
  its field: a mask that was taken for a value would replace it on both sides. This holds even if our user may see
  encrypted text, because that permission can be withdrawn at any time; `syncline check` says which case it is.
- **Compound fields**: their parts are fields of their own (`BillingCity`, `Place__Latitude__s`) and are mapped like any
  other; `syncline check` refuses the compound itself, and files (base64).
- **Every other type** (`json`, `jsonb`, `bytea`, `money`, `interval`, ranges, `timetz`, `numeric` with a
  negative scale, network addresses, other arrays, composite types and what extensions bring, `citext`
  excepted) cannot be mapped.
";

fn rendered() -> String {
    let mut page = INTRODUCTION.to_owned();
    for kind in FieldKind::iter() {
        let row = kind.row();
        let columns: Vec<String> = row
            .columns
            .iter()
            .map(|column| column_name(*column))
            .collect();
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            row.described.join(", "),
            row.form,
            or_dash(row.limits),
            or_dash(row.equal),
            or_dash(&columns.join(", ")),
        )
        .expect("a string takes text");
    }
    page + COLUMNS
}

fn column_name(kind: ColumnKind) -> String {
    let name: &str = kind.into();
    match kind {
        ColumnKind::Enum => name.to_owned(),
        _ => format!("`{name}`"),
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "–" } else { text }
}

#[test]
fn new_column_fits_its_field_and_is_the_first_of_its_row() {
    for case in cases() {
        let described = ColumnType::for_field(&case.field);
        let described = described.expect("every kind but one has columns");
        assert!(described.fits(&case.field), "{:?}", case.field);
        let first = case.field.kind().row().columns[0];
        let expected = match (first, case.field.length()) {
            (ColumnKind::Text, Some(_)) => ColumnKind::Varchar,
            (first, _) => first,
        };
        assert_eq!(described.kind, expected, "{:?}", case.field);
        assert_eq!(described.length, case.field.length(), "{:?}", case.field);
        let value = canonical(&case);
        assert_eq!(
            described.holds(&case.field, &value),
            Ok(()),
            "{:?}",
            case.field
        );
    }
    for length in [0, u32::MAX] {
        let text = ColumnType::for_field(&FieldType::Text { length });
        assert_eq!(text, Some(ColumnType::plain(ColumnKind::Text)));
    }
    let name = "address".to_owned();
    assert_eq!(
        ColumnType::for_field(&FieldType::Unsupported { name }),
        None
    );
}
