//! Failures of a whole job. A failure of one record parks only that record.

use chrono::{DateTime, Utc};

use crate::model::ids::{FieldName, ObjectName, SalesforceId, TenantId};

use crate::ports::database::DatabaseState;
use crate::ports::salesforce::StreamEnd;
use crate::ports::{SalesforceError, StoreError, WakeUpError};

/// Returns an error with all its causes, on one line.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

impl Error {
    /// Returns whether nothing is done because a person declared this database a copy.
    pub fn is_copy(&self) -> bool {
        matches!(self, Self::DatabaseHeld { state, .. } if matches!(**state, DatabaseState::Copy { .. }))
    }

    /// Returns whether nothing is done because of the database.
    pub fn is_database_held(&self) -> bool {
        matches!(self, Self::DatabaseHeld { .. })
    }
}

/// Why a job failed. Nothing is lost: committed work is kept, and the rest is done when the job runs
/// again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not name this tenant.
    #[error("the configuration has no tenant {0}")]
    UnknownTenant(TenantId),
    /// The configuration does not map this object.
    #[error("tenant {tenant} does not map the object {object}")]
    UnknownObject {
        /// The tenant.
        tenant: TenantId,
        /// The object.
        object: ObjectName,
    },
    /// The login leads to another org than the one that the records belong to.
    #[error(
        "the login of tenant {tenant} leads to org {found}, but its records belong to org {known}. Nothing is read \
         or written: correct salesforce.login_url, or run `syncline adopt` to go on with that org"
    )]
    OtherOrg {
        /// The tenant.
        tenant: TenantId,
        /// The org of the records.
        known: SalesforceId,
        /// The org of the login.
        found: SalesforceId,
    },
    /// The records belong to another database, or this one is a copy.
    #[error("tenant {tenant} is held: {}", state.hold().unwrap_or_default())]
    DatabaseHeld {
        /// The tenant.
        tenant: TenantId,
        /// How the connected database stands to the tenant's.
        state: Box<DatabaseState>,
    },
    /// A mapped field does not exist in the org, or is not visible to our user.
    #[error(
        "{object}.{field} does not exist in the org of tenant {tenant} or is hidden from its user: \
         correct the name in syncline.toml or grant read access to the field"
    )]
    UnknownField {
        /// The tenant.
        tenant: TenantId,
        /// The object.
        object: ObjectName,
        /// The field.
        field: FieldName,
    },
    /// Most records of both sides cannot be recognised by the other side.
    #[error("{}", problems.join("; "))]
    FirstContact {
        /// What is wrong, one text for each object.
        problems: Vec<String>,
    },
    /// The org cannot be used, and is not to be tried again yet.
    #[error(
        "the org of tenant {tenant} cannot be used since {since} ({code}); it is tried again by itself: \
         `syncline status` shows when"
    )]
    OrgUnavailable {
        /// The tenant.
        tenant: TenantId,
        /// The code of the failure.
        code: String,
        /// When it began.
        since: DateTime<Utc>,
    },
    /// The control plane or the tables.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The org.
    #[error(transparent)]
    Salesforce(#[from] SalesforceError),
    /// The event subscription.
    #[error(transparent)]
    Stream(#[from] StreamEnd),
    /// The wake-up queue.
    #[error(transparent)]
    WakeUp(#[from] WakeUpError),
}
