//! A copy of the workspace in which each planted bug can be switched on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Kind, Removal, VARIABLE, bugs, rewrite};

/// The crate that all crates with rules depend on, and that says in the tree which bug is switched on.
const PLANNER: &str = "core/planner/src/";

/// The version of our crates, as the workspace states it.
const VERSION: &str = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");

/// Their version in the tree. Cargo tells crates by name and version, not by their folders: with the same version, those
/// of the tree and of the workspace would replace each other in the folder where both are built.
const TREE_VERSION: &str = concat!("version = \"", env!("CARGO_PKG_VERSION"), "-planted\"");

/// Writes the workspace at `root` to `tree`, with a choice at each rule. Files that stay as they are keep their time, so
/// that cargo builds what has changed. Returns how many files were written.
pub fn write_tree(root: &Path, tree: &Path) -> anyhow::Result<usize> {
    let mut removals: BTreeMap<&str, Vec<Removal<'_>>> = BTreeMap::new();
    for bug in bugs() {
        for place in bug.places().filter(|place| place.kind != Kind::Function) {
            let bug = &bug.name;
            removals
                .entry(&place.file)
                .or_default()
                .push(Removal { bug, place });
        }
    }
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    let mut written = 0;
    for file in tracked(root)? {
        let from = root.join(&file);
        let content = fs::read(&from).with_context(|| from.display().to_string())?;
        let content = match removals.remove(file.as_str()) {
            Some(removals) => with_choices(&file, content, &removals)?,
            None => content,
        };
        let content = match file.as_str() {
            "Cargo.toml" => manifest(&String::from_utf8(content)?).into_bytes(),
            "Cargo.lock" => locked(&String::from_utf8(content)?).into_bytes(),
            "core/planner/src/lib.rs" => [content, b"\npub mod planted;\n".to_vec()].concat(),
            "tests/sim/src/planted/reached.rs" => REACHED.into(),
            _ => content,
        };
        written += usize::from(write_changed(&tree.join(&file), &content)?);
        files.insert(file.into());
    }
    if let Some((file, removals)) = removals.first_key_value() {
        anyhow::bail!("{}: there is no file {file}", removals[0].bug);
    }
    let switch = PathBuf::from(PLANNER).join("planted.rs");
    written += usize::from(write_changed(
        &tree.join(&switch),
        switch_code().as_bytes(),
    )?);
    files.insert(switch);
    remove_others(tree, tree, &files)?;
    Ok(written)
}

/// Returns the files of the repository, with those that are new.
fn tracked(root: &Path) -> anyhow::Result<Vec<String>> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .context("git cannot be run")?;
    anyhow::ensure!(listed.status.success(), "git does not list the files");
    let listed = String::from_utf8(listed.stdout)?;
    let files = listed.split('\0').filter(|file| root.join(file).is_file());
    Ok(files.map(str::to_owned).collect())
}

fn with_choices(file: &str, content: Vec<u8>, removals: &[Removal<'_>]) -> anyhow::Result<Vec<u8>> {
    let switch = match file.starts_with(PLANNER) {
        true => "crate::planted",
        false => "::syncline_planner::planted",
    };
    let text = String::from_utf8(content).with_context(|| file.to_owned())?;
    let text = rewrite(&text, removals, switch).with_context(|| file.to_owned())?;
    Ok(text.into_bytes())
}

/// Returns the manifest of the tree: without lints, as choices are no style, and with another version.
fn manifest(workspace: &str) -> String {
    let mut is_lint = false;
    let mut kept = String::new();
    for line in workspace.lines() {
        if line.starts_with('[') {
            is_lint = line.starts_with("[workspace.lints");
        }
        if !is_lint {
            kept.push_str(if line == VERSION { TREE_VERSION } else { line });
            kept.push('\n');
        }
    }
    kept + "\n[workspace.lints.rust]\nwarnings = \"allow\"\n"
}

/// Returns the lock file of the tree: its own crates, which have no source, have another version.
fn locked(workspace: &str) -> String {
    let package = |package: &str| match package.contains("\nsource = ") {
        true => package.to_owned(),
        false => package.replace(VERSION, TREE_VERSION),
    };
    workspace.split_inclusive("\n\n").map(package).collect()
}

/// The simulator's module of the same name, where there are bugs.
const REACHED: &str = r#"//! Which rules of planted bugs were reached.

use std::collections::BTreeSet;

/// Returns the bugs whose rules were reached since the last call.
pub(super) fn take() -> BTreeSet<&'static str> {
    syncline_planner::planted::take_reached()
}
"#;

/// Returns the module that says which bug is switched on, and notes which rules are reached.
fn switch_code() -> String {
    format!(
        r#"//! Which planted bug is switched on, and which rules were reached.

use std::collections::BTreeSet;
use std::sync::{{Mutex, OnceLock, PoisonError}};

static NAME: OnceLock<Option<String>> = OnceLock::new();

static REACHED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Returns whether this bug is switched on. Its rule is reached.
pub fn is(name: &'static str) -> bool {{
    reached().insert(name);
    is_on(name)
}}

/// Returns what the rule says, or what replaces it. The rule is reached if they differ.
pub fn choose<T: PartialEq>(name: &'static str, instead: T, rule: T) -> T {{
    if rule != instead {{
        reached().insert(name);
    }}
    if is_on(name) {{ instead }} else {{ rule }}
}}

/// Returns the bugs whose rules were reached since the last call.
pub fn take_reached() -> BTreeSet<&'static str> {{
    std::mem::take(&mut *reached())
}}

fn is_on(name: &str) -> bool {{
    let on = NAME.get_or_init(|| std::env::var("{VARIABLE}").ok());
    on.as_deref() == Some(name)
}}

fn reached() -> std::sync::MutexGuard<'static, BTreeSet<&'static str>> {{
    REACHED.lock().unwrap_or_else(PoisonError::into_inner)
}}
"#
    )
}

/// Writes a file unless it has this content. Returns whether it was written.
fn write_changed(path: &Path, content: &[u8]) -> anyhow::Result<bool> {
    if fs::read(path).is_ok_and(|known| known == content) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content).with_context(|| path.display().to_string())?;
    Ok(true)
}

/// Removes files that the workspace does not have any more.
fn remove_others(tree: &Path, folder: &Path, files: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(tree, &path, files)?;
        } else if !files.contains(path.strip_prefix(tree)?) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
