//! Channels, managed subscriptions and relays set up over the Tooling API.

use salesforce_org::Position;
use serde_json::json;

use crate::stage::Stage;

#[test]
fn channel_and_member_are_created_as_in_the_guide() {
    let mut stage = Stage::new();
    let channel =
        json!({"FullName": "Sales__chn", "Metadata": {"channelType": "data", "label": "Sales"}});
    let made = stage.call("POST", "tooling/sobjects/PlatformEventChannel", &channel);
    assert_eq!(
        (made.status, &made.to_json()["success"]),
        (201, &json!(true))
    );
    let member = json!({"FullName": "Sales_AccountChangeEvent", "Metadata": {
        "eventChannel": "Sales__chn", "selectedEntity": "AccountChangeEvent",
        "enrichedFields": [{"name": "External_Id__c"}], "filterExpression": ""}});
    assert_eq!(
        stage
            .call(
                "POST",
                "tooling/sobjects/PlatformEventChannelMember",
                &member
            )
            .status,
        201
    );
    let id = stage.insert("Account", json!({"Name": "a", "External_Id__c": "A-1"}));
    stage.update(&id, json!({"Phone": "1"}));
    let events = stage.of_topic("/data/Sales__chn", &Position::Earliest);
    assert_eq!(events[1].fields["External_Id__c"], "A-1");
    let query = "tooling/query?q=SELECT+Id,FullName,Metadata+FROM+PlatformEventChannelMember";
    let found = stage.call("GET", query, &json!(null)).to_json();
    assert_eq!(found["size"], 1);
    assert_eq!(found["records"][0]["FullName"], "Sales_AccountChangeEvent");
    assert_eq!(
        found["records"][0]["Metadata"]["enrichedFields"],
        json!([{"name": "External_Id__c"}])
    );
}

#[test]
fn managed_subscription_is_found_by_name_or_id() {
    let mut stage = Stage::new();
    let body = json!({"FullName": "Managed_Sample", "Metadata": {"topicName": "/data/ChangeEvents",
        "defaultReplay": "EARLIEST", "errorRecoveryReplay": "LATEST", "state": "RUN", "label": "Sample"}});
    let made = stage
        .call("POST", "tooling/sobjects/ManagedEventSubscription", &body)
        .to_json();
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("18x"));
    for wanted in [
        "DeveloperName='Managed_Sample'".to_owned(),
        format!("Id='{id}'"),
        format!("Id='{}'", &id[..15]),
    ] {
        let query = format!(
            "tooling/query/?q=SELECT%20Id%2C%20DeveloperName%2C%20Metadata%20FROM%20\
             ManagedEventSubscription%20WHERE%20{wanted}%20LIMIT%201"
        );
        let found = stage.call("GET", &query, &json!(null)).to_json();
        assert_eq!(found["size"], 1, "{wanted}: {found}");
        assert_eq!(
            found["records"][0]["Metadata"]["topicName"],
            "/data/ChangeEvents"
        );
    }
    let path = format!("tooling/sobjects/ManagedEventSubscription/{id}");
    let stop = json!({"Metadata": {"state": "STOP"}});
    assert_eq!(stage.call("PATCH", &path, &stop).status, 204);
    let row = stage.call("GET", &path, &json!(null)).to_json();
    assert_eq!(row["Metadata"]["state"], "STOP");
    assert_eq!(stage.call("DELETE", &path, &json!(null)).status, 204);
    assert_eq!(stage.call("GET", &path, &json!(null)).status, 404);
}

#[test]
fn relay_is_created_stopped_and_started_by_its_state() {
    let mut stage = Stage::new();
    let body = json!({"FullName": "Relay", "Metadata": {"eventChannel": "ChangeEvents",
        "destinationResourceName": "callout:http://127.0.0.1:9/", "label": "Relay",
        "relayOption": "{\"ReplayRecovery\":\"EARLIEST\"}"}});
    let made = stage
        .call("POST", "tooling/sobjects/EventRelayConfig", &body)
        .to_json();
    let path = format!(
        "tooling/sobjects/EventRelayConfig/{}",
        made["id"].as_str().unwrap()
    );
    let state =
        |stage: &mut Stage| stage.call("GET", &path, &json!(null)).to_json()["State"].clone();
    assert_eq!(state(&mut stage), "STOP");
    let run = json!({"Metadata": {"state": "RUN"}});
    assert_eq!(stage.call("PATCH", &path, &run).status, 204);
    assert_eq!(state(&mut stage), "RUN");
    let second = stage.call("POST", "tooling/sobjects/EventRelayConfig", &body);
    assert_eq!(second.status, 400, "a channel has one relay");
}

#[test]
fn unknown_tooling_requests_get_salesforce_errors() {
    let mut stage = Stage::new();
    let nothing = json!(null);
    for (method, path, body, status, code) in [
        (
            "POST",
            "tooling/sobjects/ApexClass",
            json!({}),
            400,
            "INVALID_TYPE",
        ),
        (
            "POST",
            "tooling/sobjects/PlatformEventChannel",
            json!({}),
            400,
            "REQUIRED_FIELD_MISSING",
        ),
        (
            "GET",
            "tooling/query?q=SELECT+Id+FROM+Nope",
            nothing.clone(),
            400,
            "INVALID_TYPE",
        ),
        (
            "GET",
            "tooling/query?q=SELECT+Nope+FROM+PlatformEventChannel",
            nothing.clone(),
            200,
            "",
        ),
        (
            "GET",
            "tooling/query?q=nonsense",
            nothing.clone(),
            400,
            "MALFORMED_QUERY",
        ),
        ("GET", "tooling/nope", nothing.clone(), 404, "NOT_FOUND"),
        ("PUT", "tooling/query", nothing, 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = stage.call(method, path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.to_json());
        if !code.is_empty() {
            assert_eq!(answer.to_json()[0]["errorCode"], code, "{path}");
        }
    }
}
