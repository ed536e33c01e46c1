//! The table at the end: what moved, how, at what cost and how fast.

use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use syncline_e2e::compare::Comparison;
use syncline_e2e::converge::Goal;
use syncline_e2e::observe::{self, Metered};
use syncline_e2e::world::World;

use crate::probes::Latencies;
use crate::progress::Progress;

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

/// Prints the table and the conflicts to standard output, and returns how many values differ without a
/// conflict that explains it.
///
/// # Errors
///
/// When the control plane cannot be read.
pub(crate) async fn print(
    world: &World,
    progress: &Progress,
    findings: &Findings<'_>,
) -> anyhow::Result<usize> {
    let conflicts = observe::conflicts(&world.pool).await?;
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.add_rows(moved(world, findings).await?);
    table.add_rows(measured(findings, conflicts.len()));
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
    let differing = findings
        .comparison
        .differences
        .symmetric_difference(&conflicts)
        .count();
    let decision = match differing {
        0 => "Both sides are equal apart from these conflicts",
        _ => "THE SIDES DIFFER beyond these conflicts",
    };
    println!(
        "{decision}, after {:.1} s",
        progress.elapsed().as_secs_f64()
    );
    Ok(differing)
}

/// What moved, how and at what cost.
async fn moved(world: &World, findings: &Findings<'_>) -> anyhow::Result<Vec<[String; 2]>> {
    let engine_calls = findings.metered.api_calls - findings.own_calls;
    let mut rows = vec![row("records on each side", findings.goal.records)];
    for (way, count) in observe::captured(&world.pool).await? {
        rows.push(row(&format!("captured from {way}"), count));
    }
    rows.push(row(
        "rows written in Postgres",
        observe::rows_written(&world.pool).await?,
    ));
    rows.push(row(
        "records written in Salesforce",
        observe::writes_applied(&world.pool).await?,
    ));
    rows.push(row("Salesforce API calls of the engine", engine_calls));
    rows.push(row(
        "change events delivered",
        findings.metered.events_delivered,
    ));
    Ok(rows)
}

/// How fast it was, and whether both sides are equal.
fn measured(findings: &Findings<'_>, conflicts: usize) -> Vec<[String; 2]> {
    let Comparison {
        records,
        values,
        differences,
    } = findings.comparison;
    vec![
        row("first load equal after", seconds(Some(findings.initial))),
        row(
            "Postgres to Salesforce, p50 / p99",
            latency(&findings.there),
        ),
        row("Salesforce to Postgres, p50 / p99", latency(&findings.back)),
        row(
            "compared independently",
            format!("{values} values of {records} records"),
        ),
        row("conflicts open", conflicts),
        row("differences", differences.len()),
    ]
}

fn row(what: &str, value: impl ToString) -> [String; 2] {
    [what.to_owned(), value.to_string()]
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
