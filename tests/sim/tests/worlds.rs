//! The worlds that every run of the tests plays. `scripts/sim` plays others.

use std::collections::BTreeMap;

use syncline_sim::{Script, play};

/// Worlds of one test.
const WORLDS: u64 = 30;

/// How often the worlds of one test must have met everything that can be met.
const MET_MIN: u32 = 3;

/// Plays the worlds from this seed on.
async fn all_end_well(first: u64) {
    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    let mut failed = Vec::new();
    for seed in first..first + WORLDS {
        let verdict = play(&Script::of(seed))
            .await
            .expect("a world can be played");
        for (what, times) in &verdict.met {
            *met.entry(what.clone()).or_default() += times;
        }
        for finding in verdict.findings {
            failed.push(format!(
                "{}: {}; play it again: scripts/sim --seed {seed}",
                finding.invariant, finding.what
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let expected = syncline_sim::everything_to_meet();
    let seldom: Vec<&String> = expected
        .iter()
        .filter(|what| met.get(*what).copied().unwrap_or_default() < MET_MIN)
        .collect();
    assert!(
        seldom.is_empty(),
        "the worlds met these less than {MET_MIN} times: {seldom:?}"
    );
}

#[tokio::test]
async fn first_worlds_end_well() {
    all_end_well(1).await;
}

#[tokio::test]
async fn second_worlds_end_well() {
    all_end_well(1 + WORLDS).await;
}

#[tokio::test]
async fn same_seed_ends_the_same_way() {
    for seed in [3, 12] {
        let script = Script::of(seed);
        let (once, twice) = (play(&script).await.unwrap(), play(&script).await.unwrap());
        let mut lines = once.story.iter().zip(&twice.story);
        assert_eq!(lines.find(|(one, other)| one != other), None);
        assert_eq!(once.hash(), twice.hash());
    }
}
