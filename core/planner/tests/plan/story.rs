//! A record with its writes, and observations of it written as text.

use std::collections::BTreeMap;

use syncline_planner::SourceCursor;
use syncline_planner::model::ids::{
    IntentId, ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId,
};
use syncline_planner::model::intent::{Intent, IntentState, WriteAction};
use syncline_planner::model::link::{RemoteState, SyncLink};
use syncline_planner::model::observation::{ObservationKind, SalesforceObservation, Version};
use syncline_planner::model::value::{Payload, Value};
use syncline_planner::observation::{Absorbed, absorb, settle_applied};

use crate::fixture::{field, intent, listed, payload, policy, value};

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

pub(crate) fn id(text: &str) -> SalesforceId {
    SalesforceId::parse(text).expect("an id")
}

pub(crate) const ACCOUNT: &str = "001000000000001";

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
        let action = intent.action;
        let answered = id(ACCOUNT);
        let settled = settle_applied(
            &self.link,
            &policy(""),
            intent,
            (&answered, false),
            &self.parents,
        );
        if action == WriteAction::Create {
            self.link.salesforce_id = Some(answered);
        }
        self.link.base = settled.base;
        self.link.agreed = settled.agreed;
        self.link.remote_state = settled.remote_state;
        let lost = settled.overwritten.into_iter();
        self.overwritten.extend(lost.map(|(_, value)| value));
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
        let shown = fields.iter().map(|(field, held)| (field, &held.value));
        listed(shown).trim().to_owned()
    }

    /// Returns the edits that our writes replaced: logged, or to be decided.
    pub(crate) fn lost(&self) -> Vec<Value> {
        let remote = self.link.remote_state.fields.values();
        let undecided = remote.filter_map(|remote| remote.overwritten.as_ref());
        let undecided = undecided.map(|edit| edit.value.clone());
        self.overwritten.iter().cloned().chain(undecided).collect()
    }

    pub(crate) fn is_late(&self, name: &str) -> bool {
        self.link.remote_state.fields[&field(name)].late_write
    }
}

pub(crate) fn observation(text: &str) -> SalesforceObservation {
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
        Some("unreadable") => ObservationKind::Unreadable,
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
        unreadable: BTreeMap::new(),
        version: version(at),
        cursor: SourceCursor::Snapshot("test".to_owned()),
        ordinal: 0,
        ours: false,
    };
    for word in words {
        match word.split_once('=') {
            None => seen.ours = word == "ours",
            Some(("id", text)) => seen.salesforce_id = id(text),
            Some((name, "unreadable")) => {
                seen.unreadable
                    .insert(field(name), "it is masked".to_owned());
            }
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
