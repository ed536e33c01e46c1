//! Every short sequence of observations of two Salesforce records: no key belongs to two records.

use std::collections::{BTreeMap, BTreeSet};

use syncline_planner::SourceCursor;
use syncline_planner::identity::KnownRecord;
use syncline_planner::identity::observations::{KnownState, ObservationBatch, Origin};
use syncline_planner::model::SyncLink;
use syncline_planner::model::ids::{ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId};
use syncline_planner::model::key::KeyForm;
use syncline_planner::model::link::{BeforeDelete, Presence, RemoteState};
use syncline_planner::model::observation::{ObservationKind, SalesforceObservation, Version};
use syncline_planner::model::value::Payload;

const RECORDS: [&str; 2] = ["001000000000001", "001000000000002"];
const KEYS: [Option<&str>; 3] = [None, Some("K1"), Some("K2")];
const KINDS: [ObservationKind; 5] = [
    ObservationKind::Created,
    ObservationKind::Changed,
    ObservationKind::Refresh,
    ObservationKind::Gap,
    ObservationKind::Deleted,
];

fn id(text: &str) -> SalesforceId {
    SalesforceId::parse(text).unwrap()
}

fn observation(
    kind: ObservationKind,
    record: &str,
    key: Option<&str>,
    commit_number: i64,
) -> SalesforceObservation {
    SalesforceObservation {
        object: ObjectName::parse("Account").unwrap(),
        salesforce_id: id(record),
        external_id: key.map(str::to_owned),
        kind,
        fields: Payload::new(),
        unreadable: BTreeMap::new(),
        version: Version {
            modified_ms: Some(commit_number * 1_000),
            commit_number: (kind != ObservationKind::Refresh).then_some(commit_number),
        },
        cursor: SourceCursor::Snapshot("page".to_owned()),
        ordinal: 0,
        ours: false,
    }
}

/// A record that is known by K1, linked to the first Salesforce record or to none.
fn known(salesforce_id: Option<SalesforceId>) -> KnownRecord {
    let presence = match salesforce_id {
        Some(_) => Presence::Present,
        None => Presence::Unseen,
    };
    KnownRecord {
        link: SyncLink {
            record_id: RecordId(uuid::Uuid::from_u128(1)),
            tenant: TenantId::parse("acme").unwrap(),
            object: ObjectName::parse("Account").unwrap(),
            org_epoch: OrgEpoch(1),
            external_id: "K1".to_owned(),
            canonical_id: "k1".to_owned(),
            salesforce_id,
            local_key: None,
            base: Payload::new(),
            agreed: false,
            remote_state: RemoteState {
                presence,
                ..RemoteState::default()
            },
            automation_overrides: BTreeMap::new(),
            version: 1,
        },
        generated: false,
        key_conflict: false,
        postgres_presence: Presence::Present,
        postgres_changed_at_ms: None,
        postgres_edited: BTreeMap::new(),
    }
}

/// Absorbs an observation of the org's, and returns the place of its record.
fn take(batch: &mut ObservationBatch, seen: &SalesforceObservation) -> Option<usize> {
    let origin = Origin {
        tenant: &TenantId::parse("acme").unwrap(),
        organization_id: &id("00D000000000001"),
        org_epoch: OrgEpoch(1),
        key_form: KeyForm::CaseFolded,
    };
    batch.take(origin, seen).place
}

/// Absorbs the observations, and checks after each that no key belongs to two records.
fn check(records: Vec<KnownRecord>, observations: &[SalesforceObservation]) {
    let mut batch = ObservationBatch::new(KnownState {
        records,
        ..KnownState::default()
    });
    for seen in observations {
        let place = take(&mut batch, seen);
        let kept: Vec<&SyncLink> = batch
            .records()
            .iter()
            .filter(|record| !record.merged)
            .map(|record| &record.known.link)
            .collect();
        let keys: BTreeSet<&str> = kept.iter().map(|link| link.canonical_id.as_str()).collect();
        assert_eq!(keys.len(), kept.len(), "a key twice: {observations:#?}");
        let ids: Vec<&SalesforceId> = kept
            .iter()
            .filter_map(|link| link.salesforce_id.as_ref())
            .collect();
        let distinct: BTreeSet<&SalesforceId> = ids.iter().copied().collect();
        assert_eq!(distinct.len(), ids.len(), "an id twice: {observations:#?}");
        let is_kept = place.is_none_or(|place| !batch.records()[place].merged);
        assert!(is_kept, "taken by a merged record: {observations:#?}");
    }
}

#[test]
fn no_two_records_share_a_key_or_an_id() {
    let shown: Vec<(ObservationKind, &str, Option<&str>)> = KINDS
        .into_iter()
        .flat_map(|kind| RECORDS.map(|record| (kind, record)))
        .flat_map(|(kind, record)| KEYS.map(|key| (kind, record, key)))
        .collect();
    let at = |place: usize, commit: i64| {
        let (kind, record, key) = shown[place];
        observation(kind, record, key, commit)
    };
    let every = 0..shown.len();
    for records in [
        Vec::new(),
        vec![known(None)],
        vec![known(Some(id(RECORDS[0])))],
    ] {
        for first in every.clone() {
            for second in every.clone() {
                for third in every.clone() {
                    let observations = [at(first, 1), at(second, 2), at(third, 3)];
                    check(records.clone(), &observations);
                }
            }
        }
    }
}

/// Returns a record of this key that we deleted, and that had this Salesforce id.
fn deleted_by_us(record: u128, key: &str, salesforce_id: &str) -> KnownRecord {
    let mut known = known(None);
    known.link.record_id = RecordId(uuid::Uuid::from_u128(record));
    key.clone_into(&mut known.link.external_id);
    known.link.canonical_id = key.to_lowercase();
    known.link.remote_state = RemoteState {
        presence: Presence::Deleted,
        before_delete: Some(BeforeDelete {
            salesforce_id: id(salesforce_id),
            fields: BTreeMap::new(),
        }),
        ..RemoteState::default()
    };
    known
}

#[test]
fn late_event_of_a_deleted_record_stays_with_it() {
    let records = vec![
        deleted_by_us(1, "K1", RECORDS[0]),
        deleted_by_us(2, "K2", RECORDS[1]),
    ];
    let former = records.iter().zip(RECORDS).map(|(known, former)| {
        let link = &known.link;
        ((link.object.clone(), id(former)), link.record_id)
    });
    let mut batch = ObservationBatch::new(KnownState {
        former: former.collect(),
        records,
        ..KnownState::default()
    });
    // Their external ids were exchanged before the deletes.
    for (record, key, place) in [(RECORDS[1], "K1", 1), (RECORDS[0], "K2", 0)] {
        let seen = observation(ObservationKind::Changed, record, Some(key), 1);
        assert_eq!(take(&mut batch, &seen), Some(place), "{key}");
    }
}
