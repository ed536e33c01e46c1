//! Measures the org's clock by the `Date` of its answers.
//!
//! Edits of the two sides are compared by their times, so it must be known how far their clocks are apart. An answer
//! shows the org's time in whole seconds, at some moment between the request and the answer. One of them may be
//! wrong, from a proxy or because this process stood still meanwhile: the median of the last ones counts.

use std::collections::VecDeque;
use std::sync::Mutex;

use chrono::DateTime;

use crate::ports::salesforce::OrgClock;

/// Answers that are kept: enough for a median that a few wrong ones do not move.
const SAMPLES_MAX: usize = 15;

/// Answers needed before anything is said: of fewer, one wrong answer would decide.
const SAMPLES_MIN: usize = 3;

/// How long an answer counts: clocks drift by far less than a second in that time, and one that is corrected is
/// noticed soon.
const SAMPLE_AGE_MS_MAX: i64 = 600_000;

/// Longest round trip of an answer that counts: it also excludes requests during which this process stood still.
const ROUND_TRIP_MS_MAX: i64 = 10_000;

/// What one answer showed.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// When it arrived, by this process's clock.
    taken_ms: i64,
    /// How far the org's clock is ahead of this process's.
    lead_ms: i64,
    /// By how much that may be wrong, in both directions.
    uncertainty_ms: i64,
}

/// The last answers of an org.
#[derive(Debug, Default)]
pub(super) struct ClockMeter {
    samples: Mutex<VecDeque<Sample>>,
}

impl ClockMeter {
    /// Takes the `Date` of an answer to a request, by the times at which the one was sent and the other arrived.
    pub(super) fn note(&self, sent_ms: i64, received_ms: i64, date: &str) {
        let round_trip_ms = received_ms.saturating_sub(sent_ms);
        let Ok(date) = DateTime::parse_from_rfc2822(date) else {
            return;
        };
        if !(0..=ROUND_TRIP_MS_MAX).contains(&round_trip_ms) {
            return;
        }
        // The org's clock was within the second that begins at this date, at any moment of the round trip.
        let sample = Sample {
            taken_ms: received_ms,
            lead_ms: date.timestamp_millis() + 500 - (sent_ms + round_trip_ms / 2),
            uncertainty_ms: 500 + (round_trip_ms + 1) / 2,
        };
        let mut samples = self.samples.lock().expect("no holder of this lock panics");
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Returns the org's time now, once enough answers have shown it.
    pub(super) fn read(&self, now_ms: i64) -> Option<OrgClock> {
        let mut samples: Vec<Sample> = {
            let samples = self.samples.lock().expect("no holder of this lock panics");
            let recent = samples.iter().filter(|sample| {
                (0..=SAMPLE_AGE_MS_MAX).contains(&now_ms.saturating_sub(sample.taken_ms))
            });
            recent.copied().collect()
        };
        if samples.len() < SAMPLES_MIN {
            return None;
        }
        samples.sort_by_key(|sample| sample.lead_ms);
        let median = samples[samples.len() / 2];
        Some(OrgClock {
            now_ms: now_ms.saturating_add(median.lead_ms),
            uncertainty_ms: median.uncertainty_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: i64 = 1_780_315_200_000;
    const NOON: &str = "Mon, 01 Jun 2026 12:00:00 GMT";

    #[test]
    fn three_answers_show_the_time() {
        let meter = ClockMeter::default();
        for place in 0..3 {
            assert_eq!(meter.read(NOON_MS), None);
            meter.note(NOON_MS - 30_200 + place, NOON_MS - 30_000 + place, NOON);
        }
        let clock = meter.read(NOON_MS).unwrap();
        assert_eq!(clock.uncertainty_ms, 600);
        assert_eq!(clock.now_ms, NOON_MS + 30_599);
    }

    #[test]
    fn wrong_answer_does_not_count() {
        let meter = ClockMeter::default();
        for date in [
            NOON,
            "Mon, 01 Jun 2020 12:00:00 GMT",
            NOON,
            "yesterday",
            NOON,
        ] {
            meter.note(NOON_MS, NOON_MS + 100, date);
        }
        // The answer to a request during which the process stood still, or its clock was set back.
        meter.note(NOON_MS - 60_000, NOON_MS + 100, NOON);
        meter.note(NOON_MS + 60_000, NOON_MS + 100, NOON);
        assert_eq!(meter.read(NOON_MS + 100).unwrap().now_ms, NOON_MS + 550);
    }

    #[test]
    fn old_answers_are_forgotten() {
        let meter = ClockMeter::default();
        for _ in 0..20 {
            meter.note(NOON_MS, NOON_MS, NOON);
        }
        assert!(meter.read(NOON_MS + SAMPLE_AGE_MS_MAX).is_some());
        assert_eq!(meter.read(NOON_MS + SAMPLE_AGE_MS_MAX + 1), None);
    }

    #[test]
    fn corrected_clock_is_noticed_after_some_answers() {
        let meter = ClockMeter::default();
        for _ in 0..20 {
            meter.note(NOON_MS, NOON_MS, NOON);
        }
        for _ in 0..8 {
            meter.note(NOON_MS, NOON_MS, "Mon, 01 Jun 2026 12:00:30 GMT");
        }
        assert_eq!(meter.read(NOON_MS).unwrap().now_ms, NOON_MS + 30_500);
    }
}
