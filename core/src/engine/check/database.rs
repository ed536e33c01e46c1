//! Which database this is.

use super::{Finding, Level};
use crate::job::error::Error;
use crate::job::tenant::Tenant;
use crate::model::ids::ObjectName;
use crate::ports::database::{DatabaseState, FoundDatabase};

/// Returns what a person should know of the connected database.
pub(super) async fn findings(tenant: &Tenant) -> Result<Vec<Finding>, Error> {
    let known = tenant.store.database_state(&tenant.config.tenant).await?;
    let Some(FoundDatabase {
        state,
        identity: found,
        fence_problem,
        subscriptions,
    }) = known
    else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    if let Some(what) = state.hold() {
        let (level, fix) = match state {
            DatabaseState::Copy { .. } => (Level::Note, "nothing, if it is meant to stand still"),
            DatabaseState::FenceUnreachable => (Level::Error, "make the fence reachable"),
            DatabaseState::New
            | DatabaseState::Known
            | DatabaseState::Fenced { .. }
            | DatabaseState::Changed { .. } => (
                Level::Error,
                "run `syncline adopt` or `syncline adopt --copy`",
            ),
        };
        findings.push(finding(level, what, fix));
    }
    findings.extend(unmapped_captures(tenant).await?);
    findings.extend(subscriptions.iter().map(|name| replicating(name, &state)));
    if found.system_identifier.is_none() {
        findings.push(finding(
            Level::Note,
            "our role may not call pg_control_system(): a copy in another server is noticed only by the database's oid, \
             its name and the endpoint"
                .to_owned(),
            "grant execute on function pg_control_system() to our role, then run `syncline adopt`",
        ));
    }
    if let Some(problem) = fence_problem {
        findings.push(finding(
            Level::Warning,
            format!("the fence cannot be reached: {problem}"),
            "check the address `fence`, and that it may be read and written",
        ));
    }
    if tenant.config.fence.is_none() {
        findings.push(finding(
            Level::Note,
            "two physical copies of this database (snapshots, clones, base backups) behind one endpoint would not \
             notice each other: there is no `fence`"
                .to_owned(),
            "set `fence` to an SSM parameter, or to a file if all jobs run on one machine",
        ));
    }
    Ok(findings)
}

/// Returns that a subscription still replicates the outbox into this database.
fn replicating(subscription: &str, state: &DatabaseState) -> Finding {
    let level = match state {
        DatabaseState::Copy { .. } => Level::Note,
        DatabaseState::New
        | DatabaseState::Known
        | DatabaseState::Changed { .. }
        | DatabaseState::Fenced { .. }
        | DatabaseState::FenceUnreachable => Level::Warning,
    };
    let what = format!(
        "the subscription {subscription} replicates the outbox of another database into this one: what it writes is not \
         captured here, and edits that wait there arrive here"
    );
    finding(
        level,
        what,
        &format!("once this database has taken over, run: drop subscription {subscription}"),
    )
}

/// Returns the objects whose tables are captured although the configuration maps them no more.
async fn unmapped_captures(tenant: &Tenant) -> Result<Vec<Finding>, Error> {
    let captured = tenant.store.captured_objects(&tenant.config.tenant).await?;
    let is_mapped = |object: &ObjectName| {
        let mut objects = tenant.config.objects.iter();
        objects.any(|sync| sync.object == *object)
    };
    let unmapped = captured.into_keys().filter(|object| !is_mapped(object));
    let findings = unmapped.map(|object| Finding {
        level: Level::Warning,
        what: format!(
            "capture of {object} is installed, but it is not mapped: its changes go nowhere"
        ),
        fix: "map it again, or run `syncline install --remove-unmapped`".to_owned(),
        object: Some(object),
        field: None,
        sql: None,
    });
    Ok(findings.collect())
}

fn finding(level: Level, what: String, fix: &str) -> Finding {
    Finding {
        level,
        object: None,
        field: None,
        what,
        fix: fix.to_owned(),
        sql: None,
    }
}
