//! Sessions, versions, paths and limits.

use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{Org, Request};
use serde_json::json;

use crate::fixture::{Fixture, error, refused};

#[test]
fn sessions_expire_and_invalid_tokens_are_refused() {
    let mut f = Fixture::new();
    assert_eq!(f.call("GET", "limits").status, 200);
    f.org.advance_ms(3 * 3_600_000);
    let dead = f.call("GET", "limits");
    assert_eq!(
        refused(&dead),
        error(401, "INVALID_SESSION_ID", "Session expired or invalid")
    );
    f.token = f.org.open_session(INTEGRATION_USER).unwrap();
    assert_eq!(f.call("GET", "limits").status, 200);
    let basic =
        Request::new("GET", "/services/data/v62.0/limits").header("Authorization", "Basic x");
    assert_eq!(
        f.org.request(&basic).to_json()[0]["errorCode"],
        "INVALID_AUTH_HEADER"
    );
}

#[test]
fn unknown_versions_paths_and_methods_are_refused() {
    let mut f = Fixture::new();
    let versions = f.org.request(&Request::new("GET", "/services/data/"));
    let doubled = Request::new("GET", "//services/data/");
    assert_eq!(f.org.request(&doubled).status, 200, "a doubled first slash");
    assert_eq!(versions.to_json()[37]["version"], "68.0");
    assert_eq!(versions.header("sforce-limit-info"), None);
    let root = f.call("GET", "/services/data/v68.0/").to_json();
    assert_eq!(root["sobjects"], "/services/data/v68.0/sobjects");
    for (path, status) in [
        ("/services/data/v30.0/limits", 410),
        ("/services/data/v69.0/limits", 404),
        ("/services/data/x/limits", 404),
        ("nope", 404),
        ("sobjects/Nope", 404),
        ("/elsewhere", 404),
    ] {
        assert_eq!(f.call("GET", path).status, status, "{path}");
    }
    let missing = f.call("GET", "sobjects/Account/0015g00000000zzAAA");
    assert_eq!(
        refused(&missing),
        error(404, "NOT_FOUND", "The requested resource does not exist")
    );
    assert_eq!(
        f.call("GET", "sobjects/Account/0035g00000000zzAAA").status,
        400
    );
    let wrong = f.call("PUT", "sobjects/Account");
    assert_eq!(
        (wrong.status, &wrong.to_json()[0]["errorCode"]),
        (405, &json!("METHOD_NOT_ALLOWED"))
    );
}

const EXACT: &str = r#"
[org]
daily_api_requests = 2
unconfirmed = { limit_info = "exact" }
"#;

#[test]
fn calls_above_the_limit_are_refused() {
    let mut f = Fixture::of(Org::from_toml(EXACT).unwrap());
    assert_eq!(
        f.call("GET", "limits").header("sforce-limit-info"),
        Some("api-usage=1/2")
    );
    let left = f.call("GET", "limits").to_json();
    assert_eq!(left["DailyApiRequests"], json!({"Max": 2, "Remaining": 0}));
    let over = f.call("GET", "limits");
    assert_eq!(
        refused(&over),
        error(
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "TotalRequests Limit exceeded."
        )
    );
    f.org.advance_ms(26 * 3_600_000);
    f.token = f.org.open_session(INTEGRATION_USER).unwrap();
    assert_eq!(f.call("GET", "limits").status, 200);
}
