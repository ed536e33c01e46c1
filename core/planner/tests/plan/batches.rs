//! Which record an observation belongs to, and what a batch leaves of it to save.

use std::collections::BTreeMap;

use syncline_planner::identity::KnownRecord;
use syncline_planner::identity::observations::{
    KnownState, ObservationBatch, Origin, SeenRecord, external_id,
};
use syncline_planner::model::ids::{IntentId, ObjectName, OrgEpoch, RecordId, TenantId};
use syncline_planner::model::intent::{Intent, IntentState, WriteAction};
use syncline_planner::model::key::KeyForm;
use syncline_planner::model::link::{
    BeforeDelete, OverwrittenEdit, Presence, RemoteState, Replaced,
};
use syncline_planner::model::observation::{SalesforceObservation, Version};
use syncline_planner::model::value::Value;
use syncline_planner::observation::AbsorbStatus;

use crate::fixture::{field, intent};
use crate::story::{ACCOUNT, Story, id, observation};

const SUCCESSOR: &str = "001000000000002";

fn object() -> ObjectName {
    ObjectName::parse("Account").unwrap()
}

/// A record that both sides have, known as K1 and by the Salesforce id of the observations.
fn known() -> KnownRecord {
    KnownRecord {
        link: Story::agreed("Phone=1").link,
        generated: false,
        key_conflict: false,
        postgres_presence: Presence::Present,
        postgres_changed_at_ms: None,
        postgres_edited: BTreeMap::new(),
    }
}

/// A record of this number and external id that Salesforce has not shown.
fn unseen(record: u128, key: &str) -> KnownRecord {
    let mut known = known();
    known.link.record_id = RecordId(uuid::Uuid::from_u128(record));
    key.clone_into(&mut known.link.external_id);
    known.link.canonical_id = key.to_lowercase();
    known.link.salesforce_id = None;
    known.link.remote_state = RemoteState::default();
    known
}

/// A record that was seen in Salesforce without its external id, and nowhere else.
fn provisional() -> KnownRecord {
    let mut known = known();
    "generated".clone_into(&mut known.link.external_id);
    "generated".clone_into(&mut known.link.canonical_id);
    known.link.agreed = false;
    known.generated = true;
    known.postgres_presence = Presence::Unseen;
    known
}

fn batch(records: impl Into<Vec<KnownRecord>>) -> ObservationBatch {
    ObservationBatch::new(KnownState {
        records: records.into(),
        ..KnownState::default()
    })
}

/// The records, of which the first had the Salesforce id of the observations before.
fn after_former(records: Vec<KnownRecord>) -> ObservationBatch {
    let former = ((object(), id(ACCOUNT)), records[0].link.record_id);
    ObservationBatch::new(KnownState {
        former: [former].into(),
        records,
        ..KnownState::default()
    })
}

fn named(text: &str, key: &str) -> SalesforceObservation {
    SalesforceObservation {
        external_id: Some(key.to_owned()),
        ..observation(text)
    }
}

/// Absorbs the observation, and returns the place of its record.
fn take(batch: &mut ObservationBatch, seen: &SalesforceObservation) -> Option<usize> {
    take_in(OrgEpoch(1), batch, seen).0
}

fn take_in(
    org_epoch: OrgEpoch,
    batch: &mut ObservationBatch,
    seen: &SalesforceObservation,
) -> (Option<usize>, AbsorbStatus) {
    let origin = Origin {
        tenant: &TenantId::parse("acme").unwrap(),
        organization_id: &id("00D000000000001"),
        org_epoch,
        key_form: KeyForm::CaseFolded,
    };
    let taken = batch.take(origin, seen);
    (taken.place, taken.status)
}

fn is_linked_to(record: &SeenRecord, salesforce_id: &str) -> bool {
    record.known.link.salesforce_id == Some(id(salesforce_id))
}

#[test]
fn new_changed_and_unchanged_records_are_told_apart() {
    let other = KnownRecord {
        link: unseen(3, "K3").link,
        ..known()
    };
    let mut batch = batch([known(), other.clone()]);
    let changed = take(&mut batch, &observation("changed Phone=2 @5")).unwrap();
    let new = named("created id=001000000000009 Phone=1 @6", "K9");
    let new = take(&mut batch, &new).unwrap();
    assert_eq!((changed, new, batch.records().len()), (0, 2, 3));
    let shown = |place: usize| {
        let record = &batch.records()[place];
        (record.is_new(), record.is_changed(), record.has_arrived())
    };
    assert_eq!(shown(changed), (false, true, false));
    assert_eq!(shown(1), (false, false, false));
    assert_eq!(shown(new), (true, false, true));
    assert_eq!(batch.records()[1].before(), Some(&other));
    assert_eq!(batch.records()[new].before(), None);
    assert!(batch.records()[changed].dirty && !batch.records()[1].dirty);
}

#[test]
fn new_record_is_given_its_id_in_place() {
    let mut batch = batch([]);
    take(&mut batch, &named("created Phone=1 @5", "K9"));
    let given = RecordId(uuid::Uuid::from_u128(77));
    for record in batch.records_mut() {
        record.known.link.record_id = given;
    }
    let kept: Vec<_> = batch.records().iter().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].known.link.record_id, given);
    assert_eq!(kept[0].known.link.external_id, "K9");
}

#[test]
fn record_arrives_in_salesforce_once() {
    let mut batch = batch([unseen(3, "K3")]);
    assert_eq!(
        take(&mut batch, &named("created Phone=1 @5", "k3")),
        Some(0)
    );
    let record = &batch.records()[0];
    assert!(record.has_arrived() && !record.is_new());
    assert!(is_linked_to(record, ACCOUNT));
}

#[test]
fn blank_external_id_is_none() {
    for blank in ["", "  "] {
        assert_eq!(external_id(&named("created @1", blank)), None, "{blank:?}");
    }
    assert_eq!(external_id(&named("created @1", "K1")), Some("K1"));
    assert_eq!(external_id(&observation("created @1")), None);
}

#[test]
fn another_org_shows_nothing_of_the_former_one() {
    let mut same = batch([known()]);
    take(&mut same, &observation("changed Name=Ada @5"));
    let fields = |batch: &ObservationBatch| {
        let link = &batch.records()[0].known.link;
        (link.org_epoch, link.remote_state.fields.len())
    };
    assert_eq!(fields(&same), (OrgEpoch(1), 2));
    let mut other = batch([known()]);
    take_in(OrgEpoch(2), &mut other, &observation("changed Name=Ada @5"));
    assert_eq!(fields(&other), (OrgEpoch(2), 1));
}

#[test]
fn record_takes_its_real_external_id_when_it_is_shown() {
    let mut loaded = batch([provisional()]);
    let shown = named("refresh Phone=1 @5s", "K5");
    assert_eq!(take(&mut loaded, &shown), Some(0));
    let record = &loaded.records()[0];
    assert_eq!(record.known.link.external_id, "K5");
    assert_eq!(record.known.link.canonical_id, "k5");
    assert!(record.moved && !record.known.generated && !record.merged);
    let mut new = batch([]);
    take(&mut new, &observation("gap @1"));
    assert!(new.records()[0].known.generated);
    assert_eq!(take(&mut new, &shown), Some(0));
    assert_eq!(new.records().len(), 1);
    assert!(!new.records()[0].moved, "no link has its former name");
}

#[test]
fn confirmed_external_id_is_kept_whatever_is_shown() {
    let agreed = KnownRecord {
        link: known().link,
        ..provisional()
    };
    let in_postgres = KnownRecord {
        postgres_presence: Presence::Present,
        ..provisional()
    };
    let given = KnownRecord {
        generated: false,
        ..provisional()
    };
    for record in [agreed, in_postgres, given] {
        let key = record.link.external_id.clone();
        let mut batch = batch([record]);
        take(&mut batch, &named("refresh Phone=1 @5s", "K5"));
        let kept = &batch.records()[0];
        assert_eq!(kept.known.link.external_id, key);
        assert!(!kept.moved);
    }
}

#[test]
fn provisional_record_joins_the_one_that_waits_for_it() {
    let mut waiting = batch([provisional(), unseen(3, "K3")]);
    let shown = named("refresh Phone=1 @5s", "K3");
    assert_eq!(take(&mut waiting, &shown), Some(1));
    assert!(waiting.records()[0].merged && !waiting.records()[1].merged);
    assert!(is_linked_to(&waiting.records()[1], ACCOUNT));
    assert_eq!(take(&mut waiting, &observation("changed @6")), Some(1));
    let mut holder = unseen(3, "K3");
    holder.link.salesforce_id = Some(id(SUCCESSOR));
    let mut held = batch([provisional(), holder]);
    assert_eq!(take(&mut held, &shown), Some(0), "it has a record already");
    assert!(!held.records()[0].merged);
    assert!(is_linked_to(&held.records()[1], SUCCESSOR));
}

#[test]
fn late_event_is_ordered_against_the_delete() {
    let mut deleted = known();
    deleted.link.salesforce_id = None;
    deleted.link.remote_state.presence = Presence::Deleted;
    deleted.link.remote_state.presence_version = observation("deleted @9").version;
    let late = observation("changed Phone=2 @5");
    let mut batch = after_former(vec![deleted]);
    let taken = take_in(OrgEpoch(1), &mut batch, &late);
    assert_eq!(taken, (Some(0), AbsorbStatus::Superseded));
    let link = &batch.records()[0].known.link;
    assert_eq!(link.remote_state.presence, Presence::Deleted);
}

#[test]
fn later_event_of_the_former_id_revives_only_that_record() {
    let mut deleted = known();
    deleted.link.salesforce_id = None;
    deleted.link.remote_state.presence = Presence::Deleted;
    deleted.link.remote_state.presence_version = observation("deleted @9").version;
    let mut revived = after_former(vec![deleted.clone()]);
    take(&mut revived, &observation("changed Phone=2 @12"));
    let link = &revived.records()[0].known.link;
    assert_eq!(link.remote_state.presence, Presence::Present);
    let mut created = batch([deleted]);
    take(&mut created, &named("created Name=Bea @12", "K1"));
    let fields = &created.records()[0].known.link.remote_state.fields;
    assert_eq!(fields.keys().collect::<Vec<_>>(), [&field("Name")]);
}

#[test]
fn echo_of_a_part_is_kept_with_its_write() {
    let record = known();
    let write = |number: u128, fields: &str| Intent {
        intent_id: IntentId(uuid::Uuid::from_u128(number)),
        record_id: record.link.record_id,
        ..intent(IntentState::Open, fields)
    };
    let writes = vec![
        write(1, "update Fax=1"),
        write(2, "update Phone=2 Name=Bea"),
    ];
    let mut batch = ObservationBatch::new(KnownState {
        intents: [(record.link.record_id, writes)].into(),
        records: vec![record],
        ..KnownState::default()
    });
    take(&mut batch, &observation("changed ours Phone=2 @5"));
    let live = &batch.records()[0].live;
    let echoed: Vec<usize> = live.iter().map(|write| write.echoed.len()).collect();
    assert_eq!(echoed, [0, 1]);
}

#[test]
fn undecided_edit_of_a_record_that_goes_is_to_be_logged() {
    let mut record = known();
    let fields = &mut record.link.remote_state.fields;
    fields.get_mut(&field("Phone")).unwrap().overwritten = Some(OverwrittenEdit {
        value: Value::text("2"),
        version: Version::default(),
        edited: None,
        base: None,
    });
    let mut batch = batch([record]);
    assert_eq!(batch.records()[0].overwritten(), []);
    take(&mut batch, &observation("deleted @9"));
    let lost = batch.records()[0].overwritten();
    assert_eq!(lost, [(field("Phone"), Value::text("2"))]);
}

#[test]
fn live_record_whose_link_went_on_is_another() {
    let mut moved = known();
    moved.link.salesforce_id = Some(id(SUCCESSOR));
    let mut batch = after_former(vec![moved]);
    assert_eq!(
        take(&mut batch, &observation("changed Phone=2 @5")),
        Some(0),
        "an event of the former one"
    );
    assert_eq!(
        take(&mut batch, &named("undeleted Phone=2 @6", "K9")),
        Some(1)
    );
    assert!(batch.records()[1].is_new());
}

#[test]
fn event_goes_to_its_external_id_unless_we_deleted_its_record() {
    let before_delete = |salesforce_id: &str| {
        Some(BeforeDelete {
            salesforce_id: id(salesforce_id),
            fields: BTreeMap::new(),
        })
    };
    let mut recreated = unseen(1, "K1");
    recreated.link.salesforce_id = Some(id(SUCCESSOR));
    recreated.link.remote_state.before_delete = before_delete(ACCOUNT);
    let mut deleted_later = unseen(1, "K1");
    deleted_later.link.remote_state.before_delete = before_delete(SUCCESSOR);
    let mut deleted = unseen(1, "K1");
    deleted.link.remote_state.before_delete = before_delete(ACCOUNT);
    for (first, place) in [(recreated, 1), (deleted_later, 1), (deleted, 0)] {
        let mut batch = after_former(vec![first, unseen(2, "K2")]);
        let seen = named("changed Phone=2 @5", "K2");
        assert_eq!(take(&mut batch, &seen), Some(place));
    }
}

#[test]
fn settled_write_is_saved_and_waits_for_no_echo() {
    let record = known();
    let write = |state, fields: &str| Intent {
        record_id: record.link.record_id,
        ..intent(state, fields)
    };
    let echoed = write(IntentState::Applied, "update Phone=2");
    assert_eq!(echoed.action, WriteAction::Update);
    let mut batch = ObservationBatch::new(KnownState {
        intents: [(record.link.record_id, vec![echoed])].into(),
        records: vec![record],
        ..KnownState::default()
    });
    take(&mut batch, &observation("changed Name=Ada @4"));
    let saved = |batch: &ObservationBatch| {
        let record = &batch.records()[0];
        let touched: Vec<_> = record.touched_intents().map(|one| one.state).collect();
        (touched, record.live.len(), record.ended.len())
    };
    assert_eq!(saved(&batch), (vec![], 1, 0));
    take(&mut batch, &observation("changed ours Phone=2 @5"));
    assert_eq!(saved(&batch), (vec![IntentState::Confirmed], 0, 1));
}

#[test]
fn work_that_an_observation_makes_outlasts_the_next() {
    let mut batch = batch([known()]);
    take(&mut batch, &observation("gap @5"));
    assert!(batch.records()[0].needs_refresh);
    take(&mut batch, &observation("changed Phone=2 @6"));
    take(&mut batch, &observation("changed Phone=1 @1"));
    let record = &batch.records()[0];
    assert!(record.needs_refresh && record.dirty);
}

#[test]
fn write_keeps_when_the_row_was_edited_until_a_later_edit() {
    let replaced = |before: Option<Version>| {
        Some(Replaced {
            after: Version::default(),
            before,
            base: None,
            seen: None,
            row_edited_ms: None,
        })
    };
    for (before, kept) in [(None, Some(7)), (Some(Version::default()), None)] {
        let mut record = known();
        record.postgres_edited.insert(field("Phone"), 7);
        let fields = &mut record.link.remote_state.fields;
        fields.get_mut(&field("Phone")).unwrap().replaced = replaced(before);
        record.keep_sent_times();
        let remote = &record.link.remote_state.fields[&field("Phone")];
        assert_eq!(remote.replaced.as_ref().unwrap().row_edited_ms, kept);
        assert_eq!(remote.value, Value::text("1"));
    }
}
