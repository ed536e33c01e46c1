//! Why records are parked that cannot be planned.

use crate::config::ObjectSync;
use crate::model::ids::{FieldName, SalesforceId};
use crate::planner::policy::{ROW_MISSING, UNREADABLE_RECORD};
use crate::ports::record::{ObservedRecord, ParkReason, PostgresRow};

pub(super) fn worker_lost() -> ParkReason {
    ParkReason {
        code: "worker_lost".to_owned(),
        field: None,
        message: "the workers that took the record ended each time before its work was done: look in their \
                  logs for the cause (memory, time limit), then replay it"
            .to_owned(),
    }
}

pub(super) fn duplicate_key(
    sync: &ObjectSync,
    first: &PostgresRow,
    second: &PostgresRow,
) -> ParkReason {
    let name = |row: &PostgresRow| row.external_id.clone().unwrap_or_default();
    ParkReason {
        code: "duplicate_key".to_owned(),
        field: Some(sync.external_id.field.clone()),
        message: format!(
            "two rows of {}.{} are one record for Salesforce: {:?} and {:?} in column {}. Change or \
             delete one of them; it is tried again by itself",
            sync.table.schema,
            sync.table.table,
            name(first),
            name(second),
            sync.external_id.column,
        ),
    }
}

pub(super) fn unreadable_record(sync: &ObjectSync, observed: &ObservedRecord) -> ParkReason {
    let object = &sync.object;
    let id = observed.known.link.salesforce_id.as_ref();
    ParkReason {
        code: UNREADABLE_RECORD.to_owned(),
        field: None,
        message: format!(
            "Salesforce does not return {object} {} to our user any more, and nothing shows that it was deleted. \
             Nothing is written on either side. If the user should see it, grant View All on {object} and \
             replay; if it was deleted, run `syncline deletes approve {object} --unreadable`",
            id.map_or("", SalesforceId::as_str)
        ),
    }
}

pub(super) fn row_missing(sync: &ObjectSync) -> ParkReason {
    ParkReason {
        code: ROW_MISSING.to_owned(),
        field: None,
        message: format!(
            "table {}.{} lacks the row of the record, and no delete of it was captured. Nothing is written on either \
             side until its row is there, a delete of it is captured, or a comparison of both sides finds it missing, \
             too: run `syncline compare`",
            sync.table.schema, sync.table.table
        ),
    }
}

pub(super) fn not_writeable(sync: &ObjectSync, field: &FieldName) -> ParkReason {
    ParkReason {
        code: "not_writeable".to_owned(),
        field: Some(field.clone()),
        message: format!(
            "{}.{field} cannot be updated by the integration user. Grant edit access, or set owner = \
             \"salesforce\" for it in syncline.toml",
            sync.object
        ),
    }
}
