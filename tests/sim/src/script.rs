//! What a seed decides: the world, and every step of users, jobs, faults and time.
//!
//! A step names no record and no call: it holds numbers that pick one of those that are there then. So a script from
//! which steps are removed is a script again, which is how a failing one is made short.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt, SeedableRng};

use crate::gate::Fate;
use crate::shapes::{Names, OnDelete, REFUSALS, Refusal, Schema, Second};

/// Fewest and most steps of a script.
const STEPS: std::ops::Range<usize> = 60..120;

/// Policies of conflicts.
pub(crate) const CONFLICTS: [&str; 4] = [
    "manual_review",
    "salesforce_wins",
    "postgres_wins",
    "last_writer_wins",
];

/// Policies of a delete that meets an edit.
pub(crate) const ON_EDIT: [&str; 3] = ["manual", "delete_wins", "edit_wins"];

/// What becomes of deletes.
pub(crate) const DELETES: [&str; 3] = ["propagate", "soft", "ignore"];

/// Owners of the second field of each object.
pub(crate) const OWNERS: [&str; 3] = ["shared", "salesforce", "postgres"];

/// Ways to capture changes of Salesforce.
pub(crate) const CAPTURES: [&str; 2] = ["pubsub", "poll"];

/// Most deletes of a world that has few of them. More could be withheld by the delete guard.
pub(crate) const FEW_DELETES: usize = 3;

/// Most deletes of a world that has many.
const MANY_DELETES: usize = 40;

/// Shortest of the pauses in which leases expire: they are up to 180 s long, and not every one is new.
pub(crate) const LONG_PAUSE_MS: i64 = 60_000;

/// Turns that let a job run to its end.
pub(crate) const TO_THE_END: u16 = u16::MAX;

/// Everything that one seed decides.
#[derive(Debug, Clone)]
pub struct Script {
    /// The seed.
    pub seed: u64,
    /// What holds from the beginning.
    pub world: World,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// What holds in a world from its beginning.
#[derive(Debug, Clone)]
pub struct World {
    /// The policy of conflicts.
    pub conflicts: &'static str,
    /// The policy of a delete that meets an edit.
    pub on_edit: &'static str,
    /// What becomes of deletes.
    pub deletes: &'static str,
    /// The owner of the second field of each object.
    pub owner: &'static str,
    /// How changes of Salesforce are captured.
    pub capture: &'static str,
    /// Milliseconds by which the org's clock is ahead of the database's.
    pub skew_ms: i64,
    /// The tables.
    pub schema: Schema,
    /// Where users exchange external ids: on both sides, two records could rightly claim one.
    pub swaps: Side,
    /// Most records that users delete.
    pub deletes_max: usize,
    /// Accounts outside the filter of the mapping exist.
    pub filters: bool,
    /// Users work at few records, and the processes take few steps at a time.
    pub is_crowded: bool,
    /// The side that has lost a mapped field since capture was installed.
    pub lacks: Option<Side>,
    /// What `check` must find before anything is installed. Nothing else happens in such a world.
    pub mistake: Option<Mistake>,
    /// In the end the operator decides every conflict and approves every delete.
    pub decides: bool,
    /// Processes of the engine.
    pub processes: usize,
    /// Records of each object that users create before the first step.
    pub records: usize,
    /// What can go wrong.
    pub faults: Vec<FaultKind>,
}

/// A mistake of the person who writes the mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mistake {
    /// A lookup is mapped to a column that holds local keys of the parents.
    LocalKeys,
    /// Both sides hold records already, without external ids by which they could be recognised.
    NoExternalIds,
}

/// Every mistake.
pub(crate) const MISTAKES: [Mistake; 2] = [Mistake::LocalKeys, Mistake::NoExternalIds];

/// One kind of thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A call or statement never arrives.
    LostCall,
    /// The answer to a call or statement never arrives.
    LostAnswer,
    /// A process ends in the middle of a job.
    Kill,
    /// A job is given up by its process.
    Abandon,
    /// Time passes in which a lease expires.
    LongPause,
    /// Salesforce refuses or breaks calls.
    Org,
    /// Change events come twice or without their content, the subscription is cut, or its position is refused.
    Events,
    /// Change events never come, or records vanish without one.
    Lossy,
    /// Our user loses rights, and gets them back.
    Rights,
    /// The server ends all connections of a process.
    Cut,
    /// Salesforce cannot be reached, or the login leads to another org.
    Route,
    /// Tables are exchanged, mapped to other tables, or claimed for another tenant.
    Setup,
    /// A process is started with a mapping that names another table.
    Misconfigured,
}

const FAULT_KINDS: [FaultKind; 13] = [
    FaultKind::LostCall,
    FaultKind::LostAnswer,
    FaultKind::Kill,
    FaultKind::Abandon,
    FaultKind::LongPause,
    FaultKind::Org,
    FaultKind::Events,
    FaultKind::Lossy,
    FaultKind::Rights,
    FaultKind::Cut,
    FaultKind::Route,
    FaultKind::Setup,
    FaultKind::Misconfigured,
];

/// A side, and its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The tables.
    Postgres,
    /// The org.
    Salesforce,
}

/// What a user does. The numbers pick records and fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Writes a new value into a field.
    Edit,
    /// Empties a field.
    Clear,
    /// Changes the external id.
    Rename,
    /// Sets the lookup to another record.
    Link,
    /// Empties the lookup.
    Unlink,
    /// Creates a record.
    Create,
    /// Creates a contact of an account, in Salesforce.
    CreateChild,
    /// Deletes a record.
    Delete,
    /// Restores a record from the recycle bin; in Postgres it does nothing.
    Undelete,
    /// Edits every record of an object in one transaction or call.
    EditAll,
    /// Edits, and takes it back: a transaction that is rolled back.
    RollBack,
    /// Edits in a transaction that stays open.
    Hold,
    /// Ends that transaction.
    LetGo,
    /// Writes a value that the other side refuses or changes, in worlds with such a rule.
    Spoil,
    /// Exchanges the external ids of two records.
    Swap,
    /// Gives a record in Salesforce an external id that is too long for the column, in worlds with such a column.
    RenameLong,
    /// Exchanges the values of two records in a column that holds each value once, in worlds with such a column.
    SwapValues,
    /// Merges one account into another, in Salesforce.
    Merge,
    /// Empties a table to which no other points.
    Truncate,
    /// Removes what was deleted from the recycle bin of Salesforce, which no event tells.
    HardDelete,
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Decides a conflict.
    Resolve,
    /// Lets withheld deletes go.
    Approve,
    /// Tries again what has stopped.
    Replay,
    /// Installs capture again.
    Install,
    /// Installs capture of the same tables for another tenant, which must be refused.
    InstallForOther,
    /// Puts a new, empty table in the place of contacts, or the former one back.
    ExchangeTable,
}

/// Everything that an operator does.
pub(crate) const OPERATIONS: [Operation; 4] = [
    Operation::Resolve,
    Operation::Approve,
    Operation::Replay,
    Operation::Install,
];

/// A job of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobName {
    /// Reads the outbox.
    CapturePostgres,
    /// Reads events or polls.
    CaptureSalesforce,
    /// Plans and writes the records of one object, by its place.
    Apply(usize),
    /// Ends leases that expired, checks triggers, deletes old rows.
    Sweep,
    /// Compares recent changes.
    CompareRecent,
    /// Compares everything.
    Compare,
    /// Releases leases of jobs that were given up.
    Release,
}

/// What Salesforce does wrong next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrgFault {
    /// A write is not made.
    LostWrite,
    /// A write is made, and not answered.
    LostWriteAnswer,
    /// A read is not answered.
    LostReadAnswer,
    /// The session of a write has ended.
    SessionAtWrite,
    /// The session of a read has ended.
    SessionAtRead,
    /// Maintenance.
    Unavailable,
    /// A row is locked.
    LockedRow,
    /// The calls of the day are spent.
    QuotaSpent,
    /// Events come twice.
    DoubleEvents,
    /// The subscription is cut.
    ResetStream,
    /// The position of the next subscription is refused.
    ExpiredPosition,
    /// The next events have no content.
    Gap,
    /// Events come in another order.
    ReorderedEvents,
    /// The next events never come.
    MissingEvents,
    /// Our user cannot see the second field of accounts.
    HiddenField,
    /// Our user cannot write contacts.
    LostRight,
    /// Our user has all rights again.
    RightsBack,
    /// Salesforce cannot be reached.
    Down,
    /// The login leads to another org.
    OtherOrg,
    /// The login leads to our org, and that can be reached.
    OurOrg,
}

/// What goes wrong with calls.
pub(crate) const CALL_FAULTS: [OrgFault; 8] = [
    OrgFault::LostWrite,
    OrgFault::LostWriteAnswer,
    OrgFault::LostReadAnswer,
    OrgFault::SessionAtWrite,
    OrgFault::SessionAtRead,
    OrgFault::Unavailable,
    OrgFault::LockedRow,
    OrgFault::QuotaSpent,
];

/// What goes wrong with change events.
pub(crate) const EVENT_FAULTS: [OrgFault; 5] = [
    OrgFault::DoubleEvents,
    OrgFault::ReorderedEvents,
    OrgFault::ResetStream,
    OrgFault::ExpiredPosition,
    OrgFault::Gap,
];

/// What goes wrong with rights, and that they come back.
pub(crate) const RIGHTS_FAULTS: [OrgFault; 3] = [
    OrgFault::HiddenField,
    OrgFault::LostRight,
    OrgFault::RightsBack,
];

/// What goes wrong on the way to the org, and that it ends.
pub(crate) const ROUTE_FAULTS: [OrgFault; 3] =
    [OrgFault::Down, OrgFault::OtherOrg, OrgFault::OurOrg];

/// What goes wrong with tables.
const SETUP: [Operation; 2] = [Operation::InstallForOther, Operation::ExchangeTable];

/// One step of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A user acts.
    User {
        /// Where.
        side: Side,
        /// How.
        act: Act,
        /// Picks the record, the field and so on.
        pick: u64,
    },
    /// A process begins this job, unless it has one, and makes so many calls.
    Work {
        /// The process, by its place.
        process: usize,
        /// The job that it begins if it has none.
        job: JobName,
        /// How many calls; [`TO_THE_END`] for all.
        turns: u16,
        /// The call of this turn has another fate.
        lose: Option<(u16, Fate)>,
        /// Picks one of several waiting calls.
        pick: u64,
    },
    /// A process ends in the middle of what it does.
    Kill {
        /// The process, by its place.
        process: usize,
    },
    /// A process gives its job up.
    Abandon {
        /// The process, by its place.
        process: usize,
    },
    /// Time passes.
    Pass {
        /// How much, in milliseconds.
        ms: i64,
    },
    /// Salesforce does something wrong next.
    Fail(OrgFault),
    /// The server ends all connections of a process.
    Cut {
        /// The process, by its place.
        process: usize,
    },
    /// A process ends, and starts with a mapping that names another table.
    Misconfigure {
        /// The process, by its place.
        process: usize,
    },
    /// An operator acts.
    Operate {
        /// How.
        operation: Operation,
        /// Picks the conflict and its winner.
        pick: u64,
    },
}

impl Script {
    /// Returns what a seed decides.
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = World::draw(&mut rng);
        let count = rng.random_range(STEPS);
        let steps = (0..count).map(|_| draw_step(&mut rng, &world)).collect();
        Self { seed, world, steps }
    }

    /// Returns the script with these steps alone.
    pub fn keep(&self, places: &[usize]) -> Self {
        Self {
            steps: places
                .iter()
                .filter_map(|place| self.steps.get(*place).copied())
                .collect(),
            ..self.clone()
        }
    }
}

impl World {
    fn draw(rng: &mut StdRng) -> Self {
        let mut one_of = |words: &[&'static str]| words.choose(rng).copied().unwrap_or_default();
        let conflicts = one_of(&CONFLICTS);
        let on_edit = one_of(&ON_EDIT);
        let capture = one_of(&CAPTURES);
        // Most worlds propagate deletes and have no owner.
        let deletes = one_of(&["propagate", "propagate", "propagate", "soft", "ignore"]);
        let owner = one_of(&["shared", "shared", "salesforce", "postgres"]);
        let schema = draw_schema(rng);
        let is_crowded = rng.random_bool(0.3);
        let skew_ms = if rng.random_bool(0.5) {
            0
        } else {
            rng.random_range(-90_000..90_000)
        };
        // One world in eight is calm.
        let chance = if rng.random_bool(0.125) { 0.0 } else { 0.5 };
        let faults = FAULT_KINDS
            .into_iter()
            .filter(|_| rng.random_bool(chance))
            .collect();
        Self {
            conflicts,
            on_edit,
            deletes,
            owner,
            capture,
            skew_ms,
            schema,
            swaps: [Side::Postgres, Side::Salesforce][rng.random_range(0..2)],
            deletes_max: if rng.random_bool(0.2) {
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
            processes: rng.random_range(1..=3),
            records: if is_crowded {
                1
            } else {
                rng.random_range(1..=4)
            },
            faults,
        }
    }

    /// Returns what is counted of it, in the form in which it is counted.
    pub(crate) fn words(&self) -> Vec<String> {
        let word = |text: &str| format!("{text:?}");
        vec![
            word(self.conflicts),
            word(self.on_edit),
            word(self.deletes),
            format!("owner {}", self.owner),
            word(self.capture),
            format!("{:?}", self.schema.key),
            format!("{:?}", self.schema.refusal),
            format!("{:?}", self.schema.second),
            format!("lacks {:?}", self.lacks),
            format!("a mistake: {}", self.mistake.is_some()),
            format!("at most {} deletes", self.deletes_max),
            format!("filters: {}", self.filters),
            format!("crowded: {}", self.is_crowded),
            format!("{:?}", self.schema.names),
        ]
    }

    fn has(&self, fault: FaultKind) -> bool {
        self.faults.contains(&fault)
    }
}

fn draw_schema(rng: &mut StdRng) -> Schema {
    let refusal = rng
        .random_bool(0.4)
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

fn draw_step(rng: &mut StdRng, world: &World) -> Step {
    let process = rng.random_range(0..world.processes);
    match rng.random_range(0..108) {
        0..36 => draw_act(rng, world),
        36..75 => draw_work(rng, world, process),
        75..79 => Step::Operate {
            operation: OPERATIONS[rng.random_range(0..OPERATIONS.len())],
            pick: rng.random_range(0..1_000_000),
        },
        100..102 if world.has(FaultKind::Setup) => Step::Operate {
            operation: SETUP[rng.random_range(0..SETUP.len())],
            pick: rng.random_range(0..1_000_000),
        },
        102 if world.has(FaultKind::Misconfigured) => Step::Misconfigure { process },
        103..105 if world.has(FaultKind::Route) => Step::Fail(draw_fault(rng, FaultKind::Route)),
        79 if world.has(FaultKind::Cut) => Step::Cut { process },
        80..82 if world.has(FaultKind::Kill) => Step::Kill { process },
        82..84 if world.has(FaultKind::Abandon) => Step::Abandon { process },
        84 if world.has(FaultKind::Lossy) => Step::Fail(OrgFault::MissingEvents),
        85 if world.has(FaultKind::Rights) => Step::Fail(draw_fault(rng, FaultKind::Rights)),
        86..89 if world.has(FaultKind::LongPause) => Step::Pass {
            ms: rng.random_range(LONG_PAUSE_MS..400_000),
        },
        89..96 if world.has(FaultKind::Org) => Step::Fail(draw_fault(rng, FaultKind::Org)),
        96..98 if world.has(FaultKind::Events) => Step::Fail(draw_fault(rng, FaultKind::Events)),
        _ => Step::Pass {
            ms: rng.random_range(1..30_000),
        },
    }
}

fn draw_act(rng: &mut StdRng, world: &World) -> Step {
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
        98..104 => Act::LetGo,
        104..106 if world.has(FaultKind::Lossy) => Act::HardDelete,
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

fn draw_work(rng: &mut StdRng, world: &World, process: usize) -> Step {
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

fn draw_fault(rng: &mut StdRng, kind: FaultKind) -> OrgFault {
    let faults: &[OrgFault] = match kind {
        FaultKind::Events => &EVENT_FAULTS,
        FaultKind::Rights => &RIGHTS_FAULTS,
        FaultKind::Route => &ROUTE_FAULTS,
        _ => &CALL_FAULTS,
    };
    faults.choose(rng).copied().unwrap_or(OrgFault::LostWrite)
}
