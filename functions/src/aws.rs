//! The AWS clients of one instance, made when first needed.
//!
//! Nothing here is loaded for those who keep configuration and secrets elsewhere: a laptop without AWS
//! never looks for credentials.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::error::DisplayErrorContext;
use tokio::sync::OnceCell;

/// AWS could not be asked, or said no. Holds no values: only names and AWS's own words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct AwsError(String);

impl AwsError {
    fn of(error: &dyn std::error::Error) -> Self {
        Self(DisplayErrorContext(error).to_string())
    }
}

/// The clients.
#[derive(Debug, Default)]
pub struct Aws {
    config: OnceCell<SdkConfig>,
}

impl Aws {
    /// Returns region, credentials and endpoint as the environment gives them.
    pub async fn config(&self) -> &SdkConfig {
        self.config
            .get_or_init(|| aws_config::load_defaults(BehaviorVersion::latest()))
            .await
    }

    /// Returns a parameter of SSM, decrypted.
    pub async fn parameter(&self, name: &str) -> Result<String, AwsError> {
        let answer = aws_sdk_ssm::Client::new(self.config().await)
            .get_parameter()
            .name(name)
            .with_decryption(true)
            .send()
            .await
            .map_err(|error| AwsError::of(&error))?;
        answer
            .parameter
            .and_then(|parameter| parameter.value)
            .ok_or_else(|| AwsError("the parameter has no value".to_owned()))
    }

    /// Returns the text of a secret of Secrets Manager.
    pub async fn secret(&self, id: &str) -> Result<String, AwsError> {
        aws_sdk_secretsmanager::Client::new(self.config().await)
            .get_secret_value()
            .secret_id(id)
            .send()
            .await
            .map_err(|error| AwsError::of(&error))?
            .secret_string
            .ok_or_else(|| AwsError("the secret is binary, not text".to_owned()))
    }

    /// Returns an object of S3 as text.
    pub async fn object(&self, bucket: &str, key: &str) -> Result<String, AwsError> {
        let config = self.config().await;
        // Only AWS itself resolves a bucket in the host name; anybody else's endpoint wants the path.
        let client = aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::config::Builder::from(config)
                .force_path_style(config.endpoint_url().is_some())
                .build(),
        );
        let body = client
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| AwsError::of(&error))?
            .body
            .collect()
            .await
            .map_err(|error| AwsError::of(&error))?;
        String::from_utf8(body.to_vec())
            .map_err(|_| AwsError("the object is not UTF-8 text".to_owned()))
    }
}
