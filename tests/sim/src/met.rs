//! What the worlds must meet, so that their good end says something.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::gate::Fate;
use crate::script::{
    Act, CALL_FAULTS, CAPTURES, CONFLICTS, DELETES, EVENT_FAULTS, FaultKind, JobName, ON_EDIT,
    OWNERS, Operation, OrgFault, RIGHTS_FAULTS, Side,
};
use crate::shapes::{OnDelete, REFUSALS};

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
        Act::Swap,
    ];
    let sides = [Side::Postgres, Side::Salesforce];
    let acts = sides
        .into_iter()
        .flat_map(|side| acts.map(|act| word(&(side, act))));
    let alone = [
        (Side::Salesforce, Act::Undelete),
        (Side::Postgres, Act::RollBack),
        (Side::Postgres, Act::Hold),
        (Side::Postgres, Act::LetGo),
        (Side::Postgres, Act::Truncate),
        (Side::Postgres, Act::Spoil),
        (Side::Salesforce, Act::Spoil),
        (Side::Salesforce, Act::Merge),
        (Side::Salesforce, Act::HardDelete),
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
    let faults = CALL_FAULTS
        .iter()
        .chain(&EVENT_FAULTS)
        .chain(&RIGHTS_FAULTS)
        .chain(&[OrgFault::MissingEvents]);
    let keys = [OnDelete::NoAction, OnDelete::SetNull, OnDelete::Cascade];
    let words = CONFLICTS
        .iter()
        .chain(&ON_EDIT)
        .chain(&DELETES)
        .chain(&CAPTURES);
    acts.chain(alone.iter().map(word))
        .chain(jobs.iter().map(word))
        .chain(faults.map(word))
        .chain([Fate::LoseCall, Fate::LoseAnswer].iter().map(word))
        .chain(
            [
                FaultKind::Kill,
                FaultKind::Abandon,
                FaultKind::LongPause,
                FaultKind::Cut,
            ]
            .iter()
            .map(word),
        )
        // Conflicts and withheld deletes are seldom open when an operator looks.
        .chain([Operation::Replay, Operation::Install].iter().map(word))
        .chain(OWNERS.iter().map(|owner| format!("owner {owner}")))
        .chain(REFUSALS.iter().map(|refusal| word(&Some(*refusal))))
        .chain(keys.iter().map(|key| word(&Some(*key))))
        .chain(words.map(word))
        .collect()
}
