//! The users of both sides, and the log of what they did.
//!
//! Every edit writes a value that no other edit writes. A user who replaces a value, or deletes it, has seen it.

mod end;
mod seen;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use salesforce_org::in_process::InProcess;
use salesforce_org::{Org, RecordId, local};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::clock::WorldClock;
use crate::script::{Act, FEW_DELETES, Side};
use crate::shapes::{BAD, KEY, OnDelete, Refusal, SHAPES, Schema, Second, TOO_LONG};

pub(crate) use seen::{Seen, SeenRecords, records_of_all, text};
use seen::{all_records, before, column, literal, records, rows};

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
    /// The record of each Salesforce id that a user ever saw.
    pub(crate) ids: BTreeMap<String, String>,
    /// Every edit, with its side and the world's time of it.
    pub(crate) written: BTreeMap<Edit, (Side, i64)>,
    /// Edits that no user has replaced.
    pub(crate) unreplaced: BTreeSet<Edit>,
    /// Salesforce ids of what was deleted there.
    pub(crate) bin: Vec<String>,
    /// Records that were deleted, by the object's place and the key, with the sides where they were not restored.
    pub(crate) deleted: BTreeMap<(usize, String), BTreeSet<Side>>,
    /// Records that were deleted and restored.
    pub(crate) restored: BTreeSet<(usize, String)>,
    /// A table was emptied, or much was deleted: the delete guard may withhold deletes.
    pub(crate) emptied: bool,
    /// The operator has approved deletes.
    pub(crate) approved: bool,
    /// A field was hidden from our user: its value goes unseen with a deleted record.
    pub(crate) hid_field: bool,
    /// Something happened that no event tells.
    pub(crate) untold: bool,
    /// Accounts to which a row of a table points that is not mapped.
    pub(crate) noted: BTreeSet<String>,
    /// Records that are two by now.
    pub(crate) twins: BTreeSet<(usize, String)>,
    /// Records that anyone changed after they were created.
    pub(crate) touched: BTreeSet<(usize, String)>,
}

/// Both sides, as users reach them.
pub(crate) struct Users {
    pub(crate) schema: Schema,
    /// Most records that they delete.
    pub(crate) deletes_max: usize,
    /// There may be accounts outside the filter of the mapping.
    pub(crate) filters: bool,
    /// The table of contacts is away, and no one works in Postgres.
    pub(crate) is_away: bool,
    /// The server takes no writes by new connections.
    pub(crate) is_read_only: bool,
    pub(crate) clock: WorldClock,
    pub(crate) org: InProcess,
    pub(crate) postgres: PgConnection,
    /// The connection of a user whose transaction is long.
    pub(crate) other: PgConnection,
    /// What that transaction has written.
    pub(crate) held: Option<Held>,
    pub(crate) log: UserLog,
}

/// A write in an open transaction.
pub(crate) struct Held {
    change: Change,
    field: &'static str,
    value: Json,
    before: Vec<SeenRecords>,
    /// When it was written, which is its time as an edit.
    at_ms: i64,
}

/// How a long transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letting {
    Commit,
    RollBack,
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
        if side == Side::Postgres && self.is_away && act != Act::LetGo {
            return Ok(("Postgres: no one works".to_owned(), false));
        }
        if let Some(told) = self.act_at_large(side, act, place, &mut pick).await? {
            return Ok(told);
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
            Act::Rename | Act::RenameLong => {
                let end = if act == Act::RenameLong { TOO_LONG } else { "" };
                let name = format!("{}-{}{end}", SHAPES[place].table, self.new_value());
                self.log
                    .names
                    .insert((place, name.clone()), change.key.clone());
                if side == Side::Postgres && self.schema.key.is_some() {
                    self.touch_children(&change).await?;
                }
                self.write(&change, "External_Id__c", json!(name)).await
            }
            Act::Link => self.link(&change, &mut pick).await,
            Act::Unlink => {
                self.write(&change, SHAPES[place].lookup.0, Json::Null)
                    .await
            }
            Act::RollBack => self.roll_back(&change, field).await,
            Act::Spoil => self.spoil(&change).await,
            Act::Delete => self.delete(&change).await,
            Act::Hold => self.hold(change, field).await,
            Act::Create
            | Act::Undelete
            | Act::EditAll
            | Act::LetGo
            | Act::Swap
            | Act::SwapValues
            | Act::CreateChild
            | Act::Merge
            | Act::Truncate
            | Act::HardDelete => Ok((String::new(), false)),
        }
    }

    /// Notes the rows whose lookups change with the name of their parent: the foreign key edits them for the user.
    async fn touch_children(&mut self, change: &Change) -> anyhow::Result<()> {
        let name = change.seen["External_Id__c"].clone();
        for (place, shape) in SHAPES.iter().enumerate() {
            if shape.parent != change.place {
                continue;
            }
            let rows = self.seen(Side::Postgres, place).await?.into_iter();
            let children = rows.filter(|(_, row)| row["parent"] == name && !name.is_null());
            self.log
                .touched
                .extend(children.map(|(key, _)| (place, key)));
        }
        Ok(())
    }

    /// Does what a step says if that is not about one record.
    async fn act_at_large(
        &mut self,
        side: Side,
        act: Act,
        place: usize,
        pick: &mut Pick,
    ) -> anyhow::Result<Option<Told>> {
        let told = match act {
            Act::Create => self.create(side, place).await?,
            Act::Undelete => self.undelete()?,
            Act::EditAll => self.edit_all(side, place, pick).await?,
            Act::Swap => self.swap(side, place, pick).await?,
            Act::Merge => self.merge(pick).await?,
            Act::CreateChild => self.create_child(pick).await?,
            Act::SwapValues => self.swap_values(place, pick).await?,
            Act::Truncate => self.truncate(place).await?,
            Act::HardDelete => self.hard_delete()?,
            Act::LetGo => {
                let letting = [Letting::Commit, Letting::Commit, Letting::RollBack][pick.of(3)];
                self.let_go(letting).await?
            }
            _ => return Ok(None),
        };
        Ok(Some(told))
    }

    /// Returns what a user sees of the records of an object.
    pub(crate) async fn seen(&mut self, side: Side, place: usize) -> anyhow::Result<SeenRecords> {
        let records = self.all(side, place).await?.into_iter();
        Ok(records
            .map(|record| (text(&record, KEY.0), record))
            .collect())
    }

    async fn all(&mut self, side: Side, place: usize) -> anyhow::Result<Vec<Seen>> {
        match side {
            Side::Postgres => Ok(rows(&mut self.postgres, &SHAPES[place], "true").await?),
            Side::Salesforce => {
                let found = self.org.with_org(|org| records(org, &SHAPES[place]))?;
                let ids = found
                    .iter()
                    .map(|record| (text(record, "Id"), text(record, KEY.0)));
                self.log.ids.extend(ids);
                Ok(found)
            }
        }
    }

    /// Returns a value of a field in SQL.
    fn literal(&self, place: usize, field: &str, value: &Json) -> String {
        let refuses_null = self.schema.second == Second::NotNull;
        if value.is_null() && refuses_null && field == SHAPES[place].fields[1].0 {
            return "''".to_owned();
        }
        literal(value)
    }

    fn new_value(&mut self) -> String {
        self.log.values += 1;
        format!("v{}", self.log.values)
    }

    async fn create(&mut self, side: Side, place: usize) -> anyhow::Result<Told> {
        self.create_of(side, place, None).await
    }

    /// Creates a record, in Salesforce perhaps of this account.
    async fn create_of(
        &mut self,
        side: Side,
        place: usize,
        account: Option<&str>,
    ) -> anyhow::Result<Told> {
        let (shape, value) = (&SHAPES[place], self.new_value());
        let (key, name) = (value.replace('v', "k"), format!("{}-{value}", shape.table));
        let (field, column) = shape.fields[0];
        self.log.names.insert((place, name.clone()), key.clone());
        self.note_value(side, (place, key.clone(), field, value.clone()));
        match side {
            Side::Postgres => {
                let insert = format!(
                    "insert into {} (external_id, {column}, {}) values ('{name}', '{value}', '{key}')",
                    shape.table, KEY.1
                );
                sqlx::raw_sql(AssertSqlSafe(insert))
                    .execute(&mut self.postgres)
                    .await?;
                // Some accounts have a row of a table that is not mapped.
                let has_note = self.schema.key == Some(OnDelete::NoAction)
                    && place == 0
                    && self.log.values.is_multiple_of(2);
                if has_note {
                    let note = "insert into note select id from account where external_id = $1";
                    sqlx::query(note)
                        .bind(&name)
                        .execute(&mut self.postgres)
                        .await?;
                    self.log.noted.insert(key.clone());
                }
            }
            Side::Salesforce => {
                let mut fields = json!({field: value, "External_Id__c": name, KEY.0: key});
                if let Some(account) = account {
                    fields[shape.lookup.0] = json!(account);
                }
                let id = self
                    .org
                    .with_org(|org| org.insert_as(local::PERSON, shape.object, &fields))
                    .map_err(|error| anyhow::anyhow!("{error:?}"))?;
                self.log.ids.insert(id.to_string(), key.clone());
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
                    let record = (place, text(&record, KEY.0));
                    if let Some(sides) = self.log.deleted.get_mut(&record) {
                        sides.remove(&Side::Salesforce);
                        self.log.restored.insert(record);
                    }
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
                    self.literal(change.place, field, &value)
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
        self.note_written(change, field, &value, &before);
        Ok((told, true))
    }

    /// Notes that a field of a record was written, and what was seen before.
    fn note_written(
        &mut self,
        change: &Change,
        field: &'static str,
        value: &Json,
        before: &[SeenRecords],
    ) {
        self.note_replaced(before, |place, key, named| {
            (place, key, named) == (change.place, change.key.as_str(), field)
        });
        self.log.touched.insert((change.place, change.key.clone()));
        let mut fields = SHAPES[change.place].fields.iter();
        if let (Some(value), true) = (value.as_str(), fields.any(|(name, _)| *name == field)) {
            let value = match change.side {
                Side::Postgres => self.schema.kept(value),
                Side::Salesforce => value.to_owned(),
            };
            self.note_value(
                change.side,
                (change.place, change.key.clone(), field, value),
            );
        }
    }

    /// Notes a value that a user gave.
    fn note_value(&mut self, side: Side, edit: Edit) {
        self.log
            .written
            .insert(edit.clone(), (side, self.clock.now_ms()));
        self.log.unreplaced.insert(edit);
    }

    /// Writes a value that the other side refuses or changes.
    async fn spoil(&mut self, change: &Change) -> anyhow::Result<Told> {
        let side = match self.schema.refusal {
            Some(Refusal::Rule) => Side::Postgres,
            Some(_) => Side::Salesforce,
            None => return Ok(("nothing can be spoilt".to_owned(), false)),
        };
        if side != change.side {
            return Ok((format!("{:?}: spoils nothing", change.side), false));
        }
        let value = json!(format!("{BAD} {}", self.new_value()));
        self.write(change, SHAPES[change.place].fields[1].0, value)
            .await
    }

    /// Edits a row in a transaction that stays open. Salesforce shows no such transaction.
    async fn hold(&mut self, change: Change, field: &'static str) -> anyhow::Result<Told> {
        if change.side == Side::Salesforce || self.held.is_some() {
            return Ok((format!("{:?}: holds nothing more", change.side), false));
        }
        let (shape, value) = (&SHAPES[change.place], json!(self.new_value()));
        let name = literal(&change.seen["External_Id__c"]);
        let told = format!(
            "Postgres: {} {}.{field} = {value}, not committed",
            shape.object, change.key
        );
        sqlx::raw_sql("begin").execute(&mut self.other).await?;
        let before = before(&mut self.other, &name).await;
        let set = format!(
            "update {} set {} = {} where external_id = {name}",
            shape.table,
            column(shape, field),
            literal(&value)
        );
        let done = sqlx::raw_sql(AssertSqlSafe(set))
            .execute(&mut self.other)
            .await;
        let changed = done.is_ok_and(|done| done.rows_affected() > 0);
        let (Some(before), true) = (before, changed) else {
            sqlx::raw_sql("rollback").execute(&mut self.other).await?;
            return Ok((format!("{told}: refused"), false));
        };
        self.held = Some(Held {
            change,
            field,
            value,
            before,
            at_ms: self.clock.now_ms(),
        });
        Ok((told, true))
    }

    /// Ends the long transaction.
    pub(crate) async fn let_go(&mut self, letting: Letting) -> anyhow::Result<Told> {
        let Some(held) = self.held.take() else {
            return Ok(("Postgres: no transaction is open".to_owned(), false));
        };
        let told = format!(
            "Postgres: {letting:?} of {}.{}",
            held.change.key, held.field
        );
        if letting == Letting::RollBack {
            sqlx::raw_sql("rollback").execute(&mut self.other).await?;
            return Ok((told, true));
        }
        sqlx::raw_sql("commit").execute(&mut self.other).await?;
        self.note_written(&held.change, held.field, &held.value, &held.before);
        let value = held.value.as_str().unwrap_or_default();
        let edit = (
            held.change.place,
            held.change.key,
            held.field,
            value.to_owned(),
        );
        if let Some((_, at_ms)) = self.log.written.get_mut(&edit) {
            *at_ms = held.at_ms;
        }
        Ok((told, true))
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
        if self.log.deletes == self.deletes_max {
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
        self.log.emptied |= self.log.deletes > FEW_DELETES;
        let gone = self.note_gone(change.side, &before).await?;
        if change.side == Side::Salesforce {
            self.log.bin.push(text(&change.seen, "Id"));
        }
        let others = gone.iter().filter(|(_, key)| *key != change.key);
        let others: Vec<&str> = others.map(|(_, key)| key.as_str()).collect();
        Ok((format!("{told} {}", others.join(" ")), true))
    }

    /// Notes and returns the records that a delete has removed.
    async fn note_gone(
        &mut self,
        side: Side,
        before: &[SeenRecords],
    ) -> anyhow::Result<Vec<(usize, String)>> {
        let mut gone = Vec::new();
        for (place, records) in before.iter().enumerate() {
            let after = self.seen(side, place).await?;
            gone.extend(
                records
                    .keys()
                    .filter(|key| !after.contains_key(*key))
                    .map(|key| (place, key.clone())),
            );
        }
        self.note_replaced(before, |place, key, _| {
            gone.contains(&(place, key.to_owned()))
        });
        for record in &gone {
            self.log
                .deleted
                .entry(record.clone())
                .or_default()
                .insert(side);
        }
        Ok(gone)
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
        let Some(before) = before(&mut transaction, &name).await else {
            return Ok(None);
        };
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
            let before = all_records(org)?;
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
                        // A table may have made it of the user's value.
                        let schema = self.schema;
                        self.log.unreplaced.retain(|(of, record, named, given)| {
                            (*of, record, *named) != (place, key, field)
                                || given != value && schema.kept(given) != value
                        });
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
