//! Whatever is sent, the org answers.

use proptest::prelude::*;
use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{Org, Request};

proptest! {
    #[test]
    fn any_body_is_answered(body in prop::collection::vec(any::<u8>(), 0..80), patch in any::<bool>()) {
        let mut org = Org::default();
        let token = org.open_session(INTEGRATION_USER).unwrap();
        let path = if patch { "composite/sobjects" } else { "sobjects/Account" };
        let method = if patch { "PATCH" } else { "POST" };
        let request = Request::new(method, &format!("/services/data/v62.0/{path}"))
            .bearer(&token)
            .body("application/json", body);
        let response = org.request(&request);
        prop_assert!((200..500).contains(&response.status));
    }

    #[test]
    fn any_path_is_answered(path in "[a-zA-Z0-9/%_.?=&-]{0,60}") {
        let mut org = Org::default();
        let token = org.open_session(INTEGRATION_USER).unwrap();
        let target = format!("/services/data/v62.0/{path}");
        let response = org.request(&Request::new("GET", &target).bearer(&token));
        prop_assert!((200..500).contains(&response.status));
    }

    #[test]
    fn any_scalar_in_any_field_is_saved_or_refused(
        field in prop::sample::select(vec![
            "Name", "Phone", "AnnualRevenue", "NumberOfEmployees", "Opened__c", "Checked_At__c",
            "Active__c", "Tags__c", "BillingLatitude", "ParentId", "BillingAddress", "Parent",
        ]),
        value in prop_oneof![
            "\\PC{0,20}".prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
            Just(serde_json::json!({"External_Id__c": 5})),
            Just(serde_json::json!([1])),
        ],
    ) {
        let mut org = Org::default();
        let mut fields = serde_json::json!({"Name": "n"});
        fields[field] = value;
        let token = org.open_session(INTEGRATION_USER).unwrap();
        let request = Request::new("POST", "/services/data/v62.0/sobjects/Account")
            .bearer(&token)
            .json(&fields);
        prop_assert!(matches!(org.request(&request).status, 201 | 400));
    }
}
