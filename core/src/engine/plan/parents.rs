//! The external ids of the records that lookups point to, also of those that are not linked yet.
//!
//! The first load links parents before their children. A plan links nothing, so it asks Salesforce for the external
//! ids of parents that it has not met.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::error::Error;
use crate::job::tenant::{Tenant, mapped_object};
use crate::model::generate;
use crate::model::ids::{ObjectName, SalesforceId};
use crate::model::observation::SalesforceObservation;
use crate::model::value::Value;
use crate::observe::read::external_id_of;
use crate::ports::MappedObject;
use crate::ports::salesforce::{Deleted, ReadBy, SalesforceRecord};

/// Parents that are remembered, about 100 bytes each; then all are forgotten, and asked for again as they are needed.
const NAMES_MAX: usize = 300_000;

/// Parents of one read.
const READ_BATCH: usize = 200;

/// External ids of records that others point to.
#[derive(Debug)]
pub(super) struct ParentNames<'a> {
    mapped_objects: &'a [MappedObject],
    /// The objects that a mapped lookup points to.
    referenced: BTreeSet<&'a ObjectName>,
    /// None: the record is not there, or outside its object's filter.
    names: BTreeMap<SalesforceId, Option<String>>,
    /// Calls that were made.
    pub(super) calls: u64,
}

impl<'a> ParentNames<'a> {
    pub(super) fn new(mapped_objects: &'a [MappedObject]) -> Self {
        let fields = mapped_objects
            .iter()
            .flat_map(|mapped| mapped.sync.fields.values());
        Self {
            mapped_objects,
            referenced: fields
                .filter_map(|field| field.references.as_ref())
                .collect(),
            names: BTreeMap::new(),
            calls: 0,
        }
    }

    /// Remembers records that were read, if lookups point to their object.
    pub(super) fn meet(&mut self, mapped: &MappedObject, records: &[SalesforceRecord]) {
        if !self.referenced.contains(&mapped.sync.object) {
            return;
        }
        self.make_room(records.len());
        for record in records {
            let name = name_of(mapped, record);
            self.names.insert(record.salesforce_id.clone(), name);
        }
    }

    /// Returns the external ids of the parents that the observations point to, and asks Salesforce for those that are
    /// not known.
    pub(super) async fn of(
        &mut self,
        tenant: &Tenant,
        mapped: &MappedObject,
        observations: &[SalesforceObservation],
    ) -> Result<BTreeMap<SalesforceId, String>, Error> {
        let mut pointed: BTreeMap<&ObjectName, BTreeSet<SalesforceId>> = BTreeMap::new();
        for (name, field) in &mapped.sync.fields {
            let Some(parent) = &field.references else {
                continue;
            };
            for seen in observations {
                if let Some(Value::Text(id)) = seen.fields.get(name)
                    && let Ok(id) = SalesforceId::parse(id)
                {
                    pointed.entry(parent).or_default().insert(id);
                }
            }
        }
        self.make_room(pointed.values().map(BTreeSet::len).sum());
        for (object, ids) in &pointed {
            let unknown = ids.iter().filter(|id| !self.names.contains_key(*id));
            let unknown: Vec<SalesforceId> = unknown.cloned().collect();
            for batch in unknown.chunks(READ_BATCH) {
                self.ask(tenant, object, batch).await?;
            }
        }
        let ids = pointed.into_values().flatten();
        Ok(ids
            .filter_map(|id| {
                let name = self.names.get(&id)?.clone()?;
                Some((id, name))
            })
            .collect())
    }

    async fn ask(
        &mut self,
        tenant: &Tenant,
        object: &ObjectName,
        ids: &[SalesforceId],
    ) -> Result<(), Error> {
        self.names.extend(ids.iter().map(|id| (id.clone(), None)));
        let Some(parent) = mapped_object(self.mapped_objects, object) else {
            return Ok(());
        };
        let ids = ids.to_vec();
        let by = match &parent.sync.filter {
            Some(filter) => ReadBy::Matching {
                ids,
                filter: filter.clone(),
            },
            None => ReadBy::Id(ids),
        };
        let key = std::slice::from_ref(&parent.sync.external_id.field);
        self.calls += 1;
        let found = tenant.salesforce.read(object, &by, key).await?;
        for record in found.iter().filter(|record| record.deleted == Deleted::No) {
            let name = name_of(parent, record);
            self.names.insert(record.salesforce_id.clone(), name);
        }
        Ok(())
    }

    fn make_room(&mut self, wanted: usize) {
        if self.names.len() + wanted > NAMES_MAX {
            self.names.clear();
        }
    }
}

/// Returns the external id that the record has, or will get.
fn name_of(mapped: &MappedObject, record: &SalesforceRecord) -> Option<String> {
    let given = external_id_of(mapped, record).filter(|given| !given.trim().is_empty());
    let generated = || generate::for_salesforce(&mapped.organization_id, &record.salesforce_id);
    Some(given.unwrap_or_else(generated))
}
