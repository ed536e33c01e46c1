//! Values of every kind of field, as each path reads them. Shared by the tests of the paths: the
//! file that includes it has the field types in scope.

use serde_json::{Value as Json, json};

use super::FieldType;

/// A value as the Avro datum of a change event holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(dead_code, reason = "each test reads the paths that it supports")]
pub(crate) enum Datum {
    Null,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'static str),
}

/// One value and its spellings.
#[allow(dead_code, reason = "each test reads the paths that it supports")]
pub(crate) struct Case {
    pub(crate) field: FieldType,
    pub(crate) canonical: Json,
    /// JSON of a REST answer.
    pub(crate) rest: Vec<Json>,
    /// Cells of a Bulk CSV.
    pub(crate) csv: Vec<&'static str>,
    /// Data of change events.
    pub(crate) events: Vec<Datum>,
    /// JSON that `to_jsonb` makes of a column.
    pub(crate) postgres: Vec<Json>,
}

/// The id of a record in its two forms.
pub(crate) const ID_15: &str = "001D000000IqhSL";
pub(crate) const ID_18: &str = "001D000000IqhSLIAZ";

fn case(
    field: &FieldType,
    canonical: Json,
    rest: Json,
    csv: &[&'static str],
    events: &[Datum],
    postgres: Json,
) -> Case {
    let list = |json: Json| json.as_array().cloned().expect("a list");
    Case {
        field: field.clone(),
        canonical,
        rest: list(rest),
        csv: csv.to_vec(),
        events: events.to_vec(),
        postgres: list(postgres),
    }
}

/// Returns the number that the text writes, with all its digits.
fn number(text: &str) -> Json {
    serde_json::from_str(text).expect("a number")
}

pub(crate) fn cases() -> Vec<Case> {
    [
        texts(),
        special_texts(),
        choices(),
        ids(),
        flags(),
        integers(),
        decimals(),
        places(),
        days(),
        moments(),
        clocks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns what every kind of text holds if it holds nothing.
fn nothing(field: &FieldType) -> Case {
    case(
        field,
        json!(null),
        json!([null, "", "  "]),
        &[""],
        &[Datum::Null],
        json!([null, "", " \n", "\u{3000}"]),
    )
}

fn texts() -> Vec<Case> {
    let text = FieldType::Text { length: 10 };
    vec![
        nothing(&text),
        case(
            &text,
            json!("Acme"),
            json!(["Acme"]),
            &["Acme"],
            &[Datum::Text("Acme")],
            json!(["Acme", "  Acme \n", "Acme      "]),
        ),
        // Ten UTF-16 units, five characters.
        case(
            &text,
            json!("😀😀😀😀😀"),
            json!(["😀😀😀😀😀"]),
            &["😀😀😀😀😀"],
            &[Datum::Text("😀😀😀😀😀")],
            json!(["😀😀😀😀😀"]),
        ),
        case(
            &text,
            json!("e\u{301} \"x\",;"),
            json!(["e\u{301} \"x\",;"]),
            &["e\u{301} \"x\",;"],
            &[Datum::Text("e\u{301} \"x\",;")],
            json!(["e\u{301} \"x\",;"]),
        ),
        case(
            &text,
            json!("42"),
            json!(["42"]),
            &["42"],
            &[Datum::Text("42")],
            json!(["42", 42]),
        ),
        case(
            &text,
            json!("007"),
            json!(["007"]),
            &["007"],
            &[Datum::Text("007")],
            json!(["007"]),
        ),
    ]
}

fn special_texts() -> Vec<Case> {
    let email = FieldType::Email { length: 80 };
    let html = FieldType::RichText { length: 100 };
    let secret = FieldType::EncryptedText { length: 40 };
    vec![
        nothing(&email),
        nothing(&html),
        nothing(&secret),
        case(
            &email,
            json!("ada@acme.example"),
            json!(["ada@acme.example"]),
            &["ada@acme.example"],
            &[Datum::Text("ada@acme.example")],
            json!(["Ada@Acme.EXAMPLE ", "ada@acme.example"]),
        ),
        case(
            &html,
            json!("<p>Ada &amp; Co</p>"),
            json!(["<p>Ada &amp; Co</p>"]),
            &["<p>Ada &amp; Co</p>"],
            &[Datum::Text("<p>Ada &amp; Co</p>")],
            json!(["<p>Ada &amp; Co</p>\n"]),
        ),
        case(
            &secret,
            json!("4711-0815-99"),
            json!(["4711-0815-99"]),
            &["4711-0815-99"],
            &[Datum::Text("4711-0815-99")],
            json!(["4711-0815-99"]),
        ),
    ]
}

fn choices() -> Vec<Case> {
    let field = FieldType::MultiPicklist;
    vec![
        case(
            &field,
            json!(null),
            json!([null]),
            &[""],
            &[Datum::Null],
            json!([null, "", ";", []]),
        ),
        case(
            &field,
            json!("a;b;ç"),
            json!(["b;a;ç", "a;b;ç"]),
            &["ç;b;a"],
            &[Datum::Text("b;ç;a")],
            json!(["b; a;ç;a", "a;b;ç", ["ç", "b", "a", "b"]]),
        ),
    ]
}

fn ids() -> Vec<Case> {
    let lookup = FieldType::Reference {
        to: vec![],
        relationship: None,
    };
    vec![
        case(
            &FieldType::Id,
            json!(ID_18),
            json!([ID_18, ID_15]),
            &[ID_18, ID_15],
            &[Datum::Text(ID_18)],
            json!([ID_18, ID_15]),
        ),
        case(
            &lookup,
            json!(ID_18),
            json!([ID_18, ID_15]),
            &[ID_18, ID_15],
            &[Datum::Text(ID_18)],
            json!([ID_18]),
        ),
        case(
            &lookup,
            json!(null),
            json!([null]),
            &[""],
            &[Datum::Null],
            json!([null, ""]),
        ),
    ]
}

/// A number with one spelling.
fn same(field: &FieldType, text: &'static str, datum: Datum) -> Case {
    let json = number(text);
    case(
        field,
        json.clone(),
        json!([json]),
        &[text],
        &[datum],
        json!([json, text]),
    )
}

fn flags() -> Vec<Case> {
    let flag = FieldType::Boolean;
    vec![
        case(
            &flag,
            json!(true),
            json!([true]),
            &["true"],
            &[Datum::Boolean(true)],
            json!([true]),
        ),
        case(
            &flag,
            json!(false),
            json!([false]),
            &["false", ""],
            &[Datum::Boolean(false)],
            json!([false, null]),
        ),
    ]
}

fn integers() -> Vec<Case> {
    let whole = FieldType::Integer;
    vec![
        same(&whole, "2147483647", Datum::Int(i32::MAX)),
        same(&whole, "-2147483648", Datum::Int(i32::MIN)),
        case(
            &whole,
            number("7"),
            json!([7, number("7.0")]),
            &["7", "7.0"],
            &[Datum::Int(7)],
            json!([7, "07"]),
        ),
        case(
            &whole,
            json!(null),
            json!([null]),
            &[""],
            &[Datum::Null],
            json!([null, ""]),
        ),
    ]
}

fn decimals() -> Vec<Case> {
    let money = FieldType::Decimal {
        precision: 18,
        scale: 2,
    };
    vec![
        case(
            &money,
            number("0"),
            json!([0, number("-0.0"), number("0E-7")]),
            &["-0.0", "0"],
            &[Datum::Double(-0.0), Datum::Double(0.0)],
            json!([number("-0.00"), 0]),
        ),
        // More decimals than the scale: it binds the user interface alone.
        same(&money, "1.005", Datum::Double(1.005)),
        case(
            &money,
            number("0.30000000000000004"),
            json!([number("0.30000000000000004")]),
            &["0.30000000000000004"],
            &[Datum::Double(0.1 + 0.2)],
            json!([number("0.3000000000000000444")]),
        ),
        case(
            &money,
            number("9007199254740992"),
            json!([number("9.007199254740992E15")]),
            &["9.007199254740992E15"],
            &[Datum::Double(9_007_199_254_740_992.0)],
            json!([number("9007199254740993"), number("9007199254740992.25")]),
        ),
        case(
            &money,
            number("-1000000000000000000"),
            json!([number("-1.0E18")]),
            &["-1.0E18"],
            &[Datum::Double(-1e18)],
            json!([]),
        ),
        case(
            &money,
            json!(null),
            json!([null]),
            &[""],
            &[Datum::Null],
            json!([null]),
        ),
    ]
}

fn places() -> Vec<Case> {
    let place = FieldType::Decimal {
        precision: 18,
        scale: 15,
    };
    vec![
        case(
            &place,
            number("0.12345678901234568"),
            json!([number("0.12345678901234568")]),
            &["0.12345678901234568"],
            &[Datum::Double(0.123_456_789_012_345_68)],
            json!([number("0.1234567890123456789")]),
        ),
        same(&place, "-122.4194155", Datum::Double(-122.419_415_5)),
    ]
}

fn days() -> Vec<Case> {
    let day = FieldType::Date;
    vec![
        case(
            &day,
            json!("2026-05-01"),
            json!(["2026-05-01"]),
            &["2026-05-01"],
            &[Datum::Long(1_777_593_600_000)],
            json!(["2026-05-01"]),
        ),
        case(
            &day,
            json!("1700-01-01"),
            json!(["1700-01-01"]),
            &["1700-01-01"],
            &[Datum::Long(-8_520_336_000_000)],
            json!(["1700-01-01"]),
        ),
        case(
            &day,
            json!("4000-12-31"),
            json!(["4000-12-31"]),
            &["4000-12-31"],
            &[Datum::Long(64_092_124_800_000)],
            json!(["4000-12-31"]),
        ),
        case(
            &day,
            json!(null),
            json!([null]),
            &[""],
            &[Datum::Null],
            json!([null]),
        ),
    ]
}

fn moments() -> Vec<Case> {
    let moment = FieldType::DateTime;
    vec![
        case(
            &moment,
            json!("2026-04-30T22:00:00.000Z"),
            json!(["2026-04-30T22:00:00.000+0000", "2026-05-01T00:00:00+02:00"]),
            &["2026-04-30T22:00:00.000Z"],
            &[Datum::Long(1_777_586_400_000)],
            json!([
                "2026-05-01T00:00:00+02:00",
                "2026-04-30T22:00:00",
                "2026-04-30T22:00:00.999999+00:00"
            ]),
        ),
        // Before 1970 a second is cut like any other.
        case(
            &moment,
            json!("1969-12-31T23:59:59.000Z"),
            json!(["1969-12-31T23:59:59.000+0000"]),
            &["1969-12-31T23:59:59.000Z"],
            &[Datum::Long(-1_000), Datum::Long(-1)],
            json!(["1969-12-31T23:59:59.5+00:00", "1969-12-31T23:59:59"]),
        ),
        case(
            &moment,
            json!(null),
            json!([null]),
            &[""],
            &[Datum::Null],
            json!([null]),
        ),
    ]
}

fn clocks() -> Vec<Case> {
    let clock = FieldType::Time;
    vec![
        case(
            &clock,
            json!("00:00:00.000Z"),
            json!(["00:00:00.000Z"]),
            &["00:00:00.000Z"],
            &[Datum::Long(0)],
            json!(["00:00:00"]),
        ),
        case(
            &clock,
            json!("23:59:59.999Z"),
            json!(["23:59:59.999Z"]),
            &["23:59:59.999Z"],
            &[Datum::Long(86_399_999)],
            json!(["23:59:59.999", "23:59:59.9999"]),
        ),
        case(
            &clock,
            json!(null),
            json!([null]),
            &[""],
            &[Datum::Null],
            json!([null]),
        ),
    ]
}
