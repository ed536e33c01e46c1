//! Prints the results, one line per measurement as soon as it is known.

use std::time::{Duration, Instant};

use crate::target::Target;

/// Prints the measurements of one org.
pub(crate) struct Table<'a> {
    org: &'a Target,
}

/// A running measurement.
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

    /// Prints the column titles.
    pub(crate) fn head(&self) {
        line([
            "",
            "goal",
            "measured",
            "CPU time per item",
            "per second of CPU",
        ]);
    }

    /// Starts a measurement.
    pub(crate) fn row(&self, title: &str, goal: Option<f64>) -> Row<'a> {
        Row {
            org: self.org,
            title: title.to_owned(),
            goal,
            start: Instant::now(),
            cpu_s: self.org.cpu_s(),
        }
    }

    /// Prints the longest wait of another caller with small requests.
    pub(crate) fn wait(&self, longest: Duration) {
        let longest = format!("{} ms", figure(longest.as_secs_f64() * 1e3));
        line(["    longest answer to others", "", &longest, "", ""]);
    }

    /// Prints the org's current and maximum memory.
    pub(crate) fn memory(&self, title: &str, goal_mib: Option<f64>) {
        let goal = goal_mib.map(|mib| format!("<= {} MiB", figure(mib)));
        let now = format!("{} MiB", figure(self.org.memory_mib("VmRSS:")));
        let peak = format!("peak {} MiB", figure(self.org.memory_mib("VmHWM:")));
        line([title, &goal.unwrap_or_default(), &now, &peak, ""]);
    }
}

impl Row<'_> {
    /// Prints the items per second and the cost of one item.
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

/// Formats a whole number with thousands separators.
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
