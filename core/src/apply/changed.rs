//! Finds the records that have changed in Salesforce since they were last seen, just before they are written by a
//! call that cannot have a condition.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::Job;
use crate::model::ids::SalesforceId;
use crate::ports::apply_store::IntendedWrite;
use crate::ports::salesforce::{Disposition, Refusal, SalesforceError};

use super::perform::Batch;

/// A read serves the writes of the next seconds: about ten calls.
const READ_AGE_MS_MAX: i64 = 5_000;

/// When the records of a round were last modified, as far as it was read.
#[derive(Default)]
pub(super) struct LastModified {
    by_id: BTreeMap<SalesforceId, i64>,
    read_at_ms: Option<i64>,
}

impl LastModified {
    /// Returns the records among the next `count` writes that have changed since they were seen. One read covers
    /// all writes that are left of the round.
    pub(super) async fn changed(
        &mut self,
        job: &Job<'_>,
        batch: &Batch<'_>,
        left: &[IntendedWrite],
        count: usize,
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError> {
        let now_ms = job.now_ms();
        let is_recent = |at_ms: i64| now_ms.saturating_sub(at_ms) <= READ_AGE_MS_MAX;
        let was_just_read = is_recent(batch.refreshed_at_ms);
        let guarded = |intended: &&IntendedWrite| {
            intended.routable.may_overwrite && !(was_just_read && intended.lease.needs_refresh)
        };
        let next: Vec<&IntendedWrite> = left[..count].iter().filter(guarded).collect();
        if next.is_empty() {
            return Ok(BTreeSet::new());
        }
        if !self.read_at_ms.is_some_and(is_recent) {
            let guarded = left.iter().filter(guarded);
            let ids: Vec<SalesforceId> = guarded
                .filter_map(|intended| intended.salesforce_id.clone())
                .collect();
            let object = &batch.mapped.sync.object;
            self.by_id = job.salesforce().modified_at(object, &ids).await?;
            self.read_at_ms = Some(now_ms);
        }
        let changed = next
            .into_iter()
            .filter(|intended| self.shows_change(intended));
        Ok(changed
            .filter_map(|intended| intended.salesforce_id.clone())
            .collect())
    }

    /// Compares whole seconds, as Salesforce does.
    fn shows_change(&self, intended: &IntendedWrite) -> bool {
        let id = intended.salesforce_id.as_ref();
        let modified_ms = id.and_then(|id| self.by_id.get(id));
        modified_ms.is_some_and(|modified_ms| {
            intended
                .seen_ms
                .is_none_or(|seen_ms| modified_ms.div_euclid(1_000) > seen_ms.div_euclid(1_000))
        })
    }
}

/// Returns why the write of a record that has changed is not made: it is read and planned again.
pub(super) fn changed_since_seen() -> Refusal {
    Refusal {
        code: "CHANGED_SINCE_SEEN".to_owned(),
        message: "the record was changed in Salesforce since it was last seen".to_owned(),
        fields: Vec::new(),
        disposition: Disposition::RefreshRecord,
    }
}

/// Returns why a write is not made about which it is not known whether it would do harm.
pub(super) fn unread(error: &SalesforceError) -> Refusal {
    let disposition = match error.disposition {
        concerns_tenant if concerns_tenant.concerns_tenant() => concerns_tenant,
        // Whatever the read failed on, the record is read before it is planned again.
        _ => Disposition::RefreshRecord,
    };
    Refusal {
        code: error.code.clone(),
        message: error.message.clone(),
        fields: Vec::new(),
        disposition,
    }
}
