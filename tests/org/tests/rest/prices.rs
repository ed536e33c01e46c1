//! Products, price books, and the products of opportunities.

use salesforce_org::RecordId;
use salesforce_org::local::PERSON;
use serde_json::{Value as Json, json};

use crate::fixture::Fixture;
use crate::platform::{create, opportunity, update, values, with_features};

/// An org with products, and the id of a price book entry of 20.00.
pub(crate) fn shop() -> (Fixture, String) {
    let mut f = with_features("\"products\"");
    let product = create(
        &mut f,
        "Product2",
        json!({"Name": "Lamp", "IsActive": true}),
    );
    let book = standard_book(&mut f);
    priced(&mut f, &product, &book, 25).unwrap();
    let book = create(
        &mut f,
        "Pricebook2",
        json!({"Name": "Retail", "IsActive": true}),
    );
    let entry = priced(&mut f, &product, &book, 20).unwrap();
    (f, entry)
}

fn standard_book(f: &mut Fixture) -> String {
    let found = f.query("SELECT Id FROM Pricebook2 WHERE IsStandard = TRUE");
    assert_eq!(found["totalSize"], 1);
    found["records"][0]["Id"].as_str().unwrap().to_owned()
}

/// Gives a product a price in a price book, and returns its id or the code of the refusal.
fn priced(f: &mut Fixture, product: &str, book: &str, price: u32) -> Result<String, String> {
    let entry =
        json!({"Product2Id": product, "Pricebook2Id": book, "UnitPrice": price, "IsActive": true});
    saved(&f.send("POST", "sobjects/PricebookEntry", &entry).to_json())
}

fn saved(answer: &Json) -> Result<String, String> {
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    match &answer["id"] {
        Json::Null => Err(text(&answer[0]["errorCode"])),
        id => Ok(text(id)),
    }
}

pub(crate) fn line(f: &mut Fixture, deal: &str, entry: &str, quantity: u32) -> String {
    let fields = json!({"OpportunityId": deal, "PricebookEntryId": entry, "Quantity": quantity});
    create(f, "OpportunityLineItem", fields)
}

#[test]
fn custom_price_needs_an_active_standard_price() {
    let mut f = with_features("\"products\"");
    let product = create(&mut f, "Product2", json!({"Name": "Lamp"}));
    let retail = create(
        &mut f,
        "Pricebook2",
        json!({"Name": "Retail", "IsActive": true}),
    );
    let missing = Err("STANDARD_PRICE_NOT_DEFINED".to_owned());
    assert_eq!(priced(&mut f, &product, &retail, 20), missing);
    let book = standard_book(&mut f);
    let standard = priced(&mut f, &product, &book, 25).unwrap();
    update(
        &mut f,
        "PricebookEntry",
        &standard,
        json!({"IsActive": false}),
    );
    assert_eq!(priced(&mut f, &product, &retail, 20), missing);
    update(
        &mut f,
        "PricebookEntry",
        &standard,
        json!({"IsActive": true}),
    );
    assert!(priced(&mut f, &product, &retail, 20).is_ok());
    let other = create(&mut f, "Product2", json!({"Name": "Shade"}));
    assert_eq!(priced(&mut f, &other, &retail, 20), missing);
}

#[test]
fn product_must_be_of_the_price_book_of_its_opportunity() {
    let (mut f, retail) = shop();
    let found = f.query("SELECT Id FROM PricebookEntry WHERE Pricebook2.IsStandard = TRUE");
    let standard = found["records"][0]["Id"].as_str().unwrap().to_owned();
    let deal = opportunity(&mut f, json!({}));
    line(&mut f, &deal, &retail, 1);
    let book = &values(&mut f, "PricebookEntry", &retail, "Pricebook2Id")[0];
    assert_eq!(
        &values(&mut f, "Opportunity", &deal, "Pricebook2Id")[0],
        book
    );
    let fields = json!({"OpportunityId": deal, "PricebookEntryId": standard, "Quantity": 1});
    let refusal = f
        .send("POST", "sobjects/OpportunityLineItem", &fields)
        .to_json();
    assert_eq!(
        (&refusal[0]["errorCode"], &refusal[0]["fields"]),
        (
            &json!("FIELD_INTEGRITY_EXCEPTION"),
            &json!(["PricebookEntryId"])
        )
    );
    let other = standard_book(&mut f);
    let path = format!("sobjects/Opportunity/{deal}");
    let change = json!({"Pricebook2Id": other});
    assert_eq!(f.send("PATCH", &path, &change).status, 400);
    let empty = opportunity(&mut f, json!({}));
    update(&mut f, "Opportunity", &empty, change);
    line(&mut f, &empty, &standard, 1);
}

#[test]
fn first_product_of_an_inactive_price_book_is_refused() {
    let (mut f, entry) = shop();
    let book = values(&mut f, "PricebookEntry", &entry, "Pricebook2Id")[0].clone();
    update(
        &mut f,
        "Pricebook2",
        book.as_str().unwrap(),
        json!({"IsActive": false}),
    );
    let deal = opportunity(&mut f, json!({}));
    let fields = json!({"OpportunityId": deal, "PricebookEntryId": entry, "Quantity": 1});
    let answer = f
        .send("POST", "sobjects/OpportunityLineItem", &fields)
        .to_json();
    assert_eq!(saved(&answer), Err("FIELD_INTEGRITY_EXCEPTION".to_owned()));
}

#[test]
fn discount_lowers_the_amount_and_keeps_the_price() {
    let (mut f, entry) = shop();
    let deal = opportunity(&mut f, json!({}));
    let item = line(&mut f, &deal, &entry, 3);
    for (discount, total) in [(json!(12.5), 52.5), (json!(100), 0.0), (json!(null), 60.0)] {
        update(
            &mut f,
            "OpportunityLineItem",
            &item,
            json!({"Discount": discount}),
        );
        let shown = "TotalPrice,UnitPrice";
        assert_eq!(
            values(&mut f, "OpportunityLineItem", &item, shown),
            [json!(total), json!(20.0)]
        );
        assert_eq!(
            values(&mut f, "Opportunity", &deal, "Amount"),
            [json!(total)]
        );
    }
}

#[test]
fn amount_is_the_callers_again_without_products() {
    let (mut f, entry) = shop();
    let deal = opportunity(&mut f, json!({"Amount": 7}));
    let item = line(&mut f, &deal, &entry, 3);
    let path = format!("sobjects/OpportunityLineItem/{item}");
    assert_eq!(f.call("DELETE", &path).status, 204);
    assert_eq!(
        values(&mut f, "Opportunity", &deal, "Amount"),
        [json!(60.0)]
    );
    update(&mut f, "Opportunity", &deal, json!({"Amount": 8}));
    assert_eq!(values(&mut f, "Opportunity", &deal, "Amount"), [json!(8.0)]);
}

#[test]
fn products_make_the_amount_and_writes_of_it_are_ignored() {
    let (mut f, entry) = shop();
    let deal = opportunity(&mut f, json!({"Amount": 7}));
    f.org.advance_ms(5_000);
    let item = line(&mut f, &deal, &entry, 3);
    let shown = "UnitPrice,TotalPrice";
    assert_eq!(
        values(&mut f, "OpportunityLineItem", &item, shown),
        [json!(20.0), json!(60.0)]
    );
    let shown = "Amount,ExpectedRevenue,HasOpportunityLineItem,SystemModstamp";
    let expected = [
        json!(60.0),
        json!(6.0),
        json!(true),
        json!("2026-05-01T09:30:05.000+0000"),
    ];
    assert_eq!(values(&mut f, "Opportunity", &deal, shown), expected);
    update(
        &mut f,
        "Opportunity",
        &deal,
        json!({"Amount": 1, "NextStep": "call"}),
    );
    assert_eq!(
        values(&mut f, "Opportunity", &deal, "Amount,NextStep"),
        [json!(60.0), json!("call")]
    );
    let body = json!({"records": [
        {"attributes": {"type": "Opportunity"}, "id": deal, "Amount": 2}]});
    let saved = f.send("PATCH", "composite/sobjects", &body).to_json();
    assert_eq!(saved[0]["success"], json!(true));
    assert_eq!(
        values(&mut f, "Opportunity", &deal, "Amount"),
        [json!(60.0)]
    );
}

#[test]
fn totals_follow_changed_deleted_and_restored_children() {
    let (mut f, entry) = shop();
    let deal = opportunity(&mut f, json!({}));
    let (first, second) = (
        line(&mut f, &deal, &entry, 1),
        line(&mut f, &deal, &entry, 2),
    );
    let amount = |f: &mut Fixture| values(f, "Opportunity", &deal, "Amount")[0].clone();
    assert_eq!(amount(&mut f), json!(60.0));
    update(
        &mut f,
        "OpportunityLineItem",
        &second,
        json!({"UnitPrice": 5}),
    );
    assert_eq!(amount(&mut f), json!(30.0));
    let path = format!("sobjects/OpportunityLineItem/{first}");
    assert_eq!(f.call("DELETE", &path).status, 204);
    assert_eq!(amount(&mut f), json!(10.0));
    let id = RecordId::parse(&first).unwrap();
    f.org.undelete_as(PERSON, id).unwrap();
    assert_eq!(amount(&mut f), json!(30.0));
}

#[test]
fn failed_transaction_takes_back_its_totals() {
    let (mut f, entry) = shop();
    let deal = opportunity(&mut f, json!({"Amount": 7}));
    let kind = json!({"type": "OpportunityLineItem"});
    let body = json!({"allOrNone": true, "records": [
        {"attributes": kind, "OpportunityId": deal, "PricebookEntryId": entry, "Quantity": 1},
        {"attributes": kind, "OpportunityId": deal, "PricebookEntryId": entry}]});
    f.send("POST", "composite/sobjects", &body);
    let shown = "Amount,HasOpportunityLineItem";
    assert_eq!(
        values(&mut f, "Opportunity", &deal, shown),
        [json!(7.0), json!(false)]
    );
}
