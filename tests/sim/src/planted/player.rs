//! A process that plays worlds with one bug, or with none: one that hangs or panics is ended and replaced.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::{Played, VARIABLE};

/// Longest time of one world, with a server that starts before it. The process itself ends one that waits for something;
/// this is for one that computes for ever.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// Most worlds of one process: each leaves a database on its server.
const WORLDS_MAX: usize = 60;

/// Plays worlds in a process of its own.
pub(super) struct Player<'a> {
    program: &'a Path,
    bug: Option<&'a str>,
    /// Gets what the process says beside its answers.
    log: PathBuf,
    running: Option<Running>,
}

impl<'a> Player<'a> {
    pub(super) fn new(program: &'a Path, bug: Option<&'a str>, log: PathBuf) -> Self {
        Self {
            program,
            bug,
            log,
            running: None,
        }
    }

    /// Plays the world of this seed. Fails if the process cannot be started.
    pub(super) fn play(&mut self, seed: u64) -> anyhow::Result<Played> {
        let mut running = match self.running.take() {
            Some(running) if running.worlds < WORLDS_MAX => running,
            Some(_) | None => self.start()?,
        };
        let played = running.play(seed);
        match played {
            Ok(played) => {
                self.running = Some(running);
                Ok(played)
            }
            Err(RecvTimeoutError::Timeout) => Ok(Played::failed(seed, "it does not end")),
            Err(RecvTimeoutError::Disconnected) => {
                Ok(Played::failed(seed, "the simulator panicked"))
            }
        }
    }

    fn start(&self) -> anyhow::Result<Running> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| self.log.display().to_string())?;
        let mut child = Command::new(self.program)
            .arg("--from-stdin")
            .env(VARIABLE, self.bug.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        let seeds = child.stdin.take().context("the input is a pipe")?;
        let answers = child.stdout.take().context("the output is a pipe")?;
        let (sender, answered) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(answers).lines().map_while(Result::ok);
            let answers = lines.filter_map(|line| serde_json::from_str(&line).ok());
            for played in answers {
                if sender.send(played).is_err() {
                    return;
                }
            }
        });
        Ok(Running {
            child,
            seeds,
            answered,
            worlds: 0,
        })
    }
}

/// The process.
struct Running {
    child: Child,
    seeds: ChildStdin,
    answered: Receiver<Played>,
    worlds: usize,
}

impl Running {
    fn play(&mut self, seed: u64) -> Result<Played, RecvTimeoutError> {
        self.worlds += 1;
        if writeln!(self.seeds, "{seed}").is_err() {
            return Err(RecvTimeoutError::Disconnected);
        }
        self.answered.recv_timeout(ANSWER_MAX)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
