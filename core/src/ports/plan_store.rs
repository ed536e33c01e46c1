//! The store's calls for `syncline plan`: they read and plan as apply does, and write nothing.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::ids::SalesforceId;
use crate::model::observation::SalesforceObservation;

use super::apply_store::{PlannedRecord, RecordPlanner};
use super::mapped_object::MappedObject;
use super::record::LeaseEnd;
use super::store_error::StoreError;

/// The calls of a plan that is only shown. Each is one transaction that Postgres lets write nothing. They need no
/// control plane: without one, no record is linked.
#[async_trait]
pub trait PlanStore: Send + Sync {
    /// Reads at most `limit` rows of the object's table after a place, in the order of what identifies them.
    async fn row_places(
        &self,
        mapped: &MappedObject,
        after: Option<&serde_json::Value>,
        limit: usize,
    ) -> Result<RowPlaces, StoreError>;

    /// Returns why the table is not the one that capture was installed on; `None` if it is, or if there is no capture.
    async fn other_table(&self, mapped: &MappedObject) -> Result<Option<String>, StoreError>;

    /// Plans the records that the page's observations and rows belong to, as capture would record them and apply
    /// would plan them.
    async fn plan_only(
        &self,
        mapped: &MappedObject,
        page: &PageToPlan<'_>,
        planner: &dyn RecordPlanner,
    ) -> Result<Vec<PlannedOnly>, StoreError>;
}

/// A page of rows, by what identifies them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowPlaces {
    /// The rows, in order.
    pub rows: Vec<RowPlace>,
    /// What identifies the last row; none if no row follows.
    pub next: Option<serde_json::Value>,
}

/// A row by its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPlace {
    /// What identifies it.
    pub identity: serde_json::Value,
    /// Its external id, unless it is blank.
    pub external_id: Option<String>,
}

/// What is to be planned.
#[derive(Debug, Clone, Copy)]
pub struct PageToPlan<'a> {
    /// What was read in Salesforce.
    pub observations: &'a [SalesforceObservation],
    /// Rows whose records are planned, too.
    pub rows: &'a [RowPlace],
    /// External ids of the parents that the observations point to, as far as they are or will be synchronised. Those of
    /// linked parents are known to the store.
    pub parents: &'a BTreeMap<SalesforceId, String>,
}

/// One record as apply would plan it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedOnly {
    /// Its external id.
    pub external_id: String,
    /// The same as it is compared.
    pub canonical_id: String,
    /// Its Salesforce id, if it has one.
    pub salesforce_id: Option<SalesforceId>,
    /// Its external id is generated.
    pub generated: bool,
    /// What identifies its rows.
    pub rows: Vec<serde_json::Value>,
    /// The plan, or how its work would end without one.
    pub plan: Result<PlannedRecord, LeaseEnd>,
}
