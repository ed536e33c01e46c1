//! `syncline.toml` as types that are always valid.
//!
//! Parsing reports every mistake with its line and its fix. This module does not read files, environments or
//! secrets: it contains the address of a secret, never the secret.

mod keys;
mod mistake;
mod parse;
mod read;
mod rules;
mod schema;
mod similar;
mod write;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Side;
use crate::model::ids::{ColumnName, FieldName, ObjectName, TableName, TenantId};

pub use mistake::{ConfigError, Mistake};
pub use schema::json_schema;
pub use similar::similar;

/// The whole of `syncline.toml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Config {
    /// Tenants by name.
    pub tenants: BTreeMap<TenantId, TenantConfig>,
}

/// One tenant: one org, one set of tables.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TenantConfig {
    /// Its name.
    pub tenant: TenantId,
    /// How to reach the org and log in to it.
    pub salesforce: SalesforceConfig,
    /// How to reach the database.
    pub postgres: PostgresConfig,
    /// REST API version, as `68.0`.
    pub api_version: String,
    /// How Salesforce's changes are captured.
    pub capture: CaptureMode,
    /// The counter outside the database by which two physical copies notice each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub fence: Option<FenceRef>,
    /// How much of the org's allowance may be used.
    pub budget: BudgetConfig,
    /// Mapped objects, parents before children where the references allow it.
    pub objects: Vec<ObjectSync>,
    /// Hash of the tenant's configuration, stored with every decision.
    pub config_hash: String,
}

/// How much of what an org allows in 24 hours may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct BudgetConfig {
    /// Percent of the API requests that are left to the org's other users.
    pub reserve: u32,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { reserve: 20 }
    }
}

/// How to reach the org and log in to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SalesforceConfig {
    /// Login or My Domain URL.
    pub login_url: String,
    /// Pub/Sub endpoint; the global one unless given.
    pub pubsub_url: String,
    /// Consumer key.
    pub client_id: String,
    /// OAuth flow.
    pub auth: AuthFlow,
    /// Where the private key (PEM) or the client secret is.
    pub secret: SecretRef,
}

/// The OAuth flows of a server without a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "flow")]
pub enum AuthFlow {
    /// JWT bearer, as this user.
    Jwt {
        /// The Salesforce user name.
        username: String,
    },
    /// Client credentials, as the app's run-as user.
    ClientCredentials,
}

/// Where a secret is kept. Its value never enters the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "typescript", ts(type = "string"))]
pub enum SecretRef {
    /// `env:NAME`.
    Environment(String),
    /// `secretsmanager:ID`.
    SecretsManager(String),
    /// `ssm:/name`.
    Ssm(String),
    /// `file:path`, for local use.
    File(String),
}

impl SecretRef {
    /// Parses the address of a secret.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(':')?;
        if place.is_empty() {
            return None;
        }
        let place = place.to_owned();
        match kind {
            "env" => Some(Self::Environment(place)),
            "secretsmanager" => Some(Self::SecretsManager(place)),
            "ssm" => Some(Self::Ssm(place)),
            "file" => Some(Self::File(place)),
            _ => None,
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::SecretsManager(id) => write!(f, "secretsmanager:{id}"),
            Self::Ssm(name) => write!(f, "ssm:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl Serialize for SecretRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a fence is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "typescript", ts(type = "string"))]
pub enum FenceRef {
    /// `ssm:/name`.
    Ssm(String),
    /// `file:path`, for one machine.
    File(String),
}

impl FenceRef {
    /// Parses the address of a fence.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(':')?;
        if place.is_empty() {
            return None;
        }
        match kind {
            "ssm" => Some(Self::Ssm(place.to_owned())),
            "file" => Some(Self::File(place.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for FenceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssm(name) => write!(f, "ssm:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl Serialize for FenceRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PostgresConfig {
    /// Where the connection URL is kept.
    pub url: SecretRef,
    /// Schema of the mapped tables, unless a table names its own.
    pub schema: String,
    /// Prepared statements may be cached on the connection; off for transaction poolers.
    pub statement_cache: bool,
    /// Most connections of one instance.
    pub connections_max: u32,
}

/// How Salesforce's changes are captured.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CaptureMode {
    /// Pub/Sub API subscription.
    Pubsub,
    /// Event Relay to EventBridge to SQS.
    Relay,
    /// Queries by SystemModstamp.
    Poll,
}

/// One mapped object with its table and its rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ObjectSync {
    /// The Salesforce object.
    pub object: ObjectName,
    /// The table.
    pub table: TableName,
    /// Field and column that hold the external id.
    pub external_id: ExternalId,
    /// In which direction changes are written.
    #[serde(default)]
    pub direction: Direction,
    /// What decides a conflict on a field without an owner.
    #[serde(default)]
    pub conflicts: ConflictPolicy,
    /// What decides a field that has no base yet.
    #[serde(default)]
    pub seed: Seed,
    /// What happens to deletes.
    #[serde(default)]
    pub deletes: Deletes,
    /// The limits between the lanes.
    #[serde(default)]
    pub lanes: LaneThresholds,
    /// SOQL filter; records outside it are not mapped.
    #[serde(default)]
    pub filter: Option<String>,
    /// What happens in Postgres to a record that leaves the filter.
    #[serde(default)]
    pub on_filter_exit: OnFilterExit,
    /// Assignment rules run on our writes.
    #[serde(default)]
    pub auto_assign: bool,
    /// Duplicate rules are enforced on our writes, or allowed to be saved over.
    #[serde(default)]
    pub duplicate_rules: DuplicateRules,
    /// Mapped fields; the external id field is not among them.
    pub fields: BTreeMap<FieldName, FieldSync>,
}

/// Field and column of the external id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ExternalId {
    /// The Salesforce field, marked as external id and unique.
    pub field: FieldName,
    /// The unique column.
    pub column: ColumnName,
}

/// One mapped field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FieldSync {
    /// The column.
    pub column: ColumnName,
    /// Whose value stands.
    #[serde(default)]
    pub owner: Owner,
    /// The object whose external id the column holds, for a lookup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<ObjectName>,
}

/// Whose value stands for a field.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Owner {
    /// Both sides may edit it.
    #[default]
    Shared,
    /// Salesforce; an edit in Postgres is written back to Salesforce's value.
    Salesforce,
    /// Postgres; an edit in Salesforce is written back to Postgres's value.
    Postgres,
}

impl Owner {
    /// Returns the owning side, if there is one.
    pub fn side(self) -> Option<Side> {
        match self {
            Self::Shared => None,
            Self::Salesforce => Some(Side::Salesforce),
            Self::Postgres => Some(Side::Postgres),
        }
    }
}

/// In which direction changes are written.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// Salesforce is the source of everything.
    ToPostgres,
    /// Postgres is the source of everything.
    ToSalesforce,
}

/// What decides when both sides changed a field without an owner to different values.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ConflictPolicy {
    /// A person.
    #[default]
    ManualReview,
    /// Owners decide; a field without one goes to a person.
    FieldOwnership,
    /// The later edit, where the times differ by more than the clocks can; else Salesforce.
    LastWriterWins,
    /// Salesforce.
    SalesforceWins,
    /// Postgres.
    PostgresWins,
}

/// What decides a field that has no base yet and differs.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Seed {
    /// A person: it becomes a conflict.
    #[default]
    Refuse,
    /// Salesforce's value.
    Salesforce,
    /// Postgres's value.
    Postgres,
}

/// What happens to deletes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Deletes {
    /// Whether a delete is written to the other side.
    #[serde(default)]
    pub mode: DeleteMode,
    /// What happens when one side deletes what the other side edited.
    #[serde(default)]
    pub on_edit: DeleteOnEdit,
    /// The timestamp column that [`DeleteMode::Soft`] fills instead of deleting the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<ColumnName>,
    /// Deletes of an hour that need no approval, on either side; 0: no limit. Absent: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_hour: Option<u32>,
    /// The same of a day. Absent: three times those of an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_day: Option<u32>,
}

/// Deletes of an hour that need no approval unless the object sets another limit: about as many as one
/// person makes by hand.
const MAX_DELETES_PER_HOUR: u32 = 100;

impl Deletes {
    /// Returns how many deletes of an hour need no approval; 0: no limit.
    pub fn max_per_hour(&self) -> u32 {
        self.max_per_hour.unwrap_or(MAX_DELETES_PER_HOUR)
    }

    /// Returns how many deletes of a day need no approval, where those of an hour have a limit.
    pub fn max_per_day(&self) -> u32 {
        self.max_per_day
            .unwrap_or_else(|| self.max_per_hour().saturating_mul(3))
    }
}

/// Whether a delete is written to the other side.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeleteMode {
    /// It does.
    #[default]
    Propagate,
    /// In Postgres a column is filled instead; in Salesforce the recycle bin is the soft delete.
    Soft,
    /// It does not; the link ends.
    Ignore,
}

/// What happens when one side deletes what the other side edited.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeleteOnEdit {
    /// A person decides.
    #[default]
    Manual,
    /// The delete wins.
    DeleteWins,
    /// The edit wins: the record is created again.
    EditWins,
}

/// What happens in Postgres to a record that leaves the filter.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OnFilterExit {
    /// The row stays as it is.
    #[default]
    Keep,
    /// The soft-delete column is filled.
    SoftDelete,
    /// The row is deleted.
    Delete,
}

/// Duplicate rules on our writes.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DuplicateRules {
    /// A suspected duplicate is refused and parked.
    #[default]
    Enforce,
    /// It is saved anyway.
    Allow,
}

/// The limits between the lanes, in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct LaneThresholds {
    /// Most records of one round that go by single REST calls.
    pub rest_max_batch_size: usize,
    /// Fewest records that would go by Bulk, which the engine does not use yet.
    pub bulk_min_batch_size: usize,
}

impl Default for LaneThresholds {
    fn default() -> Self {
        Self {
            rest_max_batch_size: 25,
            bulk_min_batch_size: 500,
        }
    }
}
