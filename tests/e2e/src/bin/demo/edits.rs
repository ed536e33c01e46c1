//! The demo's edits: edits, nulls and deletes on each side, and edits of the same records on both.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Value, json};
use sqlx::PgPool;
use syncline::host::instance::WakeUpTarget;
use syncline_e2e::load::Births;
use syncline_e2e::salesforce::{Person, Record};
use syncline_e2e::world::{World, tenant};

/// Accounts that are edited on each side.
const EDITED: usize = 150;
/// Accounts that lose a value on each side.
const CLEARED: usize = 50;
/// Accounts that are deleted on each side.
const DELETED: usize = 50;
/// Accounts that are edited on both sides, in different fields.
const BOTH_DISJOINT: usize = 60;
/// Accounts that are edited on both sides, in the same field.
const BOTH_CONFLICTING: usize = 20;
/// Contacts that are edited on each side.
const CONTACTS_EDITED: usize = 10;
/// Accounts whose edits are timed, on each side.
const PROBED: usize = 30;

/// Which records each kind of edit happens to. No record is in two lists.
pub(crate) struct Day {
    edited_in_postgres: Vec<String>,
    edited_in_salesforce: Vec<String>,
    cleared_in_postgres: Vec<String>,
    cleared_in_salesforce: Vec<String>,
    deleted_in_postgres: Vec<String>,
    deleted_in_salesforce: Vec<String>,
    both_disjoint: Vec<String>,
    both_conflicting: Vec<String>,
    contacts_in_postgres: Vec<String>,
    contacts_in_salesforce: Vec<String>,
    /// Accounts for timed edits in Postgres.
    pub(crate) probed_in_postgres: Vec<String>,
    /// Accounts for timed edits in Salesforce.
    pub(crate) probed_in_salesforce: Vec<String>,
}

impl Day {
    /// Picks the records: airports created on either side in equal numbers, and customers.
    ///
    /// # Errors
    ///
    /// When there are too few records.
    pub(crate) fn of(births: &Births) -> anyhow::Result<Self> {
        let mut airports = births
            .accounts_in_postgres
            .iter()
            .zip(&births.accounts_in_salesforce)
            .flat_map(|(one, other)| [one, other])
            .map(|draft| draft.external_id.clone())
            .filter(|id| !id.starts_with("company-"));
        let mut contacts = births
            .contacts_in_postgres
            .iter()
            .chain(&births.contacts_in_salesforce)
            .map(|draft| draft.external_id.clone());
        let day = Self {
            edited_in_postgres: airports.by_ref().take(EDITED).collect(),
            edited_in_salesforce: airports.by_ref().take(EDITED).collect(),
            cleared_in_postgres: airports.by_ref().take(CLEARED).collect(),
            cleared_in_salesforce: airports.by_ref().take(CLEARED).collect(),
            deleted_in_postgres: airports.by_ref().take(DELETED).collect(),
            deleted_in_salesforce: airports.by_ref().take(DELETED).collect(),
            both_disjoint: airports.by_ref().take(BOTH_DISJOINT).collect(),
            both_conflicting: airports.by_ref().take(BOTH_CONFLICTING).collect(),
            contacts_in_postgres: contacts.by_ref().take(CONTACTS_EDITED).collect(),
            contacts_in_salesforce: contacts.by_ref().take(CONTACTS_EDITED).collect(),
            probed_in_postgres: airports.by_ref().take(PROBED).collect(),
            probed_in_salesforce: airports.by_ref().take(PROBED).collect(),
        };
        anyhow::ensure!(
            day.probed_in_salesforce.len() == PROBED,
            "there are too few records for a busy day"
        );
        Ok(day)
    }

    /// Returns the number of conflicts that the edits must leave.
    pub(crate) fn conflicts(&self) -> usize {
        self.both_conflicting.len()
    }

    /// Returns the number of accounts that the edits delete.
    pub(crate) fn deleted(&self) -> usize {
        self.deleted_in_postgres.len() + self.deleted_in_salesforce.len()
    }

    /// Edits, clears and deletes on each side.
    ///
    /// # Errors
    ///
    /// When a side refuses.
    pub(crate) async fn edit_each_side(&self, world: &World) -> anyhow::Result<()> {
        let ids = Ids::read(&world.person).await?;
        let (rows, records) = tokio::join!(
            self.edit_rows(&world.pool),
            self.edit_records(&world.person, &ids)
        );
        rows?;
        records
    }

    /// Edits the same records on both sides while the tenant is paused, so that neither side has received
    /// the other's edit.
    ///
    /// # Errors
    ///
    /// When a side refuses.
    pub(crate) async fn edit_both_sides(&self, world: &World) -> anyhow::Result<()> {
        let store = world
            .operator(WakeUpTarget::Silent)
            .store(&tenant())
            .await?;
        let ids = Ids::read(&world.person).await?;
        store
            .set_paused(&tenant(), true, Some("both sides are edited at once"))
            .await?;
        set(
            &world.pool,
            "account",
            "phone",
            "+1 555 0100",
            &self.both_disjoint,
        )
        .await?;
        set(
            &world.pool,
            "account",
            "phone",
            "+1 555 0101",
            &self.both_conflicting,
        )
        .await?;
        let disjoint = ids.accounts(&self.both_disjoint, "Description", json!("Seen by sales"))?;
        let conflicting =
            ids.accounts(&self.both_conflicting, "Phone", json!("+44 20 7946 0000"))?;
        world.person.update("Account", &disjoint).await?;
        world.person.update("Account", &conflicting).await?;
        store.set_paused(&tenant(), false, None).await?;
        Ok(())
    }

    async fn edit_rows(&self, pool: &PgPool) -> anyhow::Result<()> {
        // One transaction for some, one for each of the others: both happen.
        let (at_once, one_by_one) = self.edited_in_postgres.split_at(EDITED / 2);
        set(
            pool,
            "account",
            "description",
            "Checked by operations",
            at_once,
        )
        .await?;
        for id in one_by_one {
            let text = format!("Checked by operations: {id}");
            set(
                pool,
                "account",
                "description",
                &text,
                std::slice::from_ref(id),
            )
            .await?;
        }
        sqlx::query("update account set city = null where external_id = any($1)")
            .bind(&self.cleared_in_postgres)
            .execute(pool)
            .await?;
        sqlx::query("delete from account where external_id = any($1)")
            .bind(&self.deleted_in_postgres)
            .execute(pool)
            .await?;
        set(
            pool,
            "contact",
            "title",
            "Buyer",
            &self.contacts_in_postgres,
        )
        .await
    }

    async fn edit_records(&self, person: &Person, ids: &Ids) -> anyhow::Result<()> {
        let edited = ids.accounts(&self.edited_in_salesforce, "Phone", json!("+49 30 901820"))?;
        let cleared = ids.accounts(&self.cleared_in_salesforce, "BillingCity", Value::Null)?;
        person.update("Account", &edited).await?;
        person.update("Account", &cleared).await?;
        let contacts = ids.contacts(&self.contacts_in_salesforce, "Title", json!("Traveller"))?;
        person.update("Contact", &contacts).await?;
        person
            .delete(&Ids::some(&ids.accounts, &self.deleted_in_salesforce)?)
            .await
    }
}

/// Salesforce ids by external id.
pub(crate) struct Ids {
    accounts: BTreeMap<String, String>,
    contacts: BTreeMap<String, String>,
}

impl Ids {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// When the org refuses.
    pub(crate) async fn read(person: &Person) -> anyhow::Result<Self> {
        Ok(Self {
            accounts: ids_of(person, "Account").await?,
            contacts: ids_of(person, "Contact").await?,
        })
    }

    /// Returns the updates that set one field of these accounts.
    ///
    /// # Errors
    ///
    /// When Salesforce does not have one.
    pub(crate) fn accounts(
        &self,
        external_ids: &[String],
        field: &str,
        value: Value,
    ) -> anyhow::Result<Vec<Record>> {
        updates(&self.accounts, external_ids, field, &value)
    }

    fn contacts(
        &self,
        external_ids: &[String],
        field: &str,
        value: Value,
    ) -> anyhow::Result<Vec<Record>> {
        updates(&self.contacts, external_ids, field, &value)
    }

    fn some(known: &BTreeMap<String, String>, wanted: &[String]) -> anyhow::Result<Vec<String>> {
        wanted
            .iter()
            .map(|id| {
                let found = known.get(id).cloned();
                found.with_context(|| format!("Salesforce has no record {id}"))
            })
            .collect()
    }
}

async fn ids_of(person: &Person, object: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let records = person
        .query(&format!("select Id, External_Id__c from {object}"))
        .await?;
    Ok(records
        .iter()
        .filter_map(|record| {
            let text = |name: &str| record.get(name)?.as_str().map(str::to_owned);
            Some((text("External_Id__c")?, text("Id")?))
        })
        .collect())
}

fn updates(
    known: &BTreeMap<String, String>,
    external_ids: &[String],
    field: &str,
    value: &Value,
) -> anyhow::Result<Vec<Record>> {
    let ids = Ids::some(known, external_ids)?;
    Ok(ids
        .into_iter()
        .map(|id| {
            let mut record = Record::new();
            record.insert("Id".to_owned(), json!(id));
            record.insert(field.to_owned(), value.clone());
            record
        })
        .collect())
}

/// Sets one column of some rows to a text.
///
/// # Errors
///
/// When Postgres refuses.
pub(crate) async fn set(
    pool: &PgPool,
    table: &str,
    column: &str,
    text: &str,
    external_ids: &[String],
) -> anyhow::Result<()> {
    let sql = format!("update {table} set {column} = $1 where external_id = any($2)");
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(text)
        .bind(external_ids)
        .execute(pool)
        .await?;
    Ok(())
}
