//! Faults of single records: refusals, locks, and automation in the caller's transaction.

use super::rule::{Action, Target};
use super::{ActiveRule, Faults};
use crate::Org;
use crate::model::Model;
use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::{FieldNo, FieldType, ObjectNo};
use crate::model::table::RowNo;
use crate::model::value::Value;

/// A record before or right after its write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing<'a> {
    /// `create`, `update` or `delete`.
    pub(crate) operation: &'static str,
    pub(crate) draft: &'a Draft,
    /// The record, if it exists.
    pub(crate) row: Option<RowNo>,
}

impl Org {
    /// Refuses the record if a rule or a lock requires it, and takes locks for a call with
    /// `contend`.
    ///
    /// Returns the fields that declared automation sets in the same transaction, after the write.
    pub(crate) fn row_faults(
        &mut self,
        writing: Writing<'_>,
    ) -> Result<Vec<(FieldNo, Value)>, SfError> {
        self.lock_row(writing)?;
        if !self.faults.has_row_rules() {
            return Ok(Vec::new());
        }
        let names = Names::of(&self.model, writing);
        let now_ms = self.model.now_ms;
        match self.faults.refuse_row(writing.operation, &names, now_ms) {
            Some(error) => Err(error),
            None => self.flow_sets(writing, &names),
        }
    }

    fn lock_row(&mut self, writing: Writing<'_>) -> Result<(), SfError> {
        let holder = self.faults.current.holder;
        if holder.is_none() && self.locks.is_empty() {
            return Ok(());
        }
        let ids = locked_by(&self.model, writing);
        let locked = self.locks.locked_by_others(&ids, holder, self.model.now_ms);
        if !locked.is_empty() {
            self.stats.row_locks_met += 1;
            return Err(SfError::locked(&locked));
        }
        if let Some(holder) = holder {
            self.locks.take(&ids, holder);
        }
        Ok(())
    }

    fn flow_sets(
        &mut self,
        writing: Writing<'_>,
        names: &Names,
    ) -> Result<Vec<(FieldNo, Value)>, SfError> {
        let mut sets = Vec::new();
        for rule in self.faults.row_rules(Action::Flow) {
            let deleting = writing.operation == "delete";
            if deleting || !self.faults.fires_for_row(rule, writing.operation, names) {
                continue;
            }
            let now_ms = self.model.now_ms;
            self.faults
                .note(rule, now_ms, names.title(writing.operation));
            let members = self.faults.rules[rule].rule.set.clone().unwrap_or_default();
            // A flow that fails makes the write fail, as in Salesforce.
            let object = writing.draft.object;
            let draft = Draft::read(self.model.whole(), object, Purpose::Update, &members, &[]);
            sets.extend(draft.map_err(|error| flow_failed(&error))?.sets);
        }
        Ok(sets)
    }
}

fn flow_failed(error: &SfError) -> SfError {
    let message = format!("We can't save this record because a flow failed: {error}");
    SfError::of_record("CANNOT_EXECUTE_FLOW_TRIGGER", message)
}

/// What row rules can match of a record: its external ids, and its parents' ids and external ids.
struct Names {
    object: String,
    id: Option<RecordId>,
    keys: Vec<String>,
    parents: Vec<String>,
}

impl Names {
    fn of(model: &Model, writing: Writing<'_>) -> Self {
        let object = model.object(writing.draft.object);
        let value_after = |no: FieldNo| value_after(model, writing, no);
        let keys = object
            .numbered()
            .filter(|(_, field)| field.external_id)
            .filter_map(|(no, _)| Some(value_after(no)?.as_text()?.to_owned()));
        let mut parents = Vec::new();
        for (no, _) in references(model, writing.draft.object) {
            let Some(Value::Id(id)) = value_after(no) else {
                continue;
            };
            parents.push(id.to_string());
            let Some((parent, row)) = model.live_row(*id) else {
                continue;
            };
            let external = model.object(parent).numbered().filter(|f| f.1.external_id);
            parents.extend(external.filter_map(|(no, _)| {
                let text = model.table(parent).get(row, no).as_text()?;
                Some(text.to_owned())
            }));
        }
        Self {
            object: object.name.clone(),
            id: writing
                .row
                .map(|row| model.id_of(writing.draft.object, row)),
            keys: keys.collect(),
            parents,
        }
    }

    fn title(&self, operation: &str) -> String {
        format!("{operation} {} {}", self.object, self.keys.join(" "))
            .trim_end()
            .to_owned()
    }
}

/// Returns the value that a field will have after the write, as far as the caller sets it.
fn value_after<'a>(model: &'a Model, writing: Writing<'a>, no: FieldNo) -> Option<&'a Value> {
    let set = writing.draft.sets.iter().find(|(known, _)| *known == no);
    match set {
        Some((_, value)) => Some(value),
        None => writing
            .row
            .map(|row| model.table(writing.draft.object).get(row, no)),
    }
}

/// Returns the fields whose targets a write locks. Users are never locked, because every record
/// refers to one.
fn references(model: &Model, object: ObjectNo) -> impl Iterator<Item = (FieldNo, bool)> {
    let fields = model.object(object).numbered();
    let automation = model.schema.automation(object);
    fields.filter_map(|(no, field)| {
        let refers = field.kind == FieldType::Reference;
        let to_users = field.reference_to.iter().all(|target| target == "User");
        let locks = field.cascade_delete || automation.adds_up(no);
        (refers && !to_users).then_some((no, locks))
    })
}

/// Returns the records that a write locks: the record, its master, the parents whose totals depend on
/// it, and the parents that its lookups gain or lose.
fn locked_by(model: &Model, writing: Writing<'_>) -> Vec<RecordId> {
    let object = writing.draft.object;
    let mut ids: Vec<RecordId> = Vec::new();
    ids.extend(writing.row.map(|row| model.id_of(object, row)));
    for (no, master) in references(model, object) {
        let set = writing.draft.sets.iter().find(|(known, _)| *known == no);
        let before = writing.row.map(|row| model.table(object).get(row, no));
        let moved = set.is_some_and(|(_, value)| Some(value) != before);
        if !moved && !master && writing.operation != "delete" {
            continue;
        }
        for value in set.map(|(_, value)| value).into_iter().chain(before) {
            if let Value::Id(id) = value {
                ids.push(*id);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl Faults {
    fn has_row_rules(&self) -> bool {
        self.waiting(Target::Row).next().is_some()
    }

    fn row_rules(&self, action: Action) -> Vec<usize> {
        let rules = self.waiting(Target::Row);
        rules
            .filter(|rule| self.rules[*rule].rule.action == action)
            .collect()
    }

    /// Returns whether a rule fires for a record.
    fn fires_for_row(&mut self, rule: usize, operation: &str, names: &Names) -> bool {
        let in_call = self.current.rows.contains(&rule);
        let active = &mut self.rules[rule];
        let matching = &active.rule.matching;
        // Bulk rows are written outside of calls, so a rule that names a call never fires for them.
        let anywhere = matching.method.is_none()
            && matching.path.is_none()
            && matching.path_contains.is_none();
        (in_call || anywhere) && active.means(operation, names) && active.fires()
    }

    fn refuse_row(&mut self, operation: &str, names: &Names, now_ms: i64) -> Option<SfError> {
        for rule in self.row_rules(Action::RowError) {
            if self.fires_for_row(rule, operation, names) {
                self.note(rule, now_ms, names.title(operation));
                return Some(self.rules[rule].refusal());
            }
        }
        None
    }
}

impl ActiveRule {
    fn means(&self, operation: &str, names: &Names) -> bool {
        let among = |wanted: &Option<String>, known: &[String]| {
            wanted
                .as_ref()
                .is_none_or(|w| known.iter().any(|name| name.eq_ignore_ascii_case(w)))
        };
        self.rule.matching.fits_work(&names.object, operation)
            && self.rule.matching.fits_id(names.id)
            && among(&self.rule.external_id, &names.keys)
            && among(&self.rule.parent, &names.parents)
    }

    fn refusal(&self) -> SfError {
        let code = self.rule.code.as_deref().unwrap_or("UNABLE_TO_LOCK_ROW");
        match &self.rule.message {
            Some(message) => SfError::of_record(code, message),
            None if code == "UNABLE_TO_LOCK_ROW" => SfError::locked(&[]),
            None => SfError::of_record(code, "refused by a declared fault"),
        }
    }
}
