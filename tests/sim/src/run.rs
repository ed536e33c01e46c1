//! Plays a script: one process takes a step at a time, so that the same script ends the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use salesforce_org::Org;
use salesforce_org::in_process::InProcess;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use syncline::config::{Config, TenantConfig};
use syncline::engine::check::Level;
use syncline::model::ids::TenantId;
use syncline::store::{PgStore, PgStoreOptions};
use throwaway_postgres::TestDatabase;

use crate::clock::{self, WorldClock};
use crate::faults;
use crate::gate::{Fate, Gates};
use crate::leases::Leases;
use crate::met;
use crate::operator::Operator;
use crate::oracle::{self, Finding};
use crate::planted;
use crate::process::{CALM, PANICKED, Parts, Process, Progress};
use crate::rest;
use crate::script::{
    Act, FEW_DELETES, FaultKind, JobName, LONG_PAUSE_MS, Mistake, Operation, OrgFault, Script,
    Side, Step,
};
use crate::shapes::{self, OTHER_TABLE, SHAPES};
use crate::transport::{Leads, Route, UNREACHABLE};
use crate::users::{UserLog, Users, records_of_all};
use crate::wire::Wire;

/// How far edits of Salesforce's users are from any other write where it is polled: its stamps are whole seconds, so a
/// poll cannot see that one was followed by another in the same second.
const SECOND_MS: i64 = 1_000;

/// The file of another org.
const OTHER_ORG: &str = "[org]\nid = \"00D000000000009EAA\"\n";

/// How a world ended.
#[derive(Debug)]
pub struct Verdict {
    /// What must never be. Nothing, if all is well.
    pub findings: Vec<Finding>,
    /// Everything that happened, a line each.
    pub story: Vec<String>,
    /// Calls and statements of the engine, in order.
    pub calls: Vec<String>,
    /// How often everything was met that [`everything_to_meet`](crate::everything_to_meet) names.
    pub met: BTreeMap<String, u32>,
}

impl Verdict {
    /// Returns a number that is the same for the same story, calls and findings.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for line in self.story.iter().chain(&self.calls) {
            hasher.update(line.as_bytes());
        }
        for finding in &self.findings {
            hasher.update(finding.what.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Returns the first line of story or calls, of this one and another, in which they differ.
    pub fn differs_at(&self, other: &Self) -> Option<(String, String)> {
        let lines = |verdict: &Self| {
            let findings = verdict.findings.iter().map(|finding| &finding.what);
            let told = verdict.calls.iter().chain(&verdict.story).chain(findings);
            told.cloned().collect::<Vec<_>>()
        };
        let (mine, others) = (lines(self), lines(other));
        let place =
            (0..mine.len().max(others.len())).find(|at| mine.get(*at) != others.get(*at))?;
        let line = |lines: &[String]| lines.get(place).cloned().unwrap_or_default();
        Some((line(&mine), line(&others)))
    }
}

/// Plays a script to its end. Fails if the world itself does not work.
pub async fn play(script: &Script) -> anyhow::Result<Verdict> {
    // A world is large.
    Box::pin(play_to_the_end(script)).await
}

async fn play_to_the_end(script: &Script) -> anyhow::Result<Verdict> {
    let mut stage = Stage::build(script).await?;
    if script.world.mistake.is_some() {
        return Ok(stage.verdict());
    }
    for (place, step) in script.steps.iter().enumerate() {
        let line = stage
            .step(step)
            .await
            .with_context(|| format!("step {place}: {step:?}"))?;
        stage.story.push(format!("{place:>3} {line}"));
    }
    rest::come_to_rest(&mut stage, &script.world).await?;
    stage.processes[0].set_open(true);
    let status = stage.processes[0]
        .store
        .status(&stage.config.tenant)
        .await?;
    let found = oracle::findings(&script.world, &mut stage.users, &status).await?;
    stage.findings.extend(found);
    stage.look_into_other_org()?;
    Ok(stage.verdict())
}

/// A world while it is played.
pub(crate) struct Stage {
    wire: Wire,
    /// Dropped with the world.
    _database: TestDatabase,
    pub(crate) org: InProcess,
    pub(crate) route: Route,
    config: TenantConfig,
    /// What the mapping of a process is by mistake.
    other_config: TenantConfig,
    /// The places of processes that have it.
    misconfigured: BTreeSet<usize>,
    clock: WorldClock,
    pub(crate) users: Users,
    pub(crate) operator: Operator,
    pub(crate) processes: Vec<Process>,
    /// How many processes were started.
    started: u64,
    seed: u64,
    /// Changes of Salesforce are polled.
    polls: bool,
    /// The login has led to another org.
    was_elsewhere: bool,
    /// The operator tries again what has stopped.
    pub(crate) replays: bool,
    /// The side that has lost a mapped field.
    pub(crate) lacks: Option<Side>,
    pub(crate) story: Vec<String>,
    calls: Vec<String>,
    met: BTreeMap<String, u32>,
    pub(crate) findings: Vec<Finding>,
}

impl Stage {
    async fn build(script: &Script) -> anyhow::Result<Self> {
        let world = &script.world;
        let database = database(script).await?;
        let clock = WorldClock::new();
        let mut org = Org::from_toml(&world.schema.org_file())?;
        org.set_wall_ms(clock.now_ms() + world.skew_ms);
        let org = InProcess::kept_alive_by_the_caller(org);
        let other_org = InProcess::kept_alive_by_the_caller(Org::from_toml(OTHER_ORG)?);
        let mapping = shapes::mapping(world);
        let tenant = TenantId::parse("acme")?;
        let other_mapping = mapping.replace("\"contact\"", &format!("\"{OTHER_TABLE}\""));
        let postgres = users_connection(&database).await?;
        let other = users_connection(&database).await?;
        let mut stage = Self {
            users: Users {
                schema: world.schema,
                deletes_max: world.deletes_max,
                filters: world.filters,
                is_away: false,
                is_read_only: false,
                clock: clock.clone(),
                org: org.clone(),
                postgres,
                other,
                held: None,
                log: UserLog::default(),
            },
            operator: Operator::new(database.url(), &tenant)?,
            wire: Wire::before(database.url())?,
            _database: database,
            route: Route::to(org.clone(), other_org),
            org,
            config: config(&mapping, &tenant)?,
            other_config: config(&other_mapping, &tenant)?,
            misconfigured: BTreeSet::new(),
            clock,
            processes: Vec::new(),
            started: 0,
            polls: world.capture == "poll",
            lacks: world.lacks,
            was_elsewhere: false,
            replays: world.replays,
            seed: script.seed,
            story: vec![format!("{world:?}")],
            calls: Vec::new(),
            met: BTreeMap::new(),
            findings: Vec::new(),
        };
        for word in world.words() {
            *stage.met.entry(word).or_default() += 1;
        }
        for _ in 0..world.processes {
            let process = stage.start(&stage.config.clone())?;
            stage.processes.push(process);
        }
        if let Some(mistake) = world.mistake {
            stage.check(mistake).await?;
            return Ok(stage);
        }
        stage.install(&tenant).await?;
        stage.lose_fields().await?;
        stage.create_records(world.records).await?;
        Ok(stage)
    }

    /// Lets the users of both sides create so many records of each object.
    async fn create_records(&mut self, count: usize) -> anyhow::Result<()> {
        for place in 0..count * 2 {
            let side = [Side::Postgres, Side::Salesforce][place % 2];
            for object in 0..SHAPES.len() {
                let pick = u64::try_from(object)?;
                let (line, _) = self.users.act(side, Act::Create, pick).await?;
                self.story.push(line);
            }
        }
        Ok(())
    }

    /// Counts something that was met.
    pub(crate) fn meet(&mut self, what: &impl std::fmt::Debug) {
        *self.met.entry(met::word(what)).or_default() += 1;
    }

    fn verdict(self) -> Verdict {
        Verdict {
            findings: self.findings,
            story: self.story,
            calls: self.calls,
            met: self.met,
        }
    }

    fn start(&mut self, config: &TenantConfig) -> anyhow::Result<Process> {
        self.started += 1;
        let parts = Parts {
            wire: &self.wire,
            route: &self.route,
            config,
            clock: &self.clock,
        };
        Process::start(&parts, self.started, self.seed)
    }

    async fn install(&mut self, tenant: &TenantId) -> anyhow::Result<()> {
        let first = &self.processes[0];
        first.set_open(true);
        let mapped = first.engine.mapped_objects(tenant).await?;
        first.store.install(&mapped).await?;
        first.set_open(false);
        self.operator.mapped = mapped;
        Ok(())
    }

    /// Lets an operator who has made a mistake check the mapping.
    async fn check(&mut self, mistake: Mistake) -> anyhow::Result<()> {
        self.users.prepare_mistake(mistake).await?;
        let first = &self.processes[0];
        first.set_open(true);
        let found = first.engine.check(&self.config.tenant).await?;
        let errors = found.iter().filter(|found| found.level == Level::Error);
        let errors: Vec<&str> = errors.map(|found| found.what.as_str()).collect();
        self.story.push(format!("check finds {errors:?}"));
        if errors.is_empty() {
            let what = format!("check says nothing of {mistake:?}");
            self.findings.push(Finding::of("I14", what));
        }
        Ok(())
    }

    /// Finds what was written to another org.
    fn look_into_other_org(&mut self) -> anyhow::Result<()> {
        let written = self.route.other().with_org(records_of_all)?;
        if written > 0 {
            let what = format!("{written} records were written to another org");
            self.findings.push(Finding::of("I11", what));
        }
        Ok(())
    }

    /// Lets a side lose the fields that are mapped beside those of the users.
    async fn lose_fields(&mut self) -> anyhow::Result<()> {
        let lacks = self.lacks;
        if lacks == Some(Side::Postgres) {
            self.users.drop_columns().await?;
        }
        if lacks.is_none() {
            return Ok(());
        }
        self.org
            .with_org(|org| faults::declare(org, OrgFault::RightsBack, lacks))?;
        // The operator's commands map what is there when they begin.
        let command = self.start(&self.config.clone())?;
        command.set_open(true);
        command.engine.describe_again();
        self.operator.mapped = command.engine.mapped_objects(&self.config.tenant).await?;
        command.store.close().await;
        Ok(())
    }

    /// Ends a process in the middle of what it does, and starts one with this mapping in its place.
    async fn restart(&mut self, place: usize, config: &TenantConfig) -> anyhow::Result<()> {
        let next = self.start(config)?;
        let killed = std::mem::replace(&mut self.processes[place], next);
        if killed.is_working() {
            self.meet(&FaultKind::Kill);
        }
        self.misconfigured.remove(&place);
        let gates = killed.kill();
        self.await_cut(&gates).await
    }

    /// Starts every process again that has another mapping than ours.
    pub(crate) async fn correct_mappings(&mut self) -> anyhow::Result<()> {
        let config = self.config.clone();
        while let Some(place) = self.misconfigured.first().copied() {
            self.restart(place, &config).await?;
        }
        Ok(())
    }

    /// Takes a step. Returns what happened.
    async fn step(&mut self, step: &Step) -> anyhow::Result<String> {
        let line = match *step {
            Step::User { side, act, pick } => self.user(side, act, pick).await?,
            Step::Work {
                process,
                job,
                turns,
                lose,
                pick,
            } => self.work(process, job, turns, lose, pick).await?,
            Step::Kill { process } => {
                self.restart(process, &self.config.clone()).await?;
                format!("process {process} is killed")
            }
            Step::Misconfigure { process } => {
                self.restart(process, &self.other_config.clone()).await?;
                self.misconfigured.insert(process);
                self.meet(&FaultKind::Misconfigured);
                format!("process {process} starts with a mapping that names another table")
            }
            Step::Abandon { process } => {
                let job = self.processes[process].abandon().await?;
                self.await_end_of_cut(process).await?;
                if job.is_some() {
                    self.meet(&FaultKind::Abandon);
                }
                format!("process {process} gives up {job:?}")
            }
            Step::Pass { ms } => {
                if ms >= LONG_PAUSE_MS {
                    self.meet(&FaultKind::LongPause);
                }
                self.pass(ms).await?;
                format!("{ms} ms pass")
            }
            Step::Fail(fault) => self.fail(fault)?,
            Step::Cut { process } => {
                let cut = self.processes[process].connections();
                end_connections(&mut self.users.postgres, &cut).await?;
                if !cut.is_empty() {
                    self.meet(&FaultKind::Cut);
                }
                format!("process {process} loses {} connections", cut.len())
            }
            Step::Operate { operation, pick } => self.operate(operation, pick).await?,
        };
        // What it has caused elsewhere in this process is done before the next step, and not some time during it.
        calm_down().await;
        Ok(line)
    }

    /// Lets Salesforce, or the way to it, do something wrong.
    fn fail(&mut self, fault: OrgFault) -> anyhow::Result<String> {
        let lacks = self.lacks;
        self.org
            .with_org(|org| faults::declare(org, fault, lacks))?;
        match fault {
            OrgFault::Down => self.route.lead(Leads::Nowhere),
            OrgFault::OtherOrg => {
                self.was_elsewhere = true;
                self.route.lead(Leads::ToOtherOrg);
            }
            OrgFault::OurOrg => self.route.lead(Leads::ToOurOrg),
            _ => {}
        }
        self.users.log.untold |= fault == OrgFault::MissingEvents;
        self.users.log.hid_field |= fault == OrgFault::HiddenField;
        self.meet(&fault);
        Ok(format!("Salesforce: {fault:?} next"))
    }

    async fn operate(&mut self, operation: Operation, pick: u64) -> anyhow::Result<String> {
        let waits = || ("operator: waits".to_owned(), false);
        let (told, done) = match operation {
            Operation::ExchangeTable => self.users.exchange_table().await?,
            Operation::Demote => self.users.set_read_only(true).await?,
            Operation::Promote => self.users.set_read_only(false).await?,
            // It would take the new table for ours.
            Operation::Install if self.users.is_away => waits(),
            // It lifts the guard for a while: where much is deleted, it stays until the end.
            Operation::Approve if self.users.deletes_max > FEW_DELETES => waits(),
            Operation::Replay if !self.replays => waits(),
            _ => self.operator.act(operation, pick).await?,
        };
        self.users.log.approved |= operation == Operation::Approve;
        if done {
            self.meet(&operation);
        }
        Ok(told)
    }

    async fn user(&mut self, side: Side, act: Act, pick: u64) -> anyhow::Result<String> {
        let is_alone = side == Side::Salesforce && self.polls;
        if is_alone {
            self.pass(SECOND_MS).await?;
        }
        let (told, done) = self.users.act(side, act, pick).await?;
        if is_alone {
            self.pass(SECOND_MS).await?;
        }
        if done {
            self.meet(&(side, act));
        }
        Ok(told)
    }

    async fn work(
        &mut self,
        place: usize,
        job: JobName,
        turns: u16,
        lose: Option<(u16, Fate)>,
        pick: u64,
    ) -> anyhow::Result<String> {
        let mut told = String::new();
        let worker = self.processes[place].worker.clone();
        let leases = Leases::of_others(&mut self.users.postgres, &worker).await?;
        let mut progress = Progress::AtGate;
        if !self.processes[place].is_working() {
            progress = self.begin(place, job).await?;
            told = format!("begins {job:?}, ");
        }
        let mut turn = 0;
        let mut lost = false;
        while matches!(progress, Progress::AtGate) && turn < turns {
            let fate = lose
                .filter(|(at, _)| *at == turn)
                .map_or(Fate::Pass, |(_, fate)| fate);
            let (call, next) = self.turn(place, pick, fate).await?;
            progress = next;
            turn += 1;
            if fate != Fate::Pass {
                lost = true;
                told = format!("{told}{fate:?} of {}, ", call.unwrap_or_default());
            }
        }
        let ended = leases.ended_by(&mut self.users.postgres, &worker).await?;
        self.findings.extend(ended);
        if let (true, Some((_, fate))) = (lost, lose) {
            self.meet(&fate);
        }
        if let Progress::Ended(job, _) = progress {
            self.meet(&job);
        }
        if let Progress::Ended(job @ (JobName::CapturePostgres | JobName::Sweep), Some(error)) =
            &progress
            // After another org the login must show ours again.
            && !self.was_elsewhere
            && error.contains(UNREACHABLE)
        {
            let what = format!("{job:?} cannot do without Salesforce: {error}");
            self.findings.push(Finding::of("I12", what));
        }
        let ended = match progress {
            Progress::AtGate => "stands".to_owned(),
            Progress::Idle => "has nothing to do".to_owned(),
            Progress::Ended(job, None) => format!("has done {job:?}"),
            Progress::Ended(job, Some(error)) => {
                if error == PANICKED {
                    self.findings
                        .push(Finding::of("I12", format!("{job:?} panicked")));
                }
                format!("failed at {job:?}: {error}")
            }
        };
        Ok(format!("process {place} {told}{turn} calls, {ended}"))
    }

    /// Lets a process begin a job.
    async fn begin(&mut self, place: usize, job: JobName) -> anyhow::Result<Progress> {
        let progress = self.processes[place].begin(job).await?;
        self.await_end_of_cut(place).await?;
        Ok(progress)
    }

    /// Decides what becomes of the next call of a process.
    async fn turn(
        &mut self,
        place: usize,
        pick: u64,
        fate: Fate,
    ) -> anyhow::Result<(Option<String>, Progress)> {
        let (call, progress) = self.processes[place].turn(pick, fate).await?;
        if let Some(call) = &call {
            let step = self.story.len();
            self.calls
                .push(format!("{step}, process {place}: {fate:?} {call}"));
        }
        self.await_end_of_cut(place).await?;
        Ok((call, progress))
    }

    /// Lets a process do a job from its beginning to its end.
    pub(crate) async fn run(&mut self, place: usize, job: JobName) -> anyhow::Result<Progress> {
        let begun = self.begin(place, job).await?;
        self.until_its_end(place, begun).await
    }

    /// Lets a process end what it is at, if there is anything.
    pub(crate) async fn finish(&mut self, place: usize) -> anyhow::Result<Progress> {
        let (_, progress) = self.turn(place, 0, Fate::Pass).await?;
        self.until_its_end(place, progress).await
    }

    async fn until_its_end(
        &mut self,
        place: usize,
        mut progress: Progress,
    ) -> anyhow::Result<Progress> {
        while matches!(progress, Progress::AtGate) {
            (_, progress) = self.turn(place, 0, Fate::Pass).await?;
        }
        Ok(progress)
    }

    /// Waits until Postgres has rolled back what the connections did that a process has lost.
    async fn await_end_of_cut(&mut self, place: usize) -> anyhow::Result<()> {
        let cut = self.processes[place].take_cut();
        wait_for_end(&mut self.users.postgres, &cut).await
    }

    pub(crate) async fn pass(&mut self, ms: i64) -> anyhow::Result<()> {
        self.clock.advance(ms);
        self.org.with_org(|org| org.advance_ms(ms));
        let at = format!(
            "update sim.clock set at = to_timestamp({}::numeric / 1000)",
            self.clock.now_ms()
        );
        sqlx::raw_sql(AssertSqlSafe(at))
            .execute(&mut self.users.postgres)
            .await?;
        Ok(())
    }

    async fn await_cut(&mut self, gates: &Gates) -> anyhow::Result<()> {
        // The connections end with their tasks.
        calm_down().await;
        wait_for_end(&mut self.users.postgres, &gates.take_cut()).await
    }
}

/// Lets the tasks of this process do what they have to do now.
async fn calm_down() {
    for _ in 0..CALM {
        tokio::task::yield_now().await;
    }
}

fn config(mapping: &str, tenant: &TenantId) -> anyhow::Result<TenantConfig> {
    let config = Config::parse(mapping).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(config.tenants[tenant].clone())
}

/// Opens a connection of a user, who does not wait for the engine: it stands still meanwhile.
async fn users_connection(database: &TestDatabase) -> anyhow::Result<PgConnection> {
    let mut connection = database.connect().await;
    sqlx::raw_sql("set lock_timeout = '20ms'; set application_name = 'user'")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Waits until the server processes of cut connections have ended: what they did not commit is rolled back then.
async fn wait_for_end(postgres: &mut PgConnection, server_processes: &[i32]) -> anyhow::Result<()> {
    if server_processes.is_empty() {
        return Ok(());
    }
    loop {
        let left: i64 =
            sqlx::query_scalar("select count(*) from pg_stat_activity where pid = any ($1)")
                .bind(server_processes)
                .fetch_one(&mut *postgres)
                .await?;
        if left == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Ends connections, as a server that is restarted does.
async fn end_connections(
    postgres: &mut PgConnection,
    server_processes: &[i32],
) -> anyhow::Result<()> {
    sqlx::query("select pg_terminate_backend(pid) from unnest($1) as pid")
        .bind(server_processes)
        .execute(&mut *postgres)
        .await?;
    wait_for_end(postgres, server_processes).await
}

/// Returns a database with the tables of the world, whose time and ids come from the world.
async fn database(script: &Script) -> anyhow::Result<TestDatabase> {
    let kind = planted::kind_of_database("sim");
    let database = TestDatabase::prepared(&kind, async |url| {
        let options = PgStoreOptions::new(SecretString::from(url.clone()));
        let store = PgStore::open(&options).expect("the URL is valid");
        store
            .migrate()
            .await
            .expect("an empty database can be migrated");
        let mut connection = PgConnection::connect(&url)
            .await
            .expect("the server accepts connections");
        sqlx::raw_sql(clock::SQL)
            .execute(&mut connection)
            .await
            .expect("the statements of the simulator are valid");
        planted::plant(&mut connection)
            .await
            .expect("the rule of the planted bug can be removed");
        connection.close().await.expect("the connection closes");
        // The partitions of the world's days.
        store
            .migrate()
            .await
            .expect("a migrated database can be migrated");
        store.close().await;
        planted::note_reached_everywhere();
    })
    .await;
    let mut connection = database.connect().await;
    sqlx::raw_sql(AssertSqlSafe(script.world.schema.tables()))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(database)
}
