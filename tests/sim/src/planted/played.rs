//! How worlds ended, with a planted bug and without one, and the file that keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::take_reached;
use crate::{Script, Verdict, play};

/// Longest time of one world. None takes nearly as long, so one that reaches it does not end.
const WORLD_MAX: Duration = Duration::from_secs(180);

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Played {
    /// Its seed.
    pub seed: u64,
    /// What it showed.
    pub ending: Ending,
    /// The bugs whose rules it reached.
    pub reached: BTreeSet<String>,
}

/// What a world showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Nothing that must not be.
    Well,
    /// An invariant broke.
    Broke {
        /// The invariant, as `I1`.
        invariant: String,
        /// What was found.
        what: String,
    },
    /// It could not be played to its end.
    Failed(String),
}

/// Plays a world. Fails if the world itself does not work, or does not end.
pub async fn play_in_time(script: &Script) -> anyhow::Result<Verdict> {
    let verdict = timeout(WORLD_MAX, play(script)).await;
    verdict.context("it does not end")?
}

impl Played {
    /// Plays the world of this seed.
    pub async fn of(seed: u64) -> Self {
        let verdict = play_in_time(&Script::of(seed)).await;
        let ending = match verdict {
            Ok(verdict) => match verdict.findings.into_iter().next() {
                Some(first) => Ending::Broke {
                    invariant: first.invariant.to_owned(),
                    what: first.what,
                },
                None => Ending::Well,
            },
            Err(error) => Ending::Failed(format!("{error:#}")),
        };
        Self {
            seed,
            ending,
            reached: take_reached().into_iter().map(str::to_owned).collect(),
        }
    }

    /// Returns how the world of this seed ended that was not played to its end.
    pub(super) fn failed(seed: u64, reason: &str) -> Self {
        Self {
            seed,
            ending: Ending::Failed(reason.to_owned()),
            reached: BTreeSet::new(),
        }
    }
}

/// A world that was played, with this bug or with none.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    bug: Option<String>,
    played: Played,
}

/// Every world that was played by one program, in a file: what is played takes hours, and may be interrupted.
pub(super) struct Record {
    file: File,
    worlds: BTreeMap<(Option<String>, u64), Played>,
}

impl Record {
    /// Opens the file. What another program has played is forgotten: with another text, a seed is another world.
    pub(super) fn open(path: &Path, program: &Path) -> anyhow::Result<Self> {
        let content = fs::read(program).with_context(|| program.display().to_string())?;
        let program = blake3::hash(&content).to_hex().to_string();
        let mut worlds = BTreeMap::new();
        let mut is_known = false;
        if let Ok(file) = File::open(path) {
            let mut lines = BufReader::new(file).lines();
            is_known = lines.next().transpose()? == Some(program.clone());
            // The last line may be cut off.
            let lines = lines.map_while(Result::ok).filter(|_| is_known);
            let lines = lines.filter_map(|line| serde_json::from_str::<Line>(&line).ok());
            worlds.extend(lines.map(|Line { bug, played }| ((bug, played.seed), played)));
        }
        if !is_known {
            fs::write(path, format!("{program}\n"))?;
        }
        let mut file = File::options().append(true).open(path)?;
        // Ends a line that was cut off.
        file.write_all(b"\n")?;
        Ok(Self { file, worlds })
    }

    pub(super) fn add(&mut self, bug: Option<&str>, played: Played) -> anyhow::Result<()> {
        let bug = bug.map(str::to_owned);
        let line = Line {
            bug: bug.clone(),
            played: played.clone(),
        };
        let line = serde_json::to_string(&line)? + "\n";
        self.file.write_all(line.as_bytes())?;
        self.worlds.insert((bug, played.seed), played);
        Ok(())
    }

    pub(super) fn get(&self, bug: Option<&str>, seed: u64) -> Option<&Played> {
        self.worlds.get(&(bug.map(str::to_owned), seed))
    }
}
