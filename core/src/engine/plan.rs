//! Shows what the jobs would do now: reads both sides, plans every record as apply plans it, and writes nothing.
//!
//! It needs no control plane. Without one, as before the first load, no record is linked; with one, links and bases
//! decide as they do in apply. What is decided, [`crate::planner`] decides, from facts that capture and apply would
//! have: this module reads, asks and counts. What only a write would show, such as a validation rule, is not foreseen.
//!
//! Both sides are read page by page; `met` bounds what is remembered of the records that were met.

mod count;
mod lookups;
mod met;
mod parents;
mod walk;

use serde::Serialize;

use crate::job::error::{Error, error_chain};
use crate::job::tenant::{ObjectsToPlan, mapped_object};
use crate::model::ids::{FieldName, ObjectName, TenantId};
use crate::planner::facts::RecordFacts;
use crate::ports::MappedObject;

use super::SyncEngine;
use lookups::ParentKeys;
use parents::ParentNames;
use walk::Walk;

pub use count::{FieldCounts, LaneLoad, ObjectPlan, Reason, Sample, Work};

/// What would be done for a tenant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TenantPlan {
    /// The tenant.
    pub tenant: TenantId,
    /// The schema `syncline` exists: records that it links are planned with what both sides agreed on.
    pub has_control_plane: bool,
    /// The chosen objects, parents before children.
    pub objects: Vec<ObjectPlan>,
    /// API calls in all, an estimate.
    pub calls: u64,
    /// About how long it takes, in seconds.
    pub seconds: u64,
}

/// How far the plan is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanProgress<'a> {
    /// The object.
    pub object: &'a ObjectName,
    /// Its records of Salesforce that were planned.
    pub in_salesforce: u64,
    /// Its rows that were met.
    pub in_postgres: u64,
}

/// Whom a plan reports to while it is made.
pub trait PlanListener: Send {
    /// A page was planned.
    fn progress(&mut self, progress: &PlanProgress<'_>);

    /// A record was planned from these facts. They hold its values.
    fn record(&mut self, object: &ObjectName, facts: RecordFacts<FieldName>);

    /// Returns whether [`PlanListener::record`] wants to be called.
    fn wants_records(&self) -> bool;
}

impl SyncEngine {
    /// Plans every record of the chosen objects, all of them unless `only` names one, and writes nothing on either side
    /// or in the control plane. An object that cannot be read does not stop the others: it has a problem.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn plan(
        &self,
        tenant: &TenantId,
        only: Option<&ObjectName>,
        listener: &mut dyn PlanListener,
    ) -> Result<TenantPlan, Error> {
        let shared = self.shared();
        let tenant = shared
            .tenants
            .get(tenant)
            .ok_or_else(|| Error::UnknownTenant(tenant.clone()))?;
        tenant.store.require_usable_database().await?;
        let loaded = tenant.objects_to_plan().await?;
        let mut plan = TenantPlan {
            tenant: tenant.config.tenant.clone(),
            has_control_plane: loaded.has_control_plane,
            objects: Vec::new(),
            calls: 0,
            seconds: 0,
        };
        let mut parents = Parents::new(&loaded.list);
        for sync in &tenant.config.objects {
            let is_chosen = only.is_none_or(|only| *only == sync.object);
            if !is_chosen {
                continue;
            }
            let mut planned = ObjectPlan::new(sync);
            if let Some(mapped) = mapped_object(&loaded.list, &sync.object) {
                let walk = Walk::new((tenant, &loaded), mapped, shared.clock.now_ms());
                match Box::pin(walk.run(&mut planned, &mut parents, listener)).await {
                    Ok(()) => {}
                    Err(Error::Store(error)) => planned.problem = Some(error_chain(&error)),
                    Err(Error::Salesforce(error)) if !error.disposition.concerns_tenant() => {
                        planned.problem = Some(error_chain(&error));
                    }
                    Err(error) => return Err(error),
                }
            }
            note_withheld(&mut planned, &loaded);
            plan.calls += planned.calls;
            plan.seconds += planned.seconds;
            plan.objects.push(planned);
        }
        Ok(plan)
    }
}

/// What is known of the records that lookups point to.
struct Parents<'a> {
    names: ParentNames<'a>,
    keys: ParentKeys<'a>,
}

impl<'a> Parents<'a> {
    fn new(mapped_objects: &'a [MappedObject]) -> Self {
        Self {
            names: ParentNames::new(mapped_objects),
            keys: ParentKeys::new(mapped_objects),
        }
    }
}

/// Notes what cannot be synchronised of the object at all.
fn note_withheld(planned: &mut ObjectPlan, loaded: &ObjectsToPlan) {
    let withheld = loaded.withheld.iter();
    for withheld in withheld.filter(|one| one.object == planned.object.as_str()) {
        match withheld.field.is_empty() {
            true => planned.problem = Some(withheld.problem.clone()),
            false => planned.notes.push(withheld.problem.clone()),
        }
    }
}
