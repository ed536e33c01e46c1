//! Values in their stored form.

use serde_json::{Value as Json, json};

use crate::road::{Caller, READINGS, ROADS, Reading, Road};

const ORG: &str = r#"
[[object]]
name = "Item__c"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true
  [[object.field]]
  name = "Price__c"
  type = "currency"
  precision = 18
  scale = 2
  [[object.field]]
  name = "Wide__c"
  type = "double"
  precision = 18
  scale = 0
  [[object.field]]
  name = "When__c"
  type = "datetime"
  [[object.field]]
  name = "Mail__c"
  type = "email"
  [[object.field]]
  name = "Short__c"
  type = "string"
  length = 4
  [[object.field]]
  name = "Rich__c"
  type = "textarea"
  length = 32000
  html = true
  [[object.field]]
  name = "Products__c"
  type = "boolean"
  [[object.field]]
  name = "Amount__c"
  type = "currency"
  precision = 18
  scale = 2
  ignored_while = "Products__c"
  [[object.validation_rule]]
  name = "Three_Units"
  formula = "LEN(Short__c) = 3"
  message = "Three units are not allowed."
"#;

/// Writes a value by every road, reads it in every way, and compares it with the expected number or
/// text.
fn is_stored_as(caller: &mut Caller, field: &str, sent: &Json, expected: &Json) {
    for road in ROADS {
        let id = caller.create(road, "Item__c", &json!({ field: sent }));
        let id = id.unwrap_or_else(|code| panic!("{road:?} {field}: {code}"));
        for reading in READINGS {
            let read = caller.read(reading, "Item__c", &id, field).unwrap();
            let same = match (expected.as_f64(), &read) {
                (Some(number), Json::String(text)) => text.parse() == Ok(number),
                (Some(number), read) => read.as_f64() == Some(number),
                (None, read) => read == expected,
            };
            assert!(same, "{road:?} {reading:?} {field}: {read}");
        }
    }
}

#[test]
fn every_decimal_is_kept_whatever_the_scale() {
    let mut caller = Caller::new(ORG);
    is_stored_as(
        &mut caller,
        "Price__c",
        &json!(1_234.567_891),
        &json!(1_234.567_891),
    );
    is_stored_as(&mut caller, "Wide__c", &json!(0.5), &json!(0.5));
}

#[test]
fn numbers_beyond_fifteen_digits_are_the_nearest_double() {
    let mut caller = Caller::new(ORG);
    let sent: Json = serde_json::from_str("12345678901234.5678").unwrap();
    is_stored_as(
        &mut caller,
        "Price__c",
        &sent,
        &json!(12_345_678_901_234.568),
    );
    let id = caller.create(Road::Row, "Item__c", &json!({"Price__c": sent}));
    let path = format!("sobjects/Item__c/{}", id.unwrap());
    let body = caller.call("GET", &path, None).body;
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains(r#""Price__c":12345678901234.568,"#), "{body}");
}

#[test]
fn datetimes_are_cut_to_seconds() {
    let mut caller = Caller::new(ORG);
    for road in ROADS {
        let sent = json!({"When__c": "2026-05-01T09:30:15.999Z"});
        let id = caller.create(road, "Item__c", &sent).unwrap();
        let read = caller.read(Reading::Row, "Item__c", &id, "When__c");
        assert_eq!(read, Ok(json!("2026-05-01T09:30:15.000+0000")), "{road:?}");
        let bulk = caller.read(Reading::BulkQuery, "Item__c", &id, "When__c");
        assert_eq!(bulk, Ok(json!("2026-05-01T09:30:15.000Z")), "{road:?}");
        let event = caller.read(Reading::Event, "Item__c", &id, "When__c");
        assert_eq!(event, Ok(json!(1_777_627_815_000_i64)), "{road:?}");
    }
}

#[test]
fn email_is_stored_in_lower_case() {
    let mut caller = Caller::new(ORG);
    let sent = json!("Ana.B@Acme.Example");
    is_stored_as(&mut caller, "Mail__c", &sent, &json!("ana.b@acme.example"));
    caller.control("unconfirmed", &json!({"email": "as_sent"}));
    is_stored_as(&mut caller, "Mail__c", &sent, &sent);
}

#[test]
fn text_length_counts_utf16_units() {
    let mut caller = Caller::new(ORG);
    let (fits, long) = (json!({"Short__c": "😀😀"}), json!({"Short__c": "😀😀x"}));
    for road in ROADS {
        assert!(caller.create(road, "Item__c", &fits).is_ok(), "{road:?}");
        let refused = caller.create(road, "Item__c", &long);
        assert_eq!(refused, Err("STRING_TOO_LONG".to_owned()), "{road:?}");
    }
    caller.control("unconfirmed", &json!({"text_length": "characters"}));
    // The length of the field counts characters now, `LEN` still counts units.
    for road in ROADS {
        assert!(caller.create(road, "Item__c", &long).is_ok(), "{road:?}");
        let refused = caller.create(road, "Item__c", &json!({"Short__c": "x😀"}));
        let code = "FIELD_CUSTOM_VALIDATION_EXCEPTION".to_owned();
        assert_eq!(refused, Err(code), "{road:?}");
    }
}

#[test]
fn rich_text_is_stored_sanitised() {
    let mut caller = Caller::new(ORG);
    let sent = json!("<p onclick=\"x()\">it's</p><script>x()</script>");
    let stored = json!("<p>it&#39;s</p>");
    is_stored_as(&mut caller, "Rich__c", &sent, &stored);
    let described = caller.call("GET", "sobjects/Item__c/describe", None);
    let described = described.to_json();
    let fields = described["fields"].as_array().unwrap();
    let rich = fields.iter().find(|field| field["name"] == "Rich__c");
    assert_eq!(rich.unwrap()["htmlFormatted"], json!(true));
    assert_eq!(rich.unwrap()["extraTypeInfo"], "richtextarea");
}

#[test]
fn ignored_write_is_answered_like_a_write() {
    let mut caller = Caller::new(ORG);
    for (number, road) in ROADS.into_iter().enumerate() {
        let start = json!({"Amount__c": 1, "Products__c": true});
        let id = caller.create(road, "Item__c", &start).unwrap();
        let at = (id.as_str(), format!("k{}", number + 1));
        let change = json!({"Amount__c": 2, "Price__c": 7});
        let answer = caller.update(road, "Item__c", (at.0, &at.1), &change);
        assert!(answer.is_ok(), "{road:?} {answer:?}");
        for (field, expected) in [("Amount__c", 1.0), ("Price__c", 7.0)] {
            let read = caller.read(Reading::Query, "Item__c", &id, field);
            assert_eq!(read.unwrap().as_f64(), Some(expected), "{road:?} {field}");
        }
        let last = caller.events().pop().unwrap();
        assert!(!last.changed_fields.contains(&"Amount__c".to_owned()));
    }
}
