//! Sessions, refresh tokens and authorization codes, and the users behind them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::message::{Request, Response};
use super::oauth::{Denied, form_of, json_response};
use crate::Org;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::org_file::AppEntry;

/// All sessions, refresh tokens and authorization codes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sessions {
    by_token: BTreeMap<String, Session>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    codes: BTreeMap<String, AuthorizationCode>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    user: RecordId,
    opened_ms: i64,
    used_ms: i64,
    client_id: String,
    refresh_token: Option<String>,
}

/// The user and app of a refresh token.
#[derive(Debug, Serialize, Deserialize)]
struct RefreshToken {
    user: RecordId,
    client_id: String,
}

/// The user and app of an authorization code.
#[derive(Debug, Serialize, Deserialize)]
struct AuthorizationCode {
    to: RefreshToken,
    until_ms: i64,
}

impl Sessions {
    /// Returns the sessions of a new org, without a login yet.
    pub(crate) fn new(apps: &[AppEntry], user_named: impl Fn(&str) -> Option<RecordId>) -> Self {
        let mut sessions = Self::default();
        for app in apps {
            for entry in &app.refresh_tokens {
                if let Some(user) = user_named(&entry.user) {
                    sessions.allow(entry.token.clone(), user, &app.client_id);
                }
            }
        }
        sessions
    }

    pub(crate) fn open(&mut self, token: String, user: RecordId, now_ms: i64) {
        self.by_token.insert(
            token,
            Session {
                user,
                opened_ms: now_ms,
                used_ms: now_ms,
                client_id: String::new(),
                refresh_token: None,
            },
        );
    }

    /// Records which app opened a session, and with which refresh token.
    pub(super) fn describe(&mut self, token: &str, client_id: &str, refresh_token: Option<&str>) {
        if let Some(session) = self.by_token.get_mut(token) {
            client_id.clone_into(&mut session.client_id);
            session.refresh_token = refresh_token.map(str::to_owned);
        }
    }

    pub(crate) fn close(&mut self, token: &str) {
        self.by_token.remove(token);
    }

    /// Closes all sessions.
    pub(crate) fn close_all(&mut self) {
        self.by_token.clear();
    }

    /// Returns the user of a valid token and extends the session.
    pub(crate) fn user(&mut self, token: &str, now_ms: i64, idle_ms: i64) -> Option<RecordId> {
        let session = self.by_token.get_mut(token)?;
        if session.used_ms + idle_ms < now_ms {
            self.by_token.remove(token);
            return None;
        }
        session.used_ms = now_ms;
        Some(session.user)
    }

    /// Adds a refresh token.
    pub(super) fn allow(&mut self, token: String, user: RecordId, client_id: &str) {
        let client_id = client_id.to_owned();
        self.refresh_tokens
            .insert(token, RefreshToken { user, client_id });
    }

    /// Returns the user of a refresh token, if it belongs to this app.
    pub(super) fn user_of_refresh_token(&self, token: &str, client_id: &str) -> Option<RecordId> {
        let refresh_token = self.refresh_tokens.get(token)?;
        (refresh_token.client_id == client_id).then_some(refresh_token.user)
    }

    /// Invalidates a refresh token. Sessions that it opened stay.
    pub(super) fn invalidate(&mut self, token: &str) {
        self.refresh_tokens.remove(token);
    }

    /// Stores an authorization code.
    pub(super) fn add_code(
        &mut self,
        code: String,
        user: RecordId,
        client_id: &str,
        until_ms: i64,
    ) {
        let client_id = client_id.to_owned();
        let to = RefreshToken { user, client_id };
        self.codes.insert(code, AuthorizationCode { to, until_ms });
    }

    /// Returns the user of an authorization code of this app, and invalidates the code.
    pub(super) fn redeem(&mut self, code: &str, client_id: &str, now_ms: i64) -> Option<RecordId> {
        let code = self.codes.remove(code)?;
        let valid = code.to.client_id == client_id && now_ms <= code.until_ms;
        valid.then_some(code.to.user)
    }

    /// Ends a session, or a refresh token with all its sessions. Returns `false` for an unknown
    /// token.
    fn revoke(&mut self, token: &str) -> bool {
        let renewed = self.refresh_tokens.remove(token).is_some();
        self.by_token
            .retain(|_, session| session.refresh_token.as_deref() != Some(token));
        self.by_token.remove(token).is_some() || renewed
    }
}

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
        self.user_of_token(token).ok_or_else(dead)
    }

    /// Returns the user of an access token.
    pub(crate) fn user_of_token(&mut self, token: &str) -> Option<RecordId> {
        let (now, idle) = (self.now_ms(), self.session_idle_ms());
        self.sessions.user(token, now, idle)
    }

    /// Handles `/services/oauth2/revoke`.
    pub(super) fn revoke(&mut self, request: &Request) -> Result<Response, Denied> {
        let form = form_of(request);
        let token = form.get("token").cloned().or(request.param("token"));
        if token.is_some_and(|token| self.sessions.revoke(&token)) {
            Ok(Response::empty(200))
        } else {
            Err(Denied("invalid_token", "Token was invalid"))
        }
    }

    /// Handles `/services/oauth2/introspect`, which does not extend a session.
    pub(super) fn introspect(&mut self, request: &Request) -> Result<Response, Denied> {
        let form = form_of(request);
        self.proven_client(request, &form)?;
        let token = form.get("token").map_or("", String::as_str);
        let (now_ms, idle_ms) = (self.now_ms(), self.session_idle_ms());
        let (user, client_id, opened_ms, expiry_ms, scope) = match (
            self.sessions.by_token.get(token),
            self.sessions.refresh_tokens.get(token),
        ) {
            (Some(session), _) if session.used_ms + idle_ms >= now_ms => {
                let expiry_ms = Some(session.used_ms + idle_ms);
                (
                    session.user,
                    &session.client_id,
                    Some(session.opened_ms),
                    expiry_ms,
                    "api web",
                )
            }
            (_, Some(refresh_token)) => (
                refresh_token.user,
                &refresh_token.client_id,
                None,
                None,
                "api web refresh_token",
            ),
            (Some(_) | None, None) => return Ok(json_response(200, &json!({"active": false}))),
        };
        let mut answer = json!({
            "active": true,
            "scope": scope,
            "client_id": client_id,
            "username": self.value_of(user, "Username"),
            "sub": format!("{}/id/{}/{user}", self.base_url, self.org_id()),
            "token_type": if expiry_ms.is_some() { "access_token" } else { "refresh_token" },
        });
        for (name, ms) in [("exp", expiry_ms), ("iat", opened_ms), ("nbf", opened_ms)] {
            if let Some(ms) = ms {
                answer[name] = (ms / 1_000).into();
            }
        }
        Ok(json_response(200, &answer))
    }

    /// Handles `/services/oauth2/userinfo` and `/id/<org>/<user>`.
    pub(super) fn identity(&mut self, request: &Request) -> Response {
        // Identity is not a data resource, so its errors are plain text with status 403.
        let user = match token_of(request) {
            None => return bare(403, "Missing_OAuth_Token"),
            Some(token) => self.user_of_token(token),
        };
        let Some(user) = user else {
            return bare(403, "Bad_OAuth_Token");
        };
        let named = request.path.strip_prefix("/id/");
        if let Some((org, id)) = named.and_then(|rest| rest.trim_end_matches('/').split_once('/')) {
            if RecordId::parse(org) != RecordId::parse(&self.org_id()) {
                return bare(403, "Wrong_Org");
            }
            if RecordId::parse(id) != Some(user) {
                return bare(404, "Bad_Id");
            }
        }
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

fn bare(status: u16, text: &str) -> Response {
    Response {
        status,
        body: text.as_bytes().to_vec(),
        ..Response::default()
    }
    .with_header("content-type", "text/html;charset=UTF-8")
}
