//! What is read of both sides to judge a world.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;

use super::Users;
use super::seen::{answer, ever, records, text};
use crate::script::Side;
use crate::shapes::{KEY, SHAPES};

impl Users {
    /// Returns the records of an object that a side ever had.
    pub(crate) async fn ever(
        &mut self,
        side: Side,
        place: usize,
    ) -> anyhow::Result<BTreeSet<String>> {
        let shape = &SHAPES[place];
        if side == Side::Salesforce {
            return self.org.with_org(|org| ever(org, shape));
        }
        let keys = "select key from sim.had_row where of = $1 and key is not null";
        let keys: Vec<String> = sqlx::query_scalar(keys)
            .bind(shape.table)
            .fetch_all(&mut self.postgres)
            .await?;
        Ok(keys.into_iter().collect())
    }

    /// Notes records that were deleted in Salesforce, created there again under another name, and then restored: from
    /// then on they are two.
    pub(crate) fn note_twins(&mut self) -> anyhow::Result<()> {
        for (place, shape) in SHAPES.iter().enumerate() {
            let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for record in self.org.with_org(|org| records(org, shape))? {
                let name = text(&record, "External_Id__c");
                names.entry(text(&record, KEY.0)).or_default().insert(name);
            }
            let twins = names.into_iter().filter(|(_, names)| names.len() > 1);
            let twins = twins.map(|(key, _)| (place, key));
            let restored = &self.log.restored;
            self.log
                .twins
                .extend(twins.filter(|twin| restored.contains(twin)));
        }
        Ok(())
    }

    /// Returns records that exist twice on a side, or that no user has created.
    pub(crate) async fn doubles(&mut self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        self.note_twins()?;
        for side in [Side::Postgres, Side::Salesforce] {
            for (place, shape) in SHAPES.iter().enumerate() {
                let mut keys = BTreeSet::new();
                for record in self.all(side, place).await? {
                    let key = text(&record, KEY.0);
                    let is_twin = self.log.twins.contains(&(place, key.clone()));
                    if key.is_empty() || !keys.insert(key.clone()) && !is_twin {
                        let object = shape.object;
                        found.push(format!(
                            "{object} '{key}' is in {side:?} twice, or of no user"
                        ));
                    }
                }
            }
        }
        Ok(found)
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
}
