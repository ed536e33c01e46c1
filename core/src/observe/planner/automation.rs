//! Fields that automation in Salesforce changes back.

use std::collections::BTreeMap;

use crate::model::Side;
use crate::model::fields::FieldId;
use crate::model::ids::FieldName;
use crate::model::link::AutomationOverride;
use crate::planner::facts::RecordFacts;
use crate::planner::record::{RecordPlan, SideWrite};
use crate::ports::record::ObservedRecord;

use super::ObjectPlanner;

impl ObjectPlanner<'_> {
    /// Counts the writes that repeat the owner's value because Salesforce changed it back. Forgets the count
    /// of a field that has changed in Postgres since.
    pub(super) fn automation_overrides(
        &self,
        observed: &ObservedRecord,
        plan: &RecordPlan,
        facts: &RecordFacts,
    ) -> BTreeMap<FieldName, AutomationOverride> {
        let held = |side, field: FieldId| facts.held(side).and_then(|fields| fields.get(&field));
        let mut automation_overrides = observed.known.link.automation_overrides.clone();
        automation_overrides.retain(|name, automation_override| {
            let field = self.mapping().field(name);
            field.and_then(|field| held(Side::Postgres, field)) == Some(&automation_override.sent)
        });
        let SideWrite::Update(sent) = &plan.to_salesforce else {
            return automation_overrides;
        };
        for (field, value) in sent.iter() {
            let base = facts.base.as_ref().and_then(|base| base.get(field));
            let stored = held(Side::Salesforce, *field).filter(|stored| *stored != value);
            if let (true, Some(stored)) = (base == Some(value), stored) {
                let name = self.mapping().name(*field);
                let count = automation_overrides
                    .get(name)
                    .map_or(0, |automation_override| automation_override.count);
                automation_overrides.insert(
                    name.clone(),
                    AutomationOverride {
                        count: count.saturating_add(1),
                        sent: value.clone(),
                        stored: stored.clone(),
                    },
                );
            }
        }
        automation_overrides
    }
}
