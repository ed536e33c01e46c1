//! Duplicate rules: similar records are refused, or saved if the caller allows it.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Call;
use super::save::Edit;
use crate::model::Model;
use crate::model::draft::Draft;
use crate::model::error::SfError;
use crate::model::schema::FieldNo;
use crate::model::table::RowNo;
use crate::model::value::Value;

/// The first API version that reads the duplicate rule header.
const HEADER_SINCE: u32 = 52;

/// Maximum number of records in an error.
const MATCHES_MAX: usize = 10;

/// A duplicate rule, as declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DuplicateRule {
    name: String,
    object: String,
    /// Two records are duplicates if all of these fields are equal and not null.
    fields: Vec<String>,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Duplicates are never saved.
    Block,
    /// Duplicates are saved if the caller allows it.
    Alert,
}

/// The caller's duplicate rule header.
struct DuplicateHeader {
    allow_save: bool,
    record_details: bool,
}

impl DuplicateHeader {
    /// Parses `allowSave=true; includeRecordDetails=true`.
    fn of(call: &Call<'_>) -> Self {
        let header = call.request.get("sforce-duplicate-rule-header");
        let header = header
            .filter(|_| call.version_number >= HEADER_SINCE)
            .unwrap_or_default();
        let is_true = |wanted: &str| {
            header
                .split([';', ','])
                .any(|pair| match pair.split_once('=') {
                    Some((name, value)) => {
                        name.trim().eq_ignore_ascii_case(wanted)
                            && value.trim().eq_ignore_ascii_case("true")
                    }
                    None => false,
                })
        };
        Self {
            allow_save: is_true("allowSave"),
            record_details: is_true("includeRecordDetails"),
        }
    }
}

/// Refuses a draft that duplicates another record than `own`, if a rule requires it.
pub(super) fn check(
    model: &Model,
    rules: &[DuplicateRule],
    (call, edit): (&Call<'_>, Edit<'_>),
    draft: &Draft,
    own: Option<RowNo>,
) -> Result<(), SfError> {
    let object = model.object(edit.object);
    for rule in rules.iter().filter(|rule| rule.object == object.name) {
        let header = DuplicateHeader::of(call);
        if rule.action == Action::Alert && header.allow_save {
            continue;
        }
        let found = alike(model, rule, draft, own);
        if !found.is_empty() {
            return Err(refusal(model, rule, (call, &header), edit, &found));
        }
    }
    Ok(())
}

fn alike(model: &Model, rule: &DuplicateRule, draft: &Draft, own: Option<RowNo>) -> Vec<RowNo> {
    let object = model.object(draft.object);
    let table = model.table(draft.object);
    let fields: Option<Vec<FieldNo>> = rule.fields.iter().map(|name| object.find(name)).collect();
    let Some(fields) = fields else {
        return Vec::new();
    };
    // An update of other fields cannot create a duplicate.
    if !draft.sets.iter().any(|(no, _)| fields.contains(no)) {
        return Vec::new();
    }
    let wanted = |no: FieldNo| {
        let set = draft.sets.iter().find(|(set, _)| *set == no);
        let existing = || own.map(|row| table.get(row, no));
        let value = set.map(|(_, value)| value).or_else(existing);
        value.and_then(|value| value.index_key(object.field(no)))
    };
    let Some(wanted) = fields
        .iter()
        .map(|no| wanted(*no))
        .collect::<Option<Vec<_>>>()
    else {
        return Vec::new();
    };
    let same = |row: &RowNo| {
        let mut pairs = fields.iter().zip(&wanted);
        pairs.all(|(no, wanted)| {
            table.get(*row, *no).index_key(object.field(*no)).as_ref() == Some(wanted)
        })
    };
    table
        .all()
        .filter(|row| Some(*row) != own && !table.is_deleted(object, *row))
        .filter(same)
        .take(MATCHES_MAX)
        .collect()
}

fn refusal(
    model: &Model,
    rule: &DuplicateRule,
    (call, header): (&Call<'_>, &DuplicateHeader),
    edit: Edit<'_>,
    found: &[RowNo],
) -> SfError {
    let message = "Use one of these records?";
    let object = model.object(edit.object);
    let records: Vec<Json> = found
        .iter()
        .map(|row| {
            let id = model.id_of(edit.object, *row);
            let url = call.record_url(&object.name, id);
            let mut record = json!({
                "attributes": {"type": object.name, "url": url}, "Id": id.to_string(),
            });
            for name in rule.fields.iter().filter(|_| header.record_details) {
                if let Some(no) = object.find(name)
                    && let Value::Text(text) = model.table(edit.object).get(*row, no)
                {
                    record[name.as_str()] = Json::String(text.to_string());
                }
            }
            json!({"additionalInformation": [], "fieldDiffs": [], "matchConfidence": 100.0,
                   "record": record})
        })
        .collect();
    let result = json!({
        "allowSave": rule.action == Action::Alert,
        "duplicateRule": rule.name,
        "duplicateRuleEntityType": object.name,
        "errorMessage": message,
        "matchResults": [{
            "entityType": object.name,
            "errors": [],
            "matchEngine": "ExactMatchEngine",
            "matchRecords": records,
            "rule": rule.name,
            "size": found.len(),
            "success": true,
        }],
    });
    SfError::of_record("DUPLICATES_DETECTED", message).with_duplicates(result.to_string())
}
