//! Acts that change more than one record, or what no event tells.

use anyhow::Context as _;
use salesforce_org::{RecordId, Request, local};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _};

use super::seen::{OUTSIDE, all_records, before, column, literal};
use super::{Change, Pick, Seen, SeenRecords, Told, Users, text};
use crate::script::{FEW_DELETES, Mistake, Side};
use crate::shapes::{KEY, LOCAL_KEYS, SHAPES};

impl Users {
    /// Exchanges the external ids of two records: in Postgres in one transaction, in Salesforce by three updates.
    pub(super) async fn swap(
        &mut self,
        side: Side,
        place: usize,
        pick: &mut Pick,
    ) -> anyhow::Result<Told> {
        let shape = &SHAPES[place];
        let seen = self.seen(side, place).await?;
        let (Some((one, first)), Some((other, second))) = (pick.one(&seen), pick.one(&seen)) else {
            return Ok((format!("{side:?}: no {} to swap", shape.object), false));
        };
        let names = [first, second].map(|seen| text(seen, "External_Id__c"));
        let told = format!("{side:?}: swaps {} {one} and {other}", shape.object);
        if one == other || names.iter().any(String::is_empty) {
            return Ok((format!("{told}: refused"), false));
        }
        let between = format!("{}-{}", shape.table, self.new_value());
        let turns = [
            (first, &names[0], &between),
            (second, &names[1], &names[0]),
            (first, &between, &names[1]),
        ];
        let done = match side {
            Side::Postgres => {
                let updates: Vec<String> = turns
                    .iter()
                    .map(|(_, from, to)| {
                        format!(
                            "update {} set external_id = '{to}' where external_id = '{from}';",
                            shape.table
                        )
                    })
                    .collect();
                let statements = format!("begin;{}commit", updates.concat());
                let done = sqlx::raw_sql(AssertSqlSafe(statements))
                    .execute(&mut self.postgres)
                    .await
                    .is_ok();
                if !done {
                    sqlx::raw_sql("rollback")
                        .execute(&mut self.postgres)
                        .await?;
                }
                done
            }
            Side::Salesforce => {
                self.log.names.insert((place, between.clone()), one.clone());
                let mut done = true;
                for (seen, _, to) in &turns {
                    let id = RecordId::parse(&text(seen, "Id")).context("the org returns ids")?;
                    let fields = json!({"External_Id__c": to});
                    done = done
                        && self
                            .org
                            .with_org(|org| org.update_as(local::PERSON, id, &fields))
                            .is_ok();
                }
                done
            }
        };
        if !done {
            return Ok((format!("{told}: refused"), false));
        }
        let [first_name, second_name] = names;
        for (name, key) in [(first_name, other), (second_name, one)] {
            self.log.names.insert((place, name), key.clone());
            self.log.touched.insert((place, key.clone()));
        }
        Ok((told, true))
    }

    /// Exchanges the values of two records in Salesforce, in one call.
    pub(super) async fn swap_values(
        &mut self,
        place: usize,
        pick: &mut Pick,
    ) -> anyhow::Result<Told> {
        let (object, field) = (SHAPES[place].object, SHAPES[place].fields[1].0);
        let seen = self.seen(Side::Salesforce, place).await?;
        let with_value = seen
            .into_iter()
            .filter(|(_, record)| record[field].is_string());
        let with_value: SeenRecords = with_value.collect();
        let (Some((one, first)), Some((other, second))) =
            (pick.one(&with_value), pick.one(&with_value))
        else {
            let told = format!("Salesforce: no values of {object} to swap");
            return Ok((told, false));
        };
        let told = format!("Salesforce: swaps {object}.{field} of {one} and {other}");
        let change = |key: &String, seen: &Seen| Change {
            side: Side::Salesforce,
            place,
            key: key.clone(),
            seen: seen.clone(),
        };
        let edits = [
            (change(one, first), second[field].clone()),
            (change(other, second), first[field].clone()),
        ];
        let before = match one == other {
            true => None,
            false => self.update_records(&edits, field)?,
        };
        let Some(before) = before else {
            return Ok((format!("{told}: refused"), false));
        };
        for (change, value) in &edits {
            self.note_written(change, field, value, &before);
        }
        Ok((told, true))
    }

    /// Creates a contact of an account in Salesforce, in worlds with a filter perhaps of one outside it.
    pub(super) async fn create_child(&mut self, pick: &mut Pick) -> anyhow::Result<Told> {
        let accounts = self.seen(Side::Salesforce, 0).await?;
        let is_outside = self.filters && pick.of(2) == 0;
        let account = match pick.one(&accounts) {
            _ if is_outside => {
                let account = json!({"Name": OUTSIDE, KEY.0: OUTSIDE});
                let id = self
                    .org
                    .with_org(|org| org.insert_as(local::PERSON, "Account", &account));
                id.map_err(|error| anyhow::anyhow!("{error:?}"))?
                    .to_string()
            }
            Some((_, account)) => text(account, "Id"),
            None => return Ok(("Salesforce: no account of a child".to_owned(), false)),
        };
        let (told, _) = self.create_of(Side::Salesforce, 1, Some(&account)).await?;
        Ok((format!("{told}, of account {account}"), true))
    }

    /// Lets the server take writes or not, by connections that are opened from now on.
    pub(crate) async fn set_read_only(&mut self, is_read_only: bool) -> anyhow::Result<Told> {
        let was_read_only = std::mem::replace(&mut self.is_read_only, is_read_only);
        let set = format!(
            "do $$ begin execute format('alter database %I set default_transaction_read_only = {is_read_only}', \
            current_database()); end $$"
        );
        sqlx::raw_sql(AssertSqlSafe(set))
            .execute(&mut self.postgres)
            .await?;
        let told = format!("the server takes no writes by new connections: {is_read_only}");
        Ok((told, was_read_only != is_read_only))
    }

    /// Puts a new, empty table in the place of contacts, or the former one back.
    pub(crate) async fn exchange_table(&mut self) -> anyhow::Result<Told> {
        let statements = match self.is_away {
            true => "drop table contact; alter table contact_before rename to contact",
            false => {
                "alter table contact rename to contact_before;
                create table contact (like contact_before including all)"
            }
        };
        // A transaction that is open may hold the table.
        let done = sqlx::raw_sql(statements).execute(&mut self.postgres).await;
        let done = done.is_ok();
        self.is_away ^= done;
        let told = format!("Postgres: exchanges the table of contacts: {done}");
        Ok((told, done))
    }

    /// Drops the columns that no one edits.
    pub(crate) async fn drop_columns(&mut self) -> anyhow::Result<()> {
        for shape in &SHAPES {
            let drop = format!("alter table {} drop column {}", shape.table, shape.extra.1);
            sqlx::raw_sql(AssertSqlSafe(drop))
                .execute(&mut self.postgres)
                .await?;
        }
        Ok(())
    }

    /// Makes what the mistake is about: a column of local keys, or records that nothing recognises.
    pub(crate) async fn prepare_mistake(&mut self, mistake: Mistake) -> anyhow::Result<()> {
        let statement = match mistake {
            Mistake::LocalKeys => {
                format!(
                    "alter table contact add column {LOCAL_KEYS} bigint references account (id)"
                )
            }
            Mistake::NoExternalIds => {
                for name in ["Ada", "Bob"] {
                    let account = json!({"Name": name, KEY.0: "k"});
                    self.org
                        .with_org(|org| org.insert_as(local::PERSON, "Account", &account))
                        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
                }
                "insert into account (name) values ('Ada'), ('Bob')".to_owned()
            }
        };
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut self.postgres)
            .await?;
        Ok(())
    }

    /// Merges one account into another.
    pub(super) async fn merge(&mut self, pick: &mut Pick) -> anyhow::Result<Told> {
        let seen = self.seen(Side::Salesforce, 0).await?;
        let (Some((master, kept)), Some((merged, lost))) = (pick.one(&seen), pick.one(&seen))
        else {
            return Ok(("Salesforce: no accounts to merge".to_owned(), false));
        };
        let told = format!("Salesforce: merges {merged} into {master}");
        if master == merged || self.log.deletes == self.deletes_max {
            return Ok((format!("{told}: not done"), false));
        }
        let before = self.org.with_org(all_records)?;
        let order = json!({"user": local::PERSON, "master": kept["Id"], "merged": [lost["Id"]]});
        let answer = self
            .org
            .with_org(|org| org.request(&Request::new("POST", "/_org/merge").json(&order)));
        if answer.status >= 300 {
            return Ok((format!("{told}: refused"), false));
        }
        self.log.deletes += 1;
        self.log.emptied |= self.log.deletes > FEW_DELETES;
        self.note_gone(Side::Salesforce, &before).await?;
        self.log.touched.insert((0, master.clone()));
        Ok((told, true))
    }

    /// Empties a table, unless rows of another point to it.
    pub(super) async fn truncate(&mut self, place: usize) -> anyhow::Result<Told> {
        let shape = &SHAPES[place];
        let told = format!("Postgres: truncates {}", shape.table);
        let before = vec![
            self.seen(Side::Postgres, 0).await?,
            self.seen(Side::Postgres, 1).await?,
        ];
        if place == shape.parent || before[place].is_empty() {
            return Ok((format!("{told}: not done"), false));
        }
        let truncate = format!("truncate {}", shape.table);
        let done = sqlx::raw_sql(AssertSqlSafe(truncate))
            .execute(&mut self.postgres)
            .await;
        if done.is_err() {
            return Ok((format!("{told}: refused"), false));
        }
        self.log.emptied = true;
        self.note_gone(Side::Postgres, &before).await?;
        Ok((told, true))
    }

    /// Removes the record that was deleted last from the recycle bin.
    pub(super) fn hard_delete(&mut self) -> anyhow::Result<Told> {
        let Some(id) = self.log.bin.pop() else {
            return Ok(("Salesforce: the recycle bin is empty".to_owned(), false));
        };
        let order = json!({"ids": [id]});
        let request = Request::new("POST", "/_org/recycle_bin/empty").json(&order);
        let answer = self.org.with_org(|org| org.request(&request));
        anyhow::ensure!(
            answer.status < 300,
            "the bin is emptied: {}",
            answer.to_json()
        );
        self.log.untold = true;
        Ok((format!("Salesforce: deletes {id} for good"), true))
    }

    /// Edits one field of every record of an object, in one transaction.
    pub(super) async fn edit_all(
        &mut self,
        side: Side,
        place: usize,
        pick: &mut Pick,
    ) -> anyhow::Result<Told> {
        let field = SHAPES[place].fields[pick.of(2)].0;
        let mut edits: Vec<(Change, Json)> = Vec::new();
        for (key, seen) in self.seen(side, place).await? {
            let value = json!(self.new_value());
            edits.push((
                Change {
                    side,
                    place,
                    key,
                    seen,
                },
                value,
            ));
        }
        let values: Vec<String> = edits
            .iter()
            .map(|(change, value)| format!("{} = {value}", change.key))
            .collect();
        let told = format!(
            "{side:?}: {} {field} of {}",
            SHAPES[place].object,
            values.join(", ")
        );
        let before = match side {
            Side::Postgres => self.update_rows(&edits, field).await?,
            Side::Salesforce => self.update_records(&edits, field)?,
        };
        let Some(before) = before.filter(|_| !edits.is_empty()) else {
            return Ok((format!("{told}: refused"), false));
        };
        for (change, value) in &edits {
            self.note_written(change, field, value, &before);
        }
        Ok((told, true))
    }

    /// Returns all rows as they were just before; `None` if one was held, and nothing was changed.
    async fn update_rows(
        &mut self,
        edits: &[(Change, Json)],
        field: &str,
    ) -> anyhow::Result<Option<Vec<SeenRecords>>> {
        let mut transaction = self.postgres.begin().await?;
        let mut all: Vec<SeenRecords> = SHAPES.iter().map(|_| SeenRecords::new()).collect();
        for (change, value) in edits {
            let shape = &SHAPES[change.place];
            let name = literal(&change.seen["External_Id__c"]);
            let Some(before) = before(&mut transaction, &name).await else {
                return Ok(None);
            };
            for (all, before) in all.iter_mut().zip(before) {
                // A value that this transaction has written was not seen before it.
                for (key, seen) in before {
                    all.entry(key).or_insert(seen);
                }
            }
            let set = format!(
                "update {} set {} = {} where external_id = {name}",
                shape.table,
                column(shape, field),
                literal(value)
            );
            sqlx::raw_sql(AssertSqlSafe(set))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Some(all))
    }

    /// Returns all records as they were just before; `None` if the call was refused.
    fn update_records(
        &mut self,
        edits: &[(Change, Json)],
        field: &str,
    ) -> anyhow::Result<Option<Vec<SeenRecords>>> {
        let records: Vec<Json> = edits
            .iter()
            .map(|(change, value)| {
                let object = SHAPES[change.place].object;
                json!({"attributes": {"type": object}, "id": change.seen["Id"], field: value})
            })
            .collect();
        let call = json!({"allOrNone": true, "records": records});
        self.org.with_org(|org| {
            let before = all_records(org)?;
            let token = org
                .open_session(local::PERSON)
                .context("the org has users")?;
            let target = "/services/data/v62.0/composite/sobjects";
            let answer = org.request(&Request::new("PATCH", target).bearer(&token).json(&call));
            let results = answer.to_json();
            let saved =
                |results: &Vec<Json>| results.iter().all(|result| result["success"] == true);
            Ok(results.as_array().is_some_and(saved).then_some(before))
        })
    }
}
