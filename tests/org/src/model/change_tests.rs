//! Golden data: what a real client decoded, byte for byte.

use super::*;
use crate::model::decode::DecodedEvent;
use crate::model::number::Double;
use crate::model::org_file::OrgFile;
use crate::model::schema::Schema;

const GOLDEN: &str = concat!(
    "0e4163636f756e74022430303144303030303030497168534c49415a000252636f6d2f73616c6573666f7263652f6170",
    "692f726573742f36322e303b636c69656e743d73796e63644830303036613566332d643531642d653663342d316239",
    "632d3761396231643265336634300280a0abfef962aaf9e0d8f8f0042430303544303030303030314c6a6457494153",
    "02083078303400000408307836340c332d30783032000000020002084c796f6e00000200000000000016400280a0",
    "abfef962"
);

/// A small Account, like the one of the golden datum.
fn small_account() -> Schema {
    let built_in = OrgFile::built_in().schema().unwrap();
    let account = built_in.object(built_in.find("Account").unwrap());
    let keep = ["BillingStreet", "BillingCity", "BillingLatitude"];
    let mut object = account.clone();
    for field in &mut object.fields {
        if field.name.ends_with("Address") {
            let names: Vec<String> = account.fields.iter().map(|f| f.name.clone()).collect();
            field
                .parts
                .retain(|part| keep.contains(&names[part.0].as_str()));
        }
    }
    Schema::new(vec![object])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn update_encodes_to_the_golden_datum() {
    let schema = small_account();
    let object = &schema.objects[0];
    let at = |name: &str| object.find(name).unwrap();
    let shown = [
        "Name",
        "Type",
        "BillingAddress",
        "ShippingAddress",
        "AnnualRevenue",
        "LastModifiedDate",
    ];
    let layout = Layout::of(object, shown.iter().map(|name| at(name)));
    let mut row = vec![Value::Null; object.fields.len()];
    row[at("Name").0] = Value::Text("Acme".into());
    row[at("BillingCity").0] = Value::Text("Lyon".into());
    row[at("BillingStreet").0] = Value::Text("unchanged".into());
    row[at("AnnualRevenue").0] = Value::Double(Double::of(5.5));
    row[at("LastModifiedDate").0] = Value::Datetime(1_700_000_000_000);
    let changed =
        ["LastModifiedDate", "BillingCity", "AnnualRevenue", "Type"].map(|name| Changed {
            field: at(name),
            old: &Value::Null,
        });
    let row = Row::of(row.into());
    let body = Body::new(ChangeKind::Update, object, &layout, &row, &changed);
    let commit = Commit {
        origin: "com/salesforce/api/rest/62.0;client=syncd".to_owned(),
        transaction_key: "0006a5f3-d51d-e6c4-1b9c-7a9b1d2e3f40".to_owned(),
        timestamp_ms: 1_700_000_000_000,
        number: 10_736_437_567_061,
        user: "005D0000001LjdWIAS".to_owned(),
    };
    let datum = body.datum(object, &commit, 1, &["001D000000IqhSLIAZ".to_owned()]);
    assert_eq!(hex(&datum), GOLDEN);

    let decoded = DecodedEvent::read(&layout, &datum).unwrap();
    assert_eq!(
        decoded.changed_fields,
        [
            "Type",
            "AnnualRevenue",
            "LastModifiedDate",
            "BillingAddress.City"
        ]
    );
    assert_eq!(decoded.nulled_fields, ["Type"]);
    assert_eq!(
        decoded.fields["BillingAddress"],
        serde_json::json!({"City": "Lyon"})
    );
}

#[test]
fn account_schema_has_the_positions_of_a_real_org() {
    let schema = OrgFile::built_in().schema().unwrap();
    let account = schema.object(schema.find("Account").unwrap());
    let layout = Layout::new(account);
    let bit = |name: &str| layout.bit(account.find(name).unwrap()).unwrap();
    for (name, top) in [
        ("Name", 1),
        ("Fax", 7),
        ("Industry", 11),
        ("Description", 16),
        ("LastModifiedDate", 22),
    ] {
        assert_eq!((bit(name).top, bit(name).child), (top, None), "{name}");
    }
    assert_eq!(
        (bit("BillingStreet").top, bit("BillingStreet").child),
        (4, Some(0))
    );
    assert_eq!(
        bitmap::encode([bit("LastModifiedDate"), bit("BillingStreet")]),
        ["0x400000", "4-0x01"]
    );
}

#[test]
fn schemas_are_valid_avro_with_stable_ids() {
    let schema = OrgFile::built_in().schema().unwrap();
    for object in &schema.objects {
        let layout = Layout::new(object);
        apache_avro::Schema::parse_str(&layout.schema.json).unwrap();
        assert_eq!(layout.schema.id.len(), 22);
        assert_eq!(layout.schema.id, Layout::new(object).schema.id);
    }
    let ids: std::collections::HashSet<_> = schema
        .objects
        .iter()
        .map(|object| Layout::new(object).schema.id)
        .collect();
    assert_eq!(ids.len(), schema.objects.len());
}
