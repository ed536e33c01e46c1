//! Checks, migrates, installs and removes.

use std::time::Duration;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value as Json, json};
use syncline::engine::check::{Finding, Level};
use syncline::model::ids::TenantId;
use syncline::store::InstallOptions;

use crate::outcome::{Outcome, Status, table};

use super::Context;

/// Time between two steps of the progress spinner.
const TICK: Duration = Duration::from_millis(100);

/// Compares the configuration with both live sides.
pub(super) async fn check(context: &Context) -> anyhow::Result<Outcome> {
    let (found, failures) = context
        .each(async |tenant| {
            let spinner = spinner(&format!("checking {tenant}"));
            let engine = context.instance.engine(tenant).await?;
            let findings = engine.check(tenant).await;
            spinner.finish_and_clear();
            Ok(findings?)
        })
        .await?;
    let mut text = String::new();
    for (tenant, findings) in &found {
        text.push_str(&findings_text(tenant, findings));
    }
    let mistakes = found
        .iter()
        .flat_map(|(_, findings)| findings)
        .any(|finding| finding.level == Level::Error);
    let json: Vec<Json> = found
        .iter()
        .map(|(tenant, findings)| json!({"tenant": tenant, "findings": findings}))
        .collect();
    let outcome = Outcome {
        status: match mistakes {
            true => Status::Found,
            false => Status::Well,
        },
        ..Outcome::well(json, text)
    };
    Ok(outcome.with_failures(failures))
}

/// Brings the control plane's schema up to date.
pub(super) async fn migrate(context: &Context) -> anyhow::Result<Outcome> {
    let (migrated, failures) = context
        .each(async |tenant| {
            let spinner = spinner(&format!("migrating the database of {tenant}"));
            let store = context.instance.store(tenant).await?;
            store.migrate().await?;
            store.remember_database(tenant).await?;
            spinner.finish_and_clear();
            Ok(())
        })
        .await?;
    Ok(done(&migrated, "the schema `syncline` is up to date").with_failures(failures))
}

/// Installs the capture triggers and enqueues existing rows.
pub(super) async fn install(
    context: &Context,
    new_changes_only: bool,
    no_match: bool,
    options: &InstallOptions,
) -> anyhow::Result<Outcome> {
    let (installed, failures) = context
        .each(async |tenant| {
            let spinner = spinner(&format!("installing triggers for {tenant}"));
            let engine = context.instance.engine(tenant).await?;
            engine.require_every_field(tenant).await?;
            let mapped_objects = engine.mapped_objects(tenant).await?;
            if !no_match {
                engine.check_first_contact(tenant).await?;
            }
            let store = context.instance.store(tenant).await?;
            store.install_with(&mapped_objects, options).await?;
            let enqueued = match new_changes_only {
                true => 0,
                false => {
                    spinner.set_message(format!("enqueuing the rows of {tenant}"));
                    engine.enqueue_existing_rows(tenant).await?
                }
            };
            spinner.finish_and_clear();
            let names = mapped_objects.iter().map(|mapped| {
                let table = &mapped.sync.table;
                format!("{}.{}", table.schema.as_str(), table.table.as_str())
            });
            Ok((names.collect::<Vec<String>>(), enqueued))
        })
        .await?;
    let (mut text, mut json) = (String::new(), Vec::new());
    for (tenant, (tables, enqueued)) in installed {
        text.push_str(&format!(
            "{tenant}: changes of {} are captured; {enqueued} rows enqueued; `syncline plan` shows what becomes of them, \
             `syncline run` does it\n",
            tables.join(", ")
        ));
        json.push(json!({"tenant": tenant, "tables": tables, "enqueued": enqueued}));
    }
    Ok(Outcome::well(json, text).with_failures(failures))
}

/// Removes everything that `install` and `migrate` created.
pub(super) async fn uninstall(context: &Context, yes: bool) -> anyhow::Result<Outcome> {
    if !yes {
        bail!(
            "this removes triggers, history, open conflicts and dead letters; \
             run it with --yes to confirm"
        );
    }
    refuse_if_shared(context).await?;
    let (removed, failures) = context
        .each(async |tenant| {
            // Makes no call to the org: uninstalling must work without it.
            Ok(context.instance.store(tenant).await?.uninstall().await?)
        })
        .await?;
    let what = "triggers and the schema `syncline` are removed; tables and records stay";
    Ok(done(&removed, what).with_failures(failures))
}

/// Fails if a tenant that is not selected shares a database: the schema holds the state of both.
async fn refuse_if_shared(context: &Context) -> anyhow::Result<()> {
    for (name, tenant) in &context.instance.config().await?.tenants {
        if context.tenants.contains(name) {
            continue;
        }
        for leaving in &context.tenants {
            let shared =
                context.instance.tenant(leaving).await?.postgres.url == tenant.postgres.url;
            if shared {
                bail!(
                    "tenant {name} keeps its state in the database of {leaving}; \
                     uninstall without --tenant, or give {name} its own database first"
                );
            }
        }
    }
    Ok(())
}

fn done(tenants: &[(TenantId, ())], what: &str) -> Outcome {
    let names = tenants.iter().map(|(tenant, ())| tenant);
    let text = names.clone().map(|name| format!("{name}: {what}\n"));
    let json = names.map(|name| json!({"tenant": name, "done": true}));
    Outcome::well(json.collect(), text.collect())
}

fn findings_text(tenant: &TenantId, findings: &[Finding]) -> String {
    let fits = findings.iter().all(|finding| finding.level == Level::Note);
    let heading = match fits {
        true => format!("{tenant}: the mapping fits both sides\n"),
        false => format!("{tenant}:\n"),
    };
    if findings.is_empty() {
        return heading;
    }
    let mut shown = table(["", "where", "what", "fix"]);
    for finding in findings {
        let level = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        let place = match (&finding.object, &finding.field) {
            (Some(object), Some(field)) => format!("{object}.{field}"),
            (Some(object), None) => object.to_string(),
            (None, _) => String::new(),
        };
        let fix = match &finding.sql {
            Some(sql) => format!("{}: {sql}", finding.fix),
            None => finding.fix.clone(),
        };
        shown.add_row([level, &place, &finding.what, &fix]);
    }
    format!("{heading}{shown}\n")
}

/// Returns a spinner, which shows on a terminal only.
pub(super) fn spinner(message: &str) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    spinner.set_style(ProgressStyle::default_spinner());
    spinner.set_message(message.to_owned());
    spinner.enable_steady_tick(TICK);
    spinner
}
