//! Compares one record on both live sides, and classifies the difference.
//!
//! Pure. Two sides may differ while there is a conflict, while a rule keeps them apart, or while a write is
//! in flight. A difference is open if a plan from both sides would write it or would need a person.

use std::collections::BTreeSet;

use crate::model::fields::FieldId;
use crate::model::ids::{FieldName, ObjectName, RecordId, TenantId};
use crate::model::link::{Presence, RemoteState};
use crate::model::value::Value;
use crate::observe::planner::ObjectPlanner;
use crate::observe::sides::{MappedField, named_by_external_id, postgres_side};
use crate::planner::facts::SideState;
use crate::planner::policy::delete_guard::MASS_DELETE;
use crate::planner::policy::{ROW_MISSING, UNREADABLE_RECORD};
use crate::planner::record::{RecordPlan, Rule, SideWrite};
use crate::ports::MappedObject;
use crate::ports::comparison::{OpenWork, RecordClass};
use crate::ports::record::ObservedRecord;
use crate::ports::salesforce::{Deleted, SalesforceRecord};

/// A record that differs between the sides and should not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftItem {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// The record.
    pub record_id: RecordId,
    /// Its external id.
    pub external_id: String,
    /// The fields that differ; empty if one side lacks the record.
    pub fields: Vec<FieldName>,
    /// The side that lacks the record, if one does.
    pub absent: Option<&'static str>,
}

/// Returns those of the records of which Postgres lacks the row.
pub(super) fn missing_rows<'a>(
    items: impl Iterator<Item = &'a DriftItem>,
) -> impl Iterator<Item = RecordId> {
    let missing = items.filter(|item| item.absent == Some(POSTGRES));
    missing.map(|item| item.record_id)
}

/// The result of comparing one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Fields that differ.
    differing: BTreeSet<FieldName>,
    /// Fields that Salesforce does not let us read.
    unreadable: BTreeSet<FieldName>,
    /// Fields that cannot be compared: a side lacks them, or a lookup's parent is not synchronised.
    withheld: BTreeSet<FieldName>,
    /// The side that lacks the record, if one does.
    pub(crate) absent: Option<&'static str>,
    needs: Needs,
}

/// What both sides would need to become equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Needs {
    /// Nothing: they are equal, as far as they can be compared.
    #[default]
    Nothing,
    /// Nothing: this class explains that they differ.
    Explained(RecordClass),
    /// These fields must be written or decided.
    Fields(BTreeSet<FieldName>),
    /// The whole record must be written or decided.
    Record,
}

impl Difference {
    fn of(needs: Needs, absent: Option<&'static str>) -> Self {
        Self {
            absent,
            needs,
            ..Self::default()
        }
    }

    /// Returns whether its class depends on the record's open work.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.needs, Needs::Fields(_) | Needs::Record)
    }

    /// Returns the fields that differ or cannot be compared.
    pub(crate) fn fields(&self) -> Vec<FieldName> {
        let sets = [&self.differing, &self.unreadable, &self.withheld];
        let fields: BTreeSet<&FieldName> = sets.into_iter().flatten().collect();
        fields.into_iter().cloned().collect()
    }

    /// Returns the fields that differ.
    pub(crate) fn differing(&self) -> Vec<FieldName> {
        self.differing.iter().cloned().collect()
    }

    /// Returns the record's class. `work` is what may explain an open difference.
    pub(crate) fn class(&self, work: Option<&OpenWork>) -> RecordClass {
        let whole = Some(None);
        match &self.needs {
            Needs::Explained(class) => *class,
            Needs::Nothing if !self.unreadable.is_empty() => RecordClass::Unreadable,
            Needs::Nothing if !self.withheld.is_empty() => RecordClass::Withheld,
            Needs::Nothing => RecordClass::Equal,
            Needs::Fields(fields) => {
                let decides = |work: &&OpenWork| {
                    let mut fields = fields.iter().cloned().map(Some);
                    work.conflicts.contains(&None)
                        || fields.all(|field| work.conflicts.contains(&field))
                };
                explained(work)
                    .or(work.filter(decides).map(|_| RecordClass::Conflicting))
                    .unwrap_or(RecordClass::Unexplained)
            }
            Needs::Record => {
                let decides = |work: &&OpenWork| work.conflicts.first() == whole.as_ref();
                explained(work)
                    .or(work.filter(decides).map(|_| RecordClass::Conflicting))
                    .unwrap_or(match self.absent {
                        Some(SALESFORCE) => RecordClass::OnlyInPostgres,
                        Some(_) => RecordClass::OnlyInSalesforce,
                        None => RecordClass::Unexplained,
                    })
            }
        }
    }
}

/// Returns the class of a record whose open work explains any difference.
pub(crate) fn explained(work: Option<&OpenWork>) -> Option<RecordClass> {
    let work = work?;
    match (work.is_pending, work.parked.as_deref()) {
        (true, _) => Some(RecordClass::Pending),
        (false, None) => None,
        (false, Some(MASS_DELETE)) => Some(RecordClass::DeleteWithheld),
        // It waits for this comparison.
        (false, Some(ROW_MISSING)) => None,
        (false, Some(UNREADABLE_RECORD)) => Some(RecordClass::Unreadable),
        (false, Some(_)) if work.parked_field.is_some() => Some(RecordClass::Withheld),
        (false, Some(_)) => Some(RecordClass::Parked),
    }
}

const SALESFORCE: &str = "Salesforce";
const POSTGRES: &str = "Postgres";

/// Compares a record's rows with the record just read in Salesforce with the object's filter. `None`:
/// Salesforce lacks the record.
pub(crate) fn compare(
    mapped: &MappedObject,
    planner: &ObjectPlanner<'_>,
    observed: &ObservedRecord,
    read: Option<&SalesforceRecord>,
) -> Difference {
    let fields = planner.fields();
    let live = read.filter(|record| record.deleted == Deleted::No);
    let presence = observed.known.link.remote_state.presence;
    if observed.rows.len() > 1 {
        return Difference::of(Needs::Record, None);
    }
    let Ok((postgres, _)) = postgres_side(mapped, fields, observed) else {
        return Difference::of(Needs::Record, None);
    };
    let Some(record) = live else {
        return without_salesforce(planner, observed, postgres);
    };
    if presence == Presence::FilteredOut {
        // It matches the filter again, and no event reported that.
        let absent = (postgres.presence != Presence::Present).then_some(POSTGRES);
        return Difference::of(Needs::Record, absent);
    }
    let (named, unknown) =
        named_by_external_id(fields, |name| record.fields.get(name), &observed.parents);
    let salesforce = SideState {
        presence: Presence::Present,
        fields: named,
        changed_at_ms: record.version.modified_ms,
        ..SideState::default()
    };
    if postgres.presence != Presence::Present {
        let plan = planner.plan_sides(observed, postgres, salesforce);
        return Difference::of(needs_record(&plan), Some(POSTGRES));
    }
    compare_fields(
        mapped,
        planner,
        observed,
        (postgres, salesforce),
        (record, unknown),
    )
}

/// Classifies a row whose record Salesforce lacks, or a link whose record both sides lack.
fn without_salesforce(
    planner: &ObjectPlanner<'_>,
    observed: &ObservedRecord,
    postgres: SideState,
) -> Difference {
    let link = &observed.known.link;
    let class = match (
        postgres.presence == Presence::Present,
        link.remote_state.presence,
    ) {
        (false, _) if observed.rows.is_empty() => return Difference::default(),
        (false, _) => RecordClass::Deleted,
        (true, Presence::FilteredOut) => RecordClass::FilteredOut,
        (true, Presence::Unreadable) => RecordClass::Unreadable,
        (true, Presence::Unseen | Presence::Present | Presence::Deleted) => {
            let salesforce = SideState {
                presence: match (link.agreed, link.remote_state.presence) {
                    (true, _) | (false, Presence::Deleted) => Presence::Deleted,
                    (
                        false,
                        Presence::Unseen
                        | Presence::Present
                        | Presence::FilteredOut
                        | Presence::Unreadable,
                    ) => Presence::Unseen,
                },
                ..SideState::default()
            };
            let plan = planner.plan_sides(observed, postgres, salesforce);
            return Difference::of(needs_record(&plan), Some(SALESFORCE));
        }
    };
    Difference::of(Needs::Explained(class), Some(SALESFORCE))
}

fn needs_record(plan: &RecordPlan) -> Needs {
    let is_under_way = plan.explanation.record == Rule::WriteUnderWay;
    match plan.is_settled() && !is_under_way {
        true => Needs::Explained(RecordClass::KeptApart),
        false => Needs::Record,
    }
}

/// Compares the fields of a record that both sides have.
fn compare_fields(
    mapped: &MappedObject,
    planner: &ObjectPlanner<'_>,
    observed: &ObservedRecord,
    (mut postgres, salesforce): (SideState, SideState),
    (record, unknown): (&SalesforceRecord, Vec<FieldName>),
) -> Difference {
    let fields = planner.fields();
    let mut difference = Difference::default();
    let usable: BTreeSet<&FieldName> = mapped.sync.fields.keys().collect();
    let configured = mapped.configured.fields.keys();
    difference
        .withheld
        .extend(configured.filter(|name| !usable.contains(name)).cloned());
    let is_mapped = |name: &&FieldName| fields.iter().any(|field| field.name == **name);
    difference
        .unreadable
        .extend(record.unreadable.keys().filter(is_mapped).cloned());
    let mut moved = BTreeSet::new();
    for name in unknown {
        let known = observed.known.link.remote_state.fields.get(&name);
        match known.map(|known| &known.value) == record.fields.get(&name) {
            true => difference.withheld.insert(name),
            // It points to another parent than the event of it said that came last.
            false => moved.insert(name),
        };
    }
    let is_compared = |field: &&MappedField| {
        let name = &field.name;
        !difference.unreadable.contains(name)
            && !difference.withheld.contains(name)
            && !moved.contains(name)
    };
    let compared: BTreeSet<FieldId> = fields
        .iter()
        .filter(is_compared)
        .map(|field| field.id)
        .collect();
    postgres.fields.retain(|id, _| compared.contains(id));
    let held = |side: &SideState, field: &MappedField| -> Option<Value> {
        side.fields.get(&field.id).cloned()
    };
    difference.differing = fields
        .iter()
        .filter(|field| compared.contains(&field.id))
        .filter(|field| held(&postgres, field) != held(&salesforce, field))
        .map(|field| field.name.clone())
        .collect();
    if !difference.differing.is_empty() || !moved.is_empty() {
        let plan = planner.plan_sides(observed, postgres, salesforce);
        let mut open = open_fields(fields, &plan);
        open.extend(moved.iter().cloned());
        difference.needs = match open.is_empty() {
            true => Needs::Explained(RecordClass::KeptApart),
            false => Needs::Fields(open),
        };
        difference.differing.extend(moved);
    }
    difference
}

/// Returns the fields that the plan would write now or after a write that is under way, or would have a person
/// decide.
fn open_fields(fields: &[MappedField], plan: &RecordPlan) -> BTreeSet<FieldName> {
    let written = |write: &SideWrite, field: &MappedField| match write {
        SideWrite::None => false,
        SideWrite::Create(values) | SideWrite::Update(values) => values.contains_key(&field.id),
        SideWrite::Delete | SideWrite::SoftDelete => true,
    };
    let decided = |field: &MappedField| {
        let mut conflicts = plan.conflicts.iter();
        conflicts.any(|conflict| conflict.field.is_none_or(|id| id == field.id))
    };
    let waits =
        |field: &MappedField| plan.explanation.fields.get(&field.id) == Some(&Rule::WriteUnderWay);
    fields
        .iter()
        .filter(|field| {
            written(&plan.to_postgres, field)
                || written(&plan.to_salesforce, field)
                || decided(field)
                || waits(field)
        })
        .map(|field| field.name.clone())
        .collect()
}

/// Returns whether other fields of the record can be read than last time.
pub(crate) fn reads_otherwise(
    planner: &ObjectPlanner<'_>,
    observed: &ObservedRecord,
    read: &SalesforceRecord,
) -> bool {
    let known = &observed.known.link.remote_state.unreadable;
    let mut fields = planner.fields().iter();
    observed.known.link.remote_state.presence == Presence::Present
        && fields.any(|field| known.get(&field.name) != read.unreadable.get(&field.name))
}

/// Returns whether a read shows what was not seen of the record before. A resync will find that; what was changed in
/// Postgres alone, unnoticed, it will not.
pub(crate) fn shows_news(
    planner: &ObjectPlanner<'_>,
    seen: &RemoteState,
    read: &SalesforceRecord,
) -> bool {
    let mut fields = planner.fields().iter();
    seen.presence != Presence::Present
        || fields.any(|field| {
            let known = seen.fields.get(&field.name).map(|known| &known.value);
            known != read.fields.get(&field.name)
        })
}
