//! Reads a parameter, a secret or an object from AWS.
//!
//! Region and credentials are looked up when first needed, so a machine without AWS needs none.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::OnceCell;

use crate::job::error::error_chain;

/// How long one attempt may take; the SDK makes three.
const ATTEMPT_SECONDS_MAX: u64 = 10;

/// Why a call of AWS failed. Contains only names and AWS's messages, no values.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AwsError {
    /// The environment names no region.
    #[error("no AWS region is set; set AWS_REGION")]
    NoRegion,
    /// There are no credentials.
    #[error("there are no AWS credentials: {0}")]
    NoCredentials(String),
    /// No response arrived.
    #[error("AWS cannot be reached: {0}")]
    Unreachable(String),
    /// AWS refused the call.
    #[error("AWS answered {status}: {reason}")]
    Refused {
        /// The status.
        status: u16,
        /// The error's code and message.
        reason: String,
    },
    /// The response does not contain the requested value.
    #[error("{0}")]
    Nothing(&'static str),
}

/// The clients of AWS, each built when first needed.
#[derive(Debug, Default)]
pub struct Aws {
    config: OnceCell<SdkConfig>,
    ssm: OnceCell<aws_sdk_ssm::Client>,
    secrets: OnceCell<aws_sdk_secretsmanager::Client>,
    s3: OnceCell<aws_sdk_s3::Client>,
}

impl Aws {
    /// Returns the clients of the AWS that `config` describes.
    pub fn at(config: SdkConfig) -> Self {
        Self {
            config: OnceCell::new_with(Some(config)),
            ..Self::default()
        }
    }

    /// Returns region, credentials and endpoint from the environment.
    pub async fn config(&self) -> &SdkConfig {
        self.config
            .get_or_init(|| aws_config::load_defaults(BehaviorVersion::latest()))
            .await
    }

    /// Returns a parameter of SSM, decrypted.
    ///
    /// Fails if AWS cannot be reached or refuses.
    pub async fn parameter(&self, name: &str) -> Result<String, AwsError> {
        let ssm = self.ssm().await?;
        let answer = ssm
            .get_parameter()
            .name(name)
            .with_decryption(true)
            .send()
            .await
            .map_err(AwsError::of)?;
        let value = answer.parameter.and_then(|parameter| parameter.value);
        value.ok_or(AwsError::Nothing("the parameter has no value"))
    }

    /// Returns a parameter of SSM and its version; `None` if it does not exist.
    ///
    /// Fails if AWS cannot be reached or refuses.
    pub async fn versioned_parameter(&self, name: &str) -> Result<Option<(String, i64)>, AwsError> {
        let asked = self.ssm().await?.get_parameter().name(name).send().await;
        let answer = match asked {
            Err(error) if is_service_error(&error, |error| error.is_parameter_not_found()) => {
                return Ok(None);
            }
            asked => asked.map_err(AwsError::of)?,
        };
        let found = answer.parameter;
        let found = found.and_then(|found| Some((found.value?, found.version)));
        found
            .map(Some)
            .ok_or(AwsError::Nothing("the parameter has no value"))
    }

    /// Sets a parameter of SSM in one attempt and returns its new version. Returns `None` if it exists already and is
    /// not to be replaced.
    ///
    /// Fails if AWS cannot be reached or refuses.
    pub async fn put_parameter(
        &self,
        name: &str,
        value: &str,
        replace: bool,
    ) -> Result<Option<i64>, AwsError> {
        // A second attempt after a lost answer would count as two versions.
        let once = aws_sdk_ssm::config::Builder::new().retry_config(RetryConfig::disabled());
        let put = self
            .ssm()
            .await?
            .put_parameter()
            .name(name)
            .value(value)
            .r#type(aws_sdk_ssm::types::ParameterType::String)
            .overwrite(replace)
            .customize()
            .config_override(once)
            .send()
            .await;
        match put {
            Err(error) if is_service_error(&error, |error| error.is_parameter_already_exists()) => {
                Ok(None)
            }
            put => Ok(Some(put.map_err(AwsError::of)?.version)),
        }
    }

    /// Returns the text of a secret of Secrets Manager.
    ///
    /// Fails if AWS cannot be reached or refuses.
    pub async fn secret(&self, id: &str) -> Result<String, AwsError> {
        let secrets = self.secrets().await?;
        let answer = secrets
            .get_secret_value()
            .secret_id(id)
            .send()
            .await
            .map_err(AwsError::of)?;
        let secret = answer.secret_string;
        secret.ok_or(AwsError::Nothing("the secret is binary, not text"))
    }

    /// Returns an object of S3 as text.
    ///
    /// Fails if AWS cannot be reached or refuses, or the object is not text.
    pub async fn object(&self, bucket: &str, key: &str) -> Result<String, AwsError> {
        let s3 = self.s3().await?;
        let answer = s3
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .map_err(AwsError::of)?;
        let body = answer.body.collect().await;
        let body = body.map_err(|error| AwsError::Unreachable(error_chain(&error)))?;
        String::from_utf8(body.to_vec())
            .map_err(|_| AwsError::Nothing("the object is not UTF-8 text"))
    }

    async fn ssm(&self) -> Result<&aws_sdk_ssm::Client, AwsError> {
        let client = async || {
            let config = aws_sdk_ssm::config::Builder::from(self.config_with_region().await?)
                .timeout_config(timeouts());
            Ok(aws_sdk_ssm::Client::from_conf(config.build()))
        };
        self.ssm.get_or_try_init(client).await
    }

    async fn secrets(&self) -> Result<&aws_sdk_secretsmanager::Client, AwsError> {
        let client = async || {
            let config = self.config_with_region().await?;
            let config =
                aws_sdk_secretsmanager::config::Builder::from(config).timeout_config(timeouts());
            Ok(aws_sdk_secretsmanager::Client::from_conf(config.build()))
        };
        self.secrets.get_or_try_init(client).await
    }

    async fn s3(&self) -> Result<&aws_sdk_s3::Client, AwsError> {
        let client = async || {
            // With the bucket in the path, a local endpoint needs no DNS name per bucket.
            let config = aws_sdk_s3::config::Builder::from(self.config_with_region().await?)
                .timeout_config(timeouts())
                .force_path_style(true);
            Ok(aws_sdk_s3::Client::from_conf(config.build()))
        };
        self.s3.get_or_try_init(client).await
    }

    async fn config_with_region(&self) -> Result<&SdkConfig, AwsError> {
        let config = self.config().await;
        match config.region() {
            Some(_) => Ok(config),
            None => Err(AwsError::NoRegion),
        }
    }
}

/// Returns whether AWS refused the call with such an error.
fn is_service_error<E>(error: &SdkError<E, HttpResponse>, is: impl Fn(&E) -> bool) -> bool {
    matches!(error, SdkError::ServiceError(refused) if is(refused.err()))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(ATTEMPT_SECONDS_MAX))
        .build()
}

impl AwsError {
    /// Converts a failed call, without the response itself: it may contain the secret.
    fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match &error {
            // The SDK reports a body that it cannot parse as the service's error.
            SdkError::ServiceError(answer) if answer.raw().status().is_success() => {
                Self::Nothing("the answer cannot be read")
            }
            SdkError::ServiceError(refused) => {
                let meta = refused.err().meta();
                let words = [meta.code(), meta.message()].into_iter().flatten();
                Self::Refused {
                    status: refused.raw().status().as_u16(),
                    reason: words.collect::<Vec<_>>().join(" "),
                }
            }
            SdkError::ResponseError(_) => Self::Nothing("the answer cannot be read"),
            _ => match credentials_error(&error) {
                Some(reason) => Self::NoCredentials(reason),
                None => Self::Unreachable(error_chain(&error)),
            },
        }
    }
}

/// Returns why there are no credentials, if that is the cause of an error.
fn credentials_error(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return Some(error_chain(error));
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use aws_config::Region;
    use aws_sdk_s3::config::Credentials;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Returns the clients of a server that sends one response and then closes the connection.
    async fn aws_that_answers(answer: String) -> Aws {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 16 * 1024];
            let _ = connection.read(&mut request).await.unwrap();
            connection.write_all(answer.as_bytes()).await.unwrap();
        });
        let config = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(url)
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .load();
        Aws::at(config.await)
    }

    fn http(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn refusal_is_reported_with_code_and_message() {
        let body = r#"{"__type":"com.amazonaws#ParameterNotFound","message":"no such thing"}"#;
        let aws = aws_that_answers(http("400 Bad Request", body)).await;
        let error = aws.parameter("/a").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "AWS answered 400: ParameterNotFound no such thing"
        );
        let body = "<?xml?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
        let aws = aws_that_answers(http("404 Not Found", body)).await;
        let error = aws.object("bucket", "key").await.unwrap_err();
        assert_eq!(error.to_string(), "AWS answered 404: NoSuchKey gone");
    }

    #[tokio::test]
    async fn values_are_read_as_text() {
        let body = r#"{"Parameter":{"Value":"one"}}"#;
        let aws = aws_that_answers(http("200 OK", body)).await;
        assert_eq!(aws.parameter("/a").await.unwrap(), "one");
        let aws = aws_that_answers(http("200 OK", r#"{"SecretString":"two"}"#)).await;
        assert_eq!(aws.secret("a").await.unwrap(), "two");
        let aws = aws_that_answers(http("200 OK", "three")).await;
        assert_eq!(aws.object("bucket", "a b/c").await.unwrap(), "three");
    }

    #[tokio::test]
    async fn unreadable_response_is_not_quoted() {
        let body = r#"{"SecretString":"hunter2""#;
        let aws = aws_that_answers(http("200 OK", body)).await;
        let error = aws.secret("a").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert_eq!(error.to_string(), "the answer cannot be read");
    }
}
