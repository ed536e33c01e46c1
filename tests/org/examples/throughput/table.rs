//! What is printed: one line for each figure, as soon as it is known.

use std::time::{Duration, Instant};

use crate::target::Target;

/// Prints figures of one org.
pub(crate) struct Table<'a> {
    org: &'a Target,
}

/// A figure that is being measured.
pub(crate) struct Row<'a> {
    org: &'a Target,
    title: String,
    goal: Option<f64>,
    start: Instant,
    cpu_s: f64,
}

impl<'a> Table<'a> {
    /// Returns the table of an org.
    pub(crate) fn new(org: &'a Target) -> Self {
        Self { org }
    }

    /// Prints what stands in which column.
    pub(crate) fn head(&self) {
        line([
            "",
            "goal",
            "measured",
            "CPU of the org for one",
            "so much in a second of CPU",
        ]);
    }

    /// Starts to measure.
    pub(crate) fn row(&self, title: &str, goal: Option<f64>) -> Row<'a> {
        Row {
            org: self.org,
            title: title.to_owned(),
            goal,
            start: Instant::now(),
            cpu_s: self.org.cpu_s(),
        }
    }

    /// Prints how long another caller waited at most for a small answer.
    pub(crate) fn wait(&self, longest: Duration) {
        let longest = format!("{} ms", figure(longest.as_secs_f64() * 1e3));
        line(["    longest answer to others", "", &longest, "", ""]);
    }

    /// Prints what the org takes in memory now, and at most took so far.
    pub(crate) fn memory(&self, title: &str, goal_mib: Option<f64>) {
        let goal = goal_mib.map(|mib| format!("<= {} MiB", figure(mib)));
        let now = format!("{} MiB", figure(self.org.memory_mib("VmRSS:")));
        let peak = format!("peak {} MiB", figure(self.org.memory_mib("VmHWM:")));
        line([title, &goal.unwrap_or_default(), &now, &peak, ""]);
    }
}

impl Row<'_> {
    /// Prints what was done in a second, and what one of so many items cost.
    pub(crate) fn done(self, items: usize) {
        let items = items as f64;
        let rate = items / self.start.elapsed().as_secs_f64();
        let cpu_s = self.org.cpu_s() - self.cpu_s;
        let alone = if cpu_s > 0.0 { items / cpu_s } else { 0.0 };
        line([
            &self.title,
            &self
                .goal
                .map(|goal| format!(">= {}/s", figure(goal)))
                .unwrap_or_default(),
            &format!("{}/s", figure(rate)),
            &format!("{:.1} µs", cpu_s * 1e6 / items),
            &figure(alone),
        ]);
    }
}

fn line([title, goal, measured, cost, alone]: [&str; 5]) {
    println!("{title:<44}{goal:>14}{measured:>14}{cost:>24}{alone:>28}");
}

/// Returns a whole number with its thousands apart.
fn figure(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
