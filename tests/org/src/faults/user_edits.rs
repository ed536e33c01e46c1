//! Edits by a user at the worst moment: between the caller's read and write, or between the commit
//! and the answer.

use serde_json::Value as Json;

use super::operation::Named;
use super::rule::Edit;
use super::{CallFaults, Moment, UserEdit};
use crate::Org;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::rest::message::{Request, Response};

impl Org {
    /// Makes the user edits that are declared for this moment of the call.
    ///
    /// `answer` is the response to the caller; only it names a record that was just created.
    pub(crate) fn make_user_edits(
        &mut self,
        moment: Moment,
        fired: &CallFaults,
        request: &Request,
        answer: Option<&Response>,
    ) {
        for user_edit in &fired.user_edits {
            let rule = &self.faults.rules[user_edit.rule].rule;
            if rule.when.unwrap_or(Moment::BeforeWork) != moment {
                continue;
            }
            let Some(id) = self.record_for(user_edit, answer) else {
                continue;
            };
            if !self.faults.rules[user_edit.rule].fires() {
                continue;
            }
            let what = match self.edit(user_edit.rule, id) {
                Ok(()) => format!("{id} during {} {}", request.method, request.path),
                Err(error) => format!("{id} refused: {error}"),
            };
            let now_ms = self.now_ms();
            self.faults.note(user_edit.rule, now_ms, what);
        }
    }

    fn edit(&mut self, rule: usize, id: RecordId) -> Result<(), SfError> {
        let rule = &self.faults.rules[rule].rule;
        let user = rule.user.clone().unwrap_or_default();
        let set = Json::Object(rule.set.clone().unwrap_or_default());
        match rule.edit_to_make() {
            Edit::Update => self.update_as(&user, id, &set),
            Edit::Delete => self.delete_as(&user, id),
            Edit::Undelete => self.undelete_as(&user, id),
        }
    }

    /// Returns the record that a rule edits: the one it names, or the first record of the call that
    /// has the object and external id of the rule.
    fn record_for(&self, user_edit: &UserEdit, answer: Option<&Response>) -> Option<RecordId> {
        let rule = &self.faults.rules[user_edit.rule].rule;
        if let Some(id) = &rule.id {
            return RecordId::parse(id).filter(|id| self.place_of(*id).is_ok());
        }
        let named = user_edit.named.iter().filter_map(|named| self.found(named));
        let answered = answer.map(ids_in).unwrap_or_default();
        let mut candidates = named.chain(answered);
        candidates.find(|id| {
            let Ok((object, row)) = self.place_of(*id) else {
                return false;
            };
            let name = &self.model.object(object).name;
            let object_meant = rule.matching.object.as_ref();
            let has_key = |wanted: &String| {
                let mut fields = self.model.object(object).numbered();
                fields.any(|(no, field)| {
                    let text = self.model.table(object).get(row, no).as_text();
                    field.external_id && text.is_some_and(|t| t.eq_ignore_ascii_case(wanted))
                })
            };
            object_meant.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
                && rule.external_id.as_ref().is_none_or(has_key)
        })
    }

    fn found(&self, named: &Named) -> Option<RecordId> {
        match named {
            Named::Id(id) => Some(*id),
            Named::Key {
                object,
                field,
                value,
            } => {
                let object = self.model.object_named(object).ok()?;
                let field = self.model.field_named(object, field).ok()?;
                let rows = self.model.find_by(object, field, value);
                rows.first().map(|row| self.model.id_of(object, *row))
            }
        }
    }
}

/// Returns the ids of the records in an answer.
fn ids_in(answer: &Response) -> Vec<RecordId> {
    let of = |json: &Json| {
        let id = json.get("id").or_else(|| json.get("Id"))?;
        RecordId::parse(id.as_str()?)
    };
    match answer.to_json() {
        Json::Array(results) => results.iter().filter_map(of).collect(),
        Json::Object(members) => match members.get("records").and_then(Json::as_array) {
            Some(records) => records.iter().filter_map(of).collect(),
            None => of(&Json::Object(members)).into_iter().collect(),
        },
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Vec::new(),
    }
}
