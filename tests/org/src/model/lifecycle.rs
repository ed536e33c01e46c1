//! Operations of users on whole records: merging, converting a lead, emptying the recycle bin.

use super::draft::{Draft, Purpose};
use super::error::SfError;
use super::id::RecordId;
use super::schema::{FieldNo, MASTER_RECORD, ObjectNo};
use super::stamp;
use super::table::RowNo;
use super::transaction::Transaction;
use super::value::Value;
use super::{Actor, Model};

/// Maximum number of records merged into another one at a time.
const LOSERS_MAX: usize = 2;

/// Days from its creation to the close date of an opportunity made from a lead.
const CLOSE_DAYS: i32 = 90;

/// The lead fields that a conversion copies, and their target fields.
const TO_ACCOUNT: [(&str, &str); 10] = [
    ("Company", "Name"),
    ("Phone", "Phone"),
    ("Fax", "Fax"),
    ("Website", "Website"),
    ("Industry", "Industry"),
    ("AnnualRevenue", "AnnualRevenue"),
    ("NumberOfEmployees", "NumberOfEmployees"),
    ("Rating", "Rating"),
    ("City", "BillingCity"),
    ("Country", "BillingCountry"),
];
const TO_CONTACT: [(&str, &str); 10] = [
    ("Salutation", "Salutation"),
    ("FirstName", "FirstName"),
    ("LastName", "LastName"),
    ("Title", "Title"),
    ("Email", "Email"),
    ("Phone", "Phone"),
    ("MobilePhone", "MobilePhone"),
    ("LeadSource", "LeadSource"),
    ("City", "MailingCity"),
    ("Country", "MailingCountry"),
];
const TO_OPPORTUNITY: [(&str, &str); 2] = [("Company", "Name"), ("LeadSource", "LeadSource")];

/// A record that a conversion creates.
struct Made<'a> {
    object: &'a str,
    /// Pairs of a lead field and the field of the new record that gets its value.
    names: &'a [(&'a str, &'a str)],
    more: Vec<(&'a str, Value)>,
}

/// The records that a conversion created or used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Converted {
    pub(crate) account: RecordId,
    pub(crate) contact: RecordId,
    pub(crate) opportunity: Option<RecordId>,
}

/// The parameters of a lead conversion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversion {
    pub(crate) lead: RowNo,
    /// An existing account to use instead of a new one.
    pub(crate) account: Option<RecordId>,
    pub(crate) with_opportunity: bool,
}

impl Model {
    /// Merges records of one object into a master. Their children move to the master, the records
    /// go to the recycle bin and refer to the master, and the master gets the values of `draft`.
    pub(crate) fn merge(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        master: (ObjectNo, RowNo),
        losers: &[RowNo],
        draft: Draft,
    ) -> Result<(), SfError> {
        let (no, kept) = master;
        let field = self.object(no).find(MASTER_RECORD).ok_or_else(|| {
            let message = format!("entity type {} cannot be merged", self.object(no).name);
            SfError::of_record("INVALID_TYPE", message)
        })?;
        if losers.is_empty() || losers.len() > LOSERS_MAX || losers.contains(&kept) {
            let message = "a merge takes one master and one or two other records";
            return Err(SfError::of_record("INVALID_ARGUMENT", message));
        }
        for loser in losers {
            if self.table(no).is_deleted(self.object(no), *loser) {
                return Err(SfError::deleted());
            }
            self.repoint(tx, actor, no, (*loser, kept))?;
            self.delete(tx, actor, no, *loser)?;
            let id = self.id_of(no, kept);
            self.put(tx, (no, *loser), field, Value::Id(id));
        }
        self.update(tx, actor, kept, draft)
    }

    /// Changes every live reference to one record into a reference to another of the same object.
    fn repoint(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        object: ObjectNo,
        (from, to): (RowNo, RowNo),
    ) -> Result<(), SfError> {
        let (old, new) = (self.id_of(object, from), self.id_of(object, to));
        for (child, row, field) in self.referring(object, old) {
            // A master that was the child of the merged record loses its parent.
            let own = (child, row) == (object, to);
            let value = if own { Value::Null } else { Value::Id(new) };
            let parents = self.parents_of((child, row));
            self.put(tx, (child, row), field, value);
            self.stamp(tx, actor, (child, row));
            self.add_up(tx, actor, (child, row), parents)?;
        }
        Ok(())
    }

    /// Creates an account, a contact and an opportunity from a lead, in this order, and marks the
    /// lead.
    pub(crate) fn convert_lead(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        conversion: Conversion,
    ) -> Result<Converted, SfError> {
        let lead = (self.object_named("Lead")?, conversion.lead);
        let at = |model: &Self, name: &str| model.field_named(lead.0, name);
        if *self.table(lead.0).get(lead.1, at(self, "IsConverted")?) == Value::Bool(true) {
            let message = "cannot reference converted lead";
            return Err(SfError::of_record("CANNOT_UPDATE_CONVERTED_LEAD", message));
        }
        let account = match conversion.account {
            Some(account) => account,
            None => {
                let made = Made {
                    object: "Account",
                    names: &TO_ACCOUNT,
                    more: Vec::new(),
                };
                self.made_of(tx, actor, lead, made)?
            }
        };
        let parent = ("AccountId", Value::Id(account));
        let made = Made {
            object: "Contact",
            names: &TO_CONTACT,
            more: vec![parent.clone()],
        };
        let contact = self.made_of(tx, actor, lead, made)?;
        let today = stamp::day_of(self.now_ms);
        let opportunity = if conversion.with_opportunity {
            let made = Made {
                object: "Opportunity",
                names: &TO_OPPORTUNITY,
                more: vec![
                    parent,
                    ("StageName", Value::Text("Prospecting".into())),
                    ("CloseDate", Value::Date(today + CLOSE_DAYS)),
                ],
            };
            Some(self.made_of(tx, actor, lead, made)?)
        } else {
            None
        };
        let marks = [
            ("Status", Value::Text("Closed - Converted".into())),
            ("IsConverted", Value::Bool(true)),
            ("ConvertedDate", Value::Date(today)),
            ("ConvertedAccountId", Value::Id(account)),
            ("ConvertedContactId", Value::Id(contact)),
            (
                "ConvertedOpportunityId",
                opportunity.map_or(Value::Null, Value::Id),
            ),
        ];
        for (name, value) in marks {
            let field = at(self, name)?;
            self.put(tx, lead, field, value);
        }
        self.stamp(tx, actor, lead);
        tx.hide_stamp(lead.0, lead.1);
        Ok(Converted {
            account,
            contact,
            opportunity,
        })
    }

    fn made_of(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        lead: (ObjectNo, RowNo),
        made: Made<'_>,
    ) -> Result<RecordId, SfError> {
        let no = self.object_named(made.object)?;
        let mut sets = Vec::new();
        for (from, to) in made.names {
            let from = self.field_named(lead.0, from)?;
            let value = self.table(lead.0).get(lead.1, from).clone();
            sets.push((self.field_named(no, to)?, value));
        }
        for (name, value) in made.more {
            sets.push((self.field_named(no, name)?, value));
        }
        let draft = Draft {
            object: no,
            purpose: Purpose::Create,
            sets,
        };
        let row = self.create(tx, actor, draft)?;
        Ok(self.id_of(no, row))
    }

    /// Archives a record. This changes no stamp and sends no event.
    pub(crate) fn archive(&mut self, (object, row): (ObjectNo, RowNo), field: FieldNo) {
        let shape = &self.schema.objects[object.0];
        self.tables[object.0].set(shape, row, field, Value::Bool(true));
    }

    /// Deletes records in the recycle bin permanently and returns how many. This sends no events.
    ///
    /// Ids of live or unknown records are skipped. Without ids the whole bin is emptied.
    pub(crate) fn empty_recycle_bin(&mut self, ids: Option<&[RecordId]>) -> usize {
        let mut purged = 0;
        for no in (0..self.tables.len()).map(ObjectNo) {
            let object = &self.schema.objects[no.0];
            let table = &mut self.tables[no.0];
            let named = |row: &RowNo| {
                let id = RecordId::numbered(object.key_prefix, *row);
                ids.is_none_or(|ids| ids.contains(&id))
            };
            let gone: Vec<RowNo> = table
                .all()
                .filter(|row| table.is_deleted(object, *row) && named(row))
                .collect();
            purged += gone.len();
            for row in gone {
                table.purge(object, row);
            }
        }
        purged
    }
}
