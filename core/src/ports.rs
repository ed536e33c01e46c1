//! The engine's interfaces to everything outside it: store, Salesforce, wake-ups, clock, ids.
//!
//! Each caller of the store has its own trait. A call of the store is one transaction with a constant number
//! of statements for any number of records; a simulator can implement each port. Ports decide nothing:
//! [`crate::planner`] decides, and the store calls it with exactly the rows it has locked.

pub mod apply_store;
pub mod capture_store;
pub mod clock;
pub mod comparison;
pub mod database;
pub mod fence;
pub mod job_store;
pub mod mapped_object;
pub mod operator_store;
pub mod plan_store;
pub mod reconcile_store;
pub mod record;
pub mod salesforce;
pub mod secret_source;
pub mod store_error;
pub mod stream_name;
pub mod wakeup;

pub use apply_store::{ApplyStore, RecordPlanner};
pub use capture_store::CaptureStore;
pub use clock::{Clock, IdSource};
pub use fence::{FencePort, FenceUnreachable};
pub use job_store::JobStore;
pub use mapped_object::{MappedObject, MappedTable};
pub use operator_store::OperatorStore;
pub use plan_store::PlanStore;
pub use reconcile_store::ReconcileStore;
pub use salesforce::{EventStream, SalesforceError, SalesforcePort};
pub use secret_source::{SecretSource, SecretUnreadable};
pub use store_error::{OutOfReach, StoreError};
pub use stream_name::StreamName;
pub use wakeup::{WakeUp, WakeUpError, WakeUpPort};

/// One tenant's Postgres, with the calls of all jobs.
pub trait Store:
    JobStore + CaptureStore + ApplyStore + ReconcileStore + OperatorStore + PlanStore
{
}

impl<S: JobStore + CaptureStore + ApplyStore + ReconcileStore + OperatorStore + PlanStore> Store
    for S
{
}
