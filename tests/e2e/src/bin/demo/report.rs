//! The table at the end: what moved, by which way, at what price, how fast.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use syncline_e2e::compare::Comparison;
use syncline_e2e::observe::{self, Metered};
use syncline_e2e::world::World;

use crate::probes::Latencies;
use crate::settle::Goal;
use crate::stage::Stage;

/// Conflicts that are shown by name.
const CONFLICTS_SHOWN: usize = 5;

/// What was found.
pub(crate) struct Findings<'a> {
    pub(crate) goal: Goal,
    pub(crate) comparison: &'a Comparison,
    pub(crate) metered: Metered,
    /// API calls that the demo itself made.
    pub(crate) own_calls: i64,
    /// How long the first load took to be equal on both sides.
    pub(crate) initial: Duration,
    pub(crate) there: Latencies,
    pub(crate) back: Latencies,
}

/// Prints the table and the conflicts to standard output.
///
/// # Errors
///
/// When the control plane cannot be read.
pub(crate) async fn print(
    world: &World,
    stage: &Stage,
    findings: &Findings<'_>,
) -> anyhow::Result<()> {
    let captured = observe::captured(&world.pool).await?;
    let lanes = observe::applied_by_lane(&world.pool).await?;
    let rows = observe::rows_written(&world.pool).await?;
    let conflicts = observe::conflicts(&world.pool).await?;
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    let mut line = |what: &str, value: String| {
        table.add_row([what.to_owned(), value]);
    };
    line("Accounts on each side", findings.goal.accounts.to_string());
    line("Contacts on each side", findings.goal.contacts.to_string());
    line("captured from Postgres", count(&captured, "postgres"));
    line("captured from Salesforce", count(&captured, "salesforce"));
    line("rows written in Postgres", rows.to_string());
    for (lane, applied) in &lanes {
        line(
            &format!("written to Salesforce by {lane}"),
            applied.to_string(),
        );
    }
    line(
        "Salesforce API calls of the engine",
        (findings.metered.api_calls - findings.own_calls).to_string(),
    );
    line(
        "change events delivered",
        findings.metered.events_delivered.to_string(),
    );
    line("conflicts open", conflicts.len().to_string());
    line("first load equal after", seconds(Some(findings.initial)));
    line(
        "Postgres to Salesforce, p50 / p99",
        latency(&findings.there),
    );
    line("Salesforce to Postgres, p50 / p99", latency(&findings.back));
    line(
        "compared independently",
        format!(
            "{} values of {} records",
            findings.comparison.values, findings.comparison.records
        ),
    );
    line(
        "differences",
        findings.comparison.differences.len().to_string(),
    );
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    for conflict in conflicts.iter().take(CONFLICTS_SHOWN) {
        println!("conflict: {conflict}");
    }
    if conflicts.len() > CONFLICTS_SHOWN {
        println!("… and {} more", conflicts.len() - CONFLICTS_SHOWN);
    }
    let equal = findings.comparison.differences == conflicts;
    println!(
        "{}, after {:.1} s",
        match equal {
            true => "Both sides are equal apart from these conflicts",
            false => "THE SIDES DIFFER beyond these conflicts",
        },
        stage.elapsed().as_secs_f64()
    );
    Ok(())
}

fn count(counts: &BTreeMap<String, i64>, name: &str) -> String {
    counts.get(name).copied().unwrap_or_default().to_string()
}

fn latency(latencies: &Latencies) -> String {
    format!(
        "{} / {} of {} edits",
        seconds(latencies.percentile(50)),
        seconds(latencies.percentile(99)),
        latencies.count()
    )
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| format!("{:.2} s", time.as_secs_f64()),
    )
}
