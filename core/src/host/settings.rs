//! Reads configuration and secrets.
//!
//! The configuration is a file beside the function, an SSM parameter or an S3 object; it names secrets and
//! never contains one. Secrets are read into types that do not print.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{Config, FenceRef, SecretRef};
use secrecy::SecretString;

use super::aws::Aws;
use super::error::HostError;

/// The variable with the configuration's address.
pub const CONFIG_VARIABLE: &str = "SYNCLINE_CONFIG";

/// The configuration's address unless [`CONFIG_VARIABLE`] is set.
pub const CONFIG_DEFAULT: &str = "syncline.toml";

/// Where a configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file.
    File(PathBuf),
    /// `ssm:/name`.
    Ssm(String),
    /// `s3://bucket/key`.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
}

impl ConfigSource {
    /// Parses the value of [`CONFIG_VARIABLE`]; a relative path starts at `folder`.
    ///
    /// Fails if the text is not a valid address.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, HostError> {
        let wrong = |problem| HostError::Place {
            text: text.to_owned(),
            problem,
        };
        if let Some(name) = text.strip_prefix("ssm:") {
            return match name.is_empty() {
                true => Err(wrong("the name of the parameter is missing after ssm:")),
                false => Ok(Self::Ssm(name.to_owned())),
            };
        }
        if let Some(rest) = text.strip_prefix("s3:") {
            return match rest.trim_start_matches('/').split_once('/') {
                Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                }),
                Some(_) | None => Err(wrong("it must have the form s3://bucket/key")),
            };
        }
        match text.is_empty() {
            true => Err(wrong("it is empty")),
            false => Ok(Self::File(folder.join(text))),
        }
    }

    /// Returns the folder that a file of configuration is in.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Ssm(_) | Self::S3 { .. } => None,
        }
    }

    /// Reads the configuration's text.
    ///
    /// Fails if the file, parameter or object cannot be read.
    pub async fn read(&self, aws: &Aws) -> Result<String, HostError> {
        let what = || format!("the configuration {self}");
        match self {
            Self::File(path) => read_file(path, what()).await,
            Self::Ssm(name) => aws.parameter(name).await.map_err(|source| HostError::Aws {
                what: what(),
                source,
            }),
            Self::S3 { bucket, key } => {
                aws.object(bucket, key)
                    .await
                    .map_err(|source| HostError::Aws {
                        what: what(),
                        source,
                    })
            }
        }
    }
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Ssm(name) => write!(f, "ssm:{name}"),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

/// Lets relative paths of secrets and fences start at `folder`, wherever the process was started.
pub fn resolve_paths(config: &mut Config, folder: &Path) {
    let resolve = |path: &mut String| *path = folder.join(&*path).display().to_string();
    for tenant in config.tenants.values_mut() {
        for secret in [&mut tenant.salesforce.secret, &mut tenant.postgres.url] {
            if let SecretRef::File(path) = secret {
                resolve(path);
            }
        }
        if let Some(FenceRef::File(path)) = &mut tenant.fence {
            resolve(path);
        }
    }
}

/// Reads a secret.
///
/// Removes white space around it, such as a file's last newline. A PEM key may be one line with `\n` for its
/// line ends, as in environment variables.
///
/// Fails if the secret cannot be read or is empty.
pub async fn secret(place: &SecretRef, aws: &Aws) -> Result<SecretString, HostError> {
    let what = || format!("the secret {}", place);
    let text = match place {
        SecretRef::Environment(name) => {
            std::env::var(name).map_err(|_| HostError::Variable(name.clone()))?
        }
        SecretRef::SecretsManager(id) => aws.secret(id).await.map_err(|source| HostError::Aws {
            what: what(),
            source,
        })?,
        SecretRef::Ssm(name) => aws.parameter(name).await.map_err(|source| HostError::Aws {
            what: what(),
            source,
        })?,
        SecretRef::File(path) => read_file(Path::new(path), what()).await?,
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(HostError::Empty(what()));
    }
    let text = if text.starts_with("-----BEGIN") && !text.contains('\n') {
        text.replace("\\n", "\n")
    } else {
        text.to_owned()
    };
    Ok(SecretString::from(text))
}

async fn read_file(path: &Path, what: String) -> Result<String, HostError> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|source| HostError::File { what, source })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn configuration_is_a_file_parameter_or_object() {
        let parse = |text: &str| ConfigSource::parse(text, Path::new("/var/task"));
        let place = |text: &str| parse(text).map(|source| source.to_string()).ok();
        assert_eq!(
            place("syncline.toml").as_deref(),
            Some("/var/task/syncline.toml")
        );
        assert_eq!(place("/etc/s.toml").as_deref(), Some("/etc/s.toml"));
        assert_eq!(place("ssm:/a/b").as_deref(), Some("ssm:/a/b"));
        assert_eq!(place("s3://b/k/l").as_deref(), Some("s3://b/k/l"));
        assert_eq!(place("s3:b/k").as_deref(), Some("s3://b/k"));
        for nothing in ["", "ssm:", "s3:", "s3://b", "s3://b/", "s3:///k"] {
            assert!(parse(nothing).is_err(), "{nothing}");
        }
    }

    #[tokio::test]
    async fn secret_from_a_file_is_trimmed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let place = SecretRef::File(file.path().display().to_string());
        std::fs::write(file.path(), "hush\n").unwrap();
        let secret_of = |place: SecretRef| async move { secret(&place, &Aws::default()).await };
        let read = secret_of(place.clone()).await.unwrap();
        assert_eq!(read.expose_secret(), "hush");
        assert!(!format!("{read:?}").contains("hush"));
        std::fs::write(file.path(), "-----BEGIN X-----\\nabc\\n-----END X-----").unwrap();
        let key = secret_of(place.clone()).await.unwrap();
        assert_eq!(key.expose_secret().lines().count(), 3);
        std::fs::write(file.path(), " \n").unwrap();
        assert!(matches!(secret_of(place).await, Err(HostError::Empty(_))));
    }

    #[tokio::test]
    async fn error_names_the_missing_secret() {
        let place = SecretRef::Environment("SYNCLINE_NO_SUCH_VARIABLE".to_owned());
        let error = secret(&place, &Aws::default()).await.unwrap_err();
        assert!(error.to_string().contains("SYNCLINE_NO_SUCH_VARIABLE"));
        let place = SecretRef::File("/no/such/file".to_owned());
        let error = secret(&place, &Aws::default()).await.unwrap_err();
        assert!(error.to_string().contains("file:/no/such/file"));
    }
}
