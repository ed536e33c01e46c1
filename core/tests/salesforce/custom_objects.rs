//! Custom objects: number keys, custom relationships, their own topics.

use std::collections::BTreeMap;
use std::time::Duration;

use salesforce_org::Org;
use syncline::model::observation::ObservationKind;
use syncline::model::value::{Decimal, Value};
use syncline::ports::salesforce::{
    Changes, FieldWrite, Interest, Lane, ReadBy, ReplayFrom, SalesforcePort, Write, WriteTarget,
};

use crate::stand::{Stand, TIMEOUT, account, applied, field, fields, object};

const OBJECTS: &str = r#"
    [[object]]
    name = "Invoice__c"
      [[object.field]]
      name = "Number__c"
      type = "double"
      precision = 18
      scale = 0
      external_id = true
      unique = true
      [[object.field]]
      name = "Corrects__c"
      type = "reference"
      reference_to = ["Invoice__c"]
"#;

async fn stand() -> Stand {
    let stand = Stand::of(Org::from_toml(OBJECTS).unwrap()).await;
    stand.client.describe(&object("Invoice__c")).await.unwrap();
    stand
}

fn invoice(number: &str, values: &[(&str, FieldWrite)]) -> Write {
    Write {
        object: object("Invoice__c"),
        target: WriteTarget::UpsertByExternalId {
            field: field("Number__c"),
            value: number.to_owned(),
        },
        ..account("unused", values)
    }
}

#[tokio::test]
async fn number_key_is_sent_and_queried_as_a_number() {
    let stand = stand().await;
    let corrects = FieldWrite::Parent {
        relationship: "Corrects__r".to_owned(),
        field: field("Number__c"),
        external_id: "7".to_owned(),
    };
    let first = stand.write(&[invoice("7", &[])]).await;
    for lane in [Lane::Single, Lane::Collections] {
        let write = invoice("8", &[("Corrects__c", corrects.clone())]);
        let outcomes = stand.client.write(&[write], lane, TIMEOUT).await;
        let second = applied(&outcomes[0]);
        let parent = stand.value_of(&second, "Corrects__c");
        assert_eq!(
            parent.as_deref(),
            Some(applied(&first[0]).as_str()),
            "{lane:?}"
        );
    }
    let by = ReadBy::ExternalId {
        field: field("Number__c"),
        values: vec!["007".to_owned(), "no number".to_owned()],
    };
    let names = fields(&["Number__c"]);
    let read = stand.client.read(&object("Invoice__c"), &by, &names).await;
    let read = read.unwrap();
    assert_eq!(read.len(), 1);
    let seven = Value::Number(Decimal::parse("7").unwrap());
    assert_eq!(read[0].fields[&field("Number__c")], seven);
}

#[tokio::test]
async fn custom_object_has_its_own_topic() {
    let stand = stand().await;
    stand.write(&[invoice("7", &[])]).await;
    let interest = Interest {
        external_id: field("Number__c"),
        fields: fields(&["Number__c", "Corrects__c"]),
        changes: Changes::OfFields,
    };
    let objects = BTreeMap::from([(object("Invoice__c"), interest)]);
    let mut stream = stand
        .client
        .subscribe(
            "/data/Invoice__ChangeEvent",
            &ReplayFrom::Earliest,
            &objects,
        )
        .await
        .unwrap();
    let batch = stream.next(100, Duration::from_secs(10)).await.unwrap();
    let batch = batch.unwrap();
    assert_eq!(batch.observations[0].kind, ObservationKind::Created);
    assert_eq!(batch.observations[0].external_id.as_deref(), Some("7"));
}
