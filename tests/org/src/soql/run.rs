//! Selects the rows of a plan and writes them as JSON.

use std::cmp::Ordering;

use super::LOCATOR_PREFIX;
use super::bind::{Plan, SelectNode, SortKey};
use super::filter::{Bound, parent};
use crate::model::id::RecordId;
use crate::model::schema::{FieldNo, FieldType, ObjectNo};
use crate::model::table::RowNo;
use crate::model::value::{Value, push_json_text};
use crate::model::view::View;

/// Returns the rows of a plan, in its order.
pub(crate) fn rows(view: View<'_>, plan: &Plan, with_deleted: bool) -> Vec<RowNo> {
    let object = view.object(plan.object);
    let table = view.table(plan.object);
    let (candidates, sorted) = candidates(view, plan, with_deleted);
    let candidates = candidates.filter(|row| with_deleted || !table.is_hidden(object, *row));
    chosen(view, plan, candidates, sorted)
}

/// Returns the candidates that the plan selects, in its order.
fn chosen(
    view: View<'_>,
    plan: &Plan,
    candidates: impl Iterator<Item = RowNo>,
    sorted: bool,
) -> Vec<RowNo> {
    let wanted = plan.limit.map(|limit| limit.saturating_add(plan.offset));
    let enough = wanted.filter(|_| sorted).unwrap_or(usize::MAX);
    let holds = |row: &RowNo| match &plan.condition {
        Some(condition) => condition.holds(view, plan.object, *row),
        None => true,
    };
    let seen = candidates.filter(|row| view.sees(plan.object, *row));
    let mut found: Vec<RowNo> = seen.filter(holds).take(enough).collect();
    if !sorted {
        sort(view, plan, &mut found);
    }
    found.truncate(wanted.unwrap_or(usize::MAX));
    found.drain(..plan.offset.min(found.len()));
    found
}

type Candidates<'a> = Box<dyn Iterator<Item = RowNo> + 'a>;

/// Returns rows that include all results, and whether they are in the order of the plan.
fn candidates<'a>(view: View<'a>, plan: &'a Plan, with_deleted: bool) -> (Candidates<'a>, bool) {
    let object = view.object(plan.object);
    let table = view.table(plan.object);
    let unordered = plan.order.is_empty();
    let mut stamped_from = None;
    for (path, bound) in plan
        .condition
        .iter()
        .flat_map(|condition| condition.required())
    {
        if !path.hops.is_empty() {
            continue;
        }
        let field = object.field(path.field);
        match bound {
            Bound::Among(values) if path.field == object.system.id => {
                let mut rows: Vec<RowNo> = values
                    .iter()
                    .filter_map(|value| view.row_of(plan.object, value.as_id()?))
                    .collect();
                rows.sort_unstable();
                rows.dedup();
                return (Box::new(rows.into_iter()), unordered);
            }
            Bound::Among(values) if !with_deleted && field.kind.is_text() => {
                let found =
                    |value: &Value| Some(table.find(path.field, value.as_text()?)?.to_vec());
                if let Some(found) = values.iter().map(found).collect::<Option<Vec<_>>>() {
                    let mut rows = found.concat();
                    rows.sort_unstable();
                    rows.dedup();
                    return (Box::new(rows.into_iter()), unordered);
                }
            }
            Bound::Among(values) if !with_deleted && field.kind == FieldType::Reference => {
                let found = |value: &Value| table.children_of(path.field, value.as_id()?);
                if let Some(found) = values.iter().map(found).collect::<Option<Vec<_>>>() {
                    let mut rows = found.concat();
                    rows.sort_unstable();
                    return (Box::new(rows.into_iter()), unordered);
                }
            }
            Bound::From(Value::Datetime(ms)) if path.field == object.system.modstamp => {
                stamped_from = stamped_from.max(Some(*ms));
            }
            Bound::Among(_) | Bound::From(_) => {}
        }
    }
    let by_id = follows(&plan.order, &[object.system.id]);
    let by_stamp = follows(&plan.order, &[object.system.modstamp, object.system.id]);
    match stamped_from {
        Some(ms) => (Box::new(table.since(ms)), by_stamp || unordered),
        None if by_stamp && !unordered => (Box::new(table.since(i64::MIN)), true),
        None => (Box::new(table.all()), unordered || by_id),
    }
}

/// Returns whether the sort keys are a prefix of `fields`, ascending.
fn follows(keys: &[SortKey], fields: &[FieldNo]) -> bool {
    let pairs = keys.iter().zip(fields);
    keys.len() <= fields.len()
        && pairs.into_iter().all(|(key, field)| {
            key.path.hops.is_empty() && key.path.field == *field && !key.descending
        })
}

fn sort(view: View<'_>, plan: &Plan, rows: &mut [RowNo]) {
    let keys = |row: &RowNo| -> Vec<Value> {
        let lower = |key: &SortKey| match key.path.value(view, plan.object, *row).0 {
            Value::Text(text) => Value::Text(text.to_lowercase().into()),
            other => other.clone(),
        };
        plan.order.iter().map(lower).collect()
    };
    rows.sort_by_cached_key(|row| Sorted {
        keys: keys(row),
        order: &plan.order,
    });
}

/// The sort keys of one row. Nulls come first by default.
struct Sorted<'a> {
    keys: Vec<Value>,
    order: &'a [SortKey],
}

impl Ord for Sorted<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.keys.iter().zip(&other.keys).zip(self.order);
        pairs.fold(Ordering::Equal, |so_far, ((a, b), key)| {
            so_far.then_with(|| match (*a == Value::Null, *b == Value::Null) {
                (true, true) => Ordering::Equal,
                (true, false) if key.nulls_last => Ordering::Greater,
                (true, false) => Ordering::Less,
                (false, true) if key.nulls_last => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) if key.descending => b.cmp(a),
                (false, false) => a.cmp(b),
            })
        })
    }
}

impl PartialOrd for Sorted<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sorted<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Sorted<'_> {}

/// Writes records as JSON and collects child rows that did not fit.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) view: View<'a>,
    /// `v62.0`, for the URLs of records.
    pub(crate) version: &'a str,
    pub(crate) datetimes: Datetimes,
    /// Maximum number of children written per record.
    pub(crate) children_max: usize,
    /// Number of the next locator for remaining children.
    pub(crate) next_locator: u32,
    pub(crate) left_over: Vec<LeftOver>,
}

/// How a datetime is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datetimes {
    /// `"2026-05-01T09:30:00.000+0000"`.
    Text,
    /// Milliseconds since 1970, a number.
    Milliseconds,
}

/// All children of one record, of which only the first were written.
#[derive(Debug)]
pub(crate) struct LeftOver {
    pub(crate) locator: RecordId,
    /// Index of the subquery in the select list.
    pub(crate) place: usize,
    pub(crate) rows: Vec<RowNo>,
}

impl<'a> Writer<'a> {
    /// Returns a writer that writes all children.
    pub(crate) fn whole(view: View<'a>, version: &'a str) -> Self {
        Self {
            view,
            version,
            datetimes: Datetimes::Text,
            children_max: usize::MAX,
            next_locator: 0,
            left_over: Vec::new(),
        }
    }

    /// Appends one record with its `attributes` and the selected members.
    pub(crate) fn push_record(
        &mut self,
        out: &mut String,
        at: (ObjectNo, RowNo),
        nodes: &[SelectNode],
    ) {
        let (object_no, row) = at;
        let (view, version) = (self.view, self.version);
        let object = view.object(object_no);
        let id = view.id_of(object_no, row);
        let name = &object.name;
        out.push_str(&format!(
            r#"{{"attributes":{{"type":"{name}","url":"/services/data/{version}/sobjects/{name}/{id}"}}"#
        ));
        for (place, node) in nodes.iter().enumerate() {
            out.push(',');
            self.push_node(out, at, (place, node));
        }
        out.push('}');
    }

    /// Appends a member of a record.
    fn push_node(
        &mut self,
        out: &mut String,
        at: (ObjectNo, RowNo),
        (place, node): (usize, &SelectNode),
    ) {
        let (view, (object, row)) = (self.view, at);
        match node {
            SelectNode::Field(no) => self.push_field(out, at, *no),
            SelectNode::Parent {
                name,
                hop,
                object,
                children,
            } => {
                push_json_text(out, name);
                out.push(':');
                match parent(view, at, *hop) {
                    Some(up) if up.0 == *object => self.push_record(out, up, children),
                    Some(up) => {
                        let nodes = translated(view, children, *object, up.0);
                        self.push_record(out, up, &nodes);
                    }
                    None => out.push_str("null"),
                }
            }
            SelectNode::Shown { name, how, path } => {
                push_json_text(out, name);
                out.push(':');
                let (value, field) = path.value(view, object, row);
                match how.text(field, &view.masked(field, value)) {
                    Some(text) => push_json_text(out, &text),
                    None => out.push_str("null"),
                }
            }
            SelectNode::TypeOf {
                name,
                hop,
                branches,
            } => {
                push_json_text(out, name);
                out.push(':');
                let branch = |up: (ObjectNo, RowNo)| {
                    let found = branches.iter().find(|(object, _)| *object == up.0);
                    found.map(|(_, nodes)| (up, nodes))
                };
                match parent(view, at, *hop).and_then(branch) {
                    Some((up, nodes)) => self.push_record(out, up, nodes),
                    None => out.push_str("null"),
                }
            }
            SelectNode::Children { name, link, plan } => {
                push_json_text(out, name);
                out.push(':');
                let id = view.id_of(object, row);
                self.push_children(out, (id, place), (*link, plan));
            }
        }
    }

    fn push_field(&self, out: &mut String, at: (ObjectNo, RowNo), no: FieldNo) {
        let view = self.view;
        let field = view.field(at.0, no);
        push_json_text(out, &field.name);
        out.push(':');
        if field.kind == FieldType::Address {
            push_address(out, view, at, no);
            return;
        }
        match (view.value(at.0, at.1, no).as_ref(), self.datetimes) {
            (Value::Datetime(ms), Datetimes::Milliseconds) => out.push_str(&ms.to_string()),
            (value, _) => value.push_json(out),
        }
    }

    /// Appends the live children of `parent`, as a query result or as null.
    fn push_children(
        &mut self,
        out: &mut String,
        (parent, place): (RecordId, usize),
        (link, plan): (FieldNo, &Plan),
    ) {
        let candidates = self.view.table(plan.object).children_of(link, parent);
        let (table, object) = (self.view.table(plan.object), self.view.object(plan.object));
        let candidates = candidates.unwrap_or_default().into_iter();
        let candidates = candidates.filter(|row| !table.is_hidden(object, *row));
        let rows = chosen(self.view, plan, candidates, plan.order.is_empty());
        if rows.is_empty() {
            out.push_str("null");
            return;
        }
        let nodes = plan.select.as_deref().unwrap_or_default();
        let (total, version) = (rows.len(), self.version);
        let written = total.min(self.children_max);
        out.push_str(&format!(
            r#"{{"totalSize":{total},"done":{}"#,
            written == total
        ));
        if written < total {
            let locator = RecordId::numbered(LOCATOR_PREFIX, self.next_locator);
            out.push_str(&format!(
                r#","nextRecordsUrl":"/services/data/{version}/query/{locator}-{written}""#
            ));
        }
        out.push_str(r#","records":["#);
        for (place, row) in rows[..written].iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            self.push_record(out, (plan.object, *row), nodes);
        }
        out.push_str("]}");
        if written < total {
            let locator = RecordId::numbered(LOCATOR_PREFIX, self.next_locator);
            self.next_locator += 1;
            self.left_over.push(LeftOver {
                locator,
                place,
                rows,
            });
        }
    }
}

/// Returns the fields with the same names on another object. Fields it does not have are skipped.
fn translated(
    view: View<'_>,
    nodes: &[SelectNode],
    from: ObjectNo,
    to: ObjectNo,
) -> Vec<SelectNode> {
    let same = |node: &SelectNode| match node {
        SelectNode::Field(no) => {
            let name = &view.field(from, *no).name;
            view.find_field(to, name).map(SelectNode::Field)
        }
        SelectNode::Shown { .. }
        | SelectNode::Parent { .. }
        | SelectNode::TypeOf { .. }
        | SelectNode::Children { .. } => None,
    };
    nodes.iter().filter_map(same).collect()
}

fn push_address(out: &mut String, view: View<'_>, at: (ObjectNo, RowNo), no: FieldNo) {
    let object = view.object(at.0);
    let table = view.table(at.0);
    let parts = &object.field(no).parts;
    if parts
        .iter()
        .all(|part| *table.get(at.1, *part) == Value::Null)
    {
        out.push_str("null");
        return;
    }
    let mut named: Vec<(String, FieldNo)> = parts
        .iter()
        .filter(|part| view.shows(at.0, **part))
        .filter_map(|part| {
            let (_, name) = object.field(*part).part_of.as_ref()?;
            let (first, rest) = name.split_at_checked(1)?;
            Some((first.to_ascii_lowercase() + rest, *part))
        })
        .collect();
    named.sort();
    for (place, (name, part)) in named.iter().enumerate() {
        out.push(if place == 0 { '{' } else { ',' });
        push_json_text(out, name);
        out.push(':');
        table.get(at.1, *part).push_json(out);
    }
    out.push('}');
}
