//! The demo's progress: bars on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a plain line reports the progress of a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Reports progress on standard error.
pub(crate) struct Progress {
    started: Instant,
    bars: Option<MultiProgress>,
}

/// One measure of progress.
pub(crate) struct Bar<'a> {
    progress: &'a Progress,
    name: &'static str,
    goal: u64,
    shown: Option<ProgressBar>,
    said: Mutex<(Instant, u64)>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            bars: stderr().is_terminal().then(MultiProgress::new),
        }
    }

    /// Reports the current step.
    pub(crate) fn say(&self, what: &str) {
        let line = format!("{:6.1} s  {what}", self.started.elapsed().as_secs_f64());
        let shown = match &self.bars {
            Some(bars) => bars.println(&line).is_ok(),
            None => false,
        };
        if !shown {
            eprintln!("{line}");
        }
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Starts a bar that ends at `goal`.
    pub(crate) fn bar(&self, name: &'static str, goal: u64) -> Bar<'_> {
        let shown = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template(
                "          {prefix:24} {bar:32} {human_pos} of {human_len}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(ProgressBar::new(goal).with_style(style).with_prefix(name))
        });
        Bar {
            progress: self,
            name,
            goal,
            shown,
            said: Mutex::new((Instant::now(), u64::MAX)),
        }
    }
}

impl Bar<'_> {
    /// Updates the bar.
    pub(crate) fn set(&self, position: u64) {
        match &self.shown {
            Some(bar) => bar.set_position(position),
            None => self.say_now_and_then(position),
        }
    }

    fn say_now_and_then(&self, position: u64) {
        let Ok(mut said) = self.said.lock() else {
            return;
        };
        let (when, last) = *said;
        if last != u64::MAX && (when.elapsed() < LINE_EVERY || last == position) {
            return;
        }
        *said = (Instant::now(), position);
        self.progress
            .say(&format!("{}: {position} of {}", self.name, self.goal));
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
