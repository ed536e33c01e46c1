//! The token endpoint: which grant opens a session for which user.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde_json::{Value as Json, json};

use super::message::{Request, Response, form_pairs};
use crate::Org;
use crate::local;
use crate::model::id::RecordId;
use crate::model::org_file::AppEntry;

/// Hosts that any assertion may use as its audience, besides the org's own address.
const LOGIN_HOSTS: [&str; 2] = [
    "https://login.salesforce.com",
    "https://test.salesforce.com",
];

/// Placeholder in the org file for the key pair of this crate.
const BUILT_IN_KEY: &str = "local-only";

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long after its `exp` an assertion is still accepted, for clocks that differ. CumulusCI relies
/// on it: its `exp` is the time of signing.
const ASSERTION_LEEWAY_MS: i64 = 3 * 60_000;

/// Lifetime of an authorization code: 15 minutes.
const CODE_MS: i64 = 15 * 60_000;

/// An OAuth refusal: `error`, `error_description`.
pub(super) struct Denied(pub(super) &'static str, pub(super) &'static str);

const UNKNOWN_CLIENT: Denied = Denied("invalid_client_id", "client identifier invalid");
const WRONG_SECRET: Denied = Denied("invalid_client", "invalid client credentials");

pub(super) type Form = HashMap<String, String>;

/// The result of a grant: the user, the app, and the refresh token.
struct Granted {
    user: RecordId,
    client_id: String,
    refresh_token: Option<String>,
    /// Whether the answer contains the refresh token.
    sent: bool,
}

impl Granted {
    fn to(user: RecordId, client_id: &str) -> Self {
        Self {
            user,
            client_id: client_id.to_owned(),
            refresh_token: None,
            sent: false,
        }
    }
}

impl Org {
    /// Handles the OAuth paths, or returns `None` for another path.
    pub(crate) fn oauth(&mut self, request: &Request, path: &str) -> Option<Response> {
        let rest = path.strip_prefix("/services/oauth2/");
        if rest.is_none() && !path.starts_with("/id/") {
            return None;
        }
        if matches!(rest, Some("token" | "revoke" | "introspect" | "authorize")) {
            self.count_call(path, &request.method);
        }
        let outcome = match rest {
            Some("token") => self.token(request),
            Some("authorize") => self.authorize(request),
            Some("revoke") => self.revoke(request),
            Some("introspect") => self.introspect(request),
            Some("userinfo") | None => return Some(self.identity(request)),
            Some(_) => return None,
        };
        Some(outcome.unwrap_or_else(|denied| denied_json(&denied)))
    }

    fn token(&mut self, request: &Request) -> Result<Response, Denied> {
        if request.method != "POST" {
            return Err(Denied("invalid_request", "must use HTTP POST"));
        }
        let form = form_of(request);
        let granted = match form.get("grant_type").map(String::as_str) {
            Some(JWT_BEARER) => self.jwt_bearer(form.get("assertion").map_or("", String::as_str)),
            Some("client_credentials") => self.client_credentials(request, &form),
            Some("refresh_token") => self.refresh(request, &form),
            Some("password") => self.password(request, &form),
            Some("authorization_code") => self.exchange_code(request, &form),
            _ => Err(Denied("unsupported_grant_type", "grant type not supported")),
        };
        granted.map(|granted| self.token_answer(granted))
    }

    fn token_answer(&mut self, granted: Granted) -> Response {
        let token = self.new_session(granted.user);
        self.sessions
            .describe(&token, &granted.client_id, granted.refresh_token.as_deref());
        let base = &self.base_url;
        let identity = format!("{base}/id/{}/{}", self.org_id(), granted.user);
        let issued_at = self.now_ms().to_string();
        let signature = self
            .app(&granted.client_id)
            .and_then(|app| app.client_secret.as_deref())
            .and_then(|secret| signature(secret, &format!("{identity}{issued_at}")));
        let mut answer = json!({
            "access_token": token,
            "scope": "api web",
            "instance_url": base,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued_at,
        });
        if let Some(signature) = signature {
            answer["signature"] = signature.into();
        }
        if let Some(refresh) = granted.refresh_token.filter(|_| granted.sent) {
            answer["refresh_token"] = refresh.into();
            answer["scope"] = "api web refresh_token".into();
        }
        json_response(200, &answer)
    }

    /// Returns the app of a form or a Basic header. A secret has to be correct if it is given.
    fn client(&self, request: &Request, form: &Form) -> Result<(&AppEntry, bool), Denied> {
        let basic = request.get("authorization").and_then(basic_credentials);
        let (id, secret) = match (form.get("client_id"), basic) {
            (_, Some((id, secret))) => (id, Some(secret)),
            (Some(id), None) => (id.clone(), form.get("client_secret").cloned()),
            (None, None) => return Err(UNKNOWN_CLIENT),
        };
        let app = self.app(&id).ok_or(UNKNOWN_CLIENT)?;
        if secret.is_some() && app.client_secret != secret {
            return Err(WRONG_SECRET);
        }
        Ok((app, secret.is_some()))
    }

    /// Returns the app of a caller that proved its secret.
    pub(super) fn proven_client(
        &self,
        request: &Request,
        form: &Form,
    ) -> Result<&AppEntry, Denied> {
        match self.client(request, form)? {
            (app, true) => Ok(app),
            (_, false) => Err(WRONG_SECRET),
        }
    }

    fn app(&self, client_id: &str) -> Option<&AppEntry> {
        // The last one wins, so that a file can replace a built-in app.
        self.file
            .apps
            .iter()
            .rev()
            .find(|app| app.client_id == client_id)
    }

    fn client_credentials(&self, request: &Request, form: &Form) -> Result<Granted, Denied> {
        let host = request.get("host").unwrap_or_default();
        if LOGIN_HOSTS.iter().any(|login| login.ends_with(host)) && !host.is_empty() {
            return Err(Denied(
                "invalid_grant",
                "request not supported on this domain",
            ));
        }
        let app = self.proven_client(request, form)?;
        let user = app.run_as.as_ref().and_then(|name| self.user_named(name));
        let user = user.ok_or(Denied(
            "invalid_grant",
            "no client credentials user enabled",
        ))?;
        Ok(Granted::to(user, &app.client_id))
    }

    /// Opens a session with a refresh token. With rotation, this invalidates the token.
    fn refresh(&mut self, request: &Request, form: &Form) -> Result<Granted, Denied> {
        const DEAD: Denied = Denied("invalid_grant", "expired access/refresh token");
        let (app, _) = self.client(request, form)?;
        let (client_id, rotates) = (app.client_id.clone(), app.rotate_refresh_tokens);
        let token = form.get("refresh_token").map_or("", String::as_str);
        let user = self
            .sessions
            .user_of_refresh_token(token, &client_id)
            .ok_or(DEAD)?;
        let mut granted = Granted::to(user, &client_id);
        granted.sent = rotates;
        granted.refresh_token = Some(if rotates {
            self.sessions.invalidate(token);
            self.new_refresh_token(user, &client_id)
        } else {
            token.to_owned()
        });
        Ok(granted)
    }

    fn new_refresh_token(&mut self, user: RecordId, client_id: &str) -> String {
        let token = format!("5Aep861{}", self.model.random.uuid().simple());
        self.sessions.allow(token.clone(), user, client_id);
        token
    }

    fn password(&self, request: &Request, form: &Form) -> Result<Granted, Denied> {
        let app = self.proven_client(request, form)?;
        let given = |name: &str| form.get(name).map_or("", String::as_str);
        let user = self.user_by_password(given("username"), given("password"));
        let user = user.ok_or(Denied("invalid_grant", "authentication failure"))?;
        Ok(Granted::to(user, &app.client_id))
    }

    /// Returns the user with this password, with or without the security token appended.
    pub(super) fn user_by_password(&self, username: &str, password: &str) -> Option<RecordId> {
        let mut users = self.file.users.iter();
        let entry = users.find(|user| user.username.eq_ignore_ascii_case(username))?;
        let own = entry.password.as_deref()?;
        let tail = password.strip_prefix(own)?;
        let token = entry.security_token.as_deref().unwrap_or_default();
        (tail.is_empty() || tail == token)
            .then(|| self.user_named(&entry.username))
            .flatten()
    }

    /// Handles the authorization page. The local org skips the page and always consents.
    fn authorize(&mut self, request: &Request) -> Result<Response, Denied> {
        let form: Form = form_pairs(&request.query).into_iter().collect();
        let given = |name: &str| form.get(name).map_or("", String::as_str);
        let app = self.app(given("client_id")).ok_or(UNKNOWN_CLIENT)?;
        if given("response_type") != "code" || given("redirect_uri").is_empty() {
            return Err(Denied(
                "invalid_request",
                "redirect_uri or response_type missing",
            ));
        }
        let name = form.get("login_hint").or(app.run_as.as_ref());
        let user = name.and_then(|name| self.user_named(name));
        let user = user.ok_or(Denied("access_denied", "end-user denied authorization"))?;
        let client_id = app.client_id.clone();
        let code = format!("aPrx{}", self.model.random.uuid().simple());
        let until_ms = self.now_ms() + CODE_MS;
        self.sessions
            .add_code(code.clone(), user, &client_id, until_ms);
        let mut target = given("redirect_uri").to_owned();
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&format!("code={code}"));
        if let Some(state) = request
            .query
            .split('&')
            .find(|pair| pair.starts_with("state="))
        {
            target.push_str(&format!("&{state}"));
        }
        Ok(Response::empty(302).with_header("location", &target))
    }

    fn exchange_code(&mut self, request: &Request, form: &Form) -> Result<Granted, Denied> {
        const DEAD: Denied = Denied("invalid_grant", "expired authorization code");
        let (app, _) = self.client(request, form)?;
        let client_id = app.client_id.clone();
        let code = form.get("code").map_or("", String::as_str);
        let now_ms = self.now_ms();
        let user = self.sessions.redeem(code, &client_id, now_ms).ok_or(DEAD)?;
        let mut granted = Granted::to(user, &client_id);
        granted.refresh_token = Some(self.new_refresh_token(user, &client_id));
        granted.sent = true;
        Ok(granted)
    }

    /// Checks a signed assertion. Its expiry is compared with the real time that the client signed
    /// it with, so that moving the org's clock does not expire assertions.
    fn jwt_bearer(&self, assertion: &str) -> Result<Granted, Denied> {
        const INVALID: Denied = Denied("invalid_grant", "invalid assertion");
        let claims: Json =
            jsonwebtoken::dangerous::insecure_decode_claims(assertion).map_err(|_| INVALID)?;
        let claim = |name: &str| claims.get(name).and_then(Json::as_str).unwrap_or_default();
        let app = self.app(claim("iss")).ok_or(UNKNOWN_CLIENT)?;
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
        let expiry_ms = expiry_s.saturating_mul(1000);
        if expiry_ms.saturating_add(ASSERTION_LEEWAY_MS) <= self.wall_ms() {
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
        let user = user.ok_or(Denied(
            "invalid_grant",
            "user hasn't approved this consumer",
        ))?;
        Ok(Granted::to(user, &app.client_id))
    }

    fn accepts_audience(&self, claim: Option<&Json>) -> bool {
        let accepted = |audience: &str| {
            let audience = audience.trim_end_matches('/');
            LOGIN_HOSTS.contains(&audience)
                || audience == self.base_url
                || audience == self.other_url
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
}

fn denied_json(Denied(error, description): &Denied) -> Response {
    json_response(
        400,
        &json!({"error": error, "error_description": description}),
    )
}

/// Returns the form of a body.
pub(super) fn form_of(request: &Request) -> Form {
    form_pairs(&String::from_utf8_lossy(&request.body))
        .into_iter()
        .collect()
}

/// Returns the signature with which an app can verify that an identity comes from Salesforce.
fn signature(secret: &str, text: &str) -> Option<String> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signed = jsonwebtoken::crypto::sign(text.as_bytes(), &key, Algorithm::HS256).ok()?;
    Some(STANDARD.encode(URL_SAFE_NO_PAD.decode(signed).ok()?))
}

pub(super) fn json_response(status: u16, json: &Json) -> Response {
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
