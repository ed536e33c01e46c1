//! What the worlds must meet, so that their good end says something.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::gate::Fate;
use crate::script::{
    Act, CALL_FAULTS, CAPTURES, CONFLICTS, EVENT_FAULTS, FaultKind, JobName, ON_EDIT, Side,
};
use crate::shapes::OnDelete;

/// Returns the name by which something is counted.
pub(crate) fn word(what: &impl Debug) -> String {
    format!("{what:?}")
}

/// Returns the names of everything that enough worlds meet: policies, tables, acts of users, jobs that end, fates of
/// calls, faults.
pub fn everything_to_meet() -> BTreeSet<String> {
    let acts = [
        Act::Edit,
        Act::Clear,
        Act::Rename,
        Act::Link,
        Act::Unlink,
        Act::Create,
        Act::Delete,
        Act::EditAll,
    ];
    let sides = [Side::Postgres, Side::Salesforce];
    let acts = sides
        .into_iter()
        .flat_map(|side| acts.map(|act| word(&(side, act))));
    let alone = [
        (Side::Salesforce, Act::Undelete),
        (Side::Postgres, Act::RollBack),
        (Side::Postgres, Act::Hold),
    ];
    let jobs = [
        JobName::CapturePostgres,
        JobName::CaptureSalesforce,
        JobName::Apply(0),
        JobName::Apply(1),
        JobName::Sweep,
        JobName::CompareRecent,
        JobName::Compare,
        JobName::Release,
    ];
    let faults = CALL_FAULTS.iter().chain(&EVENT_FAULTS);
    let keys = [OnDelete::NoAction, OnDelete::SetNull, OnDelete::Cascade];
    let words = CONFLICTS.iter().chain(&ON_EDIT).chain(&CAPTURES);
    acts.chain(alone.iter().map(word))
        .chain(jobs.iter().map(word))
        .chain(faults.map(word))
        .chain([Fate::LoseCall, Fate::LoseAnswer].iter().map(word))
        .chain(
            [FaultKind::Kill, FaultKind::Abandon, FaultKind::LongPause]
                .iter()
                .map(word),
        )
        .chain(keys.iter().map(|key| word(&Some(*key))))
        .chain(words.map(word))
        .collect()
}
