//! Single records: by id and by external id.

use salesforce_org::Org;
use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, error, refused};

#[test]
fn record_is_created_read_updated_and_deleted() {
    let mut f = Fixture::new();
    let response = f.send(
        "POST",
        "sobjects/account/",
        &json!({"Name": "  Acme ", "Phone": ""}),
    );
    let json = response.to_json();
    let id = json["id"].as_str().unwrap().to_owned();
    assert_eq!((response.status, id.len()), (201, 18));
    assert_eq!(json, json!({"id": id, "success": true, "errors": []}));
    let url = format!("/services/data/v62.0/sobjects/Account/{id}");
    assert_eq!(response.header("location"), Some(url.as_str()));

    let read = f.call(
        "GET",
        &format!(
            "sobjects/Account/{}?fields=name,Phone,CreatedDate",
            &id[..15]
        ),
    );
    assert_eq!(
        read.to_json(),
        json!({"attributes": {"type": "Account", "url": url}, "Name": "Acme", "Phone": null,
               "CreatedDate": "2026-05-01T09:30:00.000+0000"})
    );
    let path = format!("sobjects/Account/{id}");
    let patched = f.send(
        "PATCH",
        &path,
        &json!({"Industry": "Media", "AnnualRevenue": 1e3}),
    );
    assert_eq!((patched.status, patched.body.len()), (204, 0));
    let tunnelled = f.send(
        "POST",
        &format!("{path}?_HttpMethod=PATCH"),
        &json!({"Industry": null}),
    );
    assert_eq!(tunnelled.status, 204);
    assert_eq!(f.call("GET", &path).to_json()["Industry"], Json::Null);
    assert_eq!(f.call("HEAD", &path).body.len(), 0);
    assert_eq!(f.call("DELETE", &path).status, 204);
    for method in ["DELETE", "GET"] {
        let gone = f.call(method, &path);
        assert_eq!(
            refused(&gone),
            error(404, "ENTITY_IS_DELETED", "entity is deleted")
        );
    }
    assert_eq!(f.send("PATCH", &path, &json!({"Name": "x"})).status, 404);
}

/// Object and body of a create, and the code, message and fields of its error.
const REFUSALS: &str = r#"
Contact | {"FirstName":"A"} | REQUIRED_FIELD_MISSING | Required fields are missing: [LastName] | ["LastName"]
Account | {"Name":"<long>"} | STRING_TOO_LONG | Account Name: data value too large: <long> (max length=255) | ["Name"]
Account | {"Name":"a","Foo":1} | INVALID_FIELD | No such column 'Foo' on sobject of type Account | null
Account | {"Name":"a","CreatedDate":"2020-01-01T00:00:00Z"} | INVALID_FIELD_FOR_INSERT_UPDATE | Unable to create/update fields: CreatedDate. Please check the security settings of this field and verify that it is read/write for your profile or permission set. | ["CreatedDate"]
Account | {"Name":"a","Tags__c":"large;huge"} | INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST | Tags: bad value for restricted picklist field: huge | ["Tags__c"]
Account | {"Name":"a","External_Id__c":"a-1"} | DUPLICATE_VALUE | duplicate value found: External_Id__c duplicates value on record with id: <id> | []
Account | {"Name":"a","ParentId":"0035g0000000001AAA"} | MALFORMED_ID | ParentId ID: id value of incorrect type: 0035g0000000001AAA | ["ParentId"]
Account | {"Name":"a","ParentId":"0015g00000000zzAAA"} | INVALID_CROSS_REFERENCE_KEY | invalid cross reference id | ["ParentId"]
Contact | {"LastName":"a","Email":"unknown"} | INVALID_EMAIL_ADDRESS | Email: invalid email address: unknown | ["Email"]
Contact | {"LastName":"a","Account":{"External_Id__c":"zz"}} | INVALID_FIELD | Foreign key external ID: zz not found for field External_Id__c in entity Account | []
Account | {"Name":"a","Active__c":null} | INVALID_TYPE_ON_FIELD_IN_RECORD | Active__c: value not of required type: | ["Active__c"]
Account | {"Name":"a","NumberOfEmployees":1000000000000} | NUMBER_OUTSIDE_VALID_RANGE | Employees: value outside of valid range on numeric field: 1000000000000 | ["NumberOfEmployees"]
Account | {"Id":"<id>","Name":"a"} | INVALID_FIELD_FOR_INSERT_UPDATE | cannot specify Id in an insert call | ["Id"]
"#;

#[test]
fn invalid_fields_get_salesforce_errors() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "Acme", "External_Id__c": "A-1"}));
    let table = REFUSALS
        .replace("<long>", &"x".repeat(256))
        .replace("<id>", &id[..15]);
    for line in table.trim().lines() {
        let [object, body, code, message, fields] =
            line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let body = serde_json::from_str(body).unwrap();
        let fields: Json = serde_json::from_str(fields).unwrap();
        let response = f.send("POST", &format!("sobjects/{object}"), &body);
        let one = &response.to_json()[0];
        assert_eq!(
            (response.status, one["errorCode"].as_str()),
            (400, Some(code)),
            "{one}"
        );
        assert_eq!(
            (one["message"].as_str().unwrap().trim_end(), &one["fields"]),
            (message, &fields)
        );
    }
    assert_eq!(f.org.count("Account"), 1);
}

#[test]
fn wrong_types_and_broken_json_are_parser_errors() {
    let mut f = Fixture::new();
    for (body, message) in [
        (
            r#"{"Name":"a","Opened__c":"soon"}"#,
            "Cannot deserialize instance of date from VALUE_STRING value soon or request may be \
             missing a required field at [line:1, column:26]",
        ),
        (
            "",
            "The HTTP entity body is required, but this request has no entity body.",
        ),
    ] {
        let request = f
            .request("POST", "sobjects/Account")
            .body("application/json", body);
        let response = f.org.request(&request);
        assert_eq!(refused(&response), error(400, "JSON_PARSER_ERROR", message));
    }
    let broken = f
        .request("POST", "sobjects/Account")
        .body("application/json", "{\"Name\":x}");
    let response = f.org.request(&broken);
    assert_eq!(response.to_json()[0]["errorCode"], "JSON_PARSER_ERROR");
    let xml = f
        .request("POST", "sobjects/Account")
        .body("application/xml", "<a/>");
    assert_eq!(f.org.request(&xml).status, 415);
}

#[test]
fn upsert_by_external_id_answers_as_documented() {
    let mut f = Fixture::new();
    let path = "sobjects/Account/External_Id__c/a%20b%2F%C3%A9";
    let made = f.send("PATCH", path, &json!({"Name": "One"}));
    let id = made.to_json()["id"].clone();
    let expected = json!({"id": id, "success": true, "errors": [], "created": true});
    assert_eq!((made.status, made.to_json()), (201, expected));
    let again = f.send(
        "PATCH",
        "sobjects/account/external_id__c/A%20B%2F%C3%89",
        &json!({}),
    );
    let expected = json!({"id": id, "success": true, "errors": [], "created": false});
    assert_eq!((again.status, again.to_json()), (200, expected));
    let old = f.send(
        "PATCH",
        &format!("/services/data/v45.0/{path}"),
        &json!({"Name": "Two"}),
    );
    assert_eq!((old.status, old.body.len()), (204, 0));
    let old = f.send(
        "PATCH",
        "/services/data/v45.0/sobjects/Account/External_Id__c/n",
        &json!({"Name": "N"}),
    );
    assert_eq!((old.status, &old.to_json()["created"]), (201, &Json::Null));
    assert_eq!(f.call("GET", path).to_json()["External_Id__c"], "a b/é");
}

#[test]
fn ambiguous_external_id_writes_nothing_and_lists_records() {
    let org = Org::from_toml(
        "[[object]]\nname = \"Account\"\n[[object.field]]\nname = \"Loose__c\"\ntype = \
         \"string\"\nexternal_id = true\n",
    );
    let mut f = Fixture::of(org.unwrap());
    for name in ["x", "y"] {
        f.account(json!({"Name": name, "Loose__c": "same"}));
    }
    let before = f.events().len();
    let many = f.send(
        "PATCH",
        "sobjects/Account/Loose__c/SAME",
        &json!({"Name": "z"}),
    );
    let urls = many.to_json();
    assert_eq!(
        (
            many.status,
            urls.as_array().unwrap().len(),
            f.events().len()
        ),
        (300, 2, before)
    );
    assert!(
        urls[0]
            .as_str()
            .unwrap()
            .starts_with("/services/data/v62.0/sobjects/Account/001")
    );
}

#[test]
fn invalid_upserts_are_refused() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "N", "External_Id__c": "n"}));
    let unknown = f.send("PATCH", "sobjects/Account/Phone/1", &json!({"Name": "z"}));
    let message = "Provided external ID field does not exist or is not accessible: Phone";
    assert_eq!(refused(&unknown), error(404, "NOT_FOUND", message));
    for (target, body, status) in [
        (
            "sobjects/Account/External_Id__c/n",
            json!({"External_Id__c": "n"}),
            400,
        ),
        ("sobjects/Account/External_Id__c/n", json!({"Id": id}), 400),
        (
            "sobjects/Account/External_Id__c/q?updateOnly=true",
            json!({"Name": "q"}),
            404,
        ),
        (
            "sobjects/Account/External_Id__c/x@y.inc",
            json!({"Name": "q"}),
            404,
        ),
        ("sobjects/Account/External_Id__c/new", json!({}), 400),
    ] {
        assert_eq!(
            f.send("PATCH", target, &body).status,
            status,
            "{target} {body}"
        );
    }
    assert_eq!(
        f.call("DELETE", "sobjects/Account/External_Id__c/n").status,
        204
    );
    assert_eq!(
        f.call("GET", "sobjects/Account/External_Id__c/n").status,
        404
    );
    assert_eq!(
        f.send("POST", "sobjects/Account/Id", &json!({"Name": "p"}))
            .status,
        201
    );
}

#[test]
fn date_conditions_stop_a_write() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "a"}));
    let path = format!("sobjects/Account/{id}");
    let before = "Fri, 01 May 2026 09:29:59 GMT";
    let same = "Fri, 01 May 2026 09:30:00 GMT";
    let mut with = |method: &str, header: &str, date: &str| {
        let request = f
            .request(method, &path)
            .header(header, date)
            .json(&json!({"Name": "b"}));
        f.org.request(&request).status
    };
    assert_eq!(with("PATCH", "If-Unmodified-Since", before), 412);
    assert_eq!(with("PATCH", "If-Unmodified-Since", "yesterday"), 400);
    assert_eq!(with("GET", "If-Modified-Since", same), 304);
    assert_eq!(with("GET", "If-Modified-Since", before), 200);
    assert_eq!(with("PATCH", "If-Unmodified-Since", same), 204);
}

#[test]
fn account_entity_tag_changes_with_its_values() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "a"}));
    let path = format!("sobjects/Account/{id}");
    let first = f.call("GET", &path).header("etag").unwrap().to_owned();
    f.send("PATCH", &path, &json!({"Name": "b"}));
    let second = f.call("HEAD", &path).header("etag").unwrap().to_owned();
    assert_ne!(
        first, second,
        "two writes in one second differ in their tags"
    );
    let mut with = |method: &str, header: &str, tag: &str| {
        let request = f.request(method, &path).header(header, tag);
        f.org.request(&request.json(&json!({"Name": "c"}))).status
    };
    assert_eq!(with("PATCH", "If-Match", &first), 412);
    assert_eq!(with("GET", "If-None-Match", &second), 304);
    assert_eq!(with("GET", "If-None-Match", &first), 200);
    assert_eq!(with("PATCH", "If-None-Match", &second), 412);
    assert_eq!(with("GET", "If-Match", &format!("\"x\", W/{second}")), 200);
    assert_eq!(with("PATCH", "If-Match", &second), 204);
    let contact = f
        .send("POST", "sobjects/Contact", &json!({"LastName": "x"}))
        .to_json();
    let contact = format!("sobjects/Contact/{}", contact["id"].as_str().unwrap());
    assert_eq!(f.call("GET", &contact).header("etag"), None);
}

#[test]
fn custom_object_has_its_own_keys_relationships_and_topic() {
    let org = Org::from_toml(
        r#"
        [[object]]
        name = "Invoice__c"
          [[object.field]]
          name = "Number__c"
          type = "double"
          scale = 0
          external_id = true
          unique = true
          [[object.field]]
          name = "Code__c"
          type = "string"
          external_id = true
          case_sensitive = true
          [[object.field]]
          name = "Account__c"
          type = "reference"
          reference_to = ["Account"]
          [[object.field]]
          name = "Paid__c"
          type = "boolean"
          default = true
        "#,
    );
    let mut f = Fixture::of(org.unwrap());
    f.account(json!({"Name": "Acme", "External_Id__c": "A"}));
    let body = json!({"Code__c": "x", "Account__r": {"External_Id__c": "a"}});
    let made = f.send("PATCH", "sobjects/Invoice__c/Number__c/7", &body);
    assert_eq!(made.status, 201, "{}", made.to_json());
    let again = f.send("PATCH", "sobjects/invoice__c/number__c/7.0", &json!({}));
    assert_eq!(again.status, 200);
    let upper = f.send("PATCH", "sobjects/Invoice__c/Code__c/X", &json!({}));
    assert_eq!(upper.status, 201, "another case is another key");
    let found = f.query(
        "SELECT Number__c, Account__r.Name FROM Invoice__c WHERE Paid__c = true AND Code__c = 'x'",
    );
    assert_eq!(found["totalSize"], json!(1));
    assert_eq!(found["records"][0]["Number__c"], json!(7.0));
    assert_eq!(found["records"][0]["Account__r"]["Name"], "Acme");
    let topic = f.org.get_topic("/data/Invoice__ChangeEvent").unwrap();
    assert!(
        f.org
            .get_schema(&topic.schema_id)
            .unwrap()
            .schema_json
            .contains("Invoice__ChangeEvent")
    );
    assert_eq!(f.events().last().unwrap().entity, "Invoice__c");
}
