//! The oracle: reads both sides and the control plane without the engine, and names everything that is not explained.
//!
//! An edit that no user replaced must be the final value of both sides, or stand in a conflict or in the log of
//! discarded values. Every difference between the sides must be an open conflict, a lookup that waits for its parent, or a
//! record that is parked because of what this world refuses. Every conflict and discarded value must be one that the
//! policies of the world make of edits that users have made.

mod economy;
mod evidence;
mod excuses;
mod policies;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, PgConnection};
use syncline::store::TenantStatus;

use crate::script::{Side, World};
use crate::shapes::{SHAPES, TOO_LONG};
use crate::users::{Edit, Seen, SeenRecords, Users};

/// What a world showed that must never be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The invariant, as `I1`.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
    /// What the control plane holds about the record.
    pub evidence: String,
}

impl Finding {
    /// Returns a finding that is about no record.
    pub(crate) fn of(invariant: &'static str, what: String) -> Self {
        Self {
            invariant,
            what,
            evidence: String::new(),
        }
    }
}

/// Everything that is read when a world has ended.
struct End<'a> {
    world: &'a World,
    users: &'a Users,
    postgres: Vec<SeenRecords>,
    salesforce: Vec<SeenRecords>,
    /// The records that each side ever had, by the object's place.
    ever: BTreeMap<(Side, usize), BTreeSet<String>>,
    /// The names by which the engine knows or knew records.
    known: BTreeSet<(usize, String)>,
    /// Open conflicts by object, record and field; a delete that met an edit has no field.
    conflicts: BTreeMap<(usize, String, String), Json>,
    /// Values in the log of discarded ones.
    logged: BTreeSet<(usize, String, String, String)>,
    /// The same, as they are in the table.
    discarded: Vec<Json>,
    /// Rows that are marked as deleted, by the object's place.
    marked: Vec<i64>,
    /// Codes of records that are parked.
    parked: BTreeMap<(usize, String), String>,
    /// Records that wait for a parent.
    orphans: BTreeSet<(usize, String)>,
}

/// Code of deletes that wait for approval.
const MASS_DELETE: &str = "mass_delete";

/// So many deletes need no approval.
const FEW_UNGUARDED: usize = 5;

/// The code of a record of which another has a value that must be unique.
const DUPLICATE_VALUE: &str = "duplicate_value";

/// The code of a record whose parent is not synchronised. It waits as long as that.
const MISSING_PARENT: &str = "missing_parent";

/// The code of a record to whose row another points that is not mapped.
const STILL_REFERENCED: &str = "still_referenced";

/// The code of a record whose delete would take records of another object along.
const WAITS_FOR_CHILDREN: &str = "waits_for_children";

/// The code of a record whose row is missing without a captured delete.
const ROW_MISSING: &str = "row_missing";

/// Returns what is wrong at the end of a world.
pub(crate) async fn findings(
    world: &World,
    users: &mut Users,
    status: &TenantStatus,
) -> anyhow::Result<Vec<Finding>> {
    let doubles = users.doubles().await?;
    let tasks = json_rows(&mut users.postgres, TASKS).await?;
    let end = End::read(world, users, &tasks).await?;
    let mut found: Vec<Found> = doubles.into_iter().map(|what| ("I6", None, what)).collect();
    found.extend(end.left_over(&tasks));
    found.extend(end.differences());
    found.extend(end.lost());
    found.extend(end.invented());
    found.extend(end.resurrected());
    found.extend(end.wrong_conflicts());
    found.extend(end.wrong_losers());
    found.extend(end.misreported(status, &tasks));
    found.extend(end.unguarded());
    found.extend(end.undecided());
    found.extend(economy::findings(&mut users.postgres).await?);
    with_evidence(users, found).await
}

/// Returns what is wrong before everything is compared: edits that are lost, and values that differ.
pub(crate) async fn early_findings(
    world: &World,
    users: &mut Users,
) -> anyhow::Result<Vec<Finding>> {
    let tasks = json_rows(&mut users.postgres, TASKS).await?;
    let end = End::read(world, users, &tasks).await?;
    let mut found = end.differences();
    found.extend(end.lost());
    for (_, _, what) in &mut found {
        *what = format!("before the comparison: {what}");
    }
    with_evidence(users, found).await
}

/// Returns deletes that the engine has written although no one approved so many.
pub(crate) async fn unguarded(world: &World, users: &mut Users) -> anyhow::Result<Vec<Finding>> {
    let end = End::read(world, users, &[]).await?;
    let found = end.unguarded();
    with_evidence(users, found).await
}

async fn with_evidence(users: &mut Users, found: Vec<Found>) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (invariant, record, what) in found {
        let evidence = match record {
            Some((place, key)) => evidence::evidence(users, place, &key).await?,
            None => String::new(),
        };
        findings.push(Finding {
            invariant,
            what,
            evidence,
        });
    }
    Ok(findings)
}

const CONFLICTS: &str =
    "select link.object, link.external_id, link.salesforce_id, coalesce(conflict.field, '') as field,
        conflict.postgres_value, conflict.salesforce_value, conflict.base_value
    from syncline.sync_conflict as conflict join syncline.sync_link as link using (record_id)
    where conflict.state = 'open'";

const LOGGED: &str = "select link.object, link.external_id, link.salesforce_id, discarded.field, discarded.value,
        discarded.side, discarded.rule
    from syncline.sync_discarded_value as discarded join syncline.sync_link as link using (record_id)";

const KNOWN: &str = "select object, external_id as name from syncline.sync_link
    union select object, value from syncline.sync_link_alias where kind = 'external_id'";

const TASKS: &str =
    "select link.object, link.external_id, link.salesforce_id, task.state, task.attempts, task.code, task.reason
    from syncline.sync_task as task join syncline.sync_link as link using (record_id)";

/// An invariant, the record that breaks it, and how.
type Found = (&'static str, Option<(usize, String)>, String);

impl<'a> End<'a> {
    async fn read(world: &'a World, users: &'a mut Users, tasks: &[Json]) -> anyhow::Result<Self> {
        users.note_twins()?;
        let mut ever = BTreeMap::new();
        let mut sides = [Vec::new(), Vec::new()];
        for (side, records) in [Side::Postgres, Side::Salesforce]
            .into_iter()
            .zip(&mut sides)
        {
            for place in 0..SHAPES.len() {
                records.push(users.seen(side, place).await?);
                ever.insert((side, place), users.ever(side, place).await?);
            }
        }
        let [postgres, salesforce] = sides;
        let mut marked = Vec::new();
        for shape in &SHAPES {
            let count = format!(
                "select count(*) from {} where deleted_at is not null",
                shape.table
            );
            let count = sqlx::query_scalar(AssertSqlSafe(count))
                .fetch_one(&mut users.postgres)
                .await?;
            marked.push(count);
        }
        let conflicts = json_rows(&mut users.postgres, CONFLICTS).await?;
        let logged = json_rows(&mut users.postgres, LOGGED).await?;
        let known = json_rows(&mut users.postgres, KNOWN).await?;
        let users = &*users;
        let about = |row: &Json| {
            (
                users.place_of(row),
                users.record_of(row),
                word(row, "field"),
            )
        };
        let in_log = logged.iter().map(|row| {
            let (place, key, field) = about(row);
            (place, key, field, word(row, "value"))
        });
        let parked = tasks.iter().filter(|task| task["state"] == "parked");
        let parked = parked.map(|task| {
            let record = (users.place_of(task), users.record_of(task));
            (record, word(task, "code"))
        });
        let orphans = tasks.iter().filter(|task| task["code"] == MISSING_PARENT);
        let orphans = orphans.map(|task| (users.place_of(task), users.record_of(task)));
        Ok(Self {
            world,
            orphans: orphans.collect(),
            users,
            postgres,
            salesforce,
            ever,
            known: known
                .iter()
                .map(|row| (users.place_of(row), word(row, "name")))
                .collect(),
            conflicts: conflicts
                .iter()
                .map(|row| (about(row), row.clone()))
                .collect(),
            logged: in_log.collect(),
            marked,
            parked: parked.collect(),
            discarded: logged.clone(),
        })
    }

    /// Work that does not end, and records that are parked without a reason that this world has.
    fn left_over(&self, tasks: &[Json]) -> Vec<Found> {
        let is_left = |task: &&Json| {
            let (place, key) = (self.users.place_of(task), self.users.record_of(task));
            let lacks_parent = self.lacks_parent(place, &key) || self.is_outside(place, &key);
            let waits = task["code"] == MISSING_PARENT && lacks_parent;
            !waits && !self.is_rightly_parked(place, &key)
        };
        let tell = |task: &Json| {
            let record = (self.users.place_of(task), self.users.record_of(task));
            ("I1", Some(record), format!("work is left: {task}"))
        };
        tasks.iter().filter(is_left).map(tell).collect()
    }

    /// Returns true if a side has deleted the record, and its deletes are not written to the other side.
    fn is_left_alone(&self, place: usize, key: &str) -> bool {
        self.world.deletes == "ignore"
            && self
                .users
                .log
                .deleted
                .get(&(place, key.to_owned()))
                .is_some_and(|sides| !sides.is_empty())
    }

    fn differences(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for (place, shape) in SHAPES.iter().enumerate() {
            let (here, there) = (&self.postgres[place], &self.salesforce[place]);
            let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
            for key in keys {
                let record = Some((place, key.clone()));
                if self.is_stuck(place, key)
                    || self.is_left_alone(place, key)
                    || self.is_refused_without_parent(place, key)
                {
                    continue;
                }
                let in_conflict = |field: &str| {
                    self.conflicts
                        .contains_key(&(place, key.clone(), field.to_owned()))
                };
                let (Some(row), Some(there)) = (here.get(key), there.get(key)) else {
                    if !in_conflict("") {
                        let side = if here.contains_key(key) {
                            "Postgres"
                        } else {
                            "Salesforce"
                        };
                        found.push((
                            "I1",
                            record,
                            format!("{} {key} is in {side} alone", shape.object),
                        ));
                    }
                    continue;
                };
                let compared = [
                    ("External_Id__c", "External_Id__c"),
                    ("parent", shape.lookup.0),
                ];
                let fields = shape.fields.iter().map(|(field, _)| (*field, *field));
                for (shown, field) in fields.chain(compared) {
                    // A parent's row keeps its former name where the new one is too long.
                    let is_too_long =
                        |name: &Json| name.as_str().is_some_and(|name| name.ends_with(TOO_LONG));
                    let waits = shown == "parent"
                        && (self.waits_for_parent(place, row) || is_too_long(&there[shown]));
                    if row[shown] != there[shown] && !in_conflict(field) && !waits {
                        let what = format!(
                            "{} {key}.{field}: {} here, {} there",
                            shape.object, row[shown], there[shown]
                        );
                        found.push(("I1", record.clone(), what));
                    }
                }
            }
        }
        found
    }

    /// Returns true if the record names, on one side, a parent that is not on both.
    fn lacks_parent(&self, place: usize, key: &str) -> bool {
        let mut sides = [&self.postgres, &self.salesforce].into_iter();
        sides.any(|side| {
            let seen = side[place].get(key);
            seen.is_some_and(|seen| self.waits_for_parent(place, seen))
        })
    }

    /// Returns true if the table refuses the row as long as its parent has none.
    fn is_refused_without_parent(&self, place: usize, key: &str) -> bool {
        self.world.schema.key.is_some() && self.lacks_parent(place, key)
    }

    /// Returns true if the row names a parent, by a name that it has or had, that is not on both sides.
    fn waits_for_parent(&self, place: usize, row: &Seen) -> bool {
        let Some(name) = row["parent"].as_str() else {
            return false;
        };
        let parent = SHAPES[place].parent;
        let name = (parent, name.to_owned());
        // One that was renamed before the engine saw it.
        let is_unknown = !self.known.contains(&name);
        let Some(key) = self.users.log.names.get(&name).filter(|_| !is_unknown) else {
            return true;
        };
        // Salesforce does not know it by the name that its row must keep.
        let is_on_both =
            self.postgres[parent].contains_key(key) && self.salesforce[parent].contains_key(key);
        !is_on_both || self.is_held_here(parent, key)
    }

    /// Deletes that the engine has written although no one approved so many.
    fn unguarded(&self) -> Vec<Found> {
        let log = &self.users.log;
        let mut found = Vec::new();
        if log.approved {
            return found;
        }
        for (place, shape) in SHAPES.iter().enumerate() {
            let names = log.names.iter().filter(|((of, _), _)| *of == place);
            let records: BTreeSet<&String> = names.map(|(_, key)| key).collect();
            for (by, at, side) in [
                (Side::Salesforce, Side::Postgres, &self.postgres[place]),
                (Side::Postgres, Side::Salesforce, &self.salesforce[place]),
            ] {
                let written = log.deleted.iter().filter(|((of, key), sides)| {
                    *of == place
                        && sides.contains(&by)
                        && sides.len() == 1
                        && !side.contains_key(key)
                        && self.ever[&(at, place)].contains(key)
                });
                let written = written.count();
                if written > FEW_UNGUARDED && written * 2 > records.len() {
                    let object = shape.object;
                    let what = format!(
                        "{written} of {} {object} that {by:?} has deleted went without approval",
                        records.len()
                    );
                    found.push(("I13", None, what));
                }
            }
        }
        found
    }

    /// Conflicts that are open although the operator has decided all.
    fn undecided(&self) -> Vec<Found> {
        let open = self.conflicts.keys().filter(|_| self.world.decides);
        let open = open.filter(|(place, key, _)| !self.parked.contains_key(&(*place, key.clone())));
        open.map(|(place, key, field)| {
            let what = format!(
                "{} {key}.{field} is decided and in conflict",
                SHAPES[*place].object
            );
            ("I1", Some((*place, key.clone())), what)
        })
        .collect()
    }

    /// Numbers of `status` that are not what the sides show.
    fn misreported(&self, status: &TenantStatus, tasks: &[Json]) -> Vec<Found> {
        let mut found = Vec::new();
        if self.world.deletes == "ignore" && !self.users.log.deleted.is_empty() {
            // How records that one side alone has are counted is not told.
            return found;
        }
        for (place, shape) in SHAPES.iter().enumerate() {
            if self.users.log.twins.iter().any(|(of, _)| *of == place) {
                continue;
            }
            let (here, there) = (&self.postgres[place], &self.salesforce[place]);
            let of_place =
                |(of, key, _): &&(usize, String, String)| (*of == place).then(|| key.clone());
            let conflicts: BTreeSet<String> = self
                .conflicts
                .keys()
                .filter_map(|key| of_place(&key))
                .filter(|key| !self.parked.contains_key(&(place, key.clone())))
                .collect();
            let at_work = tasks
                .iter()
                .filter(|task| self.users.place_of(task) == place);
            let at_work: BTreeSet<String> =
                at_work.map(|task| self.users.record_of(task)).collect();
            let all: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
            let agree = all.iter().filter(|key| {
                here.contains_key(**key)
                    && there.contains_key(**key)
                    && !conflicts.contains(**key)
                    && !at_work.contains(**key)
            });
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            let expected = (
                count(all.len()) + self.marked[place],
                count(agree.count()) + self.marked[place],
                count(conflicts.len()),
            );
            let told = status
                .objects
                .iter()
                .find(|object| object.object.as_str() == shape.object);
            let told = told.map(|told| (told.records, told.in_sync, told.conflicts));
            if told != Some(expected) {
                let what = format!(
                    "status says {told:?} of {}, but records, agreeing ones and conflicts are {expected:?}",
                    shape.object
                );
                found.push(("I14", None, what));
            }
        }
        found
    }

    /// Returns true for an edit in Salesforce that Postgres overwrites by policy whatever it is: between two polls it is
    /// never seen.
    fn may_be_unseen(&self, edit: &Edit) -> bool {
        let (place, _, field, _) = edit;
        let world = self.world;
        let is_written_over = world.conflicts == "postgres_wins"
            || world.owner == "postgres" && *field == SHAPES[*place].fields[1].0;
        let side = self.users.log.written.get(edit).map(|(side, _)| *side);
        world.capture == "poll" && is_written_over && side == Some(Side::Salesforce)
    }

    /// Edits of which no trace is left.
    fn lost(&self) -> Vec<Found> {
        let lost = self
            .users
            .log
            .unreplaced
            .iter()
            .filter(|edit| !self.is_kept(edit) && !self.may_be_unseen(edit));
        lost.map(|(place, key, field, value)| {
            let what = format!("lost: {} {key}.{field} = {value}", SHAPES[*place].object);
            ("I2", Some((*place, key.clone())), what)
        })
        .collect()
    }

    fn is_kept(&self, (place, key, field, value): &Edit) -> bool {
        let kept = self.world.schema.kept(value);
        let shown = |side: &[SeenRecords]| {
            side[*place]
                .get(key)
                .is_some_and(|record| record[*field] == **value || record[*field] == *kept)
        };
        let conflict = self
            .conflicts
            .get(&(*place, key.clone(), (*field).to_owned()));
        let in_conflict = conflict.is_some_and(|conflict| {
            let values = [&conflict["postgres_value"], &conflict["salesforce_value"]];
            values
                .into_iter()
                .any(|shown| *shown == **value || *shown == *kept)
        });
        let in_log = |value: &str| {
            let line = (*place, key.clone(), (*field).to_owned(), value.to_owned());
            self.logged.contains(&line)
        };
        // A field that our user may not see goes with a deleted record.
        let is_hidden = self.users.log.hid_field
            && *field == SHAPES[*place].fields[1].0
            && self.users.log.deleted.contains_key(&(*place, key.clone()));
        let one_side_is_enough = self
            .conflicts
            .contains_key(&(*place, key.clone(), String::new()))
            || self.is_stuck(*place, key)
            || self.is_left_alone(*place, key)
            || self.is_refused_without_parent(*place, key);
        shown(&self.postgres) && shown(&self.salesforce)
            || in_conflict
            || in_log(value)
            || in_log(&kept)
            || is_hidden
            || one_side_is_enough && (shown(&self.postgres) || shown(&self.salesforce))
    }

    /// Values that no user gave to this field of this record.
    fn invented(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for (place, shape) in SHAPES.iter().enumerate() {
            for (key, record) in self.postgres[place].iter().chain(&self.salesforce[place]) {
                for (field, _) in shape.fields {
                    let Some(value) = record[field].as_str() else {
                        continue;
                    };
                    if !self.is_of_a_user(place, key, field, value) {
                        let what = format!("invented: {} {key}.{field} = {value}", shape.object);
                        found.push(("I7", Some((place, key.clone())), what));
                    }
                }
            }
        }
        found
    }

    /// Returns true if a user gave this value to the field, or a table has made it of such a value.
    fn is_of_a_user(&self, place: usize, key: &str, field: &str, value: &str) -> bool {
        let mut given = self.users.log.written.keys();
        given.any(|(of, known, named, given)| {
            (*of, known.as_str(), *named) == (place, key, field)
                && (given == value || self.world.schema.kept(given) == value)
        })
    }

    /// Records that were deleted, that no user restored or edited, and that live.
    fn resurrected(&self) -> Vec<Found> {
        let log = &self.users.log;
        let lives = |(place, key): &&(usize, String)| {
            self.postgres[*place].contains_key(key) || self.salesforce[*place].contains_key(key)
        };
        if self.world.deletes == "ignore" {
            return Vec::new();
        }
        let edits_count = self.world.on_edit != "delete_wins";
        let dead = log
            .deleted
            .keys()
            .filter(|record| !log.restored.contains(*record))
            .filter(|record| !(edits_count && log.touched.contains(*record)));
        dead.filter(lives)
            .filter(|(place, key)| {
                let is_open = self
                    .conflicts
                    .contains_key(&(*place, key.clone(), String::new()));
                !is_open && !self.is_stuck(*place, key)
            })
            .map(|(place, key)| {
                (
                    "I4",
                    Some((*place, key.clone())),
                    format!("{} {key} was deleted and lives", SHAPES[*place].object),
                )
            })
            .collect()
    }
}

impl Users {
    fn place_of(&self, row: &Json) -> usize {
        SHAPES
            .iter()
            .position(|shape| row["object"] == shape.object)
            .unwrap_or_default()
    }

    /// Returns the record of a row of the control plane: by its id in Salesforce, or else by its external id, which
    /// two records may have exchanged.
    fn record_of(&self, row: &Json) -> String {
        if let Some(key) = self.log.ids.get(&word(row, "salesforce_id")) {
            return key.clone();
        }
        let name = (self.place_of(row), word(row, "external_id"));
        self.log.names.get(&name).cloned().unwrap_or(name.1)
    }
}

async fn json_rows(postgres: &mut PgConnection, query: &str) -> anyhow::Result<Vec<Json>> {
    let query = format!("select to_jsonb(found) from ({query}) as found");
    Ok(sqlx::query_scalar(AssertSqlSafe(query))
        .persistent(false)
        .fetch_all(postgres)
        .await?)
}

fn word(row: &Json, name: &str) -> String {
    let value = &row[name];
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
