//! Weather: what is to go wrong, when, and where it did.
//!
//! A rule waits for its chances: calls, records within calls, bulk jobs, deliveries of events,
//! subscriptions. At each it strikes or not, by count and by a probability drawn from a seed, so
//! that the same calls meet the same weather. [`Faults`] only decides and counts; whoever has the
//! call, the record or the events in hand does what it says.

mod events;
mod fault;
pub(crate) mod locks;
mod matching;
mod operation;
mod people;
mod rows;
mod rule;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::Org;
use crate::model::Dice;
use crate::rest::message::Request;
use operation::{Named, Sight};
use rule::{Action, Rule, Scope};

pub(crate) use events::Delivered;
pub use fault::{Fault, FaultAction};
pub(crate) use rows::Writing;
pub(crate) use rule::Moment;

/// How many of a rule's strikes are remembered with their place, the newest.
const PLACES_MAX: usize = 100;

/// What the chances of a rule without a seed are drawn from, beside its number.
const SEED: u64 = 0x5745_4154_4845_5221;

/// The declared rules and what they did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Faults {
    rules: Vec<Armed>,
    #[serde(skip)]
    current: Current,
}

/// The call that the org is working on.
#[derive(Debug, Default)]
struct Current {
    /// Rules for records whose method and path the call has.
    rows: Vec<usize>,
    /// Under which number the call takes record locks, if it does.
    holder: Option<u64>,
}

/// A declared rule and how far it is used up.
#[derive(Debug, Serialize, Deserialize)]
struct Armed {
    rule: Rule,
    /// How often it still strikes; `None` for ever.
    left: Option<u32>,
    skip: u32,
    dice: Dice,
    struck: u64,
    places: VecDeque<(i64, String)>,
}

impl Armed {
    fn new(rule: Rule, number: usize) -> Self {
        let seed = rule.seed.unwrap_or(SEED ^ number as u64);
        let once = rule.probability.is_none().then_some(1);
        Self {
            left: rule.count.or(once),
            skip: rule.skip,
            dice: Dice::seeded(seed),
            struck: 0,
            places: VecDeque::new(),
            rule,
        }
    }

    fn waits(&self, scope: Scope) -> bool {
        self.left != Some(0) && self.rule.action.scope() == scope
    }

    /// Takes a chance; `true` says that the rule strikes.
    fn take_chance(&mut self) -> bool {
        if self.left == Some(0) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(probability) = self.rule.probability
            && self.dice.share() >= probability
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
            range => least + self.dice.next() % (range + 1),
        }
    }
}

/// What happens to one call.
#[derive(Debug, Default)]
pub(crate) struct Fired {
    pub(crate) answer: Option<(u16, String)>,
    pub(crate) drop_before: bool,
    pub(crate) drop_after: bool,
    pub(crate) expire_token: bool,
    pub(crate) delay_ms: u64,
    /// Whether the answer waits for a release.
    pub(crate) hold: bool,
    /// Whether the call keeps the locks of its records until its answer has left.
    pub(crate) contend: bool,
    /// How long before its commit the call's transaction started.
    pub(crate) late_ms: i64,
    /// The grid that the stamps of the call's records lie on.
    pub(crate) grain_ms: i64,
    people: Vec<Visitor>,
}

/// A person who waits for a call, and the records that the call names.
#[derive(Clone, Debug)]
struct Visitor {
    rule: usize,
    named: Vec<Named>,
}

/// A bulk job that is to fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobFault {
    /// How many rows are processed first; the rest stay unprocessed.
    pub(crate) after_rows: usize,
    /// What the job says went wrong.
    pub(crate) message: String,
}

impl Org {
    /// Adds the rules that a JSON object or array declares, or says what is wrong with them.
    pub(crate) fn declare_faults(&mut self, json: Json) -> Result<(), String> {
        let rules: Vec<Rule> = match json {
            Json::Array(_) => serde_json::from_value(json),
            one => serde_json::from_value(one).map(|rule| vec![rule]),
        }
        .map_err(|error| error.to_string())?;
        for rule in &rules {
            let missing = || self.missing_for(&rule.matching, rule.user.as_ref());
            if let Some(complaint) = rule.complaint().or_else(missing) {
                return Err(complaint);
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
        self.rules.push(Armed::new(rule, number));
    }

    /// Lets no rule strike any more; what struck stays counted.
    pub(crate) fn clear(&mut self) {
        for armed in &mut self.rules {
            armed.left = Some(0);
        }
    }

    /// Returns how often each action struck.
    pub(crate) fn fired(&self) -> BTreeMap<&'static str, u64> {
        let mut fired = BTreeMap::new();
        for armed in self.rules.iter().filter(|armed| armed.struck > 0) {
            *fired.entry(armed.rule.action.name()).or_default() += armed.struck;
        }
        fired
    }

    /// Returns every rule with what it did, and where.
    pub(crate) fn report(&self) -> Json {
        let place = |(at_ms, what): &(i64, String)| json!({"at_ms": at_ms, "what": what});
        let rule = |(number, armed): (usize, &Armed)| {
            json!({
                "rule": number,
                "name": armed.rule.name,
                "action": armed.rule.action.name(),
                "fired": armed.struck,
                "left": armed.left,
                "where": armed.places.iter().map(place).collect::<Vec<_>>(),
            })
        };
        self.rules.iter().enumerate().map(rule).collect()
    }

    /// Returns the rules that wait for chances of this kind.
    fn waiting(&self, scope: Scope) -> impl Iterator<Item = usize> {
        let rules = self.rules.iter().enumerate();
        rules.filter_map(move |(number, armed)| armed.waits(scope).then_some(number))
    }

    /// Counts a strike.
    fn note(&mut self, rule: usize, now_ms: i64, what: String) {
        let armed = &mut self.rules[rule];
        armed.struck += 1;
        if armed.places.len() == PLACES_MAX {
            armed.places.pop_front();
        }
        armed.places.push_back((now_ms, what));
    }

    /// Returns what happens to this call, and counts what is certain.
    pub(crate) fn fire(&mut self, request: &Request, now_ms: i64) -> Fired {
        let mut outcome = Fired::default();
        self.current = Current::default();
        if self.rules.iter().all(|armed| armed.left == Some(0)) {
            return outcome;
        }
        self.resume(request);
        let sight = Sight::of(request);
        for number in self.waiting(Scope::Call).collect::<Vec<_>>() {
            let armed = &mut self.rules[number];
            if !armed.rule.matching.fits_call(&sight) {
                continue;
            }
            if armed.rule.action == Action::Person {
                let named = sight.records();
                outcome.people.push(Visitor {
                    rule: number,
                    named,
                });
                continue;
            }
            if armed.take_chance() {
                armed.strike(&mut outcome);
                self.note(number, now_ms, sight.title());
            }
        }
        outcome
    }

    /// Says that work goes on behind a call that was answered before: its records meet the weather
    /// that is declared for its method and path.
    pub(crate) fn resume(&mut self, request: &Request) {
        let sight = Sight::of(request);
        self.current = Current::default();
        self.current.rows = self
            .waiting(Scope::Row)
            .filter(|number| self.rules[*number].rule.matching.fits_path(&sight))
            .collect();
    }

    /// Says that the call is over.
    pub(crate) fn leave(&mut self) {
        self.current = Current::default();
    }

    /// Says under which number the call takes record locks.
    pub(crate) fn contend_as(&mut self, holder: u64) {
        self.current.holder = Some(holder);
    }

    /// Returns how a bulk job is to fail, and counts it; `None` lets it run.
    ///
    /// Asked once when the job begins. `operation` is that of the job: `insert`, `upsert` and so on.
    pub(crate) fn fire_job(
        &mut self,
        object: &str,
        operation: &str,
        now_ms: i64,
    ) -> Option<JobFault> {
        for number in self.waiting(Scope::Job).collect::<Vec<_>>() {
            let armed = &mut self.rules[number];
            let fits = armed.rule.matching.fits_work(object, operation);
            if !fits || !armed.take_chance() {
                continue;
            }
            let message = armed.rule.message.clone();
            let fault = JobFault {
                after_rows: armed.rule.after_rows.unwrap_or(0),
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

impl Armed {
    /// Does to a call what the rule says.
    fn strike(&mut self, outcome: &mut Fired) {
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
            Action::Person
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
