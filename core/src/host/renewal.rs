//! Takes a changed configuration into a running process.
//!
//! The text is compared, at intervals: no file need be watched, and parameters and objects of AWS are read in the same
//! way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::{error, info};

use super::instance::Instance;
use crate::job::error::error_chain;

/// How long a function works with a configuration before it reads it again. Reading it costs a call of AWS.
pub const FUNCTION_CONFIG_MAX: Duration = Duration::from_secs(60);

/// The instance of a process, with the configuration that was valid last.
pub struct RenewedInstance {
    age_max: Duration,
    state: Mutex<State>,
}

struct State {
    instance: Arc<Instance>,
    read_at: Instant,
    /// Why the configuration was refused last: the same reason is logged once.
    refused: Option<String>,
}

impl RenewedInstance {
    /// Returns this instance. Its configuration is read again after `age_max`.
    pub fn new(instance: Arc<Instance>, age_max: Duration) -> Self {
        Self {
            age_max,
            state: Mutex::new(State {
                instance,
                read_at: Instant::now(),
                refused: None,
            }),
        }
    }

    /// Returns the instance, with the configuration as it is now or was less than `age_max` ago. If that cannot be
    /// read or is invalid, logs so once and goes on with the one before.
    pub async fn current(&self) -> Arc<Instance> {
        let mut state = self.state.lock().await;
        if state.read_at.elapsed() >= self.age_max {
            state.read_at = Instant::now();
            state.read_again().await;
        }
        Arc::clone(&state.instance)
    }
}

impl State {
    async fn read_again(&mut self) {
        match self.instance.read_again().await {
            Ok(None) => self.refused = None,
            Ok(Some(changed)) => {
                info!("the configuration has changed; the new one is used from now on");
                self.instance = Arc::new(changed);
                self.refused = None;
            }
            Err(refusal) => {
                let reason = error_chain(&refusal);
                if self.refused.as_ref() != Some(&reason) {
                    error!(
                        reason,
                        "the new configuration cannot be used; the one before stays in use"
                    );
                }
                self.refused = Some(reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::host::instance::WakeUpTarget;

    const VALID: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.example.com", client_id = "id", auth = "client_credentials", secret = "file:s" }
postgres = { url = "file:url" }

[[tenant.acme.object]]
object = "Account"
table = "account"
external_id = { field = "External_Id__c", column = "external_id" }

[tenant.acme.object.fields]
Name = { column = "name" }
"#;

    #[tokio::test]
    async fn valid_change_is_taken_and_an_invalid_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("syncline.toml");
        std::fs::write(&path, VALID).unwrap();
        let place = path.display().to_string();
        let instance = Arc::new(Instance::new(&place, Path::new(""), WakeUpTarget::Silent));
        let tenants = async |instance: &Instance| instance.config().await.unwrap().tenants.len();
        assert_eq!(tenants(&instance).await, 1);
        let renewed = RenewedInstance::new(Arc::clone(&instance), Duration::ZERO);
        assert!(
            Arc::ptr_eq(&renewed.current().await, &instance),
            "it is the same"
        );

        std::fs::write(&path, "[tenant").unwrap();
        assert!(
            Arc::ptr_eq(&renewed.current().await, &instance),
            "it is invalid"
        );
        let refused = renewed.state.lock().await.refused.clone();
        assert!(refused.is_some_and(|reason| reason.contains("has mistakes")));

        let two = format!("{VALID}{}", VALID.replace("acme", "globex"));
        std::fs::write(&path, two).unwrap();
        let changed = renewed.current().await;
        assert_eq!(tenants(&changed).await, 2);
        assert!(renewed.state.lock().await.refused.is_none());
        let secret = changed.config().await.unwrap().tenants.values().next();
        let url = secret.map(|tenant| tenant.postgres.url.to_string());
        assert_eq!(
            url,
            Some(format!("file:{}", folder.path().join("url").display()))
        );
    }
}
