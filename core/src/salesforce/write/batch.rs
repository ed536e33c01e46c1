//! Groups writes into collection calls, and orders calls that must not overlap. Pure.

use std::collections::BTreeMap;

use super::payload;
use crate::model::ids::{FieldName, ObjectName};
use crate::ports::salesforce::{FieldWrite, Write, WriteTarget};
use crate::salesforce::describe::Schemas;

/// Most records of one collection call (REST API Developer Guide, "sObject Collections").
const RECORDS_MAX: usize = 200;

/// Most bytes of one request body: with 200 wide records a call would outlast its deadline.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the records of one call have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) object: ObjectName,
    pub(super) kind: WriteKind,
    pub(super) auto_assign: bool,
    pub(super) allow_duplicates: bool,
}

/// What a call does with its records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WriteKind {
    /// Upsert on this external id field.
    Upsert(FieldName),
    Update,
    Delete,
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) group: Group,
    pub(super) rows: Vec<Row>,
}

/// One record of a call.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Its place among the writes.
    pub(super) index: usize,
    /// Its Salesforce id, or its external id as Salesforce compares it.
    pub(super) key: String,
    /// The parent it is attached to.
    parent: Option<String>,
    json: String,
}

/// Calls that run one after another because they contain children of one parent.
pub(super) type OrderedBatches = Vec<Batch>;

/// Arranges writes into rounds. The ordered batches of a round may run at the same time.
///
/// The second write of a record is in a later round, because Salesforce refuses all rows of a key that is
/// twice in a call. Children of one parent share a call if they fit, else their calls run one after
/// another, because concurrent calls would wait for the parent's lock.
pub(super) fn rounds(
    writes: &[Write],
    indexes: &[usize],
    schemas: &Schemas,
) -> Vec<Vec<OrderedBatches>> {
    let mut times_seen: BTreeMap<(Group, String), usize> = BTreeMap::new();
    let mut rounds: Vec<BTreeMap<Group, Vec<Row>>> = Vec::new();
    for &index in indexes {
        let write = &writes[index];
        let (group, row) = (group_of(write), row_of(write, index, schemas));
        let seen = times_seen
            .entry((group.clone(), row.key.clone()))
            .or_default();
        if rounds.len() == *seen {
            rounds.push(BTreeMap::new());
        }
        rounds[*seen].entry(group).or_default().push(row);
        *seen += 1;
    }
    rounds
        .into_iter()
        .map(|groups| {
            groups
                .into_iter()
                .flat_map(|(group, rows)| ordered_batches(&group, rows))
                .collect()
        })
        .collect()
}

impl Batch {
    /// Returns the body of the call.
    pub(super) fn body(&self) -> String {
        let records: Vec<&str> = self.rows.iter().map(|row| row.json.as_str()).collect();
        format!(r#"{{"allOrNone":false,"records":[{}]}}"#, records.join(","))
    }

    /// Returns the keys of its records, in order.
    pub(super) fn keys(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.key.as_str()).collect()
    }

    /// Returns the two halves of the call.
    pub(super) fn halves(mut self) -> [Self; 2] {
        let second = Self {
            group: self.group.clone(),
            rows: self.rows.split_off(self.rows.len() / 2),
        };
        [self, second]
    }

    fn has_room_for(&self, rows: &[Row]) -> bool {
        let bytes = |rows: &[Row]| rows.iter().map(|row| row.json.len()).sum::<usize>();
        self.rows.len() + rows.len() <= RECORDS_MAX
            && bytes(&self.rows) + bytes(rows) <= BODY_BYTES_MAX
    }
}

fn group_of(write: &Write) -> Group {
    Group {
        object: write.object.clone(),
        kind: match &write.target {
            WriteTarget::UpsertByExternalId { field, .. } => WriteKind::Upsert(field.clone()),
            WriteTarget::UpdateById(_) => WriteKind::Update,
            WriteTarget::DeleteById(_) => WriteKind::Delete,
        },
        auto_assign: write.auto_assign,
        allow_duplicates: write.allow_duplicates,
    }
}

fn row_of(write: &Write, index: usize, schemas: &Schemas) -> Row {
    let (key, json) = match &write.target {
        WriteTarget::UpsertByExternalId { value, .. } => (
            value.trim().to_lowercase(),
            payload::collection_record(write, schemas),
        ),
        WriteTarget::UpdateById(id) => (id.to_string(), payload::collection_record(write, schemas)),
        WriteTarget::DeleteById(id) => (id.to_string(), String::new()),
    };
    let parent = write.fields.values().find_map(|field| match field {
        FieldWrite::Parent {
            relationship,
            external_id,
            ..
        } => Some(format!("{relationship} {external_id}")),
        FieldWrite::Value(_) => None,
    });
    Row {
        index,
        key,
        parent,
        json,
    }
}

fn ordered_batches(group: &Group, mut rows: Vec<Row>) -> Vec<OrderedBatches> {
    rows.sort_by(|a, b| a.parent.cmp(&b.parent));
    let mut ordered_batches: Vec<OrderedBatches> = Vec::new();
    let siblings = |a: &Row, b: &Row| a.parent.is_some() && a.parent == b.parent;
    for family in rows.chunk_by(siblings) {
        let open = ordered_batches
            .last_mut()
            .and_then(|ordered| ordered.last_mut());
        match open.filter(|batch| batch.has_room_for(family)) {
            Some(batch) => batch.rows.extend_from_slice(family),
            None => ordered_batches.push(split(group, family)),
        }
    }
    ordered_batches
}

/// Splits records over as many calls as they need.
fn split(group: &Group, rows: &[Row]) -> OrderedBatches {
    let mut batches: OrderedBatches = Vec::new();
    for row in rows {
        let row = std::slice::from_ref(row);
        match batches.last_mut().filter(|batch| batch.has_room_for(row)) {
            Some(batch) => batch.rows.extend_from_slice(row),
            None => batches.push(Batch {
                group: group.clone(),
                rows: row.to_vec(),
            }),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::ids::{IntentId, SalesforceId};

    fn upsert(external_id: &str, parent: Option<&str>) -> Write {
        let field = FieldName::parse("External_Id__c").unwrap();
        let parent = parent.map(|parent| {
            let write = FieldWrite::Parent {
                relationship: "Parent".to_owned(),
                field: field.clone(),
                external_id: parent.to_owned(),
            };
            (FieldName::parse("ParentId").unwrap(), write)
        });
        Write {
            intent_id: IntentId(Uuid::nil()),
            object: ObjectName::parse("Account").unwrap(),
            target: WriteTarget::UpsertByExternalId {
                field,
                value: external_id.to_owned(),
            },
            fields: parent.into_iter().collect(),
            auto_assign: false,
            allow_duplicates: false,
            unmodified_since_ms: None,
        }
    }

    /// Rounds as lists of ordered batches as lists of batch sizes.
    fn shape(writes: &[Write]) -> Vec<Vec<Vec<usize>>> {
        let indexes: Vec<usize> = (0..writes.len()).collect();
        rounds(writes, &indexes, &Schemas::default())
            .iter()
            .map(|round| {
                round
                    .iter()
                    .map(|ordered| ordered.iter().map(|batch| batch.rows.len()).collect())
                    .collect()
            })
            .collect()
    }

    #[test]
    fn a_call_holds_at_most_200_records() {
        let writes: Vec<Write> = (0..450).map(|n| upsert(&format!("a-{n}"), None)).collect();
        assert_eq!(shape(&writes), [vec![vec![200], vec![200], vec![50]]]);
    }

    #[test]
    fn record_written_twice_is_in_two_rounds() {
        let writes = [upsert("a-1", None), upsert("b", None), upsert(" A-1", None)];
        assert_eq!(shape(&writes), [vec![vec![2]], vec![vec![1]]]);
    }

    #[test]
    fn children_of_one_parent_never_overlap() {
        let child = |n: usize, parent: &str| upsert(&format!("{parent}-{n}"), Some(parent));
        let mut writes: Vec<Write> = (0..150).map(|n| child(n, "p")).collect();
        writes.extend((0..100).map(|n| child(n, "q")));
        assert_eq!(shape(&writes), [vec![vec![150], vec![100]]]);
        let many: Vec<Write> = (0..450).map(|n| child(n, "p")).collect();
        assert_eq!(shape(&many), [vec![vec![200, 200, 50]]]);
    }

    #[test]
    fn calls_do_not_mix_kinds_or_objects() {
        let id = SalesforceId::parse("001D000000IqhSLIAZ").unwrap();
        let mut update = upsert("a-1", None);
        update.target = WriteTarget::UpdateById(id.clone());
        let mut delete = upsert("a-2", None);
        delete.target = WriteTarget::DeleteById(id);
        let mut contact = upsert("a-1", None);
        contact.object = ObjectName::parse("Contact").unwrap();
        let mut assigned = upsert("a-3", None);
        assigned.auto_assign = true;
        let writes = [upsert("a-1", None), update, delete, contact, assigned];
        assert_eq!(shape(&writes), [vec![vec![vec![1]]; 5].concat()]);
    }

    #[test]
    fn large_records_are_sent_in_smaller_calls() {
        let wide = |n: usize| {
            let mut write = upsert(&format!("a-{n}"), None);
            let text = crate::model::value::Value::Text("x".repeat(1024 * 1024));
            write.fields.insert(
                FieldName::parse("Description").unwrap(),
                FieldWrite::Value(text),
            );
            write
        };
        let writes: Vec<Write> = (0..8).map(wide).collect();
        assert_eq!(shape(&writes), [vec![vec![3], vec![3], vec![2]]]);
    }
}
