//! Faults: what goes wrong, when it does, and a record of where it did.
//!
//! A rule applies to calls, records within calls, bulk jobs, deliveries of events, or
//! subscriptions. For each of these that it matches, the rule fires or not, by count and by a
//! probability drawn from a seed, so that the same calls meet the same faults. [`Faults`] only
//! decides and counts. The code that handles the call, record or event applies the fault.

mod events;
mod fault;
pub(crate) mod locks;
mod matching;
mod operation;
mod rows;
mod rule;
mod user_edits;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::Org;
use crate::model::Random;
use crate::rest::message::Request;
use operation::{CallSummary, Named};
use rule::{Action, Rule, Target};

pub(crate) use events::Delivered;
pub use fault::{Fault, FaultAction};
pub(crate) use rows::Writing;
pub(crate) use rule::Moment;

/// How many of a rule's most recent places are kept.
const PLACES_MAX: usize = 100;

/// Seed of a rule that declares none; combined with the rule's number.
const SEED: u64 = 0x5745_4154_4845_5221;

/// The declared rules and what they did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Faults {
    rules: Vec<ActiveRule>,
    #[serde(skip)]
    current: Current,
}

/// The call that the org is processing.
#[derive(Debug, Default)]
struct Current {
    /// Row rules that match the method and path of the call.
    rows: Vec<usize>,
    /// The number under which the call takes record locks, if it takes any.
    holder: Option<u64>,
}

/// A declared rule and its remaining uses.
#[derive(Debug, Serialize, Deserialize)]
struct ActiveRule {
    rule: Rule,
    /// How many more times it can fire; `None` means without limit.
    left: Option<u32>,
    skip: u32,
    random: Random,
    fired: u64,
    places: VecDeque<(i64, String)>,
}

impl ActiveRule {
    fn new(rule: Rule, number: usize) -> Self {
        let seed = rule.seed.unwrap_or(SEED ^ number as u64);
        let once = rule.probability.is_none().then_some(1);
        Self {
            left: rule.count.or(once),
            skip: rule.skip,
            random: Random::seeded(seed),
            fired: 0,
            places: VecDeque::new(),
            rule,
        }
    }

    fn waits(&self, target: Target) -> bool {
        self.left != Some(0) && self.rule.action.target() == target
    }

    /// Counts one match and returns whether the rule fires.
    fn fires(&mut self) -> bool {
        if self.left == Some(0) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(probability) = self.rule.probability
            && self.random.share() >= probability
        {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        true
    }

    /// Returns a duration between `ms` and `ms_max`.
    fn duration_ms(&mut self) -> u64 {
        let least = self.rule.ms.unwrap_or(0);
        let most = self.rule.ms_max.unwrap_or(least);
        match most.saturating_sub(least) {
            0 => least,
            range => least + self.random.next() % (range + 1),
        }
    }
}

/// The faults of one call.
#[derive(Debug, Default)]
pub(crate) struct CallFaults {
    pub(crate) answer: Option<(u16, String)>,
    pub(crate) drop_before: bool,
    pub(crate) drop_after: bool,
    pub(crate) expire_token: bool,
    pub(crate) delay_ms: u64,
    /// Whether the answer waits for a release.
    pub(crate) hold: bool,
    /// Whether the call keeps its record locks until its answer has been sent.
    pub(crate) contend: bool,
    /// How long before its commit the call's transaction started.
    pub(crate) late_ms: i64,
    /// Stamps of the call's records are rounded down to a multiple of this.
    pub(crate) grain_ms: i64,
    user_edits: Vec<UserEdit>,
}

/// An edit that a user makes during a call, and the records that the call names.
#[derive(Clone, Debug)]
struct UserEdit {
    rule: usize,
    named: Vec<Named>,
}

/// A bulk job that is going to fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobFault {
    /// How many rows are processed first. The rest stay unprocessed.
    pub(crate) after_rows: usize,
    /// The error message of the job.
    pub(crate) message: String,
}

impl Org {
    /// Adds the rules of a JSON object or array, or returns what is wrong with them.
    pub(crate) fn declare_faults(&mut self, json: Json) -> Result<(), String> {
        let rules: Vec<Rule> = match json {
            Json::Array(_) => serde_json::from_value(json),
            one => serde_json::from_value(one).map(|rule| vec![rule]),
        }
        .map_err(|error| error.to_string())?;
        for rule in &rules {
            let missing = || self.missing_for(&rule.matching, rule.user.as_ref());
            if let Some(problem) = rule.problem().or_else(missing) {
                return Err(problem);
            }
        }
        for rule in rules {
            self.faults.arm(rule);
        }
        Ok(())
    }
}

impl Faults {
    fn arm(&mut self, rule: Rule) {
        let number = self.rules.len();
        self.rules.push(ActiveRule::new(rule, number));
    }

    /// Stops all rules. Their counts and places are kept.
    pub(crate) fn clear(&mut self) {
        for active in &mut self.rules {
            active.left = Some(0);
        }
    }

    /// Returns how often each action fired.
    pub(crate) fn fired(&self) -> BTreeMap<&'static str, u64> {
        let mut fired = BTreeMap::new();
        for active in self.rules.iter().filter(|active| active.fired > 0) {
            *fired.entry(active.rule.action.name()).or_default() += active.fired;
        }
        fired
    }

    /// Returns every rule with its counts and places.
    pub(crate) fn report(&self) -> Json {
        let place = |(at_ms, what): &(i64, String)| json!({"at_ms": at_ms, "what": what});
        let rule = |(number, active): (usize, &ActiveRule)| {
            json!({
                "rule": number,
                "name": active.rule.name,
                "action": active.rule.action.name(),
                "fired": active.fired,
                "left": active.left,
                "where": active.places.iter().map(place).collect::<Vec<_>>(),
            })
        };
        self.rules.iter().enumerate().map(rule).collect()
    }

    /// Returns the active rules for this target.
    fn waiting(&self, target: Target) -> impl Iterator<Item = usize> {
        let rules = self.rules.iter().enumerate();
        rules.filter_map(move |(number, active)| active.waits(target).then_some(number))
    }

    /// Records that a rule fired.
    fn note(&mut self, rule: usize, now_ms: i64, what: String) {
        let active = &mut self.rules[rule];
        active.fired += 1;
        if active.places.len() == PLACES_MAX {
            active.places.pop_front();
        }
        active.places.push_back((now_ms, what));
    }

    /// Returns the faults of this call and counts those that are certain.
    pub(crate) fn fire(&mut self, request: &Request, now_ms: i64) -> CallFaults {
        let mut outcome = CallFaults::default();
        self.current = Current::default();
        if self.rules.iter().all(|active| active.left == Some(0)) {
            return outcome;
        }
        self.continue_call(request);
        let call = CallSummary::of(request);
        for number in self.waiting(Target::Call).collect::<Vec<_>>() {
            let active = &mut self.rules[number];
            if !active.rule.matching.fits_call(&call) {
                continue;
            }
            if active.rule.action == Action::UserEdit {
                let named = call.records();
                outcome.user_edits.push(UserEdit {
                    rule: number,
                    named,
                });
                continue;
            }
            if active.fires() {
                active.apply(&mut outcome);
                self.note(number, now_ms, call.title());
            }
        }
        outcome
    }

    /// Selects the row rules for work that continues after its call was answered, by the method and
    /// path of that call.
    pub(crate) fn continue_call(&mut self, request: &Request) {
        let call = CallSummary::of(request);
        self.current = Current::default();
        self.current.rows = self
            .waiting(Target::Row)
            .filter(|number| self.rules[*number].rule.matching.fits_path(&call))
            .collect();
    }

    /// Ends the current call.
    pub(crate) fn end_call(&mut self) {
        self.current = Current::default();
    }

    /// Sets the number under which the current call takes record locks.
    pub(crate) fn contend_as(&mut self, holder: u64) {
        self.current.holder = Some(holder);
    }

    /// Returns how a bulk job fails, and counts the fault, or `None` if the job runs normally.
    ///
    /// Called once when the job starts. `operation` is that of the job, such as `insert` or
    /// `upsert`.
    pub(crate) fn fire_job(
        &mut self,
        object: &str,
        operation: &str,
        now_ms: i64,
    ) -> Option<JobFault> {
        for number in self.waiting(Target::Job).collect::<Vec<_>>() {
            let active = &mut self.rules[number];
            let fits = active.rule.matching.fits_work(object, operation);
            if !fits || !active.fires() {
                continue;
            }
            let message = active.rule.message.clone();
            let fault = JobFault {
                after_rows: active.rule.after_rows.unwrap_or(0),
                message: message.unwrap_or_else(|| {
                    "InternalServerError : The job failed after several retries.".to_owned()
                }),
            };
            self.note(number, now_ms, format!("job: {operation} {object}"));
            return Some(fault);
        }
        None
    }
}

impl ActiveRule {
    /// Applies the rule to a call.
    fn apply(&mut self, outcome: &mut CallFaults) {
        match self.rule.action {
            Action::Status => outcome.answer = Some(self.rule.answer()),
            Action::RequestLimit => outcome.answer = Some(self.rule.request_limit()),
            Action::DropBefore => outcome.drop_before = true,
            Action::DropAfter => outcome.drop_after = true,
            Action::ExpireToken => outcome.expire_token = true,
            Action::DelayMs => outcome.delay_ms += self.duration_ms(),
            Action::Hold => outcome.hold = true,
            Action::Contend => outcome.contend = true,
            Action::LateVisible => outcome.late_ms = signed(self.duration_ms()),
            Action::TieStamps => outcome.grain_ms = signed(self.duration_ms()),
            Action::UserEdit
            | Action::RowError
            | Action::Flow
            | Action::FailJob
            | Action::StreamReset
            | Action::DuplicateEvents
            | Action::MissingEvents
            | Action::ReorderEvents
            | Action::ExpireReplay => {}
        }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 2)
}

impl Rule {
    fn answer(&self) -> (u16, String) {
        let body = match &self.body {
            Some(Json::String(text)) => text.clone(),
            Some(json) => json.to_string(),
            None => {
                r#"[{"message":"Service unavailable","errorCode":"SERVER_UNAVAILABLE"}]"#.into()
            }
        };
        (self.status.unwrap_or(503), body)
    }

    fn request_limit(&self) -> (u16, String) {
        let error = json!([{
            "message": "TotalRequests Limit exceeded.",
            "errorCode": "REQUEST_LIMIT_EXCEEDED",
        }]);
        (self.status.unwrap_or(403), error.to_string())
    }
}
