//! Draws the world of a seed, and its steps.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::{
    Act, CALL_FAULTS, CAPTURES, CONFLICTS, EVENT_FAULTS, FAULT_KINDS, FEW_DELETES, FOCUSES,
    FaultKind, Focus, JobName, LONG_PAUSE_MS, MANY_DELETES, MISTAKES, ON_EDIT, OPERATIONS,
    Operation, OrgFault, RIGHTS_FAULTS, ROUTE_FAULTS, SERVER, SETUP, Side, Step, TO_THE_END, World,
};
use crate::gate::Fate;
use crate::shapes::{Names, OnDelete, REFUSALS, Refusal, Schema, Second};

/// Records of each object that each side creates where most are deleted: so many that not all of them may go unasked.
const DELETED_RECORDS: usize = 5;

/// How often a world does what others cannot.
const OWN_STEPS: f64 = 0.06;

/// Returns the world of a seed.
pub(super) fn world(rng: &mut StdRng) -> World {
    let mut one_of = |words: &[&'static str]| words.choose(rng).copied().unwrap_or_default();
    let conflicts = one_of(&CONFLICTS);
    let on_edit = one_of(&ON_EDIT);
    let capture = one_of(&CAPTURES);
    // Most worlds propagate deletes and have no owner.
    let deletes = one_of(&["propagate", "propagate", "propagate", "soft", "ignore"]);
    let owner = one_of(&["shared", "shared", "salesforce", "postgres"]);
    let schema = schema(rng);
    let is_crowded = rng.random_bool(0.3);
    let skew_ms = if rng.random_bool(0.5) {
        0
    } else {
        rng.random_range(-90_000..90_000)
    };
    let focus = FOCUSES[rng.random_range(0..FOCUSES.len())];
    // One world in eight is calm.
    let chance = if rng.random_bool(0.125) { 0.0 } else { 0.5 };
    let mut faults: Vec<FaultKind> = FAULT_KINDS
        .into_iter()
        .filter(|_| rng.random_bool(chance))
        .collect();
    faults.extend(faults_of(focus));
    World {
        conflicts,
        on_edit,
        deletes,
        owner,
        capture,
        skew_ms,
        schema,
        swaps: [Side::Postgres, Side::Salesforce][rng.random_range(0..2)],
        focus,
        replays: rng.random_bool(0.5),
        deletes_max: if focus == Focus::Deletes || rng.random_bool(0.1) {
            MANY_DELETES
        } else {
            FEW_DELETES
        },
        filters: rng.random_bool(0.3),
        is_crowded,
        lacks: rng
            .random_bool(0.15)
            .then(|| [Side::Postgres, Side::Salesforce][rng.random_range(0..2)]),
        mistake: rng
            .random_bool(0.05)
            .then(|| MISTAKES[rng.random_range(0..MISTAKES.len())]),
        decides: rng.random_bool(0.5),
        processes: rng.random_range(if focus == Focus::Crashes {
            2..=3
        } else {
            1..=3
        }),
        records: match focus {
            Focus::Deletes => DELETED_RECORDS,
            Focus::Conflicts => 1,
            _ if is_crowded => 1,
            _ => rng.random_range(1..=4),
        },
        faults,
    }
}

/// Returns what goes wrong in every world of a focus.
fn faults_of(focus: Focus) -> &'static [FaultKind] {
    match focus {
        Focus::Events => &[FaultKind::Events],
        Focus::Crashes => &[FaultKind::Kill, FaultKind::Abandon, FaultKind::LongPause],
        Focus::Outages => &[FaultKind::Org, FaultKind::Route],
        Focus::Everything | Focus::Conflicts | Focus::Deletes | Focus::Links => &[],
    }
}

fn schema(rng: &mut StdRng) -> Schema {
    let refusal = rng
        .random_bool(0.5)
        .then(|| REFUSALS[rng.random_range(0..REFUSALS.len())]);
    Schema {
        key: [
            None,
            Some(OnDelete::NoAction),
            Some(OnDelete::SetNull),
            Some(OnDelete::Cascade),
        ][rng.random_range(0..4)]
        // A foreign key would meet the rule, too.
        .filter(|_| refusal != Some(Refusal::Keep)),
        is_deferred: rng.random_bool(0.5),
        requires_name: rng.random_bool(0.3),
        refusal,
        names: [Names::Any, Names::Any, Names::Short][rng.random_range(0..3)],
        second: [Second::Text, Second::NotNull, Second::Char, Second::Unique]
            [rng.random_range(0..4)],
    }
}

/// Returns one step.
pub(super) fn step(rng: &mut StdRng, world: &World) -> Step {
    let process = rng.random_range(0..world.processes);
    let own = own_steps(world);
    if !own.is_empty() && rng.random_bool(OWN_STEPS) {
        let pick = rng.random_range(0..1_000_000);
        return own[rng.random_range(0..own.len())](pick);
    }
    if world.focus != Focus::Everything && rng.random_bool(0.5) {
        return focused(rng, world, process);
    }
    any_step(rng, world, process)
}

/// Returns what a world can do because of its tables and policies, and others cannot.
fn own_steps(world: &World) -> Vec<fn(u64) -> Step> {
    let mut steps: Vec<fn(u64) -> Step> = Vec::new();
    match world.schema.refusal {
        Some(Refusal::Rule) => steps.push(|pick| by(Side::Postgres, Act::Spoil, pick)),
        None | Some(Refusal::Keep) => {}
        Some(_) => steps.push(|pick| by(Side::Salesforce, Act::Spoil, pick)),
    }
    if world.schema.second == Second::Unique {
        steps.push(|pick| by(Side::Salesforce, Act::SwapValues, pick));
    }
    if world.schema.names == Names::Short {
        steps.push(|pick| by(Side::Salesforce, Act::RenameLong, pick));
    }
    if world.conflicts == "manual_review" {
        steps.push(|pick| Step::Operate {
            operation: Operation::Resolve,
            pick,
        });
    }
    steps
}

fn by(side: Side, act: Act, pick: u64) -> Step {
    Step::User { side, act, pick }
}

/// Returns a step of what the world is mostly about.
fn focused(rng: &mut StdRng, world: &World, process: usize) -> Step {
    let job = |job: JobName, turns: u16, pick: u64| Step::Work {
        process,
        job,
        turns,
        lose: None,
        pick,
    };
    let pick = rng.random_range(0..1_000_000);
    let side = [Side::Postgres, Side::Salesforce][rng.random_range(0..2)];
    let dice = rng.random_range(0..10);
    match (world.focus, dice) {
        // Of each object the first record and its first field.
        (Focus::Conflicts, 0..6) => Step::User {
            side,
            act: Act::Edit,
            pick: pick % 2,
        },
        (Focus::Conflicts, 6) => Step::Operate {
            operation: Operation::Resolve,
            pick,
        },
        // Contacts, to which nothing points.
        (Focus::Deletes, 0..5) => Step::User {
            side: world.swaps,
            act: Act::Delete,
            pick: pick * 2 + 1,
        },
        (Focus::Deletes, 5..7) => job(JobName::Apply(1), TO_THE_END, pick),
        (Focus::Deletes, 7..9) => {
            let capture = match world.swaps {
                Side::Postgres => JobName::CapturePostgres,
                Side::Salesforce => JobName::CaptureSalesforce,
            };
            job(capture, TO_THE_END, pick)
        }
        (Focus::Events, 0..4) => Step::Fail(fault(rng, FaultKind::Events)),
        (Focus::Events, 4..7) => job(JobName::CaptureSalesforce, TO_THE_END, pick),
        (Focus::Crashes, 0..5) => {
            let turns = rng.random_range(1..25);
            job(JobName::Apply(rng.random_range(0..2)), turns, pick)
        }
        (Focus::Crashes, 5) => Step::Kill { process },
        (Focus::Crashes, 6) => Step::Abandon { process },
        (Focus::Crashes, 7) => Step::Pass {
            ms: rng.random_range(LONG_PAUSE_MS..400_000),
        },
        (Focus::Outages, 0..3) => Step::Fail(fault(rng, FaultKind::Org)),
        (Focus::Outages, 3..5) => Step::Fail(fault(rng, FaultKind::Route)),
        (Focus::Outages, 5..9) => job(JobName::Apply(rng.random_range(0..2)), TO_THE_END, pick),
        (Focus::Links, 0..6) => {
            let acts = [
                (side, Act::Rename),
                (side, Act::Link),
                (side, Act::Link),
                (side, Act::Unlink),
                (world.swaps, Act::Swap),
                (Side::Salesforce, Act::CreateChild),
                (side, Act::Delete),
            ];
            let (side, act) = acts[rng.random_range(0..acts.len())];
            Step::User { side, act, pick }
        }
        (Focus::Links, 6..8) => job(JobName::Apply(rng.random_range(0..2)), TO_THE_END, pick),
        _ => any_step(rng, world, process),
    }
}

fn any_step(rng: &mut StdRng, world: &World, process: usize) -> Step {
    match rng.random_range(0..108) {
        0..36 => act(rng, world),
        36..75 => work(rng, world, process),
        75..79 => Step::Operate {
            operation: OPERATIONS[rng.random_range(0..OPERATIONS.len())],
            pick: rng.random_range(0..1_000_000),
        },
        100..102 if world.has(FaultKind::Setup) => Step::Operate {
            operation: SETUP[rng.random_range(0..SETUP.len())],
            pick: rng.random_range(0..1_000_000),
        },
        102 if world.has(FaultKind::Misconfigured) => Step::Misconfigure { process },
        103..105 if world.has(FaultKind::Route) => Step::Fail(fault(rng, FaultKind::Route)),
        105..107 if world.has(FaultKind::Demoted) => Step::Operate {
            operation: SERVER[rng.random_range(0..SERVER.len())],
            pick: 0,
        },
        79 if world.has(FaultKind::Cut) => Step::Cut { process },
        80..82 if world.has(FaultKind::Kill) => Step::Kill { process },
        82..84 if world.has(FaultKind::Abandon) => Step::Abandon { process },
        84 if world.has(FaultKind::Lossy) => Step::Fail(OrgFault::MissingEvents),
        85 if world.has(FaultKind::Rights) => Step::Fail(fault(rng, FaultKind::Rights)),
        86..89 if world.has(FaultKind::LongPause) => Step::Pass {
            ms: rng.random_range(LONG_PAUSE_MS..400_000),
        },
        89..96 if world.has(FaultKind::Org) => Step::Fail(fault(rng, FaultKind::Org)),
        96..98 if world.has(FaultKind::Events) => Step::Fail(fault(rng, FaultKind::Events)),
        _ => Step::Pass {
            ms: rng.random_range(1..30_000),
        },
    }
}

fn act(rng: &mut StdRng, world: &World) -> Step {
    let is_many = world.deletes_max > FEW_DELETES;
    let act = match rng.random_range(if is_many { 0..150 } else { 0..120 }) {
        120.. => Act::Delete,
        0..47 => Act::Edit,
        47..53 => Act::Clear,
        53..59 => Act::Rename,
        59..67 => Act::Link,
        67..70 => Act::Unlink,
        70..74 => Act::Create,
        74..79 if world.is_crowded => Act::Edit,
        74..76 => Act::Create,
        76..79 => Act::CreateChild,
        79..85 => Act::Delete,
        85..88 => Act::Undelete,
        88..91 => Act::EditAll,
        91..94 => Act::RollBack,
        94..98 => Act::Hold,
        98..102 => Act::LetGo,
        102..106 if world.has(FaultKind::Lossy) => Act::HardDelete,
        106..108 => Act::Truncate,
        108..110 => Act::Merge,
        110..113 => Act::Swap,
        113..117 if !matches!(world.schema.refusal, None | Some(Refusal::Keep)) => Act::Spoil,
        113.. if world.schema.second == Second::Unique => Act::SwapValues,
        113..118 if world.schema.names == Names::Short => Act::RenameLong,
        113.. if world.schema.refusal.is_some() => Act::Spoil,
        _ => Act::Edit,
    };
    let side = match act {
        Act::Swap => world.swaps,
        Act::Truncate | Act::Hold | Act::LetGo => Side::Postgres,
        Act::Merge | Act::HardDelete | Act::SwapValues | Act::CreateChild => Side::Salesforce,
        Act::Spoil if world.schema.refusal == Some(Refusal::Rule) => Side::Postgres,
        Act::Spoil | Act::RenameLong => Side::Salesforce,
        _ => [Side::Postgres, Side::Salesforce][rng.random_range(0..2)],
    };
    let pick = rng.random_range(0..1_000_000);
    Step::User { side, act, pick }
}

fn work(rng: &mut StdRng, world: &World, process: usize) -> Step {
    let job = match rng.random_range(0..100) {
        0..25 => JobName::CapturePostgres,
        25..50 => JobName::CaptureSalesforce,
        50..70 => JobName::Apply(0),
        70..86 => JobName::Apply(1),
        86..91 => JobName::Sweep,
        91..95 => JobName::CompareRecent,
        95..97 => JobName::Compare,
        _ => JobName::Release,
    };
    let turns = match rng.random_range(0..10) {
        0..3 if world.is_crowded => rng.random_range(1..20),
        0..4 => TO_THE_END,
        4..8 => rng.random_range(5..80),
        _ => rng.random_range(1..5),
    };
    let lost = [
        (FaultKind::LostCall, Fate::LoseCall),
        (FaultKind::LostAnswer, Fate::LoseAnswer),
    ];
    let lost: Vec<Fate> = lost
        .into_iter()
        .filter(|(kind, _)| world.has(*kind))
        .map(|(_, fate)| fate)
        .collect();
    let is_lost = rng.random_bool(0.15);
    let at = rng.random_range(0..turns.min(60));
    let lose = lost.choose(rng).filter(|_| is_lost).map(|fate| (at, *fate));
    Step::Work {
        process,
        job,
        turns,
        lose,
        pick: rng.random_range(0..1_000_000),
    }
}

fn fault(rng: &mut StdRng, kind: FaultKind) -> OrgFault {
    let faults: &[OrgFault] = match kind {
        FaultKind::Events => &EVENT_FAULTS,
        FaultKind::Rights => &RIGHTS_FAULTS,
        FaultKind::Route => &ROUTE_FAULTS,
        _ => &CALL_FAULTS,
    };
    faults.choose(rng).copied().unwrap_or(OrgFault::LostWrite)
}
