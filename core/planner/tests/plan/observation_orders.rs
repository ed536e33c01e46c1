//! What observations of Salesforce do to a record, over all orders of events.

use syncline_planner::model::intent::IntentState;

use crate::fixture::value;
use crate::story::Story;

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
    /// The event of commit number n is delivered, out of order.
    Arrives(usize),
    /// The lease expires before an answer comes.
    Expires,
    /// A refresh reads the record.
    Reads,
    /// What the refresh read is recorded.
    Records,
}

/// The steps so far of one order.
#[derive(Clone)]
struct Run {
    story: Story,
    /// What is committed in Salesforce: value and whether it is ours.
    commits: Vec<(&'static str, bool)>,
    delivered: usize,
    arrived: Vec<usize>,
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

    fn delivers(&mut self, commit: usize) {
        let (value, ours) = self.commits[commit];
        let hint = if ours { "ours " } else { "" };
        let at = self.at(commit + 1);
        self.story.sees(&format!("changed {hint}F={value} @{at}"));
    }

    /// Performs the step, or returns false if it is not possible now.
    fn happens(&mut self, happening: Happening) -> bool {
        use Happening::{
            Arrives, Delivers, Expires, Reads, Records, Says, Settles, UserCommits, WriteCommits,
        };
        let done = |happening| self.trace.contains(&happening);
        let possible = match happening {
            WriteCommits(0) | UserCommits => true,
            WriteCommits(n) => done(Says(n)),
            Settles(n) => done(WriteCommits(n)) && !done(Expires),
            Says(_) => done(Settles(0)) && self.story.remote_state() == "F=2",
            Delivers => self.delivered < self.commits.len() && self.arrived.is_empty(),
            Arrives(n) => n < self.commits.len() && !self.arrived.contains(&n),
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
                self.delivers(self.delivered);
                self.delivered += 1;
            }
            Arrives(n) => {
                self.delivers(n);
                self.arrived.push(n);
            }
            Expires => self.story.intents[0].state = IntentState::Unknown,
            Reads => self.read = Some(self.commits.len()),
            Records => self.refreshes(self.read.expect("a refresh reads before it is recorded")),
        }
        self.trace.push(happening);
        true
    }

    /// Tries every order of the remaining steps and checks each at its end. Returns their number.
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
            for event in 0..run.commits.len() {
                if run.delivered == 0 {
                    run.happens(Happening::Arrives(event));
                }
            }
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
        arrived: Vec::new(),
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

/// The user's edit stands in Salesforce, or it is lost once; nothing else is.
fn loses_no_edit_unseen(run: &mut Run) {
    converges(run);
    let last = run.commits.last().map(|(value, _)| *value);
    let stands = run.commits.iter().all(|(value, _)| *value != USERS) || last == Some(USERS);
    let lost = run.story.lost();
    let logged = lost.iter().filter(|lost| **lost == value(USERS)).count();
    assert_eq!(logged, usize::from(!stands), "{:?}", run.trace);
    assert_eq!(lost.len(), logged, "only users' values: {:?}", run.trace);
}

#[test]
fn in_every_order_no_edit_is_lost_unlogged() {
    use Happening::{Arrives, Delivers, Says, Settles, UserCommits, WriteCommits};
    let events = [
        [Delivers, Delivers, Delivers],
        [Arrives(0), Arrives(1), Arrives(2)],
    ];
    for (one_second, events) in [
        (false, events[0]),
        (true, events[0]),
        (false, events[1]),
        (true, events[1]),
    ] {
        let mut left = vec![
            WriteCommits(0),
            UserCommits,
            Settles(0),
            Says(1),
            WriteCommits(1),
            Settles(1),
        ];
        left.extend(events);
        let orders = small_world(one_second).all_orders(&left, &loses_no_edit_unseen);
        assert!(orders > 100, "{orders} orders");
    }
}

#[test]
fn in_every_order_no_edit_is_lost_unlogged_after_a_lost_answer() {
    use Happening::{Arrives, Expires, Reads, Records, UserCommits, WriteCommits};
    let left = [
        WriteCommits(0),
        UserCommits,
        Expires,
        Reads,
        Records,
        Arrives(0),
        Arrives(1),
    ];
    for one_second in [false, true] {
        let orders = small_world(one_second).all_orders(&left, &|run| {
            let place = |happening| run.trace.iter().position(|seen| *seen == happening);
            // A late write replaces an edit that was read: its plan decides.
            if place(WriteCommits(0)) < place(Reads) {
                loses_no_edit_unseen(run);
            } else {
                converges(run);
            }
        });
        assert!(orders > 50, "{orders} orders");
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
