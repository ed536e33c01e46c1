//! The worlds that every run of the tests plays. `scripts/sim` plays others.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use syncline_sim::{Script, Verdict, play};

/// The seeds.
const SEEDS: std::ops::Range<u64> = 1..81;

/// How often the worlds must have met everything that can be met.
const MET_MIN: u32 = 3;

/// What is known of the worlds that were played.
#[derive(Default)]
struct Known {
    met: BTreeMap<String, u32>,
    failed: Vec<String>,
}

impl Known {
    fn add(&mut self, seed: u64, verdict: Verdict) {
        for (what, times) in verdict.met {
            *self.met.entry(what).or_default() += times;
        }
        for finding in verdict.findings {
            self.failed.push(format!(
                "{}: {}; play it again: scripts/sim --seed {seed}",
                finding.invariant, finding.what
            ));
        }
    }
}

/// Plays worlds until none is left, on a thread of its own: a world is not sent between threads.
fn play_next(next: &AtomicU64, known: &Mutex<Known>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    loop {
        let seed = next.fetch_add(1, Ordering::SeqCst);
        if !SEEDS.contains(&seed) {
            return;
        }
        let verdict = runtime.block_on(play(&Script::of(seed)));
        let verdict = verdict.expect("a world can be played");
        let mut known = known.lock().expect("no other thread has panicked");
        known.add(seed, verdict);
    }
}

#[test]
fn worlds_end_well_and_meet_everything() {
    let (next, known) = (AtomicU64::new(SEEDS.start), Mutex::default());
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| play_next(&next, &known));
        }
    });
    let known = known.into_inner().unwrap();
    assert!(known.failed.is_empty(), "{}", known.failed.join("\n"));
    let expected = syncline_sim::everything_to_meet();
    let times = |what: &String| known.met.get(what).copied().unwrap_or_default();
    let seldom: Vec<(&String, u32)> = expected
        .iter()
        .map(|what| (what, times(what)))
        .filter(|(_, times)| *times < MET_MIN)
        .collect();
    assert!(
        seldom.is_empty(),
        "the worlds met these less than {MET_MIN} times: {seldom:?}"
    );
}

/// Seeds of worlds that once ended in two ways: an event stream that other steps fill while its reader stands still, and
/// connections that the server ends.
const UNSTEADY: [u64; 2] = [18, 51];

/// A world that is played beside those.
const NEIGHBOUR: u64 = 12;

fn play_alone(seed: u64) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let verdict = runtime.block_on(play(&Script::of(seed)));
    verdict.expect("a world can be played")
}

#[test]
fn same_seed_ends_the_same_way_whatever_the_machine_does_meanwhile() {
    let once = UNSTEADY.map(play_alone);
    let has_ended = AtomicBool::new(false);
    let is_loaded = || {
        while !has_ended.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    // In the other order, beside another world on the same server, and on a machine without a free processor.
    let again = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..threads {
            scope.spawn(is_loaded);
        }
        let neighbour = scope.spawn(|| play_alone(NEIGHBOUR));
        let mut played = UNSTEADY;
        played.reverse();
        let mut again = played.map(play_alone);
        again.reverse();
        let neighbour = neighbour.join();
        has_ended.store(true, Ordering::Relaxed);
        neighbour.expect("no thread panics");
        again
    });
    for (once, again) in once.iter().zip(&again) {
        assert_eq!(once.differs_at(again), None);
        assert_eq!(once.hash(), again.hash());
    }
}
