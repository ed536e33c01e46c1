//! Writes mappings and tables.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::json;
use syncline::engine::check::Level;
use syncline::engine::generate::{GenerateOptions, Generated, Picklists};

use crate::arguments::{Common, Generate, PicklistForm};
use crate::outcome::{Outcome, Status, warn};

use super::Context;
use super::setup::spinner;

/// Writes the mapping of the selected objects, and the SQL of their tables.
pub(super) async fn generate(
    context: &Context,
    common: &Common,
    asked: Generate,
) -> anyhow::Result<Outcome> {
    let (tenant, _) = context.only_tenant().await?;
    refuse_to_replace(&asked, &common.config)?;
    let options = GenerateOptions {
        objects: asked.objects,
        tables: asked.tables,
        external_ids: asked.external_ids,
        picklists: match asked.picklists {
            PicklistForm::Text => Picklists::Text,
            PicklistForm::Check => Picklists::Check,
        },
    };
    let spinner = spinner(&format!("reading the objects of {tenant}"));
    let engine = context.instance.engine(tenant).await?;
    let generated = engine.generate(tenant, &options).await;
    spinner.finish_and_clear();
    let generated = generated?;
    let (mapping, sql) = (generated.mapping(), generated.sql());
    for (path, text) in [(&asked.mapping, &mapping), (&asked.sql, &sql)] {
        if let Some(path) = path {
            write(path, text, asked.force)?;
        }
    }
    let printed = match (&asked.mapping, &asked.sql) {
        (None, None) if sql.is_empty() => mapping.clone(),
        (None, None) => format!("# For syncline.toml:\n\n{mapping}\n-- For the database:\n\n{sql}"),
        (None, Some(_)) => format!("\n{mapping}"),
        (Some(_), None) => sql.clone(),
        (Some(_), Some(_)) => String::new(),
    };
    let summary = summary(&generated, asked.mapping.as_deref(), asked.sql.as_deref());
    let text = match printed.is_empty() {
        true => summary,
        false => {
            if !common.json {
                warn(summary.trim_end());
            }
            printed
        }
    };
    let json = json!({
        "tenant": generated.tenant,
        "objects": generated.objects,
        "skipped": generated.skipped,
        "mapping": mapping,
        "sql": sql,
    });
    Ok(Outcome {
        status: match needs_a_person(&generated) {
            true => Status::Found,
            false => Status::Well,
        },
        ..Outcome::well(vec![json], text)
    })
}

/// Returns whether an object that was named, or all of them, cannot be mapped, or a table has to be mended.
fn needs_a_person(generated: &Generated) -> bool {
    let none_is_mapped = generated.objects.is_empty();
    let mut skipped = generated.skipped.iter();
    let mut problems = generated.objects.iter().flat_map(|draft| &draft.problems);
    skipped.any(|skipped| skipped.fix.is_some() && (skipped.named || none_is_mapped))
        || problems.any(|problem| problem.level == Level::Error)
}

/// Fails if a file would be replaced without --force, before anything is written.
fn refuse_to_replace(asked: &Generate, config: &str) -> anyhow::Result<()> {
    let config = fs::canonicalize(config).ok();
    for path in [&asked.mapping, &asked.sql].into_iter().flatten() {
        let is_config = config.is_some() && fs::canonicalize(path).ok() == config;
        if is_config {
            bail!(
                "{} is the configuration in use; to add the mapping to it, leave --mapping out and write >> {}",
                path.display(),
                path.display()
            );
        }
        if path.exists() && !asked.force {
            bail!("{} exists; --force replaces it", path.display());
        }
    }
    if asked.mapping.is_some() && asked.mapping == asked.sql {
        bail!("--mapping and --sql name the same file");
    }
    Ok(())
}

fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("{} cannot be written", path.display()))
}

/// Returns what was written, and what to do next.
fn summary(generated: &Generated, mapping: Option<&Path>, sql: Option<&Path>) -> String {
    let fields: usize = generated
        .objects
        .iter()
        .map(|draft| draft.sync.fields.len() + 1)
        .sum();
    let left_out: usize = generated
        .objects
        .iter()
        .map(|draft| draft.left_out.len())
        .sum();
    let mut summary = match generated.objects.len() {
        0 => format!("{}: no object is mapped\n", generated.tenant),
        objects => format!(
            "{}: objects mapped: {objects}, with {fields} fields; left out, each with its reason: {left_out} fields\n",
            generated.tenant
        ),
    };
    for line in generated.not_mapped() {
        summary.push_str(&format!("  {line}\n"));
    }
    for draft in &generated.objects {
        for problem in &draft.problems {
            let line = format!(
                "  {}: {}: {}\n",
                draft.sync.object, problem.what, problem.fix
            );
            summary.push_str(&line);
        }
    }
    if !generated.objects.is_empty() {
        let run = match sql {
            Some(path) => format!("run {} in the database (psql -f)", path.display()),
            None => "run the SQL in the database".to_owned(),
        };
        let add = match mapping {
            Some(path) => format!("add {} to syncline.toml", path.display()),
            None => "add the mapping to syncline.toml".to_owned(),
        };
        summary.push_str(&format!(
            "next: {run}; {add}; then syncline migrate, syncline check, syncline install\n"
        ));
    }
    summary
}
