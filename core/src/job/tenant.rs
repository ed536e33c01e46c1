//! One tenant of the engine: its configuration, its two sides, and its mapped objects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Mutex;

use crate::config::{ObjectSync, TenantConfig};
use crate::model::ids::{ColumnName, FieldName, ObjectName, OrgEpoch, SalesforceId, TenantId};
use crate::model::schema::ObjectSchema;

use crate::ports::database::DatabaseState;
use crate::ports::job_store::{
    Control, KnownSchema, KnownSchemas, MappedSchemas, OrgMatch, UsableFields, WithheldField,
};
use crate::ports::salesforce::{Changes, Interest};
use crate::ports::{
    FencePort, IdSource, MappedObject, MappedTable, SalesforceError, SalesforcePort, Store,
};

use super::error::Error;

/// How long describes and the org's identity are used before they are read again: the longest time until
/// a changed field or a changed org is noticed. A changed org usually refuses our replay ids before.
const DESCRIBE_CACHE_MS: i64 = 10 * 60 * 1_000;

/// How long they are used after an error has contradicted them: a field that has disappeared is noticed at once,
/// and an error with another cause does not make every run describe every object.
const CONTRADICTED_CACHE_MS: i64 = 30 * 1_000;

/// How long another org behind the login stands, before the tenant signs in again: long enough that sign-ins are few,
/// short enough that work goes on soon after the login has been corrected.
const OTHER_ORG_STANDS_MS: i64 = 60 * 1_000;

/// How often the org is asked of which objects change events arrive.
const EVENTS_ASKED_EVERY_MS: i64 = 10 * 60 * 1_000;

/// How long after its last change a tenant counts as active: capture keeps polling only for active ones.
const ACTIVE_MS: i64 = 5 * 60 * 1_000;

/// How often a process notes in Postgres that a tenant is active.
const NOTED_EVERY_MS: i64 = 60 * 1_000;

/// One tenant with its ports.
pub(crate) struct Tenant {
    pub(crate) config: TenantConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) salesforce: Arc<dyn SalesforcePort>,
    /// What two physical copies of the database notice each other by.
    pub(crate) fence: Option<Arc<dyn FencePort>>,
    /// Locked while loading, so that jobs that start at once load only once.
    loaded: Mutex<Option<Arc<MappedObjects>>>,
    active_until_ms: AtomicI64,
    /// How old a schema may be that is used without asking the org: less after an error that contradicts one.
    schema_age_ms_max: AtomicI64,
    /// How often a person replayed work, as far as this process knows.
    replays: AtomicI64,
    /// When the org was last asked of which objects change events arrive.
    events_asked_at_ms: AtomicI64,
    /// The org that the login led to instead of that of the records, when that was found.
    other_org: Mutex<Option<(i64, OtherOrg)>>,
}

/// Another org than that of the records.
#[derive(Clone)]
struct OtherOrg {
    known: SalesforceId,
    found: SalesforceId,
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
    /// The replays that were known when they were loaded.
    replays: i64,
}

/// The mapped objects as they are now, for a plan that is only shown.
pub(crate) struct ObjectsToPlan {
    /// Parents before children where the references allow it.
    pub(crate) list: Vec<MappedObject>,
    /// What cannot be synchronised now.
    pub(crate) withheld: Vec<WithheldField>,
    /// Our user in the org.
    pub(crate) user: SalesforceId,
    /// The schema `syncline` exists.
    pub(crate) has_control_plane: bool,
}

impl MappedObjects {
    /// Returns whether these were loaded with this many replays known.
    pub(super) fn include(&self, replays: i64) -> bool {
        self.replays >= replays
    }
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
            fence: None,
            loaded: Mutex::new(None),
            active_until_ms: AtomicI64::new(i64::MIN),
            schema_age_ms_max: AtomicI64::new(DESCRIBE_CACHE_MS),
            replays: AtomicI64::new(0),
            events_asked_at_ms: AtomicI64::new(i64::MIN),
            other_org: Mutex::new(None),
        }
    }

    /// Fails if the connected database is not the tenant's, or if another copy of it is at work; the first database
    /// becomes the tenant's.
    pub(crate) async fn enter_database(&self, ids: &dyn IdSource) -> Result<(), Error> {
        let tenant = &self.config.tenant;
        let mut control = self.store.control(tenant).await?;
        if control.database == DatabaseState::New {
            self.store.register_database(tenant).await?;
            // Another process may have been first, at another endpoint.
            control = self.store.control(tenant).await?;
        }
        self.require_database(&control)?;
        self.note_replays(control.replays);
        self.pass_fence(control, ids).await
    }

    /// Fails if nothing may be done because of the database.
    pub(super) fn require_database(&self, control: &Control) -> Result<(), Error> {
        match control.database.hold() {
            None => Ok(()),
            Some(_) => Err(Error::DatabaseHeld {
                tenant: self.config.tenant.clone(),
                state: Box::new(control.database.clone()),
            }),
        }
    }

    /// Returns the mapped objects; loads them if they are missing or too old. What a person replays after a permission
    /// was given back is planned with that permission.
    pub(crate) async fn mapped_objects(&self, now_ms: i64) -> Result<Arc<MappedObjects>, Error> {
        let mut loaded = self.loaded.lock().await;
        // Before anything is described: what is replayed meanwhile is not known to be described.
        let replays = self.replays.load(Ordering::Relaxed);
        let age_ms_max = self.schema_age_ms_max.load(Ordering::Relaxed);
        if let Some(mapped_objects) = loaded.as_ref() {
            let age_ms = now_ms - mapped_objects.loaded_at_ms;
            if age_ms < age_ms_max && mapped_objects.replays >= replays {
                return Ok(Arc::clone(mapped_objects));
            }
            for mapped in &mapped_objects.list {
                self.salesforce.forget_schema(&mapped.sync.object);
            }
        }
        let mapped_objects = Arc::new(self.load(now_ms, age_ms_max, replays).await?);
        self.schema_age_ms_max
            .store(DESCRIBE_CACHE_MS, Ordering::Relaxed);
        *loaded = Some(Arc::clone(&mapped_objects));
        Ok(mapped_objects)
    }

    /// Loads what both sides have now. What another process was told by Salesforce less than `age_ms_max` ago is not asked
    /// again; what Salesforce cannot tell now is used as last known; an object that was never described is left out.
    async fn load(
        &self,
        now_ms: i64,
        age_ms_max: i64,
        replays: i64,
    ) -> Result<MappedObjects, Error> {
        let tenant = &self.config.tenant;
        let mut known = self.store.known_schemas(tenant).await?;
        self.leave_other_org(now_ms).await?;
        let (organization_id, user) = self.identity(known.org).await?;
        let org_epoch = self.enter_org(now_ms, &organization_id).await?;
        let mut loaded = LoadedObjects::default();
        for sync in &self.config.objects {
            let known = known.objects.remove(&sync.object);
            let is_current =
                |known: &KnownSchema| known.age_ms < age_ms_max && known.replays >= replays;
            let found = match known {
                Some(known) if is_current(&known) => Ok(self.described_lately(known)),
                known => self.described(&sync.object, known).await,
            };
            let schema = match found {
                Ok(found) => loaded.take(found),
                Err(error) => {
                    loaded.leave_out(tenant, sync, error);
                    continue;
                }
            };
            self.add(&mut loaded, sync, schema, (&organization_id, org_epoch))
                .await?;
        }
        loaded.share_tables();
        if let (true, Some(error)) = (loaded.list.is_empty(), loaded.first_error.take()) {
            return Err(error.into());
        }
        loaded.log_withheld(tenant);
        let usable = loaded.list.iter().map(|mapped| UsableFields {
            object: mapped.sync.object.clone(),
            fields: mapped.sync.fields.keys().cloned().collect(),
        });
        let schemas = MappedSchemas {
            user,
            asked: loaded.asked,
            replays,
            changed: loaded.changed,
            regained: loaded.regained,
            withheld: loaded.withheld,
            usable: usable.collect(),
        };
        self.store.keep_schemas(tenant, &schemas).await?;
        Ok(MappedObjects {
            list: loaded.list,
            user: schemas.user,
            organization_id,
            loaded_at_ms: now_ms - loaded.age_ms,
            replays,
        })
    }

    /// Adds an object, mapped as far as both sides allow now.
    async fn add(
        &self,
        loaded: &mut LoadedObjects,
        sync: &ObjectSync,
        schema: ObjectSchema,
        (organization_id, org_epoch): (&SalesforceId, OrgEpoch),
    ) -> Result<(), Error> {
        let columns = self.store.columns_of(&sync.table).await?;
        let usable = loaded.without_withheld(sync, &schema, &columns);
        loaded.list.push(MappedObject {
            tenant: self.config.tenant.clone(),
            sync: Arc::new(usable),
            configured: Arc::new(sync.clone()),
            schema: Arc::new(schema),
            organization_id: organization_id.clone(),
            org_epoch,
            config_hash: Arc::from(self.config.config_hash.as_str()),
            tables: Arc::default(),
        });
        Ok(())
    }

    /// Returns the mapped objects as a job would load them now, and stores nothing. Fails where a job would: if the
    /// database or the org is not the tenant's.
    pub(crate) async fn objects_to_plan(&self) -> Result<ObjectsToPlan, Error> {
        let tenant = &self.config.tenant;
        let database = self.store.database_state(tenant).await?;
        let identity = self.salesforce.identity().await?;
        let organization_id = identity.organization_id;
        let (mut known, mut org_epoch) = (KnownSchemas::default(), OrgEpoch::default());
        if database.is_some() {
            let control = self.store.control(tenant).await?;
            self.require_database(&control)?;
            known = self.store.known_schemas(tenant).await?;
            match control.org {
                Some((id, epoch)) if id == organization_id => org_epoch = epoch,
                Some((known, _)) => {
                    let found = organization_id;
                    return Err(self.is_other(OtherOrg { known, found }));
                }
                None => {}
            }
        }
        self.salesforce.use_org(&organization_id);
        let mut loaded = LoadedObjects::default();
        for sync in &self.config.objects {
            self.salesforce.forget_schema(&sync.object);
            let mut schema = match self.salesforce.describe(&sync.object).await {
                Ok(schema) => schema,
                Err(error) if error.disposition.concerns_tenant() => return Err(error.into()),
                Err(error) => {
                    loaded.withhold_object(sync, &error);
                    continue;
                }
            };
            if let Some(known) = known.objects.get(&sync.object) {
                schema.follow(&known.schema);
            }
            self.add(&mut loaded, sync, schema, (&organization_id, org_epoch))
                .await?;
        }
        loaded.share_tables();
        Ok(ObjectsToPlan {
            list: loaded.list,
            withheld: loaded.withheld,
            user: identity.user_id,
            has_control_plane: database.is_some(),
        })
    }

    /// Returns the epoch of the org that the login leads to. Fails if the records belong to another one.
    async fn enter_org(
        &self,
        now_ms: i64,
        organization_id: &SalesforceId,
    ) -> Result<OrgEpoch, Error> {
        let tenant = &self.config.tenant;
        match self.store.register_org(tenant, organization_id).await? {
            OrgMatch::Known(org_epoch) => {
                self.salesforce.use_org(organization_id);
                Ok(org_epoch)
            }
            OrgMatch::Other { known } => {
                let found = organization_id.clone();
                let other = OtherOrg { known, found };
                *self.other_org.lock().await = Some((now_ms, other.clone()));
                Err(self.is_other(other))
            }
        }
    }

    /// Signs in again if the last login led to another org: it may have been corrected. Fails if that was found only a
    /// moment ago.
    async fn leave_other_org(&self, now_ms: i64) -> Result<(), Error> {
        let mut other_org = self.other_org.lock().await;
        let Some((found_at_ms, other)) = other_org.as_ref() else {
            return Ok(());
        };
        if now_ms.saturating_sub(*found_at_ms) < OTHER_ORG_STANDS_MS {
            return Err(self.is_other(other.clone()));
        }
        self.salesforce.sign_in_again().await?;
        *other_org = None;
        Ok(())
    }

    fn is_other(&self, OtherOrg { known, found }: OtherOrg) -> Error {
        Error::OtherOrg {
            tenant: self.config.tenant.clone(),
            known,
            found,
        }
    }

    /// Returns the org and our user, as last known if the org cannot be reached.
    async fn identity(
        &self,
        known: Option<(SalesforceId, SalesforceId)>,
    ) -> Result<(SalesforceId, SalesforceId), Error> {
        match (self.salesforce.identity().await, known) {
            (Ok(identity), _) => Ok((identity.organization_id, identity.user_id)),
            (Err(error), Some(known)) => {
                tracing::warn!(tenant = %self.config.tenant, %error, "the org is used as last known");
                Ok(known)
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Returns the schema of an object.
    async fn described(
        &self,
        object: &ObjectName,
        known: Option<KnownSchema>,
    ) -> Result<FoundSchema, SalesforceError> {
        let known = known.map(|known| known.schema);
        match (self.salesforce.describe(object).await, known) {
            (Ok(mut schema), known) => {
                let regained = known.as_ref().is_some_and(|known| schema.follow(known));
                Ok(FoundSchema {
                    is_new: known.as_ref() != Some(&schema),
                    regained,
                    schema,
                    told: Told::Now,
                })
            }
            (Err(error), Some(known)) => {
                tracing::warn!(
                    tenant = %self.config.tenant, %object, %error,
                    "an object cannot be described; its last known schema is used"
                );
                self.salesforce.know_schema(&known);
                Ok(FoundSchema {
                    schema: known,
                    is_new: false,
                    regained: false,
                    told: Told::Before,
                })
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Returns the schema that a process was told a moment ago: functions start often and are many, and Salesforce counts
    /// each describe.
    fn described_lately(&self, known: KnownSchema) -> FoundSchema {
        self.salesforce.know_schema(&known.schema);
        FoundSchema {
            schema: known.schema,
            is_new: false,
            regained: false,
            told: Told::Lately {
                age_ms: known.age_ms,
            },
        }
    }

    /// Notes how often work was replayed.
    pub(super) fn note_replays(&self, replays: i64) {
        self.replays.fetch_max(replays, Ordering::Relaxed);
    }

    /// Notes that an error contradicts what is loaded: it is loaded again soon.
    pub(crate) fn reload_soon(&self) {
        self.schema_age_ms_max
            .fetch_min(CONTRADICTED_CACHE_MS, Ordering::Relaxed);
    }

    /// Has the org asked about every object the next time, whatever other processes were told.
    pub(crate) fn reload_now(&self) {
        self.schema_age_ms_max.store(0, Ordering::Relaxed);
    }

    /// Returns whether it is time to ask the org of which objects change events arrive, and begins to.
    pub(crate) fn asks_for_events(&self, now_ms: i64) -> bool {
        let asked_at_ms = self.events_asked_at_ms.load(Ordering::Relaxed);
        let is_due = now_ms.saturating_sub(asked_at_ms) >= EVENTS_ASKED_EVERY_MS;
        if is_due {
            self.events_asked_at_ms.store(now_ms, Ordering::Relaxed);
        }
        is_due
    }

    /// Marks the tenant as active: something changed at `now_ms`. Every instance learns it from Postgres, which is
    /// told once a minute. A failure only lets another instance return early, so it is logged and not returned.
    pub(crate) async fn note_activity(&self, now_ms: i64) {
        let until_ms = now_ms.saturating_add(ACTIVE_MS);
        let was_until_ms = self.active_until_ms.load(Ordering::Relaxed);
        if until_ms < was_until_ms.saturating_add(NOTED_EVERY_MS) {
            return;
        }
        self.active_until_ms.fetch_max(until_ms, Ordering::Relaxed);
        if let Err(error) = self.store.note_activity(&self.config.tenant).await {
            tracing::warn!(tenant = %self.config.tenant, %error, "the tenant's activity cannot be noted");
        }
    }

    /// Asks Postgres whether another instance has captured a change, unless this one knows of a recent one.
    pub(crate) async fn learn_activity(&self, now_ms: i64) -> Result<(), Error> {
        if self.is_active(now_ms) {
            return Ok(());
        }
        if let Some(idle_ms) = self.store.idle_ms(&self.config.tenant).await? {
            let until_ms = now_ms - idle_ms + ACTIVE_MS;
            self.active_until_ms.fetch_max(until_ms, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns true while the last change that this process knows is recent.
    pub(crate) fn is_active(&self, now_ms: i64) -> bool {
        now_ms < self.active_until_ms.load(Ordering::Relaxed)
    }
}

/// The schema of an object.
struct FoundSchema {
    schema: ObjectSchema,
    /// It was described now, and otherwise before.
    is_new: bool,
    /// Our user may write a field again.
    regained: bool,
    told: Told,
}

/// When Salesforce told a schema.
#[derive(Clone, Copy)]
enum Told {
    Now,
    /// Another process, so long ago.
    Lately {
        age_ms: i64,
    },
    /// It was asked and cannot tell now.
    Before,
}

/// What loading has found so far.
#[derive(Default)]
struct LoadedObjects {
    list: Vec<MappedObject>,
    asked: Vec<ObjectName>,
    changed: Vec<ObjectSchema>,
    /// Age of the oldest schema that was not asked for now.
    age_ms: i64,
    regained: Vec<ObjectName>,
    withheld: Vec<WithheldField>,
    first_error: Option<SalesforceError>,
}

impl LoadedObjects {
    /// Notes what was found of an object, and returns its schema.
    fn take(&mut self, found: FoundSchema) -> ObjectSchema {
        let object = &found.schema.object;
        match found.told {
            Told::Now => self.asked.push(object.clone()),
            Told::Lately { age_ms } => self.age_ms = self.age_ms.max(age_ms),
            Told::Before => {}
        }
        self.regained.extend(found.regained.then(|| object.clone()));
        self.changed
            .extend(found.is_new.then(|| found.schema.clone()));
        found.schema
    }

    /// Leaves out an object of which nothing is known.
    fn leave_out(&mut self, tenant: &TenantId, sync: &ObjectSync, error: SalesforceError) {
        tracing::error!(%tenant, object = %sync.object, %error, "an object cannot be described; it is left out");
        self.withhold_object(sync, &error);
        self.first_error.get_or_insert(error);
    }

    fn withhold_object(&mut self, sync: &ObjectSync, error: &SalesforceError) {
        self.withheld.push(WithheldField {
            object: sync.object.to_string(),
            field: String::new(),
            problem: format!("the object cannot be described: {error}"),
            since: None,
        });
    }

    fn log_withheld(&self, tenant: &TenantId) {
        for withheld in &self.withheld {
            tracing::error!(
                %tenant, object = %withheld.object, field = %withheld.field, problem = %withheld.problem,
                "changes of a mapped field are withheld; everything else goes on"
            );
        }
    }

    /// Gives every object the tables of all.
    fn share_tables(&mut self) {
        let tables = self.list.iter().map(|mapped| MappedTable {
            sync: Arc::clone(&mapped.configured),
            schema: Arc::clone(&mapped.schema),
        });
        let tables: Arc<[MappedTable]> = tables.collect();
        for mapped in &mut self.list {
            mapped.tables = Arc::clone(&tables);
        }
    }

    /// Returns the mapping without the fields that a side lacks. Without its external id nothing of an object can
    /// be synchronised, so that is kept, and the work itself reports it.
    fn without_withheld(
        &mut self,
        sync: &ObjectSync,
        schema: &ObjectSchema,
        columns: &BTreeSet<ColumnName>,
    ) -> ObjectSync {
        let mut usable = sync.clone();
        let withhold = |field: String, problem: String| WithheldField {
            object: sync.object.to_string(),
            field,
            problem,
            since: None,
        };
        if columns.is_empty() {
            let table = format!("{}.{}", sync.table.schema, sync.table.table);
            let problem = format!("table {table} does not exist or is hidden from our role");
            self.withheld.push(withhold(String::new(), problem));
            return usable;
        }
        let key = &sync.external_id;
        let fields = sync.fields.iter().map(|(field, one)| (field, &one.column));
        for (field, column) in fields.chain([(&key.field, &key.column)]) {
            let problem = if !schema.fields.contains_key(field) {
                format!(
                    "{}.{field} does not exist in the org or is hidden from its user: correct the name in \
                     syncline.toml or grant read access to the field",
                    sync.object
                )
            } else if !columns.contains(column) {
                format!(
                    "table {}.{} has no column {column}: correct the name in syncline.toml or add the column",
                    sync.table.schema, sync.table.table
                )
            } else {
                continue;
            };
            if field != &key.field {
                usable.fields.remove(field);
            }
            self.withheld.push(withhold(field.to_string(), problem));
        }
        usable
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
        external_id: sync.external_id.field.clone(),
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
