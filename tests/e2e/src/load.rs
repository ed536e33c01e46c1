//! Loads the real records into one side or the other, as users of that side would.

use anyhow::Context;
use serde_json::{Map, Number, Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use crate::mapping::{ACCOUNT, CONTACT, Kind, Object};
use crate::records::{self, Airport, Customer};
use crate::salesforce::{Person, Record};

/// One record, by Salesforce field; a lookup holds its parent's external id.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its external id on both sides.
    pub external_id: String,
    /// Its values; an absent field is null.
    pub values: Vec<(&'static str, Value)>,
}

/// The records of both sides before anything has moved.
#[derive(Debug, Clone, Default)]
pub struct Births {
    /// Accounts that Postgres has.
    pub accounts_in_postgres: Vec<Draft>,
    /// Accounts that Salesforce has.
    pub accounts_in_salesforce: Vec<Draft>,
    /// Contacts that Postgres has.
    pub contacts_in_postgres: Vec<Draft>,
    /// Contacts that Salesforce has.
    pub contacts_in_salesforce: Vec<Draft>,
}

impl Births {
    /// Returns the airports, `of_each_side` of them created on either side, and the shop's companies and
    /// customers.
    ///
    /// # Errors
    ///
    /// When a file of records is damaged, or holds too few.
    pub fn real_records(of_each_side: usize) -> anyhow::Result<Self> {
        let airports = records::airports()?;
        anyhow::ensure!(
            airports.len() >= of_each_side * 2,
            "there are {} airports, not {}",
            airports.len(),
            of_each_side * 2
        );
        let customers = records::customers()?;
        let mut births = Self::default();
        for (place, airport) in airports.iter().take(of_each_side * 2).enumerate() {
            births.side(place).0.push(account_of_airport(airport));
        }
        let companies = records::companies(&customers);
        for (place, (id, name)) in companies.iter().enumerate() {
            births.side(place).0.push(account_of_company(id, name));
        }
        for (place, customer) in customers.iter().enumerate() {
            // A customer is created on the company's side, where its lookup can be set.
            let company = customer.company.as_deref().map(records::company_id);
            let at = company
                .as_ref()
                .and_then(|id| companies.keys().position(|known| known == id));
            let contact = contact_of(customer, company);
            births.side(at.unwrap_or(place)).1.push(contact);
        }
        Ok(births)
    }

    /// Returns how many accounts there are on both sides together.
    pub fn accounts(&self) -> usize {
        self.accounts_in_postgres.len() + self.accounts_in_salesforce.len()
    }

    /// Returns how many contacts there are on both sides together.
    pub fn contacts(&self) -> usize {
        self.contacts_in_postgres.len() + self.contacts_in_salesforce.len()
    }

    /// Inserts the records that are created in Postgres.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn into_postgres(&self, pool: &PgPool) -> anyhow::Result<()> {
        insert(pool, &ACCOUNT, &self.accounts_in_postgres).await?;
        insert(pool, &CONTACT, &self.contacts_in_postgres).await
    }

    /// Creates the records that are created in Salesforce.
    ///
    /// # Errors
    ///
    /// When Salesforce refuses.
    pub async fn into_salesforce(&self, person: &Person) -> anyhow::Result<()> {
        create(person, "Account", &self.accounts_in_salesforce).await?;
        create(person, "Contact", &self.contacts_in_salesforce).await
    }

    fn side(&mut self, place: usize) -> (&mut Vec<Draft>, &mut Vec<Draft>) {
        if place.is_multiple_of(2) {
            (
                &mut self.accounts_in_postgres,
                &mut self.contacts_in_postgres,
            )
        } else {
            (
                &mut self.accounts_in_salesforce,
                &mut self.contacts_in_salesforce,
            )
        }
    }
}

/// Inserts records into an object's table, in one statement.
///
/// # Errors
///
/// When Postgres refuses.
pub async fn insert(pool: &PgPool, object: &Object, drafts: &[Draft]) -> anyhow::Result<()> {
    // Every column is named, so that an absent value is null; only booleans are never null.
    let columns: Vec<&str> = object.fields.iter().map(|field| field.column).collect();
    let chosen: Vec<String> = object
        .fields
        .iter()
        .map(|field| match field.kind {
            Kind::Boolean => format!("coalesce({}, false)", field.column),
            Kind::Text | Kind::Number | Kind::Moment => field.column.to_owned(),
        })
        .collect();
    let (table, columns, chosen) = (object.table, columns.join(", "), chosen.join(", "));
    let sql = format!(
        "insert into {table} (external_id, {columns}) \
         select external_id, {chosen} from jsonb_populate_recordset(null::{table}, $1)"
    );
    let rows: Vec<Value> = drafts.iter().map(|draft| row(object, draft)).collect();
    sqlx::query(AssertSqlSafe(sql))
        .bind(Value::Array(rows))
        .execute(pool)
        .await
        .with_context(|| format!("the rows of {table} were not inserted"))?;
    Ok(())
}

/// Creates records of an object.
///
/// # Errors
///
/// When Salesforce refuses one.
pub async fn create(person: &Person, object: &str, drafts: &[Draft]) -> anyhow::Result<()> {
    let records: Vec<Record> = drafts.iter().map(record).collect();
    person.create(object, &records).await.map(drop)
}

/// Returns an airport as an account.
pub fn account_of_airport(airport: &Airport) -> Draft {
    let degrees = |text: &str| text.parse::<Number>().map_or(Value::Null, Value::Number);
    Draft {
        external_id: airport.icao.clone(),
        values: present([
            ("Name", json!(airport.name)),
            ("IATA__c", json!(airport.iata)),
            ("BillingCity", json!(airport.city)),
            ("BillingState", json!(airport.subdivision)),
            ("BillingCountry", json!(airport.country)),
            ("Elevation__c", degrees(&airport.elevation)),
            ("BillingLatitude", degrees(&airport.latitude)),
            ("BillingLongitude", degrees(&airport.longitude)),
            ("Timezone__c", json!(airport.timezone)),
            ("Active__c", json!(airport.iata.is_some())),
        ]),
    }
}

fn account_of_company(id: &str, name: &str) -> Draft {
    Draft {
        external_id: id.to_owned(),
        values: present([("Name", json!(name)), ("Active__c", json!(true))]),
    }
}

fn contact_of(customer: &Customer, company: Option<String>) -> Draft {
    Draft {
        external_id: records::customer_id(customer),
        values: present([
            ("AccountId", json!(company)),
            ("FirstName", json!(customer.firstname)),
            ("LastName", json!(customer.lastname)),
            ("Email", json!(customer.email)),
            ("Phone", json!(customer.phone)),
            ("Fax", json!(customer.fax)),
            ("MailingStreet", json!(customer.address)),
            ("MailingCity", json!(customer.city)),
            ("MailingState", json!(customer.state)),
            ("MailingPostalCode", json!(customer.postalcode)),
            ("MailingCountry", json!(customer.country)),
        ]),
    }
}

fn present<const COUNT: usize>(
    values: [(&'static str, Value); COUNT],
) -> Vec<(&'static str, Value)> {
    values
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect()
}

fn row(object: &Object, draft: &Draft) -> Value {
    let mut row = Map::new();
    row.insert("external_id".to_owned(), json!(draft.external_id));
    for (name, value) in &draft.values {
        let column = object
            .fields
            .iter()
            .find(|field| field.field == *name)
            .map(|field| field.column)
            .expect("a draft has mapped fields only");
        row.insert(column.to_owned(), value.clone());
    }
    Value::Object(row)
}

fn record(draft: &Draft) -> Record {
    let mut record = Map::new();
    record.insert("External_Id__c".to_owned(), json!(draft.external_id));
    for (name, value) in &draft.values {
        match *name {
            "AccountId" => record.insert("Account".to_owned(), json!({"External_Id__c": value})),
            name => record.insert(name.to_owned(), value.clone()),
        };
    }
    record
}
