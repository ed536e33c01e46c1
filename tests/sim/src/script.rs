//! What a seed decides: the world, and every step of users, jobs, faults and time.
//!
//! A step names no record and no call: it holds numbers that pick one of those that are there then. So a script from
//! which steps are removed is a script again, which is how a failing one is made short.

mod draw;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::gate::Fate;
use crate::shapes::Schema;

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

/// Turns that let a job run to its end. One that goes on is waiting for something that only another step can bring.
pub(crate) const TO_THE_END: u16 = 300;

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
    /// What every second step is about.
    pub focus: Focus,
    /// In the end the operator tries again what has stopped. In other worlds nothing may stay stopped by itself.
    pub replays: bool,
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

/// What a world is mostly about: of everything alike, each thing would happen too seldom to meet its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Focus {
    /// Everything alike.
    Everything,
    /// Both sides edit the same fields.
    Conflicts,
    /// Most records are deleted, on one side.
    Deletes,
    /// The stream of changes is disturbed again and again.
    Events,
    /// Processes stop in the middle of their work.
    Crashes,
    /// Salesforce often refuses, or cannot be reached.
    Outages,
    /// Records get other names, parents and children.
    Links,
}

/// Every focus.
pub(crate) const FOCUSES: [Focus; 7] = [
    Focus::Everything,
    Focus::Conflicts,
    Focus::Deletes,
    Focus::Events,
    Focus::Crashes,
    Focus::Outages,
    Focus::Links,
];

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
    /// The server takes no writes for a while, as one that another has taken over from.
    Demoted,
}

const FAULT_KINDS: [FaultKind; 14] = [
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
    FaultKind::Demoted,
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
    /// Lets the server take no writes by connections that are opened from now on.
    Demote,
    /// Lets it take writes again; connections that were opened meanwhile go on without.
    Promote,
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
    /// For a while no write is answered, although it is made.
    NoAnswers,
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
pub(crate) const CALL_FAULTS: [OrgFault; 9] = [
    OrgFault::LostWrite,
    OrgFault::LostWriteAnswer,
    OrgFault::NoAnswers,
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

/// What becomes of the server.
const SERVER: [Operation; 2] = [Operation::Demote, Operation::Promote];

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
        let world = draw::world(&mut rng);
        let count = rng.random_range(STEPS);
        let steps = (0..count).map(|_| draw::step(&mut rng, &world)).collect();
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
            format!("{:?}", self.focus),
            format!("replays: {}", self.replays),
            format!("{:?}", self.schema.names),
        ]
    }

    fn has(&self, fault: FaultKind) -> bool {
        self.faults.contains(&fault)
    }
}
