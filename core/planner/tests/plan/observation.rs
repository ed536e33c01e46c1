//! What observations of Salesforce do to a record, by example and over all orders of events.

use std::collections::BTreeMap;

use syncline_planner::SourceCursor;
use syncline_planner::model::ids::{
    IntentId, ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId,
};
use syncline_planner::model::intent::{Intent, IntentState, WriteAction};
use syncline_planner::model::link::{Presence, RemoteState, SyncLink};
use syncline_planner::model::observation::{ObservationKind, SalesforceObservation, Version};
use syncline_planner::model::value::{Payload, Value};
use syncline_planner::observation::{AbsorbStatus, Absorbed, absorb, settle_applied};

use crate::fixture::{field, intent, listed, payload, policy, value, word};

/// A record with its writes, event by event as the store would record them.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) link: SyncLink,
    pub(crate) intents: Vec<Intent>,
    pub(crate) parents: BTreeMap<SalesforceId, String>,
    pub(crate) overwritten: Vec<Value>,
    pub(crate) needs_refresh: bool,
    pub(crate) dirty: bool,
    last: Option<Absorbed>,
}

fn id(text: &str) -> SalesforceId {
    SalesforceId::parse(text).expect("an id")
}

const ACCOUNT: &str = "001000000000001";

impl Story {
    /// A linked record on which both sides agree.
    pub(crate) fn agreed(fields: &str) -> Self {
        let link = SyncLink {
            record_id: RecordId(uuid::Uuid::from_u128(2)),
            tenant: TenantId::parse("acme").expect("a tenant"),
            object: ObjectName::parse("Account").expect("an object"),
            org_epoch: OrgEpoch(1),
            external_id: "K1".to_owned(),
            canonical_id: "k1".to_owned(),
            salesforce_id: None,
            local_key: None,
            base: Payload::new(),
            agreed: false,
            remote_state: RemoteState::default(),
            automation_overrides: BTreeMap::new(),
            version: 1,
        };
        let mut story = Self {
            link,
            intents: Vec::new(),
            parents: BTreeMap::new(),
            overwritten: Vec::new(),
            needs_refresh: false,
            dirty: false,
            last: None,
        };
        if !fields.is_empty() {
            story.sees(&format!("created {fields} @0"));
            story.link.base = payload(fields);
            story.link.agreed = true;
        }
        story.dirty = false;
        story
    }

    pub(crate) fn writes(&mut self, state: IntentState, text: &str) -> usize {
        let place = self.intents.len();
        let intent_id = IntentId(uuid::Uuid::from_u128(10 + place as u128));
        self.intents.push(Intent {
            intent_id,
            ..intent(state, text)
        });
        place
    }

    /// Records the answer to a write: it took effect.
    pub(crate) fn settles(&mut self, place: usize) {
        let intent = &self.intents[place];
        if intent.action == WriteAction::Create {
            self.link.salesforce_id = Some(id(ACCOUNT));
        }
        let settled = settle_applied(&self.link, &policy(""), intent, &self.parents);
        self.link.base = settled.base;
        self.link.agreed = settled.agreed;
        self.link.remote_state = settled.remote_state;
        self.overwritten
            .extend(settled.overwritten.into_iter().map(|(_, value)| value));
        self.intents[place].state = settled.state;
    }

    /// Records `kind [ours] [id=…] Field=value … @commit` (or `@seconds s` for a read without a
    /// commit number).
    pub(crate) fn sees(&mut self, text: &str) -> &Absorbed {
        let seen = observation(text);
        let live: Vec<Intent> = self
            .intents
            .iter()
            .filter(|intent| !matches!(intent.state, IntentState::Confirmed | IntentState::Refused))
            .cloned()
            .collect();
        let absorbed = absorb(&self.link, &live, &seen, &self.parents);
        self.link.remote_state = absorbed.remote_state.clone();
        self.link.salesforce_id = absorbed.salesforce_id.clone();
        self.link.base.extend(absorbed.base_advance.clone());
        self.link.automation_overrides = absorbed.automation_overrides.clone();
        for (intent_id, field) in &absorbed.echoed {
            self.intent(*intent_id).echoed.insert(field.clone());
        }
        for (intent_id, state) in &absorbed.intents {
            self.intent(*intent_id).state = *state;
        }
        self.overwritten
            .extend(absorbed.overwritten.iter().map(|(_, value)| value.clone()));
        let refreshed = matches!(
            seen.kind,
            ObservationKind::Refresh | ObservationKind::FilteredOut
        );
        self.needs_refresh = absorbed.needs_refresh || (self.needs_refresh && !refreshed);
        self.dirty |= absorbed.dirty;
        self.last.insert(absorbed)
    }

    fn intent(&mut self, intent_id: IntentId) -> &mut Intent {
        let known = |intent: &&mut Intent| intent.intent_id == intent_id;
        self.intents
            .iter_mut()
            .find(known)
            .expect("a fold names only intents it was given")
    }

    pub(crate) fn remote_state(&self) -> String {
        let fields = &self.link.remote_state.fields;
        let shown = fields
            .iter()
            .map(|(field, held)| (field.clone(), held.value.clone()));
        listed(&shown.collect()).trim().to_owned()
    }

    fn is_late(&self, name: &str) -> bool {
        self.link.remote_state.fields[&field(name)].late_write
    }
}

fn observation(text: &str) -> SalesforceObservation {
    let (text, at) = text.rsplit_once(" @").expect("a version");
    let mut words = text.split(' ');
    let kind = match words.next() {
        Some("changed") => ObservationKind::Changed,
        Some("created") => ObservationKind::Created,
        Some("undeleted") => ObservationKind::Undeleted,
        Some("snapshot") => ObservationKind::Snapshot,
        Some("refresh") => ObservationKind::Refresh,
        Some("deleted") => ObservationKind::Deleted,
        Some("missing") => ObservationKind::Missing,
        Some("gap") => ObservationKind::Gap,
        Some("unmatched") => ObservationKind::Unmatched,
        Some("filtered_out") => ObservationKind::FilteredOut,
        other => panic!("no such kind: {other:?}"),
    };
    let mut seen = SalesforceObservation {
        object: ObjectName::parse("Account").expect("an object"),
        salesforce_id: id(ACCOUNT),
        external_id: None,
        kind,
        fields: Payload::new(),
        version: version(at),
        cursor: SourceCursor::Snapshot("test".to_owned()),
        ordinal: 0,
        ours: false,
        transaction_key: None,
    };
    for word in words {
        match word.split_once('=') {
            None => seen.ours = word == "ours",
            Some(("id", text)) => seen.salesforce_id = id(text),
            Some((name, text)) => {
                seen.fields.insert(field(name), value(text));
            }
        }
    }
    seen
}

/// `7` is an event of second 7, `7.30` one of second 7 with commit number 30, `7s` a read.
fn version(text: &str) -> Version {
    let seconds = |text: &str| text.parse::<i64>().expect("seconds") * 1_000;
    match (text.strip_suffix('s'), text.split_once('.')) {
        (Some(text), _) => Version::stamped(seconds(text)),
        (None, Some((second, commit))) => Version {
            modified_ms: Some(seconds(second)),
            commit_number: commit.parse().ok(),
        },
        (None, None) => Version {
            modified_ms: Some(seconds(text)),
            commit_number: text.parse().ok(),
        },
    }
}

#[test]
fn an_edit_moves_the_remote_state_and_makes_work() {
    let mut story = Story::agreed("Phone=1");
    let absorbed = story.sees("changed Phone=2 @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty, absorbed.needs_refresh),
        (AbsorbStatus::Taken, true, false)
    );
    assert_eq!(story.remote_state(), "Phone=2");
    assert_eq!(
        story.sees("changed Phone=2 @1").status,
        AbsorbStatus::Unchanged
    );
}

#[test]
fn older_is_superseded_unordered_needs_a_refresh() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @5");
    assert_eq!(
        story.sees("snapshot Phone=1 @4s").status,
        AbsorbStatus::Superseded
    );
    assert_eq!(story.remote_state(), "Phone=2");
    let absorbed = story.sees("snapshot Phone=3 @5s");
    assert_eq!(
        (absorbed.status, absorbed.needs_refresh),
        (AbsorbStatus::NeedsRefresh, true)
    );
    assert_eq!(story.remote_state(), "Phone=2");
    story.sees("refresh Phone=3 @5s");
    assert_eq!(story.remote_state(), "Phone=3");
    assert!(
        !story.sees("refresh Phone=3 @5s").needs_refresh,
        "a second refresh settles it"
    );
}

#[test]
fn an_echo_is_not_work_the_revert_after_it_is() {
    let mut story = Story::agreed("Phone=0");
    let write = story.writes(IntentState::Open, "update Phone=1");
    let absorbed = story.sees("changed ours Phone=1 @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Echo, false)
    );
    story.settles(write);
    assert_eq!(story.intents[write].state, IntentState::Confirmed);
    assert_eq!(listed(&story.link.base), " Phone=1");
    assert!(story.sees("changed Phone=0 @2").dirty);
    assert_eq!(story.remote_state(), "Phone=0");
}

#[test]
fn an_edit_before_our_echo_is_logged_not_applied() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(IntentState::Open, "update Phone=2");
    story.settles(write);
    assert_eq!(story.remote_state(), "Phone=2");
    let absorbed = story.sees("changed Phone=3 @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Superseded, false)
    );
    story.sees("changed ours Phone=2 @2");
    assert_eq!(
        (story.remote_state(), story.overwritten.clone()),
        ("Phone=2".to_owned(), vec![value("3")])
    );
    assert_eq!(story.intents[write].state, IntentState::Confirmed);
}

#[test]
fn an_echo_of_a_replaced_write_does_not_revert() {
    let mut story = Story::agreed("Phone=1");
    for value in ["2", "3"] {
        let write = story.writes(IntentState::Open, &format!("update Phone={value}"));
        story.settles(write);
    }
    assert_eq!(
        story.sees("changed ours Phone=2 @1").status,
        AbsorbStatus::Echo
    );
    assert_eq!(story.remote_state(), "Phone=3");
    assert_eq!(
        story.sees("changed ours Phone=3 @2").status,
        AbsorbStatus::Echo
    );
    assert_eq!(story.remote_state(), "Phone=3");
}

#[test]
fn our_transaction_may_carry_a_flows_change_beside_the_echo() {
    let mut story = Story::agreed("Phone=1 Rating=Cold");
    let write = story.writes(IntentState::Open, "update Phone=2");
    let absorbed = story.sees("changed ours Phone=2 Rating=Hot @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Taken, true)
    );
    assert_eq!(story.remote_state(), "Phone=2 Rating=Hot");
    story.settles(write);
    assert_eq!(listed(&story.link.base), " Phone=2 Rating=Cold");
}

#[test]
fn a_value_that_automation_changes_back_is_counted() {
    let mut story = Story::agreed("Rating=Cold");
    for (round, commit) in [(1, 1), (2, 2)] {
        let write = story.writes(IntentState::Open, "update Rating=Warm");
        story.settles(write);
        story.sees(&format!("changed ours Rating=Hot @{commit}"));
        let automation_override = &story.link.automation_overrides[&field("Rating")];
        assert_eq!(
            (
                automation_override.count,
                word(&automation_override.sent),
                word(&automation_override.stored)
            ),
            (round, "Warm".into(), "Hot".into())
        );
        assert_eq!(story.intents[write].state, IntentState::Confirmed);
    }
    assert_eq!(story.remote_state(), "Rating=Hot");
}

#[test]
fn polling_counts_automation_overrides_too() {
    let mut story = Story::agreed("Rating=Cold");
    let write = story.writes(IntentState::Open, "update Rating=Warm");
    story.settles(write);
    assert!(story.sees("snapshot Rating=Hot @3s").needs_refresh);
    story.sees("refresh ours Rating=Hot @3s");
    assert_eq!(story.link.automation_overrides[&field("Rating")].count, 1);
    assert_eq!(story.remote_state(), "Rating=Hot");
}

#[test]
fn a_late_write_is_marked_an_equal_edit_is_not() {
    let mut story = Story::agreed("Phone=1");
    story.writes(IntentState::Unknown, "update Phone=2");
    story.sees("refresh Phone=1 @0s");
    assert_eq!(story.intents[0].state, IntentState::Abandoned);
    assert!(story.sees("changed ours Phone=2 @4").dirty);
    assert!(story.is_late("Phone"));
    story.sees("refresh ours Phone=2 @5s");
    assert!(story.is_late("Phone"), "a refresh does not undo it");
    story.sees("changed Phone=3 @6");
    story.sees("changed Phone=2 @7");
    assert!(!story.is_late("Phone"), "a person chose the value");
}

#[test]
fn a_refresh_settles_a_write_of_unknown_outcome() {
    let mut story = Story::agreed("Phone=1");
    story.writes(IntentState::Unknown, "update Phone=2");
    let absorbed = story.sees("refresh Phone=2 @3s");
    assert!(absorbed.dirty);
    assert_eq!(story.intents[0].state, IntentState::Confirmed);
    assert_eq!(
        listed(&story.link.base),
        " Phone=2",
        "the base moves with the confirmation"
    );
}

#[test]
fn an_unknown_create_that_left_nothing_is_given_up() {
    let mut story = Story::agreed("");
    story.writes(IntentState::Unknown, "create Phone=1 id=K1");
    let absorbed = story.sees("missing @9s");
    assert_eq!((absorbed.intents.len(), absorbed.dirty), (1, true));
    assert_eq!(story.intents[0].state, IntentState::Abandoned);
    assert_eq!(story.link.remote_state.presence, Presence::Unseen);
}

#[test]
fn an_event_may_create_the_link_before_the_answer_does() {
    let mut story = Story::agreed("");
    let write = story.writes(IntentState::Open, "create Phone=1");
    let absorbed = story.sees("created ours Phone=1 Rating=null @1");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Echo, false)
    );
    assert_eq!(story.link.salesforce_id, Some(id(ACCOUNT)));
    story.settles(write);
    assert!(story.link.agreed);
}

#[test]
fn a_delete_counts_only_for_the_current_id() {
    let mut story = Story::agreed("Phone=1");
    assert_eq!(
        story.sees("deleted id=001000000000009 @5").status,
        AbsorbStatus::Superseded
    );
    assert_eq!(story.link.remote_state.presence, Presence::Present);
    let absorbed = story.sees("deleted @5");
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Taken, true)
    );
    assert_eq!(story.link.remote_state.presence, Presence::Deleted);
    assert_eq!(
        story.sees("changed Phone=2 @4").status,
        AbsorbStatus::Superseded
    );
    story.sees("undeleted Phone=1 @6");
    assert_eq!(story.link.remote_state.presence, Presence::Present);
}

#[test]
fn our_own_delete_coming_back_is_no_work() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(IntentState::Open, "delete");
    assert!(!story.sees("deleted ours @5").dirty);
    story.settles(write);
    assert_eq!((story.link.agreed, story.link.base.len()), (false, 0));
    assert_eq!(story.link.remote_state.presence, Presence::Deleted);
}

#[test]
fn an_observation_before_our_delete_revives_nothing() {
    let mut story = Story::agreed("Phone=1");
    let write = story.writes(IntentState::Open, "delete");
    story.settles(write);
    story.link.salesforce_id = None;
    for seen in ["snapshot Phone=1 @3s", "changed Phone=2 @3"] {
        assert!(story.sees(seen).needs_refresh, "{seen}");
        assert_eq!(
            story.link.remote_state.presence,
            Presence::Deleted,
            "{seen}"
        );
    }
    story.sees("deleted ours @5");
    assert_eq!(
        story.sees("created Phone=1 @4").status,
        AbsorbStatus::Superseded
    );
    assert!(story.sees("created id=001000000000009 Phone=1 @6").dirty);
    assert_eq!(story.link.salesforce_id, Some(id("001000000000009")));
}

#[test]
fn an_old_observation_is_not_an_echo() {
    let mut story = Story::agreed("Phone=1");
    story.sees("changed Phone=2 @5");
    let write = story.writes(IntentState::Open, "update Phone=1");
    story.settles(write);
    assert_eq!(
        story.sees("snapshot Phone=1 @4s").status,
        AbsorbStatus::Superseded
    );
    assert_eq!(story.intents[write].state, IntentState::Applied);
}

#[test]
fn a_second_live_record_needs_a_refresh() {
    let mut story = Story::agreed("Phone=1");
    assert!(
        story
            .sees("created id=001000000000009 Phone=2 @5")
            .needs_refresh
    );
    assert_eq!(story.remote_state(), "Phone=1");
    story.sees("deleted @6");
    story.sees("created id=001000000000009 Phone=2 @7");
    assert_eq!(story.link.salesforce_id, Some(id("001000000000009")));
    assert_eq!(story.remote_state(), "Phone=2");
}

#[test]
fn a_gap_is_read_again() {
    let mut story = Story::agreed("Phone=1");
    let absorbed = story.sees("gap @5");
    assert_eq!(
        (absorbed.status, absorbed.needs_refresh, absorbed.dirty),
        (AbsorbStatus::NeedsRefresh, true, true)
    );
}

#[test]
fn a_reference_is_known_by_its_parents_external_id() {
    let parent = id("001000000000007");
    let mut story = Story::agreed("ParentId=null");
    story.parents = BTreeMap::from([(parent.clone(), "K7".to_owned())]);
    story.writes(IntentState::Open, "update ParentId=K7");
    let absorbed = story.sees(&format!("changed ours ParentId={parent} @1"));
    assert_eq!(
        (absorbed.status, absorbed.dirty),
        (AbsorbStatus::Echo, false)
    );
    assert_eq!(story.remote_state(), format!("ParentId={parent}"));
}

// All orders of a few events.

/// What happens in the small world of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    /// Our write number n commits in Salesforce.
    WriteCommits(usize),
    /// A person's edit commits in Salesforce.
    UserCommits,
    /// The answer to our write number n is settled.
    Settles(usize),
    /// Our write number n is recorded.
    Says(usize),
    /// The next event of the stream is delivered.
    Delivers,
    /// The lease expires before an answer comes.
    Expires,
    /// A refresh reads the record.
    Reads,
    /// What the refresh read is recorded.
    Records,
}

/// One order of happenings as far as it has come.
#[derive(Clone)]
struct Run {
    story: Story,
    /// What is committed in Salesforce: value and whether it is ours.
    commits: Vec<(&'static str, bool)>,
    delivered: usize,
    read: Option<usize>,
    /// All commits fall into one second.
    one_second: bool,
    trace: Vec<Happening>,
}

const SENT: [&str; 2] = ["2", "4"];
const USERS: &str = "3";

impl Run {
    fn at(&self, commit: usize) -> String {
        if self.one_second {
            format!("1.{commit}")
        } else {
            commit.to_string()
        }
    }

    fn held(&self, commits: usize) -> &'static str {
        commits
            .checked_sub(1)
            .map_or("1", |last| self.commits[last].0)
    }

    fn refreshes(&mut self, commits: usize) {
        let second = if self.one_second {
            1.min(commits)
        } else {
            commits
        };
        let ours = commits > 0 && self.commits[commits - 1].1;
        let hint = if ours { "ours " } else { "" };
        let text = format!("refresh {hint}F={} @{second}s", self.held(commits));
        self.story.sees(&text);
    }

    /// Lets it happen, or returns false if it cannot happen now.
    fn happens(&mut self, happening: Happening) -> bool {
        use Happening::{
            Delivers, Expires, Reads, Records, Says, Settles, UserCommits, WriteCommits,
        };
        let done = |happening| self.trace.contains(&happening);
        let possible = match happening {
            WriteCommits(0) | UserCommits => true,
            WriteCommits(n) => done(Says(n)),
            Settles(n) => done(WriteCommits(n)) && !done(Expires),
            Says(_) => done(Settles(0)) && self.story.remote_state() == "F=2",
            Delivers => self.delivered < self.commits.len(),
            Expires => !done(Settles(0)),
            Reads => done(Expires),
            Records => done(Reads),
        };
        if !possible {
            return false;
        }
        match happening {
            WriteCommits(n) => self.commits.push((SENT[n], true)),
            UserCommits => self.commits.push((USERS, false)),
            Settles(n) => self.story.settles(n),
            Says(n) => {
                self.story
                    .writes(IntentState::Open, &format!("update F={}", SENT[n]));
            }
            Delivers => {
                let (value, ours) = self.commits[self.delivered];
                self.delivered += 1;
                let hint = if ours { "ours " } else { "" };
                let at = self.at(self.delivered);
                self.story.sees(&format!("changed {hint}F={value} @{at}"));
            }
            Expires => self.story.intents[0].state = IntentState::Unknown,
            Reads => self.read = Some(self.commits.len()),
            Records => self.refreshes(self.read.expect("a refresh reads before it is recorded")),
        }
        self.trace.push(happening);
        true
    }

    /// Runs every order of what is left and judges each at its end. Returns how many there were.
    fn all_orders(&self, left: &[Happening], plan_row: &dyn Fn(&mut Run)) -> usize {
        let mut orders = 0;
        for (place, happening) in left.iter().enumerate() {
            if left[..place].contains(happening) {
                continue;
            }
            let mut run = self.clone();
            if run.happens(*happening) {
                let mut rest = left.to_vec();
                rest.remove(place);
                orders += run.all_orders(&rest, plan_row);
            }
        }
        if orders == 0 {
            let mut run = self.clone();
            while run.happens(Happening::Delivers) {}
            plan_row(&mut run);
            return 1;
        }
        orders
    }
}

fn small_world(one_second: bool) -> Run {
    let mut story = Story::agreed("F=1");
    story.writes(IntentState::Open, "update F=2");
    Run {
        story,
        commits: Vec::new(),
        delivered: 0,
        read: None,
        one_second,
        trace: Vec::new(),
    }
}

/// The remote state ends as Salesforce does, after a refresh where one is needed.
fn converges(run: &mut Run) {
    for _ in 0..2 {
        if run.story.needs_refresh {
            run.refreshes(run.commits.len());
        }
    }
    let held = run.held(run.commits.len());
    assert_eq!(
        run.story.remote_state(),
        format!("F={held}"),
        "{:?}",
        run.trace
    );
    assert!(
        !run.story.needs_refresh,
        "refreshes come to an end: {:?}",
        run.trace
    );
}

#[test]
fn in_every_order_no_edit_is_lost_unlogged() {
    use Happening::{Delivers, Says, Settles, UserCommits, WriteCommits};
    let left = [
        WriteCommits(0),
        UserCommits,
        Settles(0),
        Says(1),
        WriteCommits(1),
        Settles(1),
        Delivers,
        Delivers,
        Delivers,
    ];
    for one_second in [false, true] {
        let orders = small_world(one_second).all_orders(&left, &|run| {
            converges(run);
            let last = run.commits.last().map(|(value, _)| *value);
            let stands =
                run.commits.iter().all(|(value, _)| *value != USERS) || last == Some(USERS);
            let logged = run
                .story
                .overwritten
                .iter()
                .filter(|lost| **lost == value(USERS))
                .count();
            assert_eq!(logged, usize::from(!stands), "{:?}", run.trace);
            assert_eq!(
                run.story.overwritten.len(),
                logged,
                "only users' values: {:?}",
                run.trace
            );
        });
        assert!(orders > 100, "{orders} orders");
    }
}

#[test]
fn in_every_order_a_late_write_is_never_an_edit() {
    use Happening::{Delivers, Expires, Reads, Records, UserCommits, WriteCommits};
    let left = [
        WriteCommits(0),
        UserCommits,
        Expires,
        Reads,
        Records,
        Delivers,
        Delivers,
    ];
    for one_second in [false, true] {
        let orders = small_world(one_second).all_orders(&left, &|run| {
            converges(run);
            let place = |happening| run.trace.iter().position(|seen| *seen == happening);
            let late = place(WriteCommits(0)) > place(Records);
            let stands = run.held(run.commits.len()) == "2";
            if late && stands {
                assert!(run.story.is_late("F"), "{:?}", run.trace);
            }
            if !stands {
                assert!(!run.story.is_late("F"), "{:?}", run.trace);
            }
        });
        assert!(orders > 50, "{orders} orders");
    }
}
