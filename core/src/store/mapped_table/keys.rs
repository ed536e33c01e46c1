//! Finds the rows of a batch that depend on each other: through foreign keys of the table to itself, and
//! through unique values that one row releases and another row takes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::ColumnName;
use crate::ports::StoreError;
use crate::store::transaction::Tx;

type Columns = serde_json::Map<String, serde_json::Value>;

/// The keys of a mapped table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TableKeys {
    /// Columns that are unique together.
    pub(crate) unique: Vec<Vec<ColumnName>>,
    /// Columns that reference a row of the same table, and the referenced columns.
    pub(crate) self_references: Vec<(Vec<ColumnName>, Vec<ColumnName>)>,
}

/// A row before and after the write, by column. An insert has no row before, a delete none after.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowChange<'a> {
    /// Mapped columns and the primary key.
    pub(crate) before: Option<&'a Columns>,
    /// What identifies the row, if its columns do not contain it.
    pub(crate) identity: Option<&'a serde_json::Value>,
    /// The columns that the write sets.
    pub(crate) patch: Option<&'a Columns>,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    columns: Vec<String>,
    referenced: Option<Vec<String>>,
}

const READ_KEYS: &str = "select
        array(
            select attribute.attname::text
            from unnest(key.columns) with ordinality as part (attnum, place)
            join pg_attribute as attribute on attribute.attrelid = $1::oid and attribute.attnum = part.attnum
            order by part.place
        ) as columns,
        case when key.referenced is not null then array(
            select attribute.attname::text
            from unnest(key.referenced) with ordinality as part (attnum, place)
            join pg_attribute as attribute on attribute.attrelid = $1::oid and attribute.attnum = part.attnum
            order by part.place
        ) end as referenced
    from (
        select index.indkey::smallint[] as columns, null::smallint[] as referenced
        from pg_index as index
        where index.indrelid = $1::oid
        and index.indisunique
        and index.indexprs is null
        union all
        select conkey, confkey
        from pg_constraint
        where conrelid = $1::oid
        and confrelid = $1::oid
        and contype = 'f'
    ) as key";

/// Reads the keys of the table with this oid.
pub(crate) async fn read_keys(tx: &mut Tx, oid: i64) -> Result<TableKeys, StoreError> {
    let rows: Vec<KeyRow> = tx
        .rows(
            "reading the keys of a mapped table",
            sqlx::query_as(READ_KEYS).bind(oid),
        )
        .await?;
    let mut keys = TableKeys::default();
    for row in rows {
        let columns = parsed(row.columns)?;
        match row.referenced {
            Some(referenced) => keys.self_references.push((columns, parsed(referenced)?)),
            None => keys.unique.push(columns),
        }
    }
    Ok(keys)
}

fn parsed(names: Vec<String>) -> Result<Vec<ColumnName>, StoreError> {
    names
        .iter()
        .map(|name| {
            ColumnName::parse(name).map_err(|error| StoreError::Mapping(format!("a key: {error}")))
        })
        .collect()
}

impl TableKeys {
    /// Returns the groups of rows that depend on each other, as indexes into `rows`. Most groups have one
    /// row.
    pub(crate) fn groups(&self, rows: &[RowChange<'_>]) -> Vec<Vec<usize>> {
        let mut groups = Groups::of(rows.len());
        for (from, to) in &self.self_references {
            let mut pointed_to: BTreeMap<String, usize> = BTreeMap::new();
            for (place, row) in rows.iter().enumerate() {
                for key in row.keys(to) {
                    pointed_to.insert(key, place);
                }
            }
            for (place, row) in rows.iter().enumerate() {
                for key in row.keys(from) {
                    if let Some(parent) = pointed_to.get(&key) {
                        groups.join(place, *parent);
                    }
                }
            }
        }
        for unique in &self.unique {
            for (place, holder) in takers(unique, rows) {
                groups.join(place, holder);
            }
        }
        groups.into_sets()
    }

    /// Returns the columns whose unique value one row must release before another row can take it.
    pub(crate) fn passed_on(&self, rows: &[RowChange<'_>]) -> BTreeSet<ColumnName> {
        let passed_on = |unique: &&Vec<ColumnName>| !takers(unique, rows).is_empty();
        let columns = self.unique.iter().filter(passed_on).flatten();
        columns
            .filter(|column| rows.iter().any(|row| row.changes(column)))
            .cloned()
            .collect()
    }
}

/// Returns pairs of rows: the first takes the unique value that the second has.
fn takers(unique: &[ColumnName], rows: &[RowChange<'_>]) -> Vec<(usize, usize)> {
    let held: BTreeMap<String, usize> = rows
        .iter()
        .enumerate()
        .filter_map(|(place, row)| Some((row.key_before(unique)?, place)))
        .collect();
    rows.iter()
        .enumerate()
        .filter_map(|(place, row)| {
            let holder = *held.get(&row.key_after(unique)?)?;
            (holder != place).then_some((place, holder))
        })
        .collect()
}

impl RowChange<'_> {
    fn before(&self, column: &ColumnName) -> Option<&serde_json::Value> {
        self.before
            .and_then(|columns| columns.get(column.as_str()))
            .or_else(|| self.identity?.get(column.as_str()))
    }

    fn after(&self, column: &ColumnName) -> Option<&serde_json::Value> {
        self.patch?
            .get(column.as_str())
            .or_else(|| self.before(column))
    }

    fn changes(&self, column: &ColumnName) -> bool {
        self.before.is_some()
            && self
                .patch
                .is_some_and(|patch| patch.contains_key(column.as_str()))
    }

    fn key_before(&self, columns: &[ColumnName]) -> Option<String> {
        whole_key(columns.iter().map(|column| self.before(column)))
    }

    fn key_after(&self, columns: &[ColumnName]) -> Option<String> {
        whole_key(columns.iter().map(|column| self.after(column)))
    }

    /// Returns the key before and after the write.
    fn keys(&self, columns: &[ColumnName]) -> BTreeSet<String> {
        let keys = [self.key_before(columns), self.key_after(columns)];
        keys.into_iter().flatten().collect()
    }
}

/// Returns the values as one text, or `None` if one of them is null or not known. A patch may contain a
/// number as text.
fn whole_key<'v>(values: impl Iterator<Item = Option<&'v serde_json::Value>>) -> Option<String> {
    let spelled = |value: &serde_json::Value| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let values: Option<Vec<String>> = values.map(|value| value.and_then(spelled)).collect();
    serde_json::to_string(&values?).ok()
}

/// Disjoint sets of indexes.
struct Groups {
    /// For each index another one of its group; the first of a group refers to itself.
    leads_to: Vec<usize>,
}

impl Groups {
    fn of(count: usize) -> Self {
        Self {
            leads_to: (0..count).collect(),
        }
    }

    fn first(&mut self, mut place: usize) -> usize {
        while self.leads_to[place] != place {
            self.leads_to[place] = self.leads_to[self.leads_to[place]];
            place = self.leads_to[place];
        }
        place
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.leads_to[one.max(other)] = one.min(other);
    }

    fn into_sets(mut self) -> Vec<Vec<usize>> {
        let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for place in 0..self.leads_to.len() {
            let first = self.first(place);
            sets.entry(first).or_default().push(place);
        }
        sets.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn columns(names: &[&str]) -> Vec<ColumnName> {
        let parse = |name: &&str| ColumnName::parse(name).unwrap();
        names.iter().map(parse).collect()
    }

    fn groups_of(
        keys: &TableKeys,
        rows: &[(serde_json::Value, serde_json::Value)],
    ) -> Vec<Vec<usize>> {
        keys.groups(&changes(rows))
    }

    fn changes(rows: &[(serde_json::Value, serde_json::Value)]) -> Vec<RowChange<'_>> {
        rows.iter()
            .map(|(before, patch)| RowChange {
                before: before.as_object(),
                identity: None,
                patch: patch.as_object(),
            })
            .collect()
    }

    #[test]
    fn rows_that_reference_each_other_form_one_group() {
        let keys = TableKeys {
            unique: Vec::new(),
            self_references: vec![(columns(&["parent"]), columns(&["id"]))],
        };
        let rows = [
            (json!(null), json!({"id": "a", "parent": "b"})),
            (json!(null), json!({"id": "c", "parent": null})),
            (json!(null), json!({"id": "b", "parent": "a"})),
            (json!({"id": "d", "parent": "c"}), json!(null)),
            (json!({"id": "e"}), json!({"parent": "elsewhere"})),
        ];
        assert_eq!(groups_of(&keys, &rows), [vec![0, 2], vec![1, 3], vec![4]]);
    }

    #[test]
    fn rows_that_pass_on_a_unique_value_form_one_group() {
        let keys = TableKeys {
            unique: vec![columns(&["code"]), columns(&["country", "number"])],
            self_references: Vec::new(),
        };
        let rows = [
            (json!({"code": 1}), json!({"code": 2})),
            (json!({"code": 2}), json!({"code": 1})),
            (json!({"country": "de", "number": 7}), json!({"number": 8})),
            (json!(null), json!({"country": "de", "number": 7})),
            (json!({"code": 9}), json!({"code": null})),
            (json!({"code": null}), json!({"code": 3})),
        ];
        assert_eq!(
            groups_of(&keys, &rows),
            [vec![0, 1], vec![2, 3], vec![4], vec![5]]
        );
        let passed_on: Vec<ColumnName> = keys.passed_on(&changes(&rows)).into_iter().collect();
        assert_eq!(passed_on, columns(&["code", "number"]));
    }
}
