//! The first contact of two sides that both have records.

use crate::job::error::Error;
use crate::job::tenant::Tenant;
use crate::model::ids::ObjectName;
use crate::ports::MappedObject;
use crate::ports::operator_store::TableContent;

/// How many records each side has, and how many of them the other side cannot recognise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FirstContact {
    /// Live records in Salesforce.
    pub(crate) records: u64,
    /// Those without an external id.
    pub(crate) records_without_id: u64,
    /// Rows.
    pub(crate) rows: u64,
    /// Those without an external id.
    pub(crate) rows_without_id: u64,
}

impl FirstContact {
    /// Counts the records of the org; the rows are counted already.
    pub(crate) async fn count(
        tenant: &Tenant,
        mapped: &MappedObject,
        content: &TableContent,
    ) -> Result<Self, Error> {
        let sync = &mapped.sync;
        let filter = sync.filter.as_deref();
        let org = &tenant.salesforce;
        Ok(Self {
            records: org.count(&sync.object, filter, None).await?,
            records_without_id: org
                .count(&sync.object, filter, Some(&sync.external_id.field))
                .await?,
            rows: content.rows,
            rows_without_id: content.without_id,
        })
    }

    /// Returns whether most of one side would be created a second time on the other side: both have records,
    /// and most of one side have no external id to be recognised by.
    pub(crate) fn duplicates_records(&self) -> bool {
        let most = |without: u64, all: u64| without.saturating_mul(2) > all;
        self.records > 0
            && self.rows > 0
            && (most(self.records_without_id, self.records)
                || most(self.rows_without_id, self.rows))
    }

    /// Returns what is wrong, with the counts.
    pub(crate) fn problem(&self, object: &ObjectName) -> String {
        format!(
            "{} of {} records of {object} in Salesforce and {} of {} rows have no external id: each would be \
             created again on the other side",
            self.records_without_id, self.records, self.rows_without_id, self.rows
        )
    }
}

/// What to do about a first contact that would create records twice.
pub const FIX: &str = "give records and rows that are the same thing the same external id; if none of \
                              them are, run `syncline install --no-match`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_created_twice_if_most_have_no_id() {
        let duplicates = |records, records_without_id, rows, rows_without_id| {
            let contact = FirstContact {
                records,
                records_without_id,
                rows,
                rows_without_id,
            };
            contact.duplicates_records()
        };
        assert!(duplicates(3, 3, 3, 0), "no record can be recognised");
        assert!(duplicates(3, 0, 3, 2), "most rows cannot be recognised");
        assert!(!duplicates(4, 2, 3, 0), "half of them can");
        assert!(!duplicates(3, 3, 0, 0), "a first load into an empty table");
        assert!(!duplicates(0, 0, 3, 3), "a first load into an empty org");
        assert!(!duplicates(3, 0, 3, 0));
    }
}
