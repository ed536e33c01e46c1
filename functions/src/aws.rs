//! Three questions to AWS: a parameter, a secret, an object.
//!
//! Each is one signed request. The SDK's clients for SSM, S3 and Secrets Manager would be most of what
//! there is to compile and to load, for these three calls; region, credentials and signature are the
//! SDK's own. Nothing is loaded for those who keep configuration and secrets elsewhere: a laptop
//! without AWS never looks for credentials.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long one request may take.
const REQUEST_SECONDS_MAX: u64 = 10;

/// How often a question is asked that AWS did not answer.
const TRIES_MAX: u32 = 3;

/// How long to wait before asking again, times the number of tries so far.
const PAUSE: Duration = Duration::from_millis(200);

/// AWS could not be asked, or said no. Holds no values: only names and AWS's own words.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AwsError {
    /// The environment names no region.
    #[error("no AWS region is set; set AWS_REGION")]
    NoRegion,
    /// There are no credentials.
    #[error("there are no AWS credentials: {0}")]
    NoCredentials(String),
    /// The request could not be made.
    #[error("{0}")]
    Request(String),
    /// No answer came.
    #[error("AWS cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is no.
    #[error("AWS answered {status}: {said}")]
    Refused {
        /// The status.
        status: u16,
        /// The error's code and message.
        said: String,
    },
    /// The answer does not hold what was asked for.
    #[error("{0}")]
    Nothing(&'static str),
}

/// A way to AWS, made when first needed.
#[derive(Debug, Default)]
pub struct Aws {
    config: OnceCell<SdkConfig>,
    http: OnceCell<reqwest::Client>,
}

/// One request before it is signed.
struct Question<'a> {
    service: &'a str,
    method: Method,
    /// Begins with a slash; percent-encoded.
    path: String,
    headers: Vec<(&'a str, &'a str)>,
    body: Vec<u8>,
}

impl Aws {
    /// Returns a way to the AWS that `config` describes.
    pub fn at(config: SdkConfig) -> Self {
        Self {
            config: OnceCell::new_with(Some(config)),
            http: OnceCell::new(),
        }
    }

    /// Returns region, credentials and endpoint as the environment gives them.
    pub async fn config(&self) -> &SdkConfig {
        self.config
            .get_or_init(|| aws_config::load_defaults(BehaviorVersion::latest()))
            .await
    }

    /// Returns a parameter of SSM, decrypted.
    ///
    /// # Errors
    ///
    /// When AWS cannot be asked or says no.
    pub async fn parameter(&self, name: &str) -> Result<String, AwsError> {
        let question = json!({"Name": name, "WithDecryption": true});
        let answer = self
            .action("ssm", "AmazonSSM.GetParameter", &question)
            .await?;
        text(&answer["Parameter"]["Value"], "the parameter has no value")
    }

    /// Returns the text of a secret of Secrets Manager.
    ///
    /// # Errors
    ///
    /// When AWS cannot be asked or says no.
    pub async fn secret(&self, id: &str) -> Result<String, AwsError> {
        let question = json!({"SecretId": id});
        let answer = self
            .action("secretsmanager", "secretsmanager.GetSecretValue", &question)
            .await?;
        text(&answer["SecretString"], "the secret is binary, not text")
    }

    /// Returns an object of S3 as text.
    ///
    /// # Errors
    ///
    /// When AWS cannot be asked or says no, or the object is not text.
    pub async fn object(&self, bucket: &str, key: &str) -> Result<String, AwsError> {
        let answer = self
            .ask(&Question {
                service: "s3",
                method: Method::GET,
                path: format!("/{}/{}", percent_encoded(bucket), percent_encoded(key)),
                headers: Vec::new(),
                body: Vec::new(),
            })
            .await?;
        String::from_utf8(answer).map_err(|_| AwsError::Nothing("the object is not UTF-8 text"))
    }

    /// Calls an action of a service that speaks JSON, such as `secretsmanager.CreateSecret`.
    ///
    /// # Errors
    ///
    /// When AWS cannot be asked or says no.
    pub async fn action(
        &self,
        service: &str,
        target: &str,
        question: &Value,
    ) -> Result<Value, AwsError> {
        let answer = self
            .ask(&Question {
                service,
                method: Method::POST,
                path: "/".to_owned(),
                headers: vec![
                    ("content-type", "application/x-amz-json-1.1"),
                    ("x-amz-target", target),
                ],
                body: question.to_string().into_bytes(),
            })
            .await?;
        serde_json::from_slice(&answer).map_err(|_| AwsError::Nothing("the answer is not JSON"))
    }

    /// Asks until there is an answer, a few times at most.
    async fn ask(&self, question: &Question<'_>) -> Result<Vec<u8>, AwsError> {
        let mut tries = 1;
        loop {
            let error = match self.ask_once(question).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if tries == TRIES_MAX || !is_transient(&error) {
                return Err(error);
            }
            tokio::time::sleep(PAUSE * tries).await;
            tries += 1;
        }
    }

    async fn ask_once(&self, question: &Question<'_>) -> Result<Vec<u8>, AwsError> {
        let config = self.config().await;
        let region = config.region().ok_or(AwsError::NoRegion)?.as_ref();
        let url = format!(
            "{}{}",
            endpoint(config, question.service, region),
            question.path
        );
        let signature = self.signature(config, question, region, &url).await?;
        let mut request = self
            .http()
            .await?
            .request(question.method.clone(), &url)
            .body(question.body.clone());
        for (name, value) in &question.headers {
            request = request.header(*name, *value);
        }
        for (name, value) in signature {
            request = request.header(name, value);
        }
        let unreachable = |error: reqwest::Error| AwsError::Unreachable(error.to_string());
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?.to_vec();
        match status.is_success() {
            true => Ok(body),
            false => Err(AwsError::Refused {
                status: status.as_u16(),
                said: error_message(&body),
            }),
        }
    }

    /// Returns the headers that prove who asks.
    async fn signature(
        &self,
        config: &SdkConfig,
        question: &Question<'_>,
        region: &str,
        url: &str,
    ) -> Result<Vec<(String, String)>, AwsError> {
        let no_credentials = |reason: String| AwsError::NoCredentials(reason);
        let identity = config
            .credentials_provider()
            .ok_or_else(|| no_credentials("none are configured".to_owned()))?
            .provide_credentials()
            .await
            .map_err(|error| no_credentials(error.to_string()))?
            .into();
        let unsigned = |error: &dyn std::error::Error| AwsError::Request(error.to_string());
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(question.service)
            .time(SystemTime::now())
            .settings(signing_settings(question.service))
            .build()
            .map_err(|error| unsigned(&error))?
            .into();
        let signable = SignableRequest::new(
            question.method.as_str(),
            url,
            question.headers.iter().copied(),
            SignableBody::Bytes(&question.body),
        )
        .map_err(|error| unsigned(&error))?;
        let (instructions, _signature) = sign(signable, &parameters)
            .map_err(|error| unsigned(&error))?
            .into_parts();
        Ok(instructions
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    async fn http(&self) -> Result<&reqwest::Client, AwsError> {
        self.http
            .get_or_try_init(|| async {
                reqwest::Client::builder()
                    .timeout(Duration::from_secs(REQUEST_SECONDS_MAX))
                    .build()
                    .map_err(|error| AwsError::Request(error.to_string()))
            })
            .await
    }
}

/// Returns where a service is: where the environment says, else where AWS has it.
fn endpoint(config: &SdkConfig, service: &str, region: &str) -> String {
    match config.endpoint_url() {
        Some(url) => url.trim_end_matches('/').to_owned(),
        // China is a partition of its own (AWS General Reference, "Service endpoints").
        None if region.starts_with("cn-") => {
            format!("https://{service}.{region}.amazonaws.com.cn")
        }
        None => format!("https://{service}.{region}.amazonaws.com"),
    }
}

/// S3 signs the path as it is and wants the body's hash as a header; the others do neither.
fn signing_settings(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    settings
}

/// Encodes everything but what S3 leaves alone: letters, digits, `-._~` and the slash.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Returns whether asking again may help.
fn is_transient(error: &AwsError) -> bool {
    match error {
        AwsError::Unreachable(_) => true,
        AwsError::Refused { status, said } => {
            *status >= 500
                || *status == StatusCode::TOO_MANY_REQUESTS.as_u16()
                || said.contains("Throttl")
        }
        AwsError::NoRegion
        | AwsError::NoCredentials(_)
        | AwsError::Request(_)
        | AwsError::Nothing(_) => false,
    }
}

/// Returns the code and the message of an error, as JSON services and S3's XML write them.
fn error_message(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    if let Ok(json) = serde_json::from_str::<Value>(&body) {
        let field = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let code = field("__type");
        let code = code.rsplit('#').next().unwrap_or_default();
        let message = field("message") + &field("Message");
        return format!("{code} {message}").trim().to_owned();
    }
    let between = |tag: &str| {
        let (_, rest) = body.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    [between("Code"), between("Message")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}

fn text(value: &Value, otherwise: &'static str) -> Result<String, AwsError> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or(AwsError::Nothing(otherwise))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_its_code_and_its_words() {
        let json = br#"{"__type":"com.amazonaws#ParameterNotFound","message":"no such thing"}"#;
        assert_eq!(error_message(json), "ParameterNotFound no such thing");
        let json = br#"{"__type":"AccessDeniedException","Message":"not yours"}"#;
        assert_eq!(error_message(json), "AccessDeniedException not yours");
        let xml = b"<?xml?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
        assert_eq!(error_message(xml), "NoSuchKey gone");
        assert_eq!(error_message(b""), "");
    }

    #[test]
    fn a_key_is_encoded_as_s3_signs_it() {
        assert_eq!(percent_encoded("a/b c+ü.toml"), "a/b%20c%2B%C3%BC.toml");
    }
}
