//! Searches for the first world that shows a planted bug.
//!
//! A world that never reaches a rule cannot show that it is removed. So every world is played once without a bug, and
//! with a bug only those that have reached its rule: the first that breaks is the same as if all had been played.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::played::{Ending, Played, Record};
use super::player::Player;
use super::{Bug, Kind};

/// After how many worlds the progress is told.
const TOLD_EACH: usize = 20;

/// Most worlds of each bug in one round: a bug that is not shown soon does not keep the others waiting.
const ROUNDS: [usize; 3] = [10, 50, usize::MAX];

/// What is to be searched.
#[derive(Debug)]
pub struct Search {
    /// The simulator with the planted bugs.
    pub program: PathBuf,
    /// The folder that keeps what was played, and the logs.
    pub folder: PathBuf,
    /// The seeds of the worlds.
    pub worlds: Range<u64>,
    /// The bugs.
    pub bugs: Vec<&'static Bug>,
    /// Plays nothing: the results are those of what was played before.
    pub is_over: bool,
}

/// What was found of one bug.
#[derive(Debug)]
pub struct Found {
    /// The bug.
    pub bug: &'static Bug,
    /// How many worlds reach its rule.
    pub reached: usize,
    /// The first world that showed it.
    pub shown: Option<Played>,
    /// The first world that reaches the rule and was not played, although none before it showed it.
    pub open: Option<u64>,
}

/// What was found.
#[derive(Debug)]
pub struct Results {
    /// Each bug.
    pub bugs: Vec<Found>,
    /// Worlds that break without a bug.
    pub unwell: Vec<Played>,
}

impl Search {
    /// Plays the worlds. Fails if what was played cannot be kept, or no world can be played.
    pub fn run(&self) -> anyhow::Result<Results> {
        std::fs::create_dir_all(self.folder.join("logs"))?;
        let record = Record::open(&self.folder.join("played.jsonl"), &self.program)?;
        let record = Mutex::new(record);
        if !self.is_over {
            self.play_without_bugs(&record)?;
            for worlds_max in ROUNDS {
                self.play_bugs(&record, worlds_max)?;
            }
        }
        let record = lock(&record);
        let bugs = self.bugs.iter().map(|bug| self.result(bug, &record));
        let worlds = self.worlds.clone();
        let worlds = worlds.filter_map(|seed| record.get(None, seed));
        Ok(Results {
            bugs: bugs.collect(),
            unwell: worlds
                .filter(|played| played.ending != Ending::Well)
                .cloned()
                .collect(),
        })
    }

    fn play_without_bugs(&self, record: &Mutex<Record>) -> anyhow::Result<()> {
        let worlds = self.worlds.clone();
        let left: Vec<u64> = worlds
            .filter(|seed| lock(record).get(None, *seed).is_none())
            .collect();
        let (count, began) = (left.len(), Instant::now());
        let left = Mutex::new(left.into_iter().enumerate());
        in_threads(|thread| {
            let mut player = self.player(None, &format!("none-{thread}"));
            while let Some((place, seed)) = take_next(&left) {
                let played = player.play(seed)?;
                if played.ending != Ending::Well {
                    eprintln!("world {seed} without a bug: {:?}", played.ending);
                }
                lock(record).add(None, played)?;
                if (place + 1).is_multiple_of(TOLD_EACH) {
                    let minutes = began.elapsed().as_secs_f64() / 60.0;
                    let done = u32::try_from(place + 1)?;
                    let rate = f64::from(done) / minutes;
                    eprintln!("without a bug: {done} of {count} worlds, {rate:.0} a minute");
                }
            }
            Ok(())
        })
    }

    /// Plays at most so many of the worlds that reach the rule of each bug.
    fn play_bugs(&self, record: &Mutex<Record>, worlds_max: usize) -> anyhow::Result<()> {
        let count = self.bugs.len();
        let left = Mutex::new(self.bugs.iter().enumerate());
        in_threads(|_| {
            while let Some((place, bug)) = take_next(&left) {
                let told = match self.play_bug(bug, record, worlds_max) {
                    Ok(()) => self.result(bug, &lock(record)).to_string(),
                    // The others go on.
                    Err(error) => format!("cannot be played: {error:#}"),
                };
                eprintln!("{} of {count}, {}: {told}", place + 1, bug.name);
            }
            Ok(())
        })
    }

    /// Plays the worlds that reach the rule of a bug until one shows it.
    fn play_bug(&self, bug: &Bug, record: &Mutex<Record>, worlds_max: usize) -> anyhow::Result<()> {
        let name = Some(bug.name.as_str());
        let mut worlds = self.worlds_of(bug, &lock(record));
        worlds.truncate(worlds_max);
        let mut player = self.player(name, &bug.name);
        for (place, seed) in worlds.iter().enumerate() {
            let known = lock(record).get(name, *seed).cloned();
            let played = match known {
                Some(known) => known,
                None => {
                    let mut played = player.play(*seed)?;
                    // It may be that the machine was too busy.
                    if matches!(played.ending, Ending::Failed(_)) {
                        played = player.play(*seed)?;
                    }
                    lock(record).add(name, played.clone())?;
                    played
                }
            };
            if played.ending != Ending::Well {
                return Ok(());
            }
            if (place + 1).is_multiple_of(TOLD_EACH) {
                eprintln!("{}: {} of {} worlds", bug.name, place + 1, worlds.len());
            }
        }
        Ok(())
    }

    /// Returns the worlds that end well without the bug, and reach its rule.
    fn worlds_of(&self, bug: &Bug, record: &Record) -> Vec<u64> {
        // What a function of the database comes to is not seen.
        let is_unseen = bug.places().any(|place| place.kind == Kind::Function);
        let can_show = |seed: &u64| {
            record.get(None, *seed).is_some_and(|played| {
                played.ending == Ending::Well && (is_unseen || played.reached.contains(&bug.name))
            })
        };
        self.worlds.clone().filter(can_show).collect()
    }

    fn result(&self, bug: &'static Bug, record: &Record) -> Found {
        let worlds = self.worlds_of(bug, record);
        let name = Some(bug.name.as_str());
        let played = |seed: &u64| record.get(name, *seed);
        let is_last = |seed: &&u64| played(seed).is_none_or(|played| played.ending != Ending::Well);
        // Either it showed the bug, or it was not played.
        let last = worlds.iter().find(is_last);
        let shown = last.and_then(played).cloned();
        let open = last.copied().filter(|_| shown.is_none());
        Found {
            bug,
            reached: worlds.len(),
            shown,
            open,
        }
    }

    fn player<'a>(&'a self, bug: Option<&'a str>, log: &str) -> Player<'a> {
        let log = self.folder.join("logs").join(format!("{log}.log"));
        Player::new(&self.program, bug, log)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, line: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Some(played) => write!(line, "world {} shows it, {:?}", played.seed, played.ending),
            None if self.open.is_some() => write!(line, "not yet"),
            None => write!(line, "none of {} worlds shows it", self.reached),
        }
    }
}

/// Does the same in one thread per core.
fn in_threads(work: impl Fn(usize) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| anyhow::bail!("a thread panicked"))
        })
    })
}

fn take_next<T>(left: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(left).next()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
