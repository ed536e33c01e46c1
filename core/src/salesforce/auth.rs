//! Obtains, shares and renews the session.
//!
//! All calls of a client use one access token. The first call that finds it expired reads the shared
//! token, and logs in only if that one has expired too; the other calls wait for the result. Secrets and
//! tokens never appear in Debug output.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::classify::Fault;
use super::rest::bearer;
use super::transport::{HttpFailure, Transport};
use crate::model::ids::SalesforceId;
use crate::ports::SecretSource;
use crate::ports::salesforce::{Disposition, OrgIdentity, SalesforceError};

/// How a server logs in to the org without a person.
#[derive(Debug, Clone)]
pub enum Login {
    /// OAuth 2.0 JWT bearer flow.
    JwtBearer {
        /// The Salesforce user name.
        username: String,
        /// RSA private key, PEM.
        private_key: SecretString,
        /// The audience, where it is not the login URL.
        audience: Option<String>,
    },
    /// OAuth 2.0 client credentials flow.
    ClientCredentials {
        /// Consumer secret.
        secret: SecretString,
    },
}

impl Login {
    fn secret_mut(&mut self) -> &mut SecretString {
        match self {
            Self::JwtBearer { private_key, .. } => private_key,
            Self::ClientCredentials { secret } => secret,
        }
    }
}

/// A session in an org.
#[derive(Debug, Clone)]
pub struct Session {
    /// The bearer token.
    pub access_token: SecretString,
    /// Where the org lives, without a trailing slash.
    pub instance_url: String,
    /// The org's id.
    pub organization_id: SalesforceId,
    /// Our user's id.
    pub user_id: SalesforceId,
}

impl Session {
    /// Returns the org's id and our user's id.
    pub fn identity(&self) -> OrgIdentity {
        OrgIdentity {
            organization_id: self.organization_id.clone(),
            user_id: self.user_id.clone(),
            instance_url: self.instance_url.clone(),
        }
    }

    fn has_token_of(&self, other: &Self) -> bool {
        self.access_token.expose_secret() == other.access_token.expose_secret()
    }
}

/// Shares the session between processes, so that a tenant has one token and not one per function
/// instance.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Returns the shared session, if there is one.
    async fn load(&self) -> Result<Option<Session>, TokenStoreError>;

    /// Shares a new session.
    async fn store(&self, session: &Session) -> Result<(), TokenStoreError>;
}

/// The shared session could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the shared session cannot be read or written: {reason}")]
pub struct TokenStoreError {
    /// What went wrong, without the token.
    pub reason: String,
}

/// A [`TokenStore`] for one process.
#[derive(Debug, Default)]
pub struct MemoryTokenStore {
    shared: RwLock<Option<Session>>,
}

#[async_trait]
impl TokenStore for MemoryTokenStore {
    async fn load(&self) -> Result<Option<Session>, TokenStoreError> {
        let shared = self.shared.read().expect("no holder of this lock panics");
        Ok(shared.clone())
    }

    async fn store(&self, session: &Session) -> Result<(), TokenStoreError> {
        let mut shared = self.shared.write().expect("no holder of this lock panics");
        *shared = Some(session.clone());
        Ok(())
    }
}

/// Keeps the one session of a client.
pub(super) struct SessionCache {
    transport: Arc<dyn Transport>,
    login_url: String,
    client_id: String,
    login: RwLock<Login>,
    secret_source: Option<SecretSource>,
    store: Arc<dyn TokenStore>,
    current: RwLock<Option<Arc<Session>>>,
    /// The org that calls are for, once known. A session of another org makes no call: the login URL was changed,
    /// or a sandbox was recreated, and ids and absences mean nothing there.
    organization: RwLock<Option<SalesforceId>>,
    /// Locked while one call reads the shared session or logs in. Excludes a second login at the same
    /// time. Contains the last permanent refusal and its time: another attempt would only
    /// repeat it.
    renewal: Mutex<Option<(i64, SalesforceError)>>,
}

enum PreparedLogin {
    JwtBearer {
        username: String,
        key: EncodingKey,
        audience: String,
    },
    ClientCredentials {
        secret: SecretString,
    },
}

/// How long a permanently refused login is returned again without another attempt.
///
/// Salesforce locks users out after many failed logins; after half a minute a corrected configuration
/// is tried soon enough.
const REFUSED_LOGIN_STANDS_MS: i64 = 30_000;

/// How long a JWT assertion is valid; Salesforce recommends at most a few minutes.
const ASSERTION_SECONDS: u64 = 180;

/// Timeout of the whole login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A failed login. It concerns the tenant, whatever its cause, and never a record.
struct SignInFailure {
    error: SalesforceError,
    /// Salesforce refused the login itself: another attempt would only repeat it.
    stands: bool,
}

impl SignInFailure {
    fn of(error: SalesforceError) -> Self {
        let disposition = match error.disposition {
            Disposition::WaitForQuota => Disposition::WaitForQuota,
            Disposition::RetryLater
            | Disposition::WaitForOrg
            | Disposition::RefreshSession
            | Disposition::RefreshRecord
            | Disposition::WaitForParent
            | Disposition::WaitForValue
            | Disposition::WaitForChildren
            | Disposition::Park => Disposition::WaitForOrg,
        };
        Self {
            stands: error.disposition == Disposition::Park,
            error: SalesforceError {
                disposition,
                ..error
            },
        }
    }
}

impl SessionCache {
    /// Prepares the login; nothing is sent yet. Fails if the private key is invalid.
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        login_url: &str,
        client_id: &str,
        login: Login,
        store: Arc<dyn TokenStore>,
    ) -> Result<Self, SalesforceError> {
        let login_url = login_url.trim_end_matches('/').to_owned();
        prepare(login.clone(), &login_url)?;
        Ok(Self {
            transport,
            client_id: client_id.to_owned(),
            login: RwLock::new(login),
            secret_source: None,
            login_url,
            store,
            current: RwLock::new(None),
            organization: RwLock::new(None),
            renewal: Mutex::new(None),
        })
    }

    /// Sets where the secret is read again after a refused login.
    pub(super) fn with_secret_source(mut self, source: Option<SecretSource>) -> Self {
        self.secret_source = source;
        self
    }

    /// Returns the session, and logs in first if necessary. Fails if it is one of another org than expected.
    pub(super) async fn current(&self) -> Result<Arc<Session>, SalesforceError> {
        self.expected(self.of_any_org().await?)
    }

    /// Returns a session other than `dead`: the shared one, or a new one. Fails if it is one of another org than
    /// expected.
    pub(super) async fn renew(
        &self,
        dead: Option<&Session>,
    ) -> Result<Arc<Session>, SalesforceError> {
        self.expected(self.renew_of_any_org(dead).await?)
    }

    /// Replaces the session by a new one, whatever its org.
    pub(super) async fn replace(&self) -> Result<(), SalesforceError> {
        let known = self.cached();
        self.renew_of_any_org(known.as_deref()).await.map(|_| ())
    }

    /// Returns the session, whatever its org.
    pub(super) async fn of_any_org(&self) -> Result<Arc<Session>, SalesforceError> {
        match self.cached() {
            Some(session) => Ok(session),
            None => self.renew_of_any_org(None).await,
        }
    }

    /// Sets the org that calls are for.
    pub(super) fn expect(&self, organization: &SalesforceId) {
        let mut expected = self
            .organization
            .write()
            .expect("no holder of this lock panics");
        *expected = Some(organization.clone());
    }

    fn expected(&self, session: Arc<Session>) -> Result<Arc<Session>, SalesforceError> {
        let expected = self
            .organization
            .read()
            .expect("no holder of this lock panics");
        match expected.as_ref() {
            Some(organization) if *organization != session.organization_id => {
                Err(SalesforceError {
                    what: LOGIN.to_owned(),
                    status: None,
                    code: "OTHER_ORG".to_owned(),
                    message: format!(
                        "it leads to org {}, the records are those of org {organization}",
                        session.organization_id
                    ),
                    disposition: Disposition::RetryLater,
                })
            }
            Some(_) | None => Ok(session),
        }
    }

    async fn renew_of_any_org(
        &self,
        dead: Option<&Session>,
    ) -> Result<Arc<Session>, SalesforceError> {
        let mut refused = self.renewal.lock().await;
        let is_dead = |session: &Session| dead.is_some_and(|dead| session.has_token_of(dead));
        if let Some(session) = self.cached().filter(|session| !is_dead(session)) {
            return Ok(session);
        }
        match self.store.load().await {
            Ok(Some(session)) if !is_dead(&session) => return Ok(self.keep(session)),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the shared session cannot be read, logging in"),
        }
        if let Some((since_ms, error)) = refused.as_ref()
            // Not while the clock is set back, either.
            && (0..REFUSED_LOGIN_STANDS_MS).contains(&(self.transport.now_ms() - since_ms))
        {
            return Err(error.clone());
        }
        match self.log_in_with_latest_secret().await {
            Ok(session) => {
                *refused = None;
                if let Err(error) = self.store.store(&session).await {
                    tracing::warn!(%error, "the new session cannot be shared");
                }
                Ok(self.keep(session))
            }
            Err(SignInFailure { error, stands }) => {
                *refused = stands.then(|| (self.transport.now_ms(), error.clone()));
                Err(error)
            }
        }
    }

    fn cached(&self) -> Option<Arc<Session>> {
        let current = self.current.read().expect("no holder of this lock panics");
        current.clone()
    }

    fn keep(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        let mut current = self.current.write().expect("no holder of this lock panics");
        *current = Some(Arc::clone(&session));
        session
    }

    /// Logs in. If the org refuses the secret and another one is stored by now, logs in with that.
    async fn log_in_with_latest_secret(&self) -> Result<Session, SignInFailure> {
        let refused = match self.log_in().await.map_err(SignInFailure::of) {
            Ok(session) => return Ok(session),
            Err(failure) => failure,
        };
        if !refused.stands || !self.takes_another_secret().await {
            return Err(refused);
        }
        self.log_in().await.map_err(SignInFailure::of)
    }

    /// Reads the secret again. Returns whether it is another one.
    async fn takes_another_secret(&self) -> bool {
        let Some(source) = &self.secret_source else {
            return false;
        };
        let secret = match source.read().await {
            Ok(secret) => secret,
            Err(error) => {
                tracing::warn!(%error, "the org refused the login");
                return false;
            }
        };
        let mut login = self.login.write().expect("no holder of this lock panics");
        let known = login.secret_mut();
        let is_another = known.expose_secret() != secret.expose_secret();
        *known = secret;
        if is_another {
            tracing::info!("the org refused the login; the secret was read again");
        }
        is_another
    }

    async fn log_in(&self) -> Result<Session, SalesforceError> {
        let request = Request::post(format!("{}/services/oauth2/token", self.login_url))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form_body(&self.login_form()?));
        let body = self.fetch(request).await?;
        let token: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| unreadable("the token response is not an OAuth token response"))?;
        self.session_of(token).await
    }

    fn login_form(&self) -> Result<Vec<(&'static str, String)>, SalesforceError> {
        let login = self.login.read().expect("no holder of this lock panics");
        match &prepare(login.clone(), &self.login_url)? {
            PreparedLogin::JwtBearer {
                username,
                key,
                audience,
            } => {
                let claims = Claims {
                    iss: &self.client_id,
                    sub: username,
                    aud: audience,
                    exp: jsonwebtoken::get_current_timestamp() + ASSERTION_SECONDS,
                };
                let assertion = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, key)
                    .map_err(|_| broken_login("the private key cannot sign"))?;
                Ok(vec![
                    ("grant_type", JWT_BEARER.to_owned()),
                    ("assertion", assertion),
                ])
            }
            PreparedLogin::ClientCredentials { secret } => Ok(vec![
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", self.client_id.clone()),
                ("client_secret", secret.expose_secret().to_owned()),
            ]),
        }
    }

    async fn session_of(&self, token: TokenAnswer) -> Result<Session, SalesforceError> {
        let instance_url = token.instance_url.trim_end_matches('/').to_owned();
        // A response must not make us send the token without TLS.
        let secure = instance_url.starts_with("https://") || self.login_url.starts_with("http://");
        if !secure {
            return Err(unreadable(
                "the token response names an instance without TLS",
            ));
        }
        let access_token = SecretString::from(token.access_token);
        let ids = token.id.as_deref().and_then(ids_of_identity_url);
        let (organization_id, user_id) = match ids {
            Some(ids) => ids,
            None => self.user_info(&instance_url, &access_token).await?,
        };
        Ok(Session {
            access_token,
            instance_url,
            organization_id,
            user_id,
        })
    }

    async fn user_info(
        &self,
        instance_url: &str,
        access_token: &SecretString,
    ) -> Result<(SalesforceId, SalesforceId), SalesforceError> {
        let token = bearer(access_token).map_err(|failure| failure.into_error(LOGIN))?;
        let request = Request::get(format!("{instance_url}/services/oauth2/userinfo"))
            .header(AUTHORIZATION, token)
            .body(Bytes::new());
        let body = self.fetch(request).await?;
        let info: UserInfo = serde_json::from_slice(&body)
            .map_err(|_| unreadable("the userinfo response lacks the organization or user id"))?;
        Ok((info.organization_id, info.user_id))
    }

    /// Sends a login request and returns the body. Fails if the status is not 200.
    async fn fetch(&self, request: http::Result<Request<Bytes>>) -> Result<Bytes, SalesforceError> {
        let failed = |failure: HttpFailure| failure.into_error(LOGIN);
        let request = request.map_err(|error| failed(HttpFailure::bad_request(&error.to_string())));
        let answer = self.transport.send(request?, LOGIN_TIMEOUT).await;
        let answer = answer.map_err(failed)?;
        match answer.status().as_u16() {
            200 => Ok(answer.into_body()),
            status => Err(Fault::from_body(status, answer.body()).into_error(LOGIN)),
        }
    }
}

/// Encodes a form as a request body.
fn form_body(form: &[(&'static str, String)]) -> Bytes {
    let mut url = reqwest::Url::parse("http://form").expect("it is an address");
    url.query_pairs_mut().extend_pairs(form);
    Bytes::from(url.query().unwrap_or_default().to_owned())
}

const LOGIN: &str = "the login";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn prepare(login: Login, login_url: &str) -> Result<PreparedLogin, SalesforceError> {
    match login {
        Login::ClientCredentials { secret } => Ok(PreparedLogin::ClientCredentials { secret }),
        Login::JwtBearer {
            username,
            private_key,
            audience,
        } => Ok(PreparedLogin::JwtBearer {
            username,
            key: EncodingKey::from_rsa_pem(private_key.expose_secret().as_bytes())
                .map_err(|_| broken_login("the private key is not an RSA key in PEM"))?,
            audience: audience.unwrap_or_else(|| login_url.to_owned()),
        }),
    }
}

fn broken_login(message: &str) -> SalesforceError {
    SalesforceError {
        what: LOGIN.to_owned(),
        status: None,
        code: "login_configuration".to_owned(),
        message: message.to_owned(),
        disposition: Disposition::Park,
    }
}

fn unreadable(message: &str) -> SalesforceError {
    SalesforceError {
        what: LOGIN.to_owned(),
        status: Some(200),
        code: "unreadable_answer".to_owned(),
        message: message.to_owned(),
        disposition: Disposition::RetryLater,
    }
}

/// Returns org and user of an identity URL, its last two segments:
/// `https://login.salesforce.com/id/00D…/005…`.
fn ids_of_identity_url(url: &str) -> Option<(SalesforceId, SalesforceId)> {
    let mut segments = url.trim_end_matches('/').rsplit('/');
    let user = SalesforceId::parse(segments.next()?).ok()?;
    let organization = SalesforceId::parse(segments.next()?).ok()?;
    Some((organization, user))
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: u64,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    instance_url: String,
    id: Option<String>,
}

#[derive(Deserialize)]
struct UserInfo {
    organization_id: SalesforceId,
    user_id: SalesforceId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn org_and_user_are_the_last_segments_of_the_identity_url() {
        let (org, user) = ids_of_identity_url(
            "https://login.salesforce.com/id/00DRM000000Gv5X2AS/005D0000001LjdWIAS",
        )
        .unwrap();
        assert_eq!(org.as_str(), "00DRM000000Gv5X2AS");
        assert_eq!(user.as_str(), "005D0000001LjdWIAS");
        assert_eq!(ids_of_identity_url("https://login.salesforce.com/id"), None);
    }

    #[test]
    fn a_session_shows_no_token() {
        let session = Session {
            access_token: SecretString::from("00D!secret"),
            instance_url: "https://acme.my.salesforce.com".to_owned(),
            organization_id: SalesforceId::parse("00DRM000000Gv5X2AS").unwrap(),
            user_id: SalesforceId::parse("005D0000001LjdWIAS").unwrap(),
        };
        assert!(!format!("{session:?}").contains("secret"));
    }
}
