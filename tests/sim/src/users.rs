//! The users of both sides, and the log of what they did.
//!
//! Every edit writes a value that no other edit writes. A user who replaces a value, or deletes it, has seen it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use salesforce_org::in_process::InProcess;
use salesforce_org::{Org, RecordId, Request, local};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::script::{Act, Side};
use crate::shapes::{KEY, SHAPES, Shape};

/// Most deletes of a world: more of an object would be withheld by the delete guard.
const DELETES_MAX: usize = 3;

/// A record as a user sees it: its values by the names of [`KEY`], the fields, `External_Id__c`, `parent` and, in
/// Salesforce, `Id`.
pub(crate) type Seen = BTreeMap<&'static str, Json>;

/// The records of one object on one side, by key.
pub(crate) type SeenRecords = BTreeMap<String, Seen>;

/// What the story tells of an act, and whether it had an effect.
pub(crate) type Told = (String, bool);

/// A value that a user gave to a field: the object's place, the record's key, the field, the value.
pub(crate) type Edit = (usize, String, &'static str, String);

/// What users did.
#[derive(Debug, Default)]
pub(crate) struct UserLog {
    /// Numbers the values.
    pub(crate) values: u64,
    pub(crate) deletes: usize,
    /// The record of each external id that a user ever gave, by the object's place.
    pub(crate) names: BTreeMap<(usize, String), String>,
    /// Every edit.
    pub(crate) written: BTreeSet<Edit>,
    /// Edits that no user has replaced.
    pub(crate) unreplaced: BTreeSet<Edit>,
    /// Salesforce ids of what was deleted there.
    pub(crate) bin: Vec<String>,
    /// Records that were deleted, and never restored, by the object's place and the key.
    pub(crate) deleted: BTreeSet<(usize, String)>,
    /// Records that anyone changed after they were created.
    pub(crate) touched: BTreeSet<(usize, String)>,
}

/// Both sides, as users reach them.
pub(crate) struct Users {
    pub(crate) org: InProcess,
    pub(crate) postgres: PgConnection,
    pub(crate) log: UserLog,
}

/// A change that a user is about to make.
struct Change {
    side: Side,
    place: usize,
    /// The record, as it was seen.
    key: String,
    seen: Seen,
}

impl Users {
    /// Does what a step says. Returns what happened, for the story.
    pub(crate) async fn act(&mut self, side: Side, act: Act, pick: u64) -> anyhow::Result<Told> {
        let mut pick = Pick(pick);
        let place = pick.of(SHAPES.len());
        match act {
            Act::Create => return self.create(side, place).await,
            Act::Undelete => return self.undelete(),
            Act::EditAll => return self.edit_all(side, place, &mut pick).await,
            _ => {}
        }
        let seen = self.seen(side, place).await?;
        let Some((key, record)) = pick.one(&seen) else {
            let object = SHAPES[place].object;
            return Ok((format!("{side:?}: {act:?} finds no {object}"), false));
        };
        let change = Change {
            side,
            place,
            key: key.clone(),
            seen: record.clone(),
        };
        let field = SHAPES[place].fields[pick.of(2)].0;
        match act {
            Act::Edit => {
                let value = json!(self.new_value());
                self.write(&change, field, value).await
            }
            Act::Clear => {
                self.write(&change, SHAPES[place].fields[1].0, Json::Null)
                    .await
            }
            Act::Rename => {
                let name = format!("{}-{}", SHAPES[place].table, self.new_value());
                self.log
                    .names
                    .insert((place, name.clone()), change.key.clone());
                self.write(&change, "External_Id__c", json!(name)).await
            }
            Act::Link => self.link(&change, &mut pick).await,
            Act::Unlink => {
                self.write(&change, SHAPES[place].lookup.0, Json::Null)
                    .await
            }
            Act::RollBack => self.roll_back(&change, field).await,
            Act::Delete => self.delete(&change).await,
            Act::Create | Act::Undelete | Act::EditAll => Ok((String::new(), false)),
        }
    }

    /// Returns what a user sees of the records of an object.
    pub(crate) async fn seen(&mut self, side: Side, place: usize) -> anyhow::Result<SeenRecords> {
        let records = match side {
            Side::Postgres => rows(&mut self.postgres, &SHAPES[place], "true").await?,
            Side::Salesforce => self.org.with_org(|org| records(org, &SHAPES[place]))?,
        };
        Ok(records
            .into_iter()
            .map(|record| (text(&record, KEY.0), record))
            .collect())
    }

    /// Returns what changes with every write of any row or record.
    pub(crate) async fn fingerprint(&mut self) -> anyhow::Result<String> {
        let mut found = String::new();
        for shape in &SHAPES {
            let versions = format!(
                "select string_agg(xmin::text, ' ' order by id) from {}",
                shape.table
            );
            let versions: Option<String> = sqlx::query_scalar(AssertSqlSafe(versions))
                .persistent(false)
                .fetch_one(&mut self.postgres)
                .await?;
            let soql = format!("select+Id,SystemModstamp+from+{}", shape.object);
            let records = self.org.with_org(|org| answer(org, &soql))?;
            found = format!("{found}{versions:?}{}", records["records"]);
        }
        Ok(found)
    }

    fn new_value(&mut self) -> String {
        self.log.values += 1;
        format!("v{}", self.log.values)
    }

    async fn create(&mut self, side: Side, place: usize) -> anyhow::Result<Told> {
        let (shape, value) = (&SHAPES[place], self.new_value());
        let (key, name) = (value.replace('v', "k"), format!("{}-{value}", shape.table));
        let (field, column) = shape.fields[0];
        self.log.names.insert((place, name.clone()), key.clone());
        let edit: Edit = (place, key.clone(), field, value.clone());
        self.log.written.insert(edit.clone());
        self.log.unreplaced.insert(edit);
        match side {
            Side::Postgres => {
                let insert = format!(
                    "insert into {} (external_id, {column}, {}) values ('{name}', '{value}', '{key}')",
                    shape.table, KEY.1
                );
                sqlx::raw_sql(AssertSqlSafe(insert))
                    .execute(&mut self.postgres)
                    .await?;
            }
            Side::Salesforce => {
                let fields = json!({field: value, "External_Id__c": name, KEY.0: key});
                self.org
                    .with_org(|org| org.insert_as(local::PERSON, shape.object, &fields))
                    .map_err(|error| anyhow::anyhow!("{error:?}"))?;
            }
        }
        let object = shape.object;
        let told = format!("{side:?}: creates {object} {key}, called {name}, {field} {value}");
        Ok((told, true))
    }

    /// Restores what was deleted last. It is refused if another record has the external id by now.
    fn undelete(&mut self) -> anyhow::Result<Told> {
        let Some(id) = self.log.bin.pop() else {
            return Ok(("Salesforce: the recycle bin is empty".to_owned(), false));
        };
        let record = RecordId::parse(&id).context("the org returns ids")?;
        let restored = self
            .org
            .with_org(|org| org.undelete_as(local::PERSON, record))
            .is_ok();
        if restored {
            // Its children return with it.
            for (place, shape) in SHAPES.iter().enumerate() {
                for record in self.org.with_org(|org| records(org, shape))? {
                    self.log.deleted.remove(&(place, text(&record, KEY.0)));
                }
            }
        }
        Ok((format!("Salesforce: undeletes {id}: {restored}"), restored))
    }

    async fn link(&mut self, change: &Change, pick: &mut Pick) -> anyhow::Result<Told> {
        let shape = &SHAPES[change.place];
        let parents = self.seen(change.side, shape.parent).await?;
        let Some((key, parent)) = pick.one(&parents) else {
            return Ok((format!("{:?}: no parent to choose", change.side), false));
        };
        // Salesforce refuses an account that is its own ancestor.
        if change.place == shape.parent && change.key <= *key {
            let told = format!(
                "{:?}: {} would be its own ancestor",
                change.side, change.key
            );
            return Ok((told, false));
        }
        let value = match change.side {
            Side::Postgres => parent["External_Id__c"].clone(),
            Side::Salesforce => parent["Id"].clone(),
        };
        self.write(change, shape.lookup.0, value).await
    }

    /// Writes one field of a record.
    async fn write(
        &mut self,
        change: &Change,
        field: &'static str,
        value: Json,
    ) -> anyhow::Result<Told> {
        let shape = &SHAPES[change.place];
        let told = format!(
            "{:?}: {} {}.{field} = {value}",
            change.side, shape.object, change.key
        );
        let before = match change.side {
            Side::Postgres => {
                let set = format!(
                    "update {} set {} = {}",
                    shape.table,
                    column(shape, field),
                    literal(&value)
                );
                self.in_transaction(change, &set, End::Commit).await?
            }
            Side::Salesforce => self.change_record(change, |org, id| {
                org.update_as(local::PERSON, id, &json!({field: value}))
            })?,
        };
        let Some(before) = before else {
            return Ok((format!("{told}: refused"), false));
        };
        self.note_replaced(&before, |place, key, named| {
            (place, key, named) == (change.place, change.key.as_str(), field)
        });
        self.log.touched.insert((change.place, change.key.clone()));
        if let (Some(value), true) = (
            value.as_str(),
            shape.fields.iter().any(|(name, _)| *name == field),
        ) {
            let edit: Edit = (change.place, change.key.clone(), field, value.to_owned());
            self.log.written.insert(edit.clone());
            self.log.unreplaced.insert(edit);
        }
        Ok((told, true))
    }

    /// Edits one field of every record of an object.
    async fn edit_all(
        &mut self,
        side: Side,
        place: usize,
        pick: &mut Pick,
    ) -> anyhow::Result<Told> {
        let field = SHAPES[place].fields[pick.of(2)].0;
        let mut told = Vec::new();
        for (key, seen) in self.seen(side, place).await? {
            let value = json!(self.new_value());
            let change = Change {
                side,
                place,
                key,
                seen,
            };
            told.push(self.write(&change, field, value).await?.0);
        }
        let done = !told.is_empty();
        Ok((told.join("; "), done))
    }

    /// Edits a row in a transaction that is rolled back. Salesforce shows no such transaction.
    async fn roll_back(&mut self, change: &Change, field: &'static str) -> anyhow::Result<Told> {
        if change.side == Side::Salesforce {
            return Ok(("Salesforce: nothing".to_owned(), false));
        }
        let shape = &SHAPES[change.place];
        let set = format!(
            "update {} set {} = 'never'",
            shape.table,
            column(shape, field)
        );
        let before = self.in_transaction(change, &set, End::RollBack).await?;
        let (object, key) = (shape.object, &change.key);
        let told = format!("Postgres: {object} {key}.{field} changes and is rolled back");
        Ok((told, before.is_some()))
    }

    async fn delete(&mut self, change: &Change) -> anyhow::Result<Told> {
        if self.log.deletes == DELETES_MAX {
            return Ok((format!("{:?}: enough was deleted", change.side), false));
        }
        let shape = &SHAPES[change.place];
        let told = format!("{:?}: deletes {} {}", change.side, shape.object, change.key);
        let before = match change.side {
            Side::Postgres => {
                self.in_transaction(change, &format!("delete from {}", shape.table), End::Commit)
                    .await?
            }
            Side::Salesforce => {
                self.change_record(change, |org, id| org.delete_as(local::PERSON, id))?
            }
        };
        let Some(before) = before else {
            return Ok((format!("{told}: refused"), false));
        };
        self.log.deletes += 1;
        let mut gone = Vec::new();
        for (place, records) in before.iter().enumerate() {
            let after = self.seen(change.side, place).await?;
            gone.extend(
                records
                    .keys()
                    .filter(|key| !after.contains_key(*key))
                    .map(|key| (place, key.clone())),
            );
        }
        self.note_replaced(&before, |place, key, _| {
            gone.contains(&(place, key.to_owned()))
        });
        self.log.deleted.extend(gone.iter().cloned());
        if change.side == Side::Salesforce {
            self.log.bin.push(text(&change.seen, "Id"));
        }
        let others = gone.iter().filter(|(_, key)| *key != change.key);
        let others: Vec<&str> = others.map(|(_, key)| key.as_str()).collect();
        Ok((format!("{told} {}", others.join(" ")), true))
    }

    /// Changes a row, and returns all rows that the user could see just before, by the object's place. `None` if it was
    /// refused or the row is gone.
    async fn in_transaction(
        &mut self,
        change: &Change,
        statement: &str,
        end: End,
    ) -> anyhow::Result<Option<Vec<SeenRecords>>> {
        let name = literal(&change.seen["External_Id__c"]);
        let mut transaction = self.postgres.begin().await?;
        let mut before = Vec::new();
        for shape in &SHAPES {
            let mine = format!(
                "external_id = {name} or {} = {name} for update",
                shape.lookup.1
            );
            match rows(&mut transaction, shape, &mine).await {
                Ok(rows) => before.push(
                    rows.into_iter()
                        .map(|row| (text(&row, KEY.0), row))
                        .collect(),
                ),
                // The engine holds the row.
                Err(_) => return Ok(None),
            }
        }
        let statement = format!("{statement} where external_id = {name}");
        let done = sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *transaction)
            .await;
        let changed = done.map_or(0, |done| done.rows_affected());
        let ended = match end {
            End::Commit if changed > 0 => transaction.commit().await.is_ok(),
            End::Commit | End::RollBack => {
                transaction.rollback().await?;
                end == End::RollBack
            }
        };
        Ok(ended.then_some(before))
    }

    /// Changes a record, and returns all records that the user could see just before, by the object's place. `None` if
    /// it was refused.
    fn change_record<E>(
        &mut self,
        change: &Change,
        act: impl FnOnce(&mut Org, RecordId) -> Result<(), E>,
    ) -> anyhow::Result<Option<Vec<SeenRecords>>> {
        let id = RecordId::parse(&text(&change.seen, "Id")).context("the org returns ids")?;
        self.org.with_org(|org| {
            let mut before = Vec::new();
            for shape in &SHAPES {
                let records = records(org, shape)?.into_iter();
                before.push(
                    records
                        .map(|record| (text(&record, KEY.0), record))
                        .collect(),
                );
            }
            Ok(act(org, id).is_ok().then_some(before))
        })
    }

    /// Notes that a user has replaced values that were seen.
    fn note_replaced(
        &mut self,
        before: &[SeenRecords],
        is_replaced: impl Fn(usize, &str, &str) -> bool,
    ) {
        for (place, records) in before.iter().enumerate() {
            for (key, seen) in records {
                for (field, _) in SHAPES[place].fields {
                    if let (Some(value), true) =
                        (seen[field].as_str(), is_replaced(place, key, field))
                    {
                        self.log
                            .unreplaced
                            .remove(&(place, key.clone(), field, value.to_owned()));
                    }
                }
            }
        }
    }
}

/// How a user ends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
}

/// Numbers that pick things, taken from one number.
struct Pick(u64);

impl Pick {
    /// Returns a number below `count`.
    fn of(&mut self, count: usize) -> usize {
        let count = u64::try_from(count.max(1)).unwrap_or(1);
        let picked = self.0 % count;
        self.0 /= count;
        usize::try_from(picked).unwrap_or(0)
    }

    /// Returns one of the records.
    fn one<'a>(&mut self, records: &'a SeenRecords) -> Option<(&'a String, &'a Seen)> {
        records.iter().nth(self.of(records.len()))
    }
}

/// Returns a text of a record.
pub(crate) fn text(record: &Seen, field: &str) -> String {
    record[field].as_str().unwrap_or_default().to_owned()
}

fn column(shape: &Shape, field: &str) -> &'static str {
    let known = shape.fields.iter().find(|(known, _)| *known == field);
    match known {
        Some((_, column)) => column,
        None if field == shape.lookup.0 => shape.lookup.1,
        None => "external_id",
    }
}

/// Returns a value in SQL: values of worlds contain no quotes.
fn literal(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| "null".to_owned(), |value| format!("'{value}'"))
}

/// Reads the rows of a table that match, and locks them if the condition says so.
async fn rows(
    connection: &mut PgConnection,
    shape: &Shape,
    condition: &str,
) -> Result<Vec<Seen>, sqlx::Error> {
    let [(first, first_column), (second, second_column)] = shape.fields;
    let query = format!(
        "select fax, external_id, {first_column}, {second_column}, {} from {} where {condition}",
        shape.lookup.1, shape.table
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let names = [KEY.0, "External_Id__c", first, second, "parent"];
    rows.iter()
        .map(|row| {
            let value = |place: usize| {
                row.try_get::<Option<String>, _>(place)
                    .map(|value| json!(value))
            };
            names
                .iter()
                .enumerate()
                .map(|(place, name)| Ok((*name, value(place)?)))
                .collect()
        })
        .collect()
}

/// Reads the live records of an object.
fn records(org: &mut Org, shape: &Shape) -> anyhow::Result<Vec<Seen>> {
    let [(first, _), (second, _)] = shape.fields;
    let soql = format!(
        "select+Id,{},External_Id__c,{first},{second},{}+from+{}",
        KEY.0, shape.lookup.2, shape.object
    );
    let answer = answer(org, &soql)?;
    let (relation, field) = shape
        .lookup
        .2
        .split_once('.')
        .context("a lookup has a path")?;
    let records = answer["records"]
        .as_array()
        .with_context(|| answer.to_string())?;
    let read = |record: &Json| {
        let mut seen: Seen = ["Id", KEY.0, "External_Id__c", first, second]
            .into_iter()
            .map(|name| (name, record[name].clone()))
            .collect();
        seen.insert("parent", record[relation][field].clone());
        seen
    };
    Ok(records.iter().map(read).collect())
}

/// Asks the org as a user.
fn answer(org: &mut Org, soql: &str) -> anyhow::Result<Json> {
    let token = org
        .open_session(local::PERSON)
        .context("the org has users")?;
    let request =
        Request::new("GET", &format!("/services/data/v62.0/query?q={soql}")).bearer(&token);
    Ok(org.request(&request).to_json())
}
