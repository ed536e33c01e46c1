//! Makes a failing script short: removes steps as long as the same invariant breaks.

use crate::run::play;
use crate::script::Script;

/// Most worlds that are played for it.
const PLAYS_MAX: usize = 150;

/// Returns the places of steps that are enough to break the invariant.
pub async fn shrink(script: &Script, invariant: &str) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..script.steps.len()).collect();
    let mut plays = 0;
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < kept.len() && plays < PLAYS_MAX {
            let to = (from + size).min(kept.len());
            let mut fewer = kept.clone();
            fewer.drain(from..to);
            plays += 1;
            let verdict = play(&script.keep(&fewer)).await;
            let breaks = verdict.is_ok_and(|verdict| {
                verdict
                    .findings
                    .iter()
                    .any(|found| found.invariant == invariant)
            });
            if breaks {
                kept = fewer;
            } else {
                from = to;
            }
        }
        size = if size == 1 || plays == PLAYS_MAX {
            0
        } else {
            size.div_ceil(2)
        };
    }
    kept
}
