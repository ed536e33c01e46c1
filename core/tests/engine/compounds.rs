//! Compound fields: their parts are mapped like any field, the compound itself is refused.

use serde_json::json;

use crate::local_org::LocalOrg;
use crate::stage::Stage;

const PLACE: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "id", auth = "client_credentials", secret = "env:SECRET" }
postgres   = { url = "env:DATABASE_URL", schema = "public" }

[[tenant.acme.object]]
object      = "Account"
table       = "place"
external_id = { field = "External_Id__c", column = "key" }

[tenant.acme.object.fields]
Name             = { column = "name" }
BillingStreet    = { column = "street" }
BillingCity      = { column = "city" }
BillingLatitude  = { column = "latitude" }
"#;

const TABLE: &str = "create table place (
    key text primary key,
    name text,
    street text,
    city text,
    latitude numeric,
    whole text
)";

async fn stage_of(mapping: &str) -> Stage {
    let stage = Stage::of(LocalOrg::new(), mapping).await;
    stage.sql(TABLE).await;
    stage.install().await;
    stage
}

#[tokio::test]
async fn parts_of_an_address_travel_both_ways() {
    let stage = stage_of(PLACE).await;
    stage
        .sql("insert into place values ('p-1', 'Ada', 'Main St\n12', 'Lyon', 38.704022)")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "p-1").unwrap();
    assert_eq!(stage.org.value(&id, "BillingCity").as_deref(), Some("Lyon"));
    assert_eq!(
        stage.org.value(&id, "BillingLatitude").as_deref(),
        Some("38.704022")
    );
    // The event nests the changed parts in the compound.
    stage
        .org
        .update(&id, json!({"BillingCity": "Oslo", "BillingLatitude": null}));
    stage.drain().await;
    let row = "select name, street, city, latitude from place";
    let expected =
        json!({"name": "Ada", "street": "Main St\n12", "city": "Oslo", "latitude": null});
    assert_eq!(stage.rows(row).await, [expected]);
    assert_eq!(stage.org.writing_calls(), 1);
    let report = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!((report.compared, report.drifted.len()), (1, 0));
}

#[tokio::test]
async fn compound_itself_is_refused_by_check() {
    let line = "BillingCity      = { column = \"city\" }";
    let whole = "BillingAddress   = { column = \"whole\" }";
    let stage = stage_of(&PLACE.replace(line, whole)).await;
    let found = stage.engine.check(&stage.tenant).await.unwrap();
    let found: Vec<String> = found
        .iter()
        .filter(|finding| finding.field.is_some())
        .map(|finding| format!("{:?}: {}; {}", finding.level, finding.what, finding.fix))
        .collect();
    assert_eq!(
        found,
        [
            "Error: fields of type address cannot be mapped; map its parts, which are fields too, such as \
          BillingCity or Place__Latitude__s"
        ]
    );
}
