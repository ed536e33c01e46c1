//! Which database this is.

use super::{Finding, Level};
use crate::job::error::Error;
use crate::job::tenant::Tenant;
use crate::ports::database::DatabaseState;

/// Returns what a person should know of the connected database.
pub(super) async fn findings(tenant: &Tenant) -> Result<Vec<Finding>, Error> {
    let known = tenant.store.database_state(&tenant.config.tenant).await?;
    let Some((state, found)) = known else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    if let Some(what) = state.hold() {
        let (level, fix) = match state {
            DatabaseState::Copy { .. } => (Level::Note, "nothing, if it is meant to stand still"),
            DatabaseState::New | DatabaseState::Known | DatabaseState::Changed { .. } => (
                Level::Error,
                "run `syncline adopt` or `syncline adopt --copy`",
            ),
        };
        findings.push(finding(level, what, fix));
    }
    if found.system_identifier.is_none() {
        findings.push(finding(
            Level::Note,
            "our role may not call pg_control_system(): a copy in another server is noticed only by the database's oid, \
             its name and the endpoint"
                .to_owned(),
            "grant execute on function pg_control_system() to our role, then run `syncline adopt`",
        ));
    }
    Ok(findings)
}

fn finding(level: Level, what: String, fix: &str) -> Finding {
    Finding {
        level,
        object: None,
        field: None,
        what,
        fix: fix.to_owned(),
    }
}
