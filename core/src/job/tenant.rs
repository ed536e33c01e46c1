//! One tenant of the engine: its configuration, its two sides, and its mapped objects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Mutex;

use crate::config::{ObjectSync, TenantConfig};
use crate::model::ids::{FieldName, ObjectName, SalesforceId};
use crate::model::schema::ObjectSchema;

use crate::ports::job_store::MetOrg;
use crate::ports::salesforce::{Changes, Interest};
use crate::ports::{MappedObject, SalesforcePort, Store};

use super::error::Error;

/// How long describes and the org's identity are used before they are read again: the longest time until
/// a changed field or a changed org is noticed. A changed org usually refuses our replay ids before.
const DESCRIBE_CACHE_MS: i64 = 10 * 60 * 1_000;

/// How long after its last change a tenant counts as active: capture keeps polling only for active ones.
const ACTIVE_MS: i64 = 5 * 60 * 1_000;

/// One tenant with its ports.
pub(crate) struct Tenant {
    pub(crate) config: TenantConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) salesforce: Arc<dyn SalesforcePort>,
    /// Locked while loading, so that jobs that start at once load only once.
    loaded: Mutex<Option<Arc<MappedObjects>>>,
    active_until_ms: AtomicI64,
}

/// The mapped objects, with describes and table definitions.
pub(crate) struct MappedObjects {
    /// Parents before children where the references allow it.
    pub(crate) list: Vec<MappedObject>,
    /// Our user in the org.
    pub(crate) user: SalesforceId,
    /// The org.
    pub(crate) organization_id: SalesforceId,
    loaded_at_ms: i64,
}

impl Tenant {
    pub(crate) fn new(
        config: TenantConfig,
        store: Arc<dyn Store>,
        salesforce: Arc<dyn SalesforcePort>,
    ) -> Self {
        Self {
            config,
            store,
            salesforce,
            loaded: Mutex::new(None),
            active_until_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// Returns the mapped objects; loads them if they are missing or too old.
    pub(crate) async fn mapped_objects(&self, now_ms: i64) -> Result<Arc<MappedObjects>, Error> {
        let mut loaded = self.loaded.lock().await;
        if let Some(mapped_objects) = loaded.as_ref() {
            if now_ms - mapped_objects.loaded_at_ms < DESCRIBE_CACHE_MS {
                return Ok(Arc::clone(mapped_objects));
            }
            for mapped in &mapped_objects.list {
                self.salesforce.forget_schema(&mapped.sync.object);
            }
        }
        let mapped_objects = Arc::new(self.load(now_ms).await?);
        *loaded = Some(Arc::clone(&mapped_objects));
        Ok(mapped_objects)
    }

    async fn load(&self, now_ms: i64) -> Result<MappedObjects, Error> {
        let tenant = &self.config.tenant;
        let identity = self.salesforce.identity().await?;
        let org_epoch = match self
            .store
            .meet_org(tenant, &identity.organization_id)
            .await?
        {
            MetOrg::Known(org_epoch) => org_epoch,
            MetOrg::Other { known } => {
                return Err(Error::OtherOrg {
                    tenant: tenant.clone(),
                    known,
                    found: identity.organization_id,
                });
            }
        };
        self.salesforce.use_org(&identity.organization_id);
        let config_hash: Arc<str> = Arc::from(self.config.config_hash.as_str());
        let mut list = Vec::with_capacity(self.config.objects.len());
        for sync in &self.config.objects {
            let schema = self.salesforce.describe(&sync.object).await?;
            list.push(MappedObject {
                tenant: tenant.clone(),
                sync: Arc::new(self.with_known_fields(sync, &schema)?),
                schema: Arc::new(schema),
                organization_id: identity.organization_id.clone(),
                org_epoch,
                config_hash: Arc::clone(&config_hash),
            });
        }
        Ok(MappedObjects {
            list,
            user: identity.user_id,
            organization_id: identity.organization_id,
            loaded_at_ms: now_ms,
        })
    }

    /// Returns the mapping, if the org has every field of it.
    fn with_known_fields(
        &self,
        sync: &ObjectSync,
        schema: &ObjectSchema,
    ) -> Result<ObjectSync, Error> {
        match read_fields(sync)
            .into_iter()
            .find(|field| !schema.fields.contains_key(field))
        {
            None => Ok(sync.clone()),
            Some(field) => Err(Error::UnknownField {
                tenant: self.config.tenant.clone(),
                object: sync.object.clone(),
                field,
            }),
        }
    }

    /// Marks the tenant as active: something changed at `now_ms`.
    pub(crate) fn note_activity(&self, now_ms: i64) {
        self.active_until_ms
            .fetch_max(now_ms.saturating_add(ACTIVE_MS), Ordering::Relaxed);
    }

    /// Returns true while the last change is recent.
    pub(crate) fn is_active(&self, now_ms: i64) -> bool {
        now_ms < self.active_until_ms.load(Ordering::Relaxed)
    }
}

/// Returns every field that a read of the object must include: the external id and all mapped ones.
pub(crate) fn read_fields(sync: &ObjectSync) -> Vec<FieldName> {
    let fields: BTreeSet<&FieldName> = sync
        .fields
        .keys()
        .chain([&sync.external_id.field])
        .collect();
    fields.into_iter().cloned().collect()
}

/// Returns which events of the object count. With a filter all do: any change may bring a record into it.
pub(crate) fn interest_of(sync: &ObjectSync) -> Interest {
    Interest {
        fields: read_fields(sync),
        changes: match sync.filter {
            Some(_) => Changes::All,
            None => Changes::OfFields,
        },
    }
}

/// Returns the mapped object with this name.
pub(crate) fn mapped_object<'a>(
    mapped_objects: &'a [MappedObject],
    object: &ObjectName,
) -> Option<&'a MappedObject> {
    mapped_objects
        .iter()
        .find(|mapped| mapped.sync.object == *object)
}
