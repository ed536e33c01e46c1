//! Reads and edits a Salesforce org like another program, independent of the engine.
//!
//! Tests check the engine's work through this client, which shares no code with the engine's client.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Map, Value, json};

/// The REST API version.
pub const API_VERSION: &str = "68.0";

/// Records of one sObject Collections call (REST API Developer Guide).
const RECORDS_PER_CALL: usize = 200;

/// How long one call may take.
const CALL_SECONDS_MAX: u64 = 30;

/// A signed-in person.
#[derive(Debug, Clone)]
pub struct Person {
    http: reqwest::Client,
    instance_url: String,
    token: String,
    calls: Arc<AtomicI64>,
}

/// A record as SOQL returns it, without its `attributes`.
pub type Record = Map<String, Value>;

impl Person {
    /// Signs in by JWT bearer.
    ///
    /// # Errors
    ///
    /// When the org cannot be reached or refuses.
    pub async fn sign_in(
        login_url: &str,
        client_id: &str,
        username: &str,
        private_key: &str,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(CALL_SECONDS_MAX))
            .build()
            .context("an HTTP client")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({"iss": client_id, "sub": username, "aud": login_url, "exp": now + 120});
        let assertion = jsonwebtoken::encode(
            &Header::new(Algorithm::RS256),
            &claims,
            &EncodingKey::from_rsa_pem(private_key.as_bytes())?,
        )?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.as_str()),
        ];
        let answer = http
            .post(format!("{login_url}/services/oauth2/token"))
            .form(&form)
            .send()
            .await?;
        let answer: Value = succeeded(answer).await?.json().await?;
        let text = |name: &str| {
            answer[name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("the token answer has no {name}"))
        };
        Ok(Self {
            http,
            instance_url: text("instance_url")?,
            token: text("access_token")?,
            calls: Arc::default(),
        })
    }

    /// Returns how many API calls were made since signing in.
    pub fn calls(&self) -> i64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Returns every record of a query.
    ///
    /// # Errors
    ///
    /// When the org refuses the query.
    pub async fn query(&self, soql: &str) -> anyhow::Result<Vec<Record>> {
        let mut records = Vec::new();
        let first = self
            .request(Method::GET, &format!("/services/data/v{API_VERSION}/query"))
            .query(&[("q", soql)]);
        let mut page = page(first).await?;
        loop {
            let rows = page["records"].take();
            let Value::Array(rows) = rows else {
                bail!("a page of a query has no records")
            };
            records.extend(rows.into_iter().filter_map(without_attributes));
            let Some(next) = page["nextRecordsUrl"].as_str().map(str::to_owned) else {
                return Ok(records);
            };
            page = self::page(self.request(Method::GET, &next)).await?;
        }
    }

    /// Returns how many records of an object meet a condition.
    ///
    /// # Errors
    ///
    /// When the org refuses the query.
    pub async fn count(&self, object: &str, condition: &str) -> anyhow::Result<u64> {
        let soql = format!("select count() from {object} {condition}");
        let request = self
            .request(Method::GET, &format!("/services/data/v{API_VERSION}/query"))
            .query(&[("q", soql)]);
        page(request).await?["totalSize"]
            .as_u64()
            .context("a count has a total size")
    }

    /// Creates records and returns their ids, in order.
    ///
    /// # Errors
    ///
    /// When any is refused.
    pub async fn create(&self, object: &str, records: &[Record]) -> anyhow::Result<Vec<String>> {
        self.collections(Method::POST, object, records).await
    }

    /// Updates records, each with its `Id`.
    ///
    /// # Errors
    ///
    /// When any is refused.
    pub async fn update(&self, object: &str, records: &[Record]) -> anyhow::Result<()> {
        self.collections(Method::PATCH, object, records)
            .await
            .map(drop)
    }

    /// Deletes records.
    ///
    /// # Errors
    ///
    /// When any is refused.
    pub async fn delete(&self, ids: &[String]) -> anyhow::Result<()> {
        for some in ids.chunks(RECORDS_PER_CALL) {
            let path = format!("/services/data/v{API_VERSION}/composite/sobjects");
            let request = self
                .request(Method::DELETE, &path)
                .query(&[("ids", some.join(",").as_str()), ("allOrNone", "true")]);
            all_succeeded(page(request).await?)?;
        }
        Ok(())
    }

    /// Calls a control endpoint of a local org.
    ///
    /// # Errors
    ///
    /// When the org is not a local one, or refuses.
    pub async fn control(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let request = self.request(method, &format!("/_org/{path}"));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        page(request).await
    }

    async fn collections(
        &self,
        method: Method,
        object: &str,
        records: &[Record],
    ) -> anyhow::Result<Vec<String>> {
        let path = format!("/services/data/v{API_VERSION}/composite/sobjects");
        let mut ids = Vec::with_capacity(records.len());
        for some in records.chunks(RECORDS_PER_CALL) {
            let records: Vec<Value> = some
                .iter()
                .map(|record| with_attributes(object, record))
                .collect();
            let body = json!({"allOrNone": true, "records": records});
            let request = self.request(method.clone(), &path).json(&body);
            ids.extend(all_succeeded(page(request).await?)?);
        }
        Ok(ids)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        if path.starts_with("/services/data/") {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
        self.http
            .request(method, format!("{}{path}", self.instance_url))
            .bearer_auth(&self.token)
    }
}

async fn page(request: RequestBuilder) -> anyhow::Result<Value> {
    let answer = request.send().await.context("the org cannot be reached")?;
    Ok(succeeded(answer).await?.json().await?)
}

async fn succeeded(answer: Response) -> anyhow::Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    bail!("the org answered {status}: {}", answer.text().await?);
}

fn all_succeeded(results: Value) -> anyhow::Result<Vec<String>> {
    let Value::Array(results) = results else {
        bail!("the org answered a collection with {results}");
    };
    results
        .into_iter()
        .map(|result| match (&result["success"], &result["id"]) {
            (Value::Bool(true), Value::String(id)) => Ok(id.clone()),
            _ => bail!("the org refused a record: {result}"),
        })
        .collect()
}

fn with_attributes(object: &str, record: &Record) -> Value {
    let mut record = record.clone();
    record.insert("attributes".to_owned(), json!({"type": object}));
    Value::Object(record)
}

fn without_attributes(row: Value) -> Option<Record> {
    let Value::Object(mut record) = row else {
        return None;
    };
    record.remove("attributes");
    Some(record)
}
