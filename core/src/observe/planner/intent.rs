//! The write to Salesforce.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::model::fields::{FieldId, FieldMap};
use crate::model::ids::{FencingToken, FieldName, IntentId, RecordId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::value::{Payload, Value};
use crate::planner::policy::Cause;
use crate::planner::record::{RecordPlan, SideWrite};
use crate::ports::record::{LeaseEnd, LeasedTask, ObservedRecord, ParkReason};

use super::ObjectPlanner;
use super::obstacle::wait;
use super::reasons::not_writeable;

impl ObjectPlanner<'_> {
    /// Returns the plan's write to Salesforce as an intent, without withheld fields and without fields that
    /// our user may not write. If no field of an update remains, there is no intent; if none of them was
    /// withheld, it fails with the reason.
    pub(super) fn intent(
        &self,
        lease: &LeasedTask,
        plan: &RecordPlan,
        withheld: &[ParkReason],
    ) -> Result<Option<Intent>, ParkReason> {
        let nothing = FieldMap::default();
        let (action, values) = match &plan.to_salesforce {
            SideWrite::None | SideWrite::SoftDelete => return Ok(None),
            SideWrite::Create(values) => (WriteAction::Create, values),
            SideWrite::Update(values) => (WriteAction::Update, values),
            SideWrite::Delete => (WriteAction::Delete, &nothing),
        };
        let is_withheld = |name| {
            withheld
                .iter()
                .any(|reason| reason.field.as_ref() == Some(name))
        };
        let fields: Payload = values
            .iter()
            .filter(|(field, _)| self.may_write(**field, action))
            .map(|(field, value)| (self.mapping().name(*field), value))
            .filter(|(name, _)| !is_withheld(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let first = values.keys().map(|field| self.mapping().name(*field)).min();
        if let (WriteAction::Update, true, Some(field)) = (action, fields.is_empty(), first) {
            return match withheld {
                [] => Err(not_writeable(&self.mapped.sync, field)),
                [_, ..] => Ok(None),
            };
        }
        Ok(Some(Intent {
            intent_id: intent_id(lease.record_id, lease.token),
            record_id: lease.record_id,
            fencing_token: lease.token,
            action,
            fields,
            state: IntentState::Open,
            echoed: BTreeSet::new(),
        }))
    }

    /// Records that exchange their external ids in Salesforce first give up their own: it is cleared, and the next
    /// write sends the new one. Other fields are sent at once.
    pub(super) fn exchange_external_id(
        &self,
        lease: &LeasedTask,
        observed: &ObservedRecord,
        intent: Option<Intent>,
    ) -> Result<Option<Intent>, LeaseEnd> {
        let mut intent = match intent {
            Some(intent) if observed.external_id_in_use => intent,
            intent => return Ok(intent),
        };
        let field = &self.mapped.sync.external_id.field;
        let schema = self.mapped.schema.fields.get(field);
        let sent = match intent.fields.get(field) {
            Some(Value::Text(sent)) => sent.clone(),
            Some(sent @ Value::Number(_)) => sent.to_json().to_string(),
            Some(Value::Null | Value::Boolean(_)) | None => return Ok(Some(intent)),
        };
        match intent.action {
            WriteAction::Update => {}
            // It is created by its external id: the other record would get its values.
            WriteAction::Create => return Err(await_external_id(lease, field, sent)),
            WriteAction::Delete => return Ok(Some(intent)),
        }
        if !schema.is_some_and(|schema| schema.nillable) {
            return Ok(Some(intent));
        }
        let there = observed.known.link.remote_state.fields.get(field);
        if there.is_some_and(|there| there.value != Value::Null) {
            intent.fields.insert(field.clone(), Value::Null);
            return Ok(Some(intent));
        }
        match wait(lease, Cause::ValueTaken, EXTERNAL_ID_IN_USE) {
            Some(end) => Err(end.awaiting(vec![sent])),
            // Salesforce names the record that has it.
            None => Ok(Some(intent)),
        }
    }

    fn may_write(&self, field: FieldId, action: WriteAction) -> bool {
        self.mapped_field(field).is_some_and(|field| match action {
            WriteAction::Create => field.createable,
            WriteAction::Update => field.updateable,
            WriteAction::Delete => false,
        })
    }
}

const EXTERNAL_ID_IN_USE: &str = "another record still has its external id in Salesforce";

/// Returns the wait of a new record for its external id; it is parked if the other record keeps it.
fn await_external_id(lease: &LeasedTask, field: &FieldName, external_id: String) -> LeaseEnd {
    let end = wait(lease, Cause::ValueTaken, EXTERNAL_ID_IN_USE).unwrap_or_else(|| {
        LeaseEnd::park(ParkReason {
            code: "duplicate_value".to_owned(),
            field: Some(field.clone()),
            message: format!(
                "{EXTERNAL_ID_IN_USE}: {external_id}. Give one of them another external id"
            ),
        })
    });
    end.awaiting(vec![external_id])
}

/// Returns the id of the one write that a record can make under a lease.
fn intent_id(record: RecordId, token: FencingToken) -> IntentId {
    IntentId(Uuid::new_v5(
        &record.0,
        format!("intent:{}", token.0).as_bytes(),
    ))
}
