//! One tenant with one mapped table, and short functions for the steps of a test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use syncline::RecordFacts;
use syncline::config::{
    ConflictPolicy, DeleteMode, DeleteOnEdit, Deletes, Direction, DuplicateRules, ExternalId,
    FieldSync, LaneThresholds, ObjectSync, OnFilterExit, Owner, Seed,
};
use syncline::model::Side;
use syncline::model::canonical::{from_postgres, to_postgres_json};
use syncline::model::cursor::SourceCursor;
use syncline::model::fields::FieldMap;
use syncline::model::ids::{
    ColumnName, FieldName, IntentId, ObjectName, OrgEpoch, RelationName, SalesforceId, TableName,
    TenantId,
};
use syncline::model::intent::{Intent, IntentState, WriteAction};
use syncline::model::link::Presence;
use syncline::model::observation::{ObservationKind, SalesforceObservation, Version};
use syncline::model::schema::{FieldSchema, FieldType, ObjectSchema};
use syncline::model::value::{Payload, Value};
use syncline::planner::facts::SideState;
use syncline::planner::record::{Confirmation, RecordPlan, SideWrite, plan_record};
use syncline::ports::apply_store::{
    IntendedWrite, PlanRules, PlannedBatch, PlannedPostgres, PlannedRecord, PostgresSettlement,
    SettledOutcome, Settlement,
};
use syncline::ports::job_store::OrgMatch;
use syncline::ports::record::{
    LeaseEnd, LeasedTask, ObservedRecord, ParkReason, PostgresRow, Withheld,
};
use syncline::ports::{ApplyStore, CaptureStore, JobStore, MappedObject, RecordPlanner};
use syncline::store::{PgStore, PgStoreOptions};
use throwaway_postgres::TestDatabase;

/// The table that `Account` is mapped to.
pub(crate) const ACCOUNT: &str = "create table public.account (
    id bigint generated always as identity primary key,
    external_id text unique,
    name text not null default '',
    phone varchar(20),
    employees integer constraint account_employees_check check (employees >= 0),
    parent_external_id text references public.account (external_id) deferrable,
    note text
)";

/// A tenant, its database and its store.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) store: PgStore,
    pub(crate) mapped: MappedObject,
    /// The connection of a user of the database.
    pub(crate) user: PgConnection,
}

impl World {
    /// Opens a migrated database with the table, its triggers and an adopted org.
    pub(crate) async fn new() -> Self {
        Self::with(ACCOUNT, account()).await
    }

    pub(crate) async fn with(table: &str, sync: ObjectSync) -> Self {
        let database = TestDatabase::prepared("migrated", async |url| migrate(&url).await).await;
        Self::on(database, table, sync).await
    }

    async fn on(database: TestDatabase, table: &str, sync: ObjectSync) -> Self {
        let store = open(database.url());
        let mut user = database.connect().await;
        execute(&mut user, table).await;
        let mapped = mapped(sync);
        let met = store
            .register_org(&mapped.tenant, &mapped.organization_id)
            .await;
        let Ok(OrgMatch::Known(epoch)) = met else {
            panic!("the first org is the tenant's: {met:?}")
        };
        let mapped = MappedObject {
            org_epoch: epoch,
            ..mapped
        };
        store
            .install(std::slice::from_ref(&mapped))
            .await
            .expect("triggers install");
        Self {
            database,
            store,
            mapped,
            user,
        }
    }

    /// Runs SQL as a user of the database.
    pub(crate) async fn sql(&mut self, sql: &str) {
        execute(&mut self.user, sql).await;
    }

    /// Runs a query that returns one value, as text.
    pub(crate) async fn ask(&mut self, sql: &str) -> String {
        ask(&mut self.user, sql).await
    }

    /// Drains the outbox.
    pub(crate) async fn capture(&self) -> syncline::ports::capture_store::OutboxReport {
        self.store
            .capture_outbox(self.mapped_objects(), 1_000)
            .await
            .expect("the outbox drains")
    }

    pub(crate) fn mapped_objects(&self) -> &[MappedObject] {
        std::slice::from_ref(&self.mapped)
    }

    /// Leases everything that is due.
    pub(crate) async fn lease(&self) -> Vec<LeasedTask> {
        self.store
            .lease_tasks(&self.mapped, 1_000, "worker", 180_000)
            .await
            .expect("tasks are leased")
    }

    /// Plans and writes under leases.
    pub(crate) async fn plan(&self, leases: &[LeasedTask]) -> PlannedBatch {
        self.store
            .plan_and_write(&self.mapped, leases, &Planner::new(&self.mapped))
            .await
            .expect("records are planned")
    }

    /// Leases, plans and writes everything that is due.
    pub(crate) async fn apply(&self) -> PlannedBatch {
        let leases = self.lease().await;
        self.plan(&leases).await
    }

    /// Settles every intended write as applied; new records get ids derived from their external ids.
    pub(crate) async fn settle(&self, planned: &PlannedBatch) -> usize {
        let settlements: Vec<Settlement<'_>> = planned
            .writes
            .iter()
            .map(|write| {
                let salesforce_id = write
                    .salesforce_id
                    .clone()
                    .unwrap_or_else(|| sf_id(&write.lease.external_id));
                applied(write, salesforce_id)
            })
            .collect();
        self.store
            .settle(&self.mapped, &settlements)
            .await
            .expect("writes are settled")
    }

    /// Creates a record that is in sync: inserted in Postgres, created in Salesforce, echoed.
    pub(crate) async fn synced(&mut self, external_id: &str, name: &str) {
        self.sql(&format!(
            "insert into public.account (external_id, name) values ('{external_id}', '{name}')"
        ))
        .await;
        self.sync().await;
        let mut echo = seen(ObservationKind::Created, external_id, &[("Name", name)], 1);
        echo.ours = true;
        assert_eq!(self.see(&[echo]).await.echoes, 1);
    }

    /// Captures, applies and settles once.
    pub(crate) async fn sync(&self) -> PlannedBatch {
        self.capture().await;
        let planned = self.apply().await;
        self.settle(&planned).await;
        planned
    }

    /// Records observations outside any stream.
    pub(crate) async fn see(
        &self,
        seen: &[SalesforceObservation],
    ) -> syncline::ports::capture_store::ObservationReport {
        self.store
            .record_observations(self.mapped_objects(), seen, None)
            .await
            .expect("observations are recorded")
    }
}

/// Migrates an empty database and leaves no connection behind.
async fn migrate(url: &str) {
    let store = open(url);
    store.migrate().await.expect("an empty database migrates");
    store.close().await;
}

/// Opens the store of a database.
pub(crate) fn open(url: &str) -> PgStore {
    PgStore::open(&PgStoreOptions::new(SecretString::from(url)))
        .expect("the URL of a test database is valid")
}

pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub(crate) async fn ask(connection: &mut PgConnection, sql: &str) -> String {
    let sql = format!("select coalesce(({sql})::text, 'null')");
    sqlx::query(AssertSqlSafe(sql.clone()))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .get(0)
}

/// Returns the settlement of an applied write.
pub(crate) fn applied(write: &IntendedWrite, salesforce_id: SalesforceId) -> Settlement<'_> {
    Settlement {
        write,
        outcome: SettledOutcome::Applied {
            salesforce_id,
            found: false,
        },
    }
}

/// Returns the intended writes of a round.
pub(crate) fn intended(planned: &PlannedBatch) -> Vec<(&LeasedTask, &Intent)> {
    let writes = planned.writes.iter();
    writes.map(|write| (&write.lease, &write.intent)).collect()
}

/// Returns a Salesforce id that differs for every name.
pub(crate) fn sf_id(name: &str) -> SalesforceId {
    let digest = blake3::hash(name.as_bytes()).to_hex();
    SalesforceId::parse(&format!("001{}", &digest[..12])).expect("hexadecimal digits make an id")
}

pub(crate) fn field(name: &str) -> FieldName {
    FieldName::parse(name).expect("the field name is valid")
}

pub(crate) fn column(name: &str) -> ColumnName {
    ColumnName::parse(name).expect("the column name is valid")
}

/// Returns a payload: `values(&[("Name", "Ada")])`. An empty text is null.
pub(crate) fn values(fields: &[(&str, &str)]) -> Payload {
    fields
        .iter()
        .map(|(name, value)| {
            let value = if value.is_empty() {
                Value::Null
            } else {
                Value::text(value)
            };
            (field(name), value)
        })
        .collect()
}

/// Returns an observation with a timestamp in seconds.
pub(crate) fn seen(
    kind: ObservationKind,
    external_id: &str,
    fields: &[(&str, &str)],
    stamp: i64,
) -> SalesforceObservation {
    let mut fields = values(fields);
    let whole = match kind {
        ObservationKind::Created
        | ObservationKind::Undeleted
        | ObservationKind::Snapshot
        | ObservationKind::Refresh => true,
        ObservationKind::Changed
        | ObservationKind::Deleted
        | ObservationKind::Missing
        | ObservationKind::Unreadable
        | ObservationKind::Gap
        | ObservationKind::Unmatched
        | ObservationKind::FilteredOut => false,
    };
    if whole {
        fields.insert(field("External_Id__c"), Value::text(external_id));
        fields
            .entry(field("Name"))
            .or_insert_with(|| Value::text("No One"));
        for name in ["Phone", "NumberOfEmployees", "ParentId"] {
            fields.entry(field(name)).or_insert(Value::Null);
        }
    }
    SalesforceObservation {
        object: ObjectName::parse("Account").expect("Account is a name"),
        salesforce_id: sf_id(external_id),
        external_id: whole.then(|| external_id.to_owned()),
        kind,
        fields,
        unreadable: BTreeMap::new(),
        version: Version {
            modified_ms: Some(stamp * 1_000),
            commit_number: None,
        },
        cursor: SourceCursor::Snapshot("test".to_owned()),
        ordinal: 0,
        ours: false,
    }
}

/// Returns the mapping of `Account`.
pub(crate) fn account() -> ObjectSync {
    let plain = |name: &str| FieldSync {
        column: column(name),
        owner: Owner::Shared,
        references: None,
    };
    ObjectSync {
        object: ObjectName::parse("Account").expect("Account is a name"),
        table: TableName {
            schema: RelationName::parse("public").expect("public is a name"),
            table: RelationName::parse("account").expect("account is a name"),
        },
        external_id: ExternalId {
            field: field("External_Id__c"),
            column: column("external_id"),
        },
        direction: Direction::Both,
        conflicts: ConflictPolicy::ManualReview,
        seed: Seed::Refuse,
        deletes: Deletes {
            mode: DeleteMode::Propagate,
            on_edit: DeleteOnEdit::Manual,
            column: None,
            max_per_hour: None,
            max_per_day: None,
        },
        lanes: LaneThresholds::default(),
        filter: None,
        on_filter_exit: OnFilterExit::Keep,
        auto_assign: false,
        duplicate_rules: DuplicateRules::Enforce,
        fields: BTreeMap::from([
            (field("Name"), plain("name")),
            (field("Phone"), plain("phone")),
            (field("NumberOfEmployees"), plain("employees")),
            (
                field("ParentId"),
                FieldSync {
                    references: Some(ObjectName::parse("Account").expect("Account is a name")),
                    ..plain("parent_external_id")
                },
            ),
        ]),
    }
}

fn mapped(sync: ObjectSync) -> MappedObject {
    let schema = |name: &str, field_type: FieldType| {
        let external_id = name == "External_Id__c";
        (
            field(name),
            FieldSchema {
                name: field(name),
                field_type,
                createable: true,
                updateable: true,
                nillable: true,
                defaulted_on_create: false,
                external_id,
                unique: external_id,
                case_sensitive: false,
                calculated: false,
                was_updateable: true,
            },
        )
    };
    let text = || FieldType::Text { length: 80 };
    MappedObject {
        tenant: TenantId::parse("acme").expect("acme is a name"),
        schema: Arc::new(ObjectSchema {
            object: sync.object.clone(),
            key_prefix: "001".to_owned(),
            fields: BTreeMap::from([
                schema("External_Id__c", text()),
                schema("Name", text()),
                schema("Phone", text()),
                schema("NumberOfEmployees", FieldType::Integer),
                schema(
                    "ParentId",
                    FieldType::Reference {
                        to: vec![sync.object.clone()],
                        relationship: Some("Parent".to_owned()),
                    },
                ),
            ]),
            cascades: Vec::new(),
        }),
        configured: Arc::new(sync.clone()),
        sync: Arc::new(sync),
        organization_id: SalesforceId::parse("00D000000000001AAA").expect("an id"),
        org_epoch: OrgEpoch(0),
        config_hash: Arc::from("hash-of-the-configuration"),
        tables: Arc::default(),
    }
}

/// Plans like the engine, from the observed record alone.
pub(crate) struct Planner<'a> {
    mapped: &'a MappedObject,
    rules: Arc<PlanRules>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(mapped: &'a MappedObject) -> Self {
        Self {
            mapped,
            rules: Arc::new(PlanRules::of((*mapped.sync).clone())),
        }
    }

    fn facts(&self, observed: &ObservedRecord) -> RecordFacts {
        let named = |name: &FieldName| self.rules.mapping.field(name);
        let place = |values: Payload| {
            let values = values.into_iter();
            values
                .filter_map(|(name, value)| Some((named(&name)?, value)))
                .collect()
        };
        let mut facts = RecordFacts::of(&observed.known.link, &[], observed.clock_skew_ms, named);
        let row = observed.rows.first();
        let postgres = row.map_or(SideState::default(), |row| SideState {
            presence: Presence::Present,
            fields: place(self.row(row)),
            changed_at_ms: observed.known.postgres_changed_at_ms,
            ..SideState::default()
        });
        facts.set_side(Side::Postgres, postgres);
        let salesforce = SideState {
            presence: observed.known.link.remote_state.presence,
            fields: place(self.remote_state(observed)),
            changed_at_ms: observed
                .known
                .link
                .remote_state
                .presence_version
                .modified_ms,
            ..SideState::default()
        };
        facts.set_side(Side::Salesforce, salesforce);
        facts
    }

    /// What a plan writes, by name.
    fn named(&self, plan: &RecordPlan) -> RecordPlan<FieldName> {
        plan.clone().named(&self.rules.mapping)
    }

    fn columns(&self) -> Vec<(FieldName, ColumnName, FieldType)> {
        let sync = &self.mapped.sync;
        let external = (&sync.external_id.field, &sync.external_id.column);
        let mapped = sync
            .fields
            .iter()
            .map(|(name, field)| (name, &field.column));
        std::iter::once(external)
            .chain(mapped)
            .map(|(name, column)| {
                let field = &self.mapped.schema.fields[name];
                (name.clone(), column.clone(), field.field_type.clone())
            })
            .collect()
    }

    fn row(&self, row: &PostgresRow) -> Payload {
        self.columns()
            .into_iter()
            .map(|(name, column, field_type)| {
                let value = from_postgres(&field_type, &row.columns[column.as_str()])
                    .expect("the row's values are valid for the field");
                (name, value)
            })
            .collect()
    }

    fn remote_state(&self, observed: &ObservedRecord) -> Payload {
        let remote_state = &observed.known.link.remote_state;
        remote_state
            .fields
            .iter()
            .map(|(name, seen)| match (&seen.value, name.as_str()) {
                (Value::Text(id), "ParentId") => {
                    let id = SalesforceId::parse(id).expect("a reference contains an id");
                    (name.clone(), Value::text(&observed.parents[&id]))
                }
                (value, _) => (name.clone(), value.clone()),
            })
            .collect()
    }

    fn wire(
        &self,
        values: &FieldMap<FieldName, Value>,
    ) -> serde_json::Map<String, serde_json::Value> {
        self.columns()
            .into_iter()
            .filter_map(|(name, column, field_type)| {
                let value = to_postgres_json(&field_type, values.get(&name)?);
                Some((column.to_string(), value))
            })
            .collect()
    }
}

impl RecordPlanner for Planner<'_> {
    fn plan(
        &self,
        lease: &LeasedTask,
        observed: &ObservedRecord,
    ) -> Result<PlannedRecord, LeaseEnd> {
        if observed.row_locked {
            return Err(LeaseEnd::wait(0, None, "locked"));
        }
        if observed.rows.len() > 1 {
            return Err(LeaseEnd::park(ParkReason {
                code: "duplicate_key".to_owned(),
                field: None,
                message: format!("{} rows", observed.rows.len()),
            }));
        }
        let unknown = |state| state == IntentState::Unknown;
        if observed.intents.iter().any(|intent| unknown(intent.state)) {
            return Err(LeaseEnd::refresh(0, None, "unknown"));
        }
        let facts = self.facts(observed);
        let plan = plan_record(&self.rules.mapping, &facts);
        let named = self.named(&plan);
        Ok(PlannedRecord {
            postgres: match &named.to_postgres {
                SideWrite::None => None,
                SideWrite::Create(fields) => Some(PlannedPostgres::Insert(self.wire(fields))),
                SideWrite::Update(fields) => Some(PlannedPostgres::Update(self.wire(fields))),
                SideWrite::Delete => Some(PlannedPostgres::Delete),
                SideWrite::SoftDelete => Some(PlannedPostgres::SoftDelete),
            },
            intent: intent(lease, &named.to_salesforce),
            automation_overrides: observed.known.link.automation_overrides.clone(),
            facts,
            rules: Arc::clone(&self.rules),
            plan,
            withheld: Withheld::default(),
        })
    }

    fn settle_postgres(
        &self,
        _observed: &ObservedRecord,
        planned: &PlannedRecord,
        returned: &PostgresRow,
    ) -> PostgresSettlement {
        let plan = self.named(&planned.plan);
        let holds = self.row(returned);
        let mut sent = plan.to_postgres.fields().cloned().unwrap_or_default();
        if let Some(PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns)) =
            &planned.postgres
        {
            let written = self.columns().into_iter();
            let written: BTreeSet<FieldName> = written
                .filter(|(_, column, _)| columns.contains_key(column.as_str()))
                .map(|(name, _, _)| name)
                .collect();
            sent.retain(|name, _| written.contains(name));
        }
        PostgresSettlement {
            base: plan
                .base_advance
                .iter()
                .filter(|(_, advance)| advance.after == Confirmation::Postgres)
                .filter(|(field, _)| {
                    plan.to_postgres.fields().is_none() || sent.contains_key(*field)
                })
                .map(|(field, advance)| (field.clone(), advance.value.clone()))
                .collect(),
            altered: sent.iter().any(|(field, value)| holds[field] != *value),
        }
    }
}

fn intent(lease: &LeasedTask, write: &SideWrite<FieldName>) -> Option<Intent> {
    let LeasedTask {
        record_id, token, ..
    } = lease;
    let intent = |action, fields: &FieldMap<FieldName, Value>| Intent {
        intent_id: IntentId(uuid::Uuid::new_v5(&record_id.0, &token.0.to_be_bytes())),
        record_id: *record_id,
        fencing_token: *token,
        action,
        fields: fields.clone().into_iter().collect(),
        state: IntentState::Open,
        echoed: BTreeSet::new(),
    };
    match write {
        SideWrite::None | SideWrite::SoftDelete => None,
        SideWrite::Create(fields) => Some(intent(WriteAction::Create, fields)),
        SideWrite::Update(fields) => Some(intent(WriteAction::Update, fields)),
        SideWrite::Delete => Some(intent(WriteAction::Delete, &FieldMap::default())),
    }
}

/// What became of the records of a round, sorted: `settled`, `intended`, `requeued`, `parked:<code>`.
pub(crate) fn kinds(planned: &PlannedBatch) -> Vec<String> {
    let counted = [
        ("intended", planned.writes.len()),
        ("requeued", planned.requeued),
        ("settled", planned.settled),
    ];
    let counted = counted
        .into_iter()
        .flat_map(|(kind, count)| std::iter::repeat_n(kind.to_owned(), count));
    let parked = planned.parked.iter().map(|code| format!("parked:{code}"));
    let mut kinds: Vec<String> = counted.chain(parked).collect();
    kinds.sort();
    kinds
}
