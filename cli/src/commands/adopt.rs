//! Goes on with another database or another org, or declares the database a copy.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;
use serde::Serialize;
use serde_json::json;
use syncline::job::error::error_chain;
use syncline::model::ids::{SalesforceId, TenantId};
use syncline::ports::comparison::Begin;
use syncline::ports::database::{DatabaseIdentity, DatabaseState, FoundDatabase};
use syncline::ports::job_store::OrgMatch;
use syncline::ports::{
    CaptureStore as _, JobStore as _, OperatorStore as _, ReconcileStore as _, SalesforcePort as _,
};
use syncline::store::{InstallOptions, PgStore};

use crate::failure;
use crate::outcome::{Outcome, Status, warn};

use super::Context;

/// What the operator asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The database is a copy.
    pub(super) copy: bool,
    /// The operator is not asked again.
    pub(super) yes: bool,
}

/// What was found of one tenant.
#[derive(Serialize)]
struct Found {
    /// The connected database.
    connected: DatabaseIdentity,
    /// How it stands to the tenant's.
    database: DatabaseState,
    /// Where the login leads, and the org of the records; absent if they are the same or the org is not asked.
    other_org: Option<OtherOrg>,
    /// Why the org could not be asked.
    org_unknown: Option<String>,
}

#[derive(Serialize)]
struct OtherOrg {
    login: SalesforceId,
    known: SalesforceId,
}

impl Found {
    fn changes_database(&self, asked: Asked) -> bool {
        match &self.database {
            // Only a job asks the fence.
            DatabaseState::New | DatabaseState::Known | DatabaseState::FenceUnreachable => {
                asked.copy
            }
            DatabaseState::Copy { .. } => !asked.copy,
            DatabaseState::Changed { .. } | DatabaseState::Fenced { .. } => true,
        }
    }

    fn changes_something(&self, asked: Asked) -> bool {
        self.changes_database(asked) || self.other_org.is_some()
    }
}

/// Shows what has changed, asks, and does it.
pub(super) async fn adopt(context: &Context, asked: Asked) -> anyhow::Result<Outcome> {
    let (found, mut failures) = context
        .each(async |tenant| look(context, tenant, asked).await)
        .await?;
    let shown: String = found
        .iter()
        .map(|(tenant, found)| found_text(tenant, found, asked))
        .collect();
    let changes = found
        .iter()
        .any(|(_, found)| found.changes_something(asked));
    if changes && !asked.yes {
        confirm(&shown)?;
    }
    let mut text = if asked.yes || !changes {
        shown
    } else {
        String::new()
    };
    let mut json = Vec::new();
    let mut status = Status::Well;
    for (tenant, found) in found {
        let done = match carry_out(context, &tenant, &found, asked).await {
            Ok(done) => done,
            Err(error) if context.tenants.len() == 1 => return Err(error),
            Err(error) => {
                failures.push(failure::of_tenant(&tenant, &error));
                continue;
            }
        };
        for line in &done.lines {
            text.push_str(&format!("{tenant}: {line}\n"));
        }
        if done.capture_problem.is_some() {
            status = Status::Found;
        }
        json.push(json!({
            "tenant": tenant,
            "found": found,
            "changed": found.changes_something(asked),
            "copy": asked.copy,
            "capture_problem": done.capture_problem,
        }));
    }
    let outcome = Outcome {
        status,
        ..Outcome::well(json, text)
    };
    Ok(outcome.with_failures(failures))
}

/// Looks which database and which org are connected. A copy has nothing to do with the org, so it is not asked.
async fn look(context: &Context, tenant: &TenantId, asked: Asked) -> anyhow::Result<Found> {
    let store = context.instance.store(tenant).await?;
    let Some(FoundDatabase {
        state: database,
        identity: connected,
        ..
    }) = store.database_state(tenant).await?
    else {
        bail!("the database has no schema `syncline` yet: run `syncline migrate`");
    };
    let mut found = Found {
        connected,
        database,
        other_org: None,
        org_unknown: None,
    };
    let known = store.control(tenant).await?.org;
    if let (false, Some((known, _))) = (asked.copy, known) {
        let salesforce = context.instance.salesforce(tenant).await?;
        match salesforce.identity().await {
            Ok(identity) if identity.organization_id != known => {
                found.other_org = Some(OtherOrg {
                    login: identity.organization_id,
                    known,
                });
            }
            Ok(_) => {}
            Err(error) => found.org_unknown = Some(error_chain(&error)),
        }
    }
    Ok(found)
}

/// Returns what was found, and what is done about it.
fn found_text(tenant: &TenantId, found: &Found, asked: Asked) -> String {
    let mut text = String::new();
    let mut line = |words: String| text.push_str(&format!("{tenant}: {words}\n"));
    let connected = &found.connected;
    match &found.database {
        DatabaseState::New => line(format!("no job ran yet; connected is {connected}")),
        DatabaseState::Fenced { by, .. } => line(format!(
            "connected is {connected}; another copy of it is at work ({})",
            by.as_deref().unwrap_or("unknown")
        )),
        DatabaseState::Known | DatabaseState::FenceUnreachable => {
            line(format!("connected is the tenant's database, {connected}"));
        }
        DatabaseState::Copy { since } => line(format!(
            "connected is {connected}, declared a copy at {}",
            since.format("%F %T")
        )),
        DatabaseState::Changed { known, .. } => line(format!(
            "the records belong to {known}; connected is {connected}"
        )),
    }
    if let Some(OtherOrg { login, known }) = &found.other_org {
        line(format!(
            "the records belong to org {known}; the login leads to {login}"
        ));
    }
    if let Some(reason) = &found.org_unknown {
        line(format!("the org cannot be asked: {reason}"));
    }
    if found.changes_database(asked) {
        line(match asked.copy {
            true => "this database becomes a copy: nothing is read or written, its tables are no longer captured".to_owned(),
            false => "this database goes on: every record is read again on both sides, waiting edits are kept; jobs that \
                      use the former database or address are held"
                .to_owned(),
        });
    }
    if found.other_org.is_some() {
        line(
            "the org of the login goes on: records are matched by external id, nothing is deleted"
                .to_owned(),
        );
    }
    if !found.changes_something(asked) {
        line("nothing changes".to_owned());
    }
    text
}

/// Asks for a yes at the terminal. Fails without a terminal, and on any other answer.
fn confirm(shown: &str) -> anyhow::Result<()> {
    warn(shown.trim_end());
    if !io::stdin().is_terminal() {
        bail!("nothing was changed; run it with --yes to confirm");
    }
    write!(io::stderr(), "Go on? [y/N] ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("nothing was changed"),
    }
}

/// What was done for one tenant.
#[derive(Default)]
struct Done {
    lines: Vec<String>,
    capture_problem: Option<String>,
}

async fn carry_out(
    context: &Context,
    tenant: &TenantId,
    found: &Found,
    asked: Asked,
) -> anyhow::Result<Done> {
    let store = context.instance.store(tenant).await?;
    let mut done = Done::default();
    let changes_database = found.changes_database(asked);
    if changes_database && asked.copy {
        store.declare_copy(tenant).await?;
        done.lines.push("this database is a copy now".to_owned());
    } else if changes_database {
        store.adopt_database(tenant).await?;
        done.lines.push("this database goes on".to_owned());
    }
    if let Some(OtherOrg { login, .. }) = &found.other_org
        && let OrgMatch::Other { .. } = store.register_org(tenant, login).await?
        && store.adopt_org(tenant).await?.is_some()
    {
        done.lines.push(format!(
            "adopted org {login}; its records are read again and matched by external id"
        ));
    }
    if changes_database && !asked.copy {
        match capture_again(context, tenant, &store).await {
            Ok(line) => done.lines.extend(line),
            Err(error) => {
                let problem = format!("{error:#}");
                done.lines.push(format!(
                    "capture of its tables is not installed yet: {problem}; then run `syncline install`"
                ));
                done.capture_problem = Some(problem);
            }
        }
    }
    Ok(done)
}

/// Installs capture in the adopted database, if it was installed in the former one: a copy may lack the triggers, and its
/// tables have other oids. Starts a full comparison, which finds what no event shows any more.
async fn capture_again(
    context: &Context,
    tenant: &TenantId,
    store: &PgStore,
) -> anyhow::Result<Option<String>> {
    if store.captured_objects(tenant).await?.is_empty() {
        return Ok(None);
    }
    let engine = context.instance.engine(tenant).await?;
    let mapped_objects = engine.mapped_objects(tenant).await?;
    store
        .install_with(&mapped_objects, &InstallOptions::default())
        .await?;
    let enqueued = engine.enqueue_existing_rows(tenant).await?;
    for mapped in &mapped_objects {
        store.begin_comparison(mapped, Begin::Now).await?;
    }
    Ok(Some(format!(
        "its tables are captured; {enqueued} rows enqueued; a full comparison follows"
    )))
}
