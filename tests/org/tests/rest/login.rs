//! Logins: every grant, its refusals, and the lifetime of tokens.

use std::collections::BTreeMap;

use salesforce_org::local::{
    CLIENT_ID, CLIENT_SECRET, INTEGRATION_USER, PASSWORD, REFRESH_TOKEN, SECURITY_TOKEN,
};
use salesforce_org::{Org, Request, Response};
use serde_json::{Value as Json, json};

const FORM: &str = "application/x-www-form-urlencoded";

fn post(org: &mut Org, path: &str, form: &str) -> Response {
    let path = format!("/services/oauth2/{path}");
    org.request(&Request::new("POST", &path).body(FORM, form))
}

fn token(org: &mut Org, form: &str) -> (u16, Json) {
    let form = form
        .replace(
            "<app>",
            &format!("client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"),
        )
        .replace("<refresh>", &format!("refresh_token={REFRESH_TOKEN}"));
    let response = post(org, "token", &form);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    (response.status, response.to_json())
}

fn limits(org: &mut Org, token: &Json) -> u16 {
    let request = Request::new("GET", "/services/data/v62.0/limits");
    org.request(&request.bearer(token.as_str().unwrap())).status
}

#[test]
fn revoking_a_refresh_token_ends_its_sessions() {
    let mut org = Org::default();
    let (status, first) = token(&mut org, "grant_type=refresh_token&<app>&<refresh>");
    assert_eq!(status, 200, "{first}");
    assert_eq!(
        first["refresh_token"],
        Json::Null,
        "the refresh token is returned once, not at each use"
    );
    assert!(first["issued_at"].as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(first["signature"].as_str().unwrap().len(), 44);
    let secretless = format!("grant_type=refresh_token&client_id={CLIENT_ID}&<refresh>");
    assert_eq!(token(&mut org, &secretless).0, 200);
    assert_eq!(limits(&mut org, &first["access_token"]), 200);

    assert_eq!(
        post(&mut org, "revoke", &format!("token={REFRESH_TOKEN}")).status,
        200
    );
    assert_eq!(limits(&mut org, &first["access_token"]), 401);
    let dead =
        json!({"error": "invalid_grant", "error_description": "expired access/refresh token"});
    assert_eq!(
        token(&mut org, "grant_type=refresh_token&<app>&<refresh>"),
        (400, dead)
    );
    let again = post(&mut org, "revoke", &format!("token={REFRESH_TOKEN}"));
    assert_eq!(
        (again.status, &again.to_json()["error"]),
        (400, &json!("invalid_token"))
    );
}

#[test]
fn rotated_refresh_tokens_work_once() {
    let mut org = Org::from_toml(
        "[[app]]\nclient_id = \"erp\"\nrotate_refresh_tokens = true\n[[app.refresh_token]]\n\
         token = \"r1\"\nuser = \"kim@acme.example\"\n",
    )
    .unwrap();
    let with =
        |token: &str| format!("grant_type=refresh_token&client_id=erp&refresh_token={token}");
    let (status, first) = token(&mut org, &with("r1"));
    assert_eq!(status, 200, "{first}");
    assert_eq!(token(&mut org, &with("r1")).0, 400);
    let (status, second) = token(&mut org, &with(first["refresh_token"].as_str().unwrap()));
    assert_eq!(status, 200);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(
        limits(&mut org, &first["access_token"]),
        200,
        "open sessions stay"
    );
}

#[test]
fn password_works_with_or_without_the_security_token() {
    let mut org = Org::default();
    for (password, status) in [
        (PASSWORD.to_owned(), 200),
        (format!("{PASSWORD}{SECURITY_TOKEN}"), 200),
        (format!("{PASSWORD}x"), 400),
        (String::new(), 400),
    ] {
        let form =
            format!("grant_type=password&<app>&username={INTEGRATION_USER}&password={password}");
        let (found, json) = token(&mut org, &form);
        assert_eq!(found, status, "{password}");
        if status == 400 {
            assert_eq!(json["error_description"], "authentication failure");
        }
    }
}

#[test]
fn token_endpoint_refusals_have_the_right_error() {
    let mut org = Org::default();
    for (form, error, description) in [
        (
            "grant_type=client_credentials",
            "invalid_client_id",
            "client identifier invalid",
        ),
        (
            "grant_type=password&client_id=nope",
            "invalid_client_id",
            "client identifier invalid",
        ),
        (
            "grant_type=client_credentials&client_id=local-only-client-id&client_secret=x",
            "invalid_client",
            "invalid client credentials",
        ),
        (
            "grant_type=device",
            "unsupported_grant_type",
            "grant type not supported",
        ),
        ("", "unsupported_grant_type", "grant type not supported"),
        (
            "grant_type=authorization_code&<app>&code=x",
            "invalid_grant",
            "expired authorization code",
        ),
    ] {
        let expected = json!({"error": error, "error_description": description});
        assert_eq!(token(&mut org, form), (400, expected), "{form}");
    }
    let form = format!(
        "grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"
    );
    let request = Request::new("POST", "/services/oauth2/token")
        .header("Host", "login.salesforce.com")
        .body(FORM, form);
    let refused = org.request(&request).to_json();
    assert_eq!(
        refused["error_description"],
        "request not supported on this domain"
    );
}

#[test]
fn authorization_code_works_once() {
    let mut org = Org::default();
    let target = format!(
        "/services/oauth2/authorize?response_type=code&client_id={CLIENT_ID}\
         &redirect_uri=http%3A%2F%2Flocalhost%3A1717%2Fcb&state=a%26b"
    );
    let mut code = || {
        let answer = org.request(&Request::new("GET", &target));
        let location = answer.header("location").unwrap().to_owned();
        assert_eq!(answer.status, 302);
        let (_, query) = location.split_once("http://localhost:1717/cb?").unwrap();
        let pairs: BTreeMap<&str, &str> =
            query.split('&').filter_map(|p| p.split_once('=')).collect();
        assert_eq!(pairs["state"], "a%26b");
        pairs["code"].to_owned()
    };
    let (first, late) = (code(), code());
    let exchange = |code: &str| format!("grant_type=authorization_code&<app>&code={code}");
    let (status, answer) = token(&mut org, &exchange(&first));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(token(&mut org, &exchange(&first)).0, 400);
    let refresh = answer["refresh_token"].as_str().unwrap();
    let renew = format!("grant_type=refresh_token&<app>&refresh_token={refresh}");
    assert_eq!(token(&mut org, &renew).0, 200);
    org.advance_ms(16 * 60_000);
    assert_eq!(token(&mut org, &exchange(&late)).0, 400);
}

#[test]
fn introspection_does_not_extend_sessions() {
    let mut org = Org::default();
    let (_, granted) = token(&mut org, "grant_type=refresh_token&<app>&<refresh>");
    let access = granted["access_token"].as_str().unwrap().to_owned();
    let look = |org: &mut Org, token: &str| {
        let form = format!("client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}&token={token}");
        post(org, "introspect", &form).to_json()
    };
    let live = look(&mut org, &access);
    assert_eq!(
        (
            &live["active"],
            &live["client_id"],
            &live["token_type"],
            &live["username"]
        ),
        (
            &json!(true),
            &json!(CLIENT_ID),
            &json!("access_token"),
            &json!(INTEGRATION_USER)
        )
    );
    assert_eq!(
        live["exp"].as_i64().unwrap() - live["iat"].as_i64().unwrap(),
        7_200
    );
    assert_eq!(look(&mut org, REFRESH_TOKEN)["token_type"], "refresh_token");
    org.advance_ms(2 * 3_600_000);
    assert_eq!(look(&mut org, &access)["active"], json!(true));
    org.advance_ms(1);
    assert_eq!(look(&mut org, &access), json!({"active": false}));
    assert_eq!(
        post(&mut org, "introspect", &format!("token={access}")).status,
        400
    );
}

#[test]
fn identity_is_returned_or_refused_as_plain_text() {
    let mut org = Org::default();
    let (_, granted) = token(&mut org, "grant_type=refresh_token&<app>&<refresh>");
    let access = granted["access_token"].as_str().unwrap().to_owned();
    let url = granted["id"].as_str().unwrap();
    let path = url[url.find("/id/").unwrap()..].to_owned();
    let other = format!("/id/{}/0055g00000000zzAAA", org.org_id());
    let user = path.rsplit('/').next().unwrap();
    let mut get = |path: &str, token: Option<&str>| {
        let request = Request::new("GET", path);
        let response = org.request(&match token {
            Some(token) => request.bearer(token),
            None => request,
        });
        (response.status, String::from_utf8(response.body).unwrap())
    };
    for path in [path.as_str(), "/services/oauth2/userinfo"] {
        let (status, body) = get(path, Some(&access));
        let json: Json = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &json["user_id"]), (200, &json!(user)));
        assert_eq!(json["preferred_username"], INTEGRATION_USER);
    }
    let words = |status: u16, text: &str| (status, text.to_owned());
    assert_eq!(get(&path, None), words(403, "Missing_OAuth_Token"));
    assert_eq!(get(&path, Some("x")), words(403, "Bad_OAuth_Token"));
    assert_eq!(get(&other, Some(&access)), words(404, "Bad_Id"));
    let elsewhere = format!("/id/00D000000000001/{user}");
    assert_eq!(get(&elsewhere, Some(&access)), words(403, "Wrong_Org"));
}

fn soap(org: &mut Org, version: &str, password: &str) -> (u16, String) {
    let body = format!(
        "<env:Envelope><env:Body><n1:login xmlns:n1=\"urn:partner.soap.sforce.com\">\
         <n1:username>{INTEGRATION_USER}</n1:username><n1:password>{password}</n1:password>\
         </n1:login></env:Body></env:Envelope>"
    );
    let path = format!("/services/Soap/u/{version}");
    let response = org.request(&Request::new("POST", &path).body("text/xml", body));
    (response.status, String::from_utf8(response.body).unwrap())
}

/// Returns the names of elements without children, in order.
fn elements(xml: &str) -> Vec<&str> {
    let tags = xml.split('<').skip(1).filter(|tag| !tag.starts_with('/'));
    tags.map(|tag| tag.split([' ', '>', '/']).next().unwrap())
        .collect()
}

#[test]
fn soap_login_gives_a_session_or_a_fault() {
    let mut org = Org::default();
    let (status, xml) = soap(&mut org, "59.0", &format!("{PASSWORD}{SECURITY_TOKEN}"));
    let between = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap();
        rest.split_once("</").unwrap().0.to_owned()
    };
    assert_eq!(status, 200);
    assert_eq!(limits(&mut org, &json!(between("sessionId"))), 200);
    assert_eq!(between("organizationId"), org.org_id());
    assert!(between("serverUrl").contains("/services/Soap/u/59.0/00D"));
    // Salesforce's own sample for the Pub/Sub API reads by position.
    let (_, result) = xml.split_once("<result>").unwrap();
    let (result, user) = result.split_once("<userInfo>").unwrap();
    assert_eq!(elements(result)[4], "sessionId");
    assert_eq!(elements(result).len(), 6);
    assert_eq!(elements(user)[8], "organizationId");
    assert_eq!(elements(user).len(), 24);
    let raw = format!("<![CDATA[{PASSWORD}]]>");
    assert_eq!(soap(&mut org, "59.0", &raw).0, 200, "a CDATA section");
    let (status, xml) = soap(&mut org, "59.0", "wrong");
    assert_eq!(status, 500);
    assert!(
        xml.contains("<sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode>"),
        "{xml}"
    );
    let (status, xml) = soap(&mut org, "20.0", PASSWORD);
    assert!(
        status == 500 && xml.contains("UNSUPPORTED_API_VERSION"),
        "{xml}"
    );
}
