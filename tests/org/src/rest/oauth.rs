//! Logging in, and what a token is worth afterwards.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value as Json, json};

use super::message::{Request, Response, form_pairs};
use super::refusal;
use crate::Org;
use crate::local;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::org_file::AppEntry;

/// Hosts that any assertion may name as its audience, beside the org's own address.
const LOGIN_HOSTS: [&str; 2] = [
    "https://login.salesforce.com",
    "https://test.salesforce.com",
];

/// Stands in the org file for the key pair that comes with this crate.
const BUILT_IN_KEY: &str = "local-only";

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Who is logged in.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_token: HashMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    user: RecordId,
    used_ms: i64,
}

impl Sessions {
    pub(crate) fn open(&mut self, token: String, user: RecordId, now_ms: i64) {
        self.by_token.insert(
            token,
            Session {
                user,
                used_ms: now_ms,
            },
        );
    }

    pub(crate) fn close(&mut self, token: &str) {
        self.by_token.remove(token);
    }

    /// Closes all sessions.
    pub(crate) fn close_all(&mut self) {
        self.by_token.clear();
    }

    /// Returns the user behind a live token and keeps the session alive.
    pub(crate) fn user(&mut self, token: &str, now_ms: i64, idle_ms: i64) -> Option<RecordId> {
        let session = self.by_token.get_mut(token)?;
        if session.used_ms + idle_ms < now_ms {
            self.by_token.remove(token);
            return None;
        }
        session.used_ms = now_ms;
        Some(session.user)
    }
}

/// An OAuth refusal: `error`, `error_description`.
struct Denied(&'static str, &'static str);

/// Returns the access token of a request.
pub(crate) fn token_of(request: &Request) -> Option<&str> {
    let value = request.get("authorization")?;
    let (scheme, token) = value.split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
    known.then(|| token.trim())
}

impl Org {
    /// Returns the user of a request's session.
    pub(crate) fn user_of(&mut self, request: &Request) -> Result<RecordId, SfError> {
        if request.get("authorization").is_some() && token_of(request).is_none() {
            return Err(SfError::new("INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"));
        }
        let dead = || SfError::new("INVALID_SESSION_ID", "Session expired or invalid");
        let token = token_of(request).ok_or_else(dead)?;
        self.user_behind(token).ok_or_else(dead)
    }

    /// Returns the user behind an access token.
    pub(crate) fn user_behind(&mut self, token: &str) -> Option<RecordId> {
        let (now, idle) = (self.now_ms(), self.session_idle_ms());
        self.sessions.user(token, now, idle)
    }

    /// Answers the OAuth paths; `None` if the path is none of them.
    pub(crate) fn oauth(&mut self, request: &Request, path: &str) -> Option<Response> {
        match path {
            "/services/oauth2/token" => {
                *self
                    .stats
                    .calls
                    .entry("POST /services/oauth2/token".to_owned())
                    .or_default() += 1;
                Some(self.token(request))
            }
            "/services/oauth2/userinfo" => Some(self.identity(request)),
            _ if path.starts_with("/id/") => Some(self.identity(request)),
            _ => None,
        }
    }

    fn token(&mut self, request: &Request) -> Response {
        let denied = |Denied(error, description): Denied| {
            json_response(
                400,
                &json!({"error": error, "error_description": description}),
            )
        };
        if request.method != "POST" {
            return denied(Denied("invalid_request", "must use HTTP POST"));
        }
        let form: HashMap<String, String> = form_pairs(&String::from_utf8_lossy(&request.body))
            .into_iter()
            .collect();
        let user = match form.get("grant_type").map(String::as_str) {
            Some(JWT_BEARER) => self.jwt_bearer(form.get("assertion").map_or("", String::as_str)),
            Some("client_credentials") => self.client_credentials(request, &form),
            _ => Err(Denied("unsupported_grant_type", "grant type not supported")),
        };
        match user {
            Ok(user) => self.token_answer(user),
            Err(error) => denied(error),
        }
    }

    fn token_answer(&mut self, user: RecordId) -> Response {
        let token = self.new_session(user);
        let base = &self.base_url;
        let answer = json!({
            "access_token": token,
            "scope": "api web",
            "instance_url": base,
            "id": format!("{base}/id/{}/{user}", self.org_id()),
            "token_type": "Bearer",
            "issued_at": self.now_ms().to_string(),
        });
        json_response(200, &answer)
    }

    fn app(&self, client_id: &str) -> Option<&AppEntry> {
        // The last one wins, so that a file may replace a built-in app.
        self.file
            .apps
            .iter()
            .rev()
            .find(|app| app.client_id == client_id)
    }

    fn client_credentials(
        &self,
        request: &Request,
        form: &HashMap<String, String>,
    ) -> Result<RecordId, Denied> {
        let basic = request.get("authorization").and_then(basic_credentials);
        let (id, secret) = match (form.get("client_id"), basic) {
            (Some(id), None) => (
                id.clone(),
                form.get("client_secret").cloned().unwrap_or_default(),
            ),
            (_, Some(pair)) => pair,
            (None, None) => return Err(Denied("invalid_client_id", "client identifier invalid")),
        };
        let app = self
            .app(&id)
            .ok_or(Denied("invalid_client_id", "client identifier invalid"))?;
        if app.client_secret.as_ref() != Some(&secret) {
            return Err(Denied("invalid_client", "invalid client credentials"));
        }
        let user = app.run_as.as_ref().and_then(|name| self.user_named(name));
        user.ok_or(Denied(
            "invalid_grant",
            "no client credentials user enabled",
        ))
    }

    /// Judges a signed assertion. Its expiry is measured against the time outside, by which the
    /// client signed it, so that moving the org's clock does not age assertions.
    fn jwt_bearer(&self, assertion: &str) -> Result<RecordId, Denied> {
        const INVALID: Denied = Denied("invalid_grant", "invalid assertion");
        let claims: Json =
            jsonwebtoken::dangerous::insecure_decode_claims(assertion).map_err(|_| INVALID)?;
        let claim = |name: &str| claims.get(name).and_then(Json::as_str).unwrap_or_default();
        let app = self
            .app(claim("iss"))
            .ok_or(Denied("invalid_client_id", "client identifier invalid"))?;
        let pem = match app.public_key.as_deref() {
            Some(BUILT_IN_KEY) => local::PUBLIC_KEY,
            Some(pem) => pem,
            None => return Err(INVALID),
        };
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| INVALID)?;
        let mut rules = Validation::new(Algorithm::RS256);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        jsonwebtoken::decode::<Json>(assertion, &key, &rules).map_err(|_| INVALID)?;
        let expiry_s = match claims.get("exp") {
            Some(Json::String(text)) => text.parse::<i64>().ok(),
            Some(Json::Number(number)) => number.as_i64(),
            _ => None,
        };
        let expiry_s = expiry_s.ok_or(INVALID)?;
        if expiry_s.saturating_mul(1000) <= self.wall_ms() {
            return Err(Denied("invalid_grant", "expired authorization code"));
        }
        if !self.accepts_audience(claims.get("aud")) {
            return Err(Denied("invalid_grant", "audience is invalid"));
        }
        let subject = claim("sub");
        let approved = app
            .users
            .iter()
            .any(|user| user.eq_ignore_ascii_case(subject));
        let user = self.user_named(subject).filter(|_| approved);
        user.ok_or(Denied(
            "invalid_grant",
            "user hasn't approved this consumer",
        ))
    }

    fn accepts_audience(&self, claim: Option<&Json>) -> bool {
        let accepted = |audience: &str| {
            let audience = audience.trim_end_matches('/');
            LOGIN_HOSTS.contains(&audience)
                || audience == self.base_url
                || self
                    .file
                    .org
                    .audiences
                    .iter()
                    .any(|known| known == audience)
        };
        match claim {
            Some(Json::String(one)) => accepted(one),
            Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).any(accepted),
            _ => false,
        }
    }

    fn identity(&mut self, request: &Request) -> Response {
        let user = match self.user_of(request) {
            Ok(user) => user,
            Err(error) => return refusal(&error),
        };
        let base = &self.base_url;
        let of = |field: &str| self.value_of(user, field);
        let answer = json!({
            "id": format!("{base}/id/{}/{user}", self.org_id()),
            "sub": format!("{base}/id/{}/{user}", self.org_id()),
            "user_id": user.to_string(),
            "organization_id": self.org_id(),
            "preferred_username": of("Username"),
            "username": of("Username"),
            "name": of("Name"),
            "display_name": of("Name"),
            "email": of("Email"),
            "active": true,
            "urls": {
                "rest": format!("{base}/services/data/v{{version}}/"),
                "sobjects": format!("{base}/services/data/v{{version}}/sobjects/"),
                "query": format!("{base}/services/data/v{{version}}/query/"),
            },
        });
        json_response(200, &answer)
    }
}

fn json_response(status: u16, json: &Json) -> Response {
    Response::json(status, json.to_string()).with_header("cache-control", "no-store")
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let encoded = header
        .strip_prefix("Basic ")
        .or_else(|| header.strip_prefix("basic "))?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
