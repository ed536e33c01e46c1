//! What the worlds must meet, so that their good end says something.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::gate::Fate;
use crate::script::{
    Act, CALL_FAULTS, CAPTURES, CONFLICTS, DELETES, EVENT_FAULTS, FaultKind, JobName, ON_EDIT,
    OPERATIONS, OWNERS, Operation, OrgFault, RIGHTS_FAULTS, ROUTE_FAULTS, Side,
};
use crate::shapes::{OnDelete, REFUSALS, SECONDS};

/// Returns the name by which something is counted.
pub(crate) fn word(what: &impl Debug) -> String {
    format!("{what:?}")
}

/// What users of both sides do.
const ACTS: [Act; 9] = [
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

/// What users of one side do.
const ALONE: [(Side, Act); 12] = [
    (Side::Salesforce, Act::Undelete),
    (Side::Postgres, Act::RollBack),
    (Side::Postgres, Act::Hold),
    (Side::Postgres, Act::LetGo),
    (Side::Postgres, Act::Truncate),
    (Side::Postgres, Act::Spoil),
    (Side::Salesforce, Act::Spoil),
    (Side::Salesforce, Act::Merge),
    (Side::Salesforce, Act::SwapValues),
    (Side::Salesforce, Act::CreateChild),
    (Side::Salesforce, Act::RenameLong),
    (Side::Salesforce, Act::HardDelete),
];

/// Every job.
const JOBS: [JobName; 8] = [
    JobName::CapturePostgres,
    JobName::CaptureSalesforce,
    JobName::Apply(0),
    JobName::Apply(1),
    JobName::Sweep,
    JobName::CompareRecent,
    JobName::Compare,
    JobName::Release,
];

/// Returns the names of everything that enough worlds meet: policies, tables, acts of users, jobs that end, fates of
/// calls, faults.
pub fn everything_to_meet() -> BTreeSet<String> {
    let sides = [Side::Postgres, Side::Salesforce];
    let acts = sides
        .into_iter()
        .flat_map(|side| ACTS.map(|act| word(&(side, act))));
    let faults = CALL_FAULTS
        .iter()
        .chain(&EVENT_FAULTS)
        .chain(&RIGHTS_FAULTS)
        .chain(&ROUTE_FAULTS)
        .chain(&[OrgFault::MissingEvents]);
    // Withheld deletes are seldom there when an operator looks.
    let operations = OPERATIONS
        .iter()
        .filter(|done| **done != Operation::Approve);
    let operations = operations.map(word);
    let keys = [OnDelete::NoAction, OnDelete::SetNull, OnDelete::Cascade];
    let words = CONFLICTS
        .iter()
        .chain(&ON_EDIT)
        .chain(&DELETES)
        .chain(&CAPTURES);
    acts.chain(ALONE.iter().map(word))
        .chain(JOBS.iter().map(word))
        .chain(faults.map(word))
        .chain([Fate::LoseCall, Fate::LoseAnswer].iter().map(word))
        .chain(
            [
                FaultKind::Kill,
                FaultKind::Abandon,
                FaultKind::LongPause,
                FaultKind::Cut,
                FaultKind::Misconfigured,
            ]
            .iter()
            .map(word),
        )
        .chain(operations)
        .chain(
            [
                Operation::InstallForOther,
                Operation::ExchangeTable,
                Operation::Demote,
                Operation::Promote,
            ]
            .iter()
            .map(word),
        )
        .chain(SECONDS.iter().map(word))
        .chain(["a mistake: true".to_owned()])
        .chain(sides.iter().map(|side| format!("lacks {:?}", Some(*side))))
        .chain(OWNERS.iter().map(|owner| format!("owner {owner}")))
        .chain(REFUSALS.iter().map(|refusal| word(&Some(*refusal))))
        .chain(keys.iter().map(|key| word(&Some(*key))))
        .chain(words.map(word))
        .collect()
}
