//! Builds configuration, secrets, pools, clients and engines for one function instance or one run of the
//! command line.
//!
//! Each of them is built when first needed and then kept. Each tenant has its own engine, so that a missing
//! secret or database of one tenant does not stop another. The next invocation retries what could not be
//! built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tracing::warn;

use crate::config::{CaptureMode, Config, SecretRef, TenantConfig};
use crate::engine::SyncEngine;
use crate::engine::in_process::NoWakeUps;
use crate::engine::sqs::SqsWakeUps;
use crate::engine::system::RandomIds;
use crate::job::error::error_chain;
use crate::model::ids::{SalesforceId, TenantId};
use crate::ports::{IdSource, SecretSource, SecretUnreadable, WakeUpPort};
use crate::salesforce::{HttpSalesforce, MemoryTokenStore, SalesforceOptions};
use crate::store::{PgStore, PgStoreOptions};

use super::aws::Aws;
use super::error::HostError;
use super::fence::fence;
use super::process;
use super::settings::{self, CONFIG_DEFAULT, CONFIG_VARIABLE, ConfigSource};

/// The variable that names the wake-up queue.
const QUEUE_VARIABLE: &str = "SYNCLINE_WAKE_UP_QUEUE_URL";

/// The variable in which Lambda names the function's folder.
const FOLDER_VARIABLE: &str = "LAMBDA_TASK_ROOT";

/// How long an instance tries to release the leases of failed jobs. This is less than the time between the
/// end of a job and Lambda's own deadline.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// Where wake-ups are sent.
#[derive(Clone)]
pub enum WakeUpTarget {
    /// The queue that [`QUEUE_VARIABLE`] names.
    Queue,
    /// A queue in this process.
    Here(Arc<dyn WakeUpPort>),
    /// Nowhere: a sweep finds due records.
    Silent,
}

/// Everything one process needs.
pub struct Instance {
    place: String,
    folder: PathBuf,
    wake_up_target: WakeUpTarget,
    aws: Arc<Aws>,
    config: OnceCell<Loaded>,
    tenants: Mutex<BTreeMap<TenantId, Arc<Wired>>>,
    /// By user, address and name: tenants of one database share its connections, so that their number does not
    /// grow with the tenants.
    databases: Arc<Mutex<BTreeMap<String, PgStore>>>,
}

/// A configuration as it was read.
struct Loaded {
    text: String,
    config: Config,
}

/// The clients of one tenant.
#[derive(Default)]
struct Wired {
    store: OnceCell<PgStore>,
    salesforce: OnceCell<Arc<HttpSalesforce>>,
    engine: OnceCell<SyncEngine>,
}

impl Instance {
    /// Returns an instance configured by the environment of a function.
    pub fn from_environment() -> Self {
        let variable =
            |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        Self::new(
            &variable(CONFIG_VARIABLE, CONFIG_DEFAULT),
            Path::new(&variable(FOLDER_VARIABLE, ".")),
            WakeUpTarget::Queue,
        )
    }

    /// Returns an instance with the configuration at `place`; relative paths start at `folder`.
    pub fn new(place: &str, folder: &Path, wake_up_target: WakeUpTarget) -> Self {
        Self {
            place: place.to_owned(),
            folder: folder.to_owned(),
            wake_up_target,
            aws: Arc::default(),
            config: OnceCell::new(),
            tenants: Mutex::default(),
            databases: Arc::default(),
        }
    }

    /// Returns the configuration.
    ///
    /// Fails if it cannot be read or has a mistake; the error names line and fix.
    pub async fn config(&self) -> Result<&Config, HostError> {
        let loaded = self.config.get_or_try_init(|| self.load()).await?;
        Ok(&loaded.config)
    }

    async fn load(&self) -> Result<Loaded, HostError> {
        let source = ConfigSource::parse(&self.place, &self.folder)?;
        let text = source.read(&self.aws).await?;
        let mut config = Config::parse(&text).map_err(|error| HostError::Mistakes {
            place: source.to_string(),
            source: error,
        })?;
        settings::resolve_paths(&mut config, source.folder().unwrap_or(&self.folder));
        Ok(Loaded { text, config })
    }

    /// Reads the configuration again. Returns an instance with the new one, or `None` if it has not changed.
    ///
    /// Fails if it cannot be read or has a mistake; this instance goes on with the one that it has.
    pub async fn read_again(&self) -> Result<Option<Self>, HostError> {
        let loaded = self.load().await?;
        let known = self.config.get();
        if known.is_some_and(|known| known.text == loaded.text) {
            return Ok(None);
        }
        Ok(Some(Self {
            aws: Arc::clone(&self.aws),
            // A process has one pool for each database, whatever configuration named it first.
            databases: Arc::clone(&self.databases),
            config: OnceCell::new_with(Some(loaded)),
            ..Self::new(&self.place, &self.folder, self.wake_up_target.clone())
        }))
    }

    /// Returns the tenant `only`, or all tenants.
    ///
    /// Fails if there is no configuration, or no such tenant in it.
    pub async fn tenants(&self, only: Option<&TenantId>) -> Result<Vec<TenantId>, HostError> {
        match only {
            Some(tenant) => {
                self.tenant(tenant).await?;
                Ok(vec![tenant.clone()])
            }
            None => Ok(self.config().await?.tenants.keys().cloned().collect()),
        }
    }

    /// Returns a tenant's configuration.
    ///
    /// Fails if there is no configuration, or no such tenant in it.
    pub async fn tenant(&self, tenant: &TenantId) -> Result<&TenantConfig, HostError> {
        let tenants = &self.config().await?.tenants;
        tenants.get(tenant).ok_or_else(|| {
            let known: Vec<&str> = tenants.keys().map(TenantId::as_str).collect();
            HostError::UnknownTenant {
                tenant: tenant.to_string(),
                known: known.join(", "),
            }
        })
    }

    /// Returns a tenant's Postgres, shared by the tenants of one database. Connections are made when they are
    /// used.
    ///
    /// Fails if the secret cannot be read or is not a URL.
    pub async fn store(&self, tenant: &TenantId) -> Result<PgStore, HostError> {
        let postgres = &self.tenant(tenant).await?.postgres;
        let wired = self.wired(tenant);
        let store = wired
            .store
            .get_or_try_init(|| async {
                let url = settings::secret(&postgres.url, &self.aws).await?;
                self.database(&PgStoreOptions {
                    statement_cache: postgres.statement_cache,
                    connections_max: postgres.connections_max,
                    url_source: Some(self.secret_source(&postgres.url)),
                    ..PgStoreOptions::new(url)
                })
            })
            .await?;
        Ok(store.clone())
    }

    /// Returns the database, with the options of the tenant that was the first to use it.
    fn database(&self, options: &PgStoreOptions) -> Result<PgStore, HostError> {
        let name = options.database()?;
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = databases.get(&name) {
            return Ok(known.clone());
        }
        let store = PgStore::open(options)?;
        databases.insert(name, store.clone());
        Ok(store)
    }

    /// Returns how a secret is read again after it was refused.
    fn secret_source(&self, place: &SecretRef) -> SecretSource {
        let (place, aws) = (place.clone(), Arc::clone(&self.aws));
        SecretSource::new(&place.to_string(), move || {
            let (place, aws) = (place.clone(), Arc::clone(&aws));
            Box::pin(async move {
                let secret = settings::secret(&place, &aws).await;
                secret.map_err(|error| SecretUnreadable {
                    reason: error_chain(&error),
                })
            })
        })
    }

    /// Returns a tenant's org. The client logs in at its first call.
    ///
    /// Fails if the secret cannot be read.
    pub async fn salesforce(&self, tenant: &TenantId) -> Result<Arc<HttpSalesforce>, HostError> {
        let config = self.tenant(tenant).await?;
        let wired = self.wired(tenant);
        let salesforce = wired
            .salesforce
            .get_or_try_init(|| async {
                let secret = settings::secret(&config.salesforce.secret, &self.aws).await?;
                let options = SalesforceOptions {
                    secret_source: Some(self.secret_source(&config.salesforce.secret)),
                    reserve_percent: config.budget.reserve,
                    ..SalesforceOptions::from_config(
                        &config.salesforce,
                        &config.api_version,
                        secret,
                    )
                };
                let tokens = Arc::new(MemoryTokenStore::default());
                let client = HttpSalesforce::new(options, tokens)?;
                Ok::<_, HostError>(Arc::new(client))
            })
            .await?;
        Ok(Arc::clone(salesforce))
    }

    /// Returns a tenant's engine.
    ///
    /// Fails if a secret cannot be read or no queue is configured.
    pub async fn engine(&self, tenant: &TenantId) -> Result<SyncEngine, HostError> {
        let wired = self.wired(tenant);
        let engine = wired
            .engine
            .get_or_try_init(|| async { self.engine_with(tenant, self.wake_up().await?).await })
            .await?;
        Ok(engine.clone())
    }

    /// Returns a new engine of one tenant that sends its wake-ups to `wake_up`.
    ///
    /// Fails if a secret cannot be read.
    pub async fn engine_with(
        &self,
        tenant: &TenantId,
        wake_up: Arc<dyn WakeUpPort>,
    ) -> Result<SyncEngine, HostError> {
        let config = self.tenant(tenant).await?.clone();
        let store = Arc::new(self.store(tenant).await?);
        let salesforce = self.salesforce(tenant).await?;
        let fence = config.fence.as_ref().map(|place| fence(place, &self.aws));
        let mut builder = SyncEngine::builder()
            .wake_up(wake_up)
            .tenant(config, store, salesforce)
            .has_ended(process::has_ended);
        if let Some(fence) = fence {
            builder = builder.fence(tenant, fence);
        }
        if let Some(process) = process::name() {
            builder = builder.worker(&format!("{process}/{}", RandomIds.uuid()));
        }
        Ok(builder.build())
    }

    /// Releases leases and permits of jobs of this instance that failed, panicked or were cancelled. Those
    /// that cannot be released within a second expire by themselves.
    pub async fn release_orphaned_leases(&self) {
        let engines: Vec<SyncEngine> = {
            let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            let engines = tenants.values().map(|wired| wired.engine.get().cloned());
            engines.flatten().collect()
        };
        let released = join_all(engines.iter().map(SyncEngine::release_orphaned_leases));
        if timeout(RELEASE_MAX, released).await.is_err() {
            warn!(
                "some leases of failed jobs could not be released in time; they expire by themselves"
            );
        }
    }

    /// Returns the tenant whose relayed events come from this org. Asks the org of each tenant with
    /// `capture = "relay"` for its id, and logs each tenant whose org cannot be reached: it may be the one.
    ///
    /// Fails if there is no configuration, or no such tenant.
    pub async fn tenant_of_org(&self, organization: &SalesforceId) -> Result<TenantId, HostError> {
        let config = self.config().await?;
        let relayed = config
            .tenants
            .values()
            .filter(|tenant| tenant.capture == CaptureMode::Relay);
        let mut unasked = Vec::new();
        for TenantConfig { tenant, .. } in relayed {
            match self.organization_of(tenant).await {
                Ok(theirs) if theirs == *organization => return Ok(tenant.clone()),
                Ok(_) => {}
                Err(error) => {
                    warn!(tenant = %tenant, reason = %error_chain(&error), "a tenant cannot be asked for its org");
                    unasked.push(tenant.as_str());
                }
            }
        }
        Err(HostError::UnknownOrg {
            organization: organization.to_string(),
            unasked: match unasked.is_empty() {
                true => "none".to_owned(),
                false => unasked.join(", "),
            },
        })
    }

    async fn organization_of(&self, tenant: &TenantId) -> Result<SalesforceId, HostError> {
        let engine = self.engine(tenant).await?;
        Ok(engine.organization(tenant).await?)
    }

    async fn wake_up(&self) -> Result<Arc<dyn WakeUpPort>, HostError> {
        match &self.wake_up_target {
            WakeUpTarget::Here(wake_up) => Ok(Arc::clone(wake_up)),
            WakeUpTarget::Silent => Ok(Arc::new(NoWakeUps)),
            WakeUpTarget::Queue => {
                let url = std::env::var(QUEUE_VARIABLE)
                    .map_err(|_| HostError::Variable(QUEUE_VARIABLE.to_owned()))?;
                let client = aws_sdk_sqs::Client::new(self.aws.config().await);
                Ok(Arc::new(SqsWakeUps::new(client, &url)))
            }
        }
    }

    /// Returns a tenant's clients. Locks the table only for the lookup.
    fn wired(&self, tenant: &TenantId) -> Arc<Wired> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tenants.entry(tenant.clone()).or_default())
    }
}
