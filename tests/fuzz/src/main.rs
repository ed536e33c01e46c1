//! Searches on the ordinary compiler: mutations of the committed inputs, and mutations of those, for some minutes.
//!
//! `fuzz [--minutes N] [--target NAME] [--from NUMBER]`. An input that breaks a property is kept in `target/fuzz/found`.
//! The same number gives the same input, also when the process itself ends with it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use syncline_fuzz::{Mutator, TARGETS, Target, mutated};

/// How often a mutation of an input is mutated again.
const STEPS: u64 = 8;

struct Options {
    minutes: u64,
    target: Option<String>,
    from: u64,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let wanted = |target: &&Target| {
        options
            .target
            .as_deref()
            .is_none_or(|name| name == target.name)
    };
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    if targets.is_empty() {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!(
            "error: there is no such target; known: {}",
            known.join(", ")
        );
        return ExitCode::FAILURE;
    }
    let share =
        Duration::from_secs(60 * options.minutes) / u32::try_from(targets.len()).unwrap_or(1);
    let mut code = ExitCode::SUCCESS;
    for target in targets {
        if let Some(found) = search(target, share, options.from) {
            eprintln!("FAILED  {}: {}", target.name, found.display());
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        minutes: 10,
        target: None,
        from: 0,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} needs a number"));
        match word.as_str() {
            "--minutes" => options.minutes = number()?,
            "--from" => options.from = number()?,
            "--target" => options.target = Some(value),
            _ => return Err(format!("{word} is unknown")),
        }
    }
    Ok(options)
}

/// Checks inputs of one target for a time. Returns where the first is that breaks a property.
fn search(target: &Target, time: Duration, from: u64) -> Option<PathBuf> {
    let corpus = target.corpus();
    let end = Instant::now() + time;
    let mut number = from;
    eprintln!("        {}: from mutation {from}", target.name);
    while Instant::now() < end {
        let (_, mut bytes) = mutated(&corpus, number);
        for step in 0..STEPS {
            if std::panic::catch_unwind(|| target.check(&bytes)).is_err() {
                return Some(keep(target, &bytes));
            }
            bytes =
                Mutator::new(number.wrapping_mul(STEPS).wrapping_add(step)).mutate(&bytes, &corpus);
        }
        number += 1;
    }
    eprintln!(
        "ok      {}: {} inputs",
        target.name,
        (number - from) * STEPS
    );
    None
}

fn keep(target: &Target, bytes: &[u8]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz/found");
    let path = root.join(format!("{}-{}", target.name, bytes.len()));
    let kept = std::fs::create_dir_all(&root).and_then(|()| std::fs::write(&path, bytes));
    if let Err(error) = kept {
        eprintln!("{} cannot be written: {error}", path.display());
    }
    path
}
