//! The engine of one tenant, with the builder of `force-sync`.

use std::sync::Arc;
use std::time::Duration;

use super::capture::capture_batch;
use super::config::ObjectSync;
use super::error::ForceSyncError;
use super::reconcile::run_reconcile_once;
use super::salesforce::ForceClient;
use super::store::{LinkedEngine, PgStore};
use crate::config::{
    AuthFlow, BudgetConfig, CaptureMode, PostgresConfig, SalesforceConfig, SecretRef, TenantConfig,
};
use crate::model::hash::canonical_hash;
use crate::model::ids::TenantId;

/// The default tenant.
const TENANT: &str = "default";

/// How long one run may take.
pub(super) const RUN_MAX: Duration = Duration::from_secs(60);

/// Outbox rows of one run of capture.
const CAPTURE_BATCH: i64 = 100;

/// Default for the drifted records that one reconciliation repairs.
const RECONCILE_BATCH: i64 = 100;

/// Keeps the tables and the org of one tenant equal.
#[derive(Clone)]
pub struct SyncEngine {
    store: PgStore,
    reconcile_batch_size: i64,
}

impl SyncEngine {
    /// Returns a builder over a client of the org.
    pub fn builder(salesforce_client: impl Into<ForceClient>) -> SyncEngineBuilder {
        SyncEngineBuilder {
            client: salesforce_client.into(),
            postgres: None,
            objects: Vec::new(),
            tenant: TENANT.to_owned(),
            reconcile_batch_size: RECONCILE_BATCH,
        }
    }

    /// Captures one batch of the outbox. Returns the number of journaled changes.
    pub async fn run_capture_postgres_once(&self) -> Result<usize, ForceSyncError> {
        capture_batch(&self.store, CAPTURE_BATCH, 0).await
    }

    /// Plans and writes all due records. Returns the number of writes to both sides.
    pub async fn run_apply_once(&self) -> Result<usize, ForceSyncError> {
        let linked = self.store.linked().await?;
        let mut written = 0;
        for mapped in linked.engine.mapped_objects(&linked.tenant).await? {
            let deadline = linked.engine.deadline_in(RUN_MAX);
            let report = linked
                .engine
                .apply(&linked.tenant, &mapped.sync.object, 0, deadline)
                .await?;
            written += report.rows_written + report.applied;
        }
        Ok(written)
    }

    /// Compares all records once and enqueues the drifted ones. Returns their number.
    pub async fn run_reconcile_once(&self) -> Result<usize, ForceSyncError> {
        run_reconcile_once(&self.store, self.reconcile_batch_size).await
    }
}

/// Builds a [`SyncEngine`].
pub struct SyncEngineBuilder {
    client: ForceClient,
    postgres: Option<PgStore>,
    objects: Vec<ObjectSync>,
    tenant: String,
    reconcile_batch_size: i64,
}

impl SyncEngineBuilder {
    /// Sets the store.
    #[must_use]
    pub fn postgres(mut self, postgres: PgStore) -> Self {
        self.postgres = Some(postgres);
        self
    }

    /// Adds a mapped object.
    #[must_use]
    pub fn object(mut self, object: ObjectSync) -> Self {
        self.objects.push(object);
        self
    }

    /// Sets the tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Sets the largest number of drifted records that one reconciliation repairs.
    #[must_use]
    pub const fn reconcile_batch_size(mut self, reconcile_batch_size: i64) -> Self {
        self.reconcile_batch_size = reconcile_batch_size;
        self
    }

    /// Has no effect: the engine chooses the size of its batches.
    #[must_use]
    pub const fn apply_batch_size(self, _apply_batch_size: i64) -> Self {
        self
    }

    /// Returns the engine. Fails if the store or the objects are missing, or if a name is not valid.
    pub fn build(self) -> Result<SyncEngine, ForceSyncError> {
        let missing = |field| ForceSyncError::MissingConfiguration { field };
        let store = self.postgres.ok_or(missing("postgres"))?;
        if self.objects.is_empty() {
            return Err(missing("object sync"));
        }
        let tenant = TenantId::parse(&self.tenant)
            .map_err(|error| ForceSyncError::invalid("tenant", error))?;
        let config = tenant_config(&tenant, &self.objects)?;
        let engine = crate::SyncEngine::builder()
            .tenant(config, Arc::new(store.store().clone()), self.client.port)
            .build();
        store.link(LinkedEngine { engine, tenant });
        Ok(SyncEngine {
            store,
            reconcile_batch_size: self.reconcile_batch_size,
        })
    }
}

/// Returns the configuration of the tenant. The client and the pool exist already, so the connection
/// settings stay empty.
fn tenant_config(
    tenant: &TenantId,
    objects: &[ObjectSync],
) -> Result<TenantConfig, ForceSyncError> {
    let objects = objects
        .iter()
        .map(ObjectSync::mapping)
        .collect::<Result<Vec<_>, _>>()?;
    let json = serde_json::to_value(&objects)
        .map_err(|error| ForceSyncError::invalid("object sync", error))?;
    Ok(TenantConfig {
        tenant: tenant.clone(),
        salesforce: SalesforceConfig {
            login_url: String::new(),
            pubsub_url: String::new(),
            client_id: String::new(),
            auth: AuthFlow::ClientCredentials,
            secret: SecretRef::Environment(String::new()),
        },
        postgres: PostgresConfig {
            url: SecretRef::Environment(String::new()),
            schema: String::new(),
            statement_cache: true,
            connections_max: 0,
        },
        api_version: String::new(),
        // Events come through `capture_stream`, in the order that the caller gives them.
        capture: CaptureMode::Relay,
        fence: None,
        budget: BudgetConfig::default(),
        objects,
        config_hash: canonical_hash(&json),
    })
}
