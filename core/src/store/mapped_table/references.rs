//! Foreign keys that reference a mapped table, and the rows that reference given rows of it.
//!
//! Deleting a row, or changing a key of it, may change or remove other rows. This module finds them before the
//! write; what follows from them is decided elsewhere.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::model::ids::{ColumnName, RecordId};
use crate::ports::{MappedObject, MappedTable, StoreError};
use crate::store::mapped_table::columns::read_columns;
use crate::store::mapped_table::read::RowError;
use crate::store::mapped_table::shape::TableShape;
use crate::store::mapped_table::write::identity_join;
use crate::store::quote;
use crate::store::transaction::{Tx, recordset};

/// Longest chain of cascading tables that is followed.
const CHAIN_MAX: i32 = 8;

/// What a foreign key does to the rows that reference a row which goes, or whose key changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReferentialAction {
    /// It refuses the write.
    Refuses,
    /// It removes them, or gives them the new key.
    Cascades,
    /// It sets their columns to null or to their default.
    Replaces,
}

impl ReferentialAction {
    fn of(action: &str) -> Self {
        match action {
            "c" => Self::Cascades,
            "n" | "d" => Self::Replaces,
            _ => Self::Refuses,
        }
    }
}

/// A foreign key.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    /// Its name.
    pub(crate) name: String,
    /// The referencing columns, in the order of the referenced ones.
    pub(crate) columns: Vec<String>,
    /// The referenced columns.
    pub(crate) referenced: Vec<String>,
    /// What a delete does.
    pub(crate) on_delete: ReferentialAction,
    /// What a new key does.
    pub(crate) on_update: ReferentialAction,
    /// One of the referencing columns refuses null.
    pub(crate) refuses_null: bool,
    /// The place of the referencing table among those of the tenant.
    pub(crate) table: Option<usize>,
    /// The referencing table is mapped, by this tenant or another one.
    pub(crate) is_mapped: bool,
    /// Our role may read the referencing table.
    readable: bool,
    parent: i64,
    child: i64,
    child_name: String,
}

impl Reference {
    /// Returns whether it references the table itself from itself.
    pub(crate) fn is_within(&self, shape: &TableShape) -> bool {
        self.parent == shape.oid && self.child == shape.oid
    }

    /// Returns whether it references this table.
    pub(crate) fn is_to(&self, shape: &TableShape) -> bool {
        self.parent == shape.oid
    }
}

#[derive(sqlx::FromRow)]
struct ReferenceRow {
    name: String,
    parent: i64,
    child: i64,
    child_schema: String,
    child_table: String,
    columns: Vec<String>,
    referenced: Vec<String>,
    on_delete: String,
    on_update: String,
    refuses_null: bool,
    is_captured: bool,
    readable: bool,
}

/// Reads the foreign keys that reference the table, and those that reference tables whose rows go with its rows.
pub(crate) async fn read_references(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
) -> Result<Vec<Reference>, StoreError> {
    let rows: Vec<ReferenceRow> = tx
        .rows(
            "reading the foreign keys to a mapped table",
            sqlx::query_as(READ_REFERENCES)
                .bind(shape.oid)
                .bind(CHAIN_MAX),
        )
        .await?;
    let place = |row: &ReferenceRow| {
        mapped.tables.iter().position(|table| {
            let name = &table.sync.table;
            name.schema.as_str() == row.child_schema && name.table.as_str() == row.child_table
        })
    };
    let references = rows.into_iter().map(|row| {
        let table = place(&row);
        Reference {
            on_delete: ReferentialAction::of(&row.on_delete),
            on_update: ReferentialAction::of(&row.on_update),
            is_mapped: table.is_some() || row.is_captured,
            table,
            child_name: format!(
                "{}.{}",
                quote::identifier(&row.child_schema),
                quote::identifier(&row.child_table)
            ),
            name: row.name,
            columns: row.columns,
            referenced: row.referenced,
            refuses_null: row.refuses_null,
            readable: row.readable,
            parent: row.parent,
            child: row.child,
        }
    });
    Ok(references.collect())
}

/// A partition's copy of a foreign key has a parent constraint, which stands for it.
const READ_REFERENCES: &str = "with recursive reached as (
        select $1::oid as relation, 1 as depth
        union
        select key.conrelid, reached.depth + 1
        from reached
        join pg_constraint as key on key.confrelid = reached.relation
        where key.contype = 'f'
        and key.confdeltype = 'c'
        and reached.depth < $2
    )
    select
        key.conname::text as name,
        key.confrelid::bigint as parent,
        key.conrelid::bigint as child,
        namespace.nspname::text as child_schema,
        class.relname::text as child_table,
        array(
            select attribute.attname::text
            from unnest(key.conkey) with ordinality as part (attnum, place)
            join pg_attribute as attribute on attribute.attrelid = key.conrelid and attribute.attnum = part.attnum
            order by part.place
        ) as columns,
        array(
            select attribute.attname::text
            from unnest(key.confkey) with ordinality as part (attnum, place)
            join pg_attribute as attribute on attribute.attrelid = key.confrelid and attribute.attnum = part.attnum
            order by part.place
        ) as referenced,
        key.confdeltype::text as on_delete,
        key.confupdtype::text as on_update,
        exists (
            select
            from pg_attribute as attribute
            where attribute.attrelid = key.conrelid
            and attribute.attnum = any(key.conkey)
            and attribute.attnotnull
        ) as refuses_null,
        exists (
            select
            from syncline.sync_capture as capture
            where capture.table_oid = key.conrelid
            or key.conrelid = any(capture.partitions)
        ) as is_captured,
        has_schema_privilege(namespace.oid, 'usage')
            and has_table_privilege(class.oid, 'select')
            and not row_security_active(class.oid) as readable
    from pg_constraint as key
    join pg_class as class on class.oid = key.conrelid
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    where key.contype = 'f'
    and key.conparentid = 0
    and key.confrelid in (select reached.relation from reached)
    order by key.oid";

/// A row of a mapped table that references a row of the batch, directly or through rows that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReferencingRow {
    /// The record of the batch.
    pub(crate) record_id: RecordId,
    /// The place of the foreign key in the list.
    pub(crate) reference: usize,
    /// Its external id, if its table is one of the tenant's and it has one.
    pub(crate) external_id: Option<String>,
}

/// A row of the batch.
#[derive(Serialize)]
pub(crate) struct BatchRow<'a> {
    /// Its record.
    pub(crate) record_id: RecordId,
    /// What identifies it.
    pub(crate) identity: &'a serde_json::Value,
}

/// Where a row is. It stays there until our own write, because it is locked or goes with a locked row.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
struct Place {
    record_id: Uuid,
    relation: i64,
    place: String,
    external_id: Option<String>,
}

/// Finds and locks the rows of mapped tables that reference these rows by a foreign key that `concerns` them.
/// Follows cascading deletes through tables that are not mapped, if `follow`. One statement per foreign key,
/// for any number of rows.
pub(crate) async fn referencing_rows(
    tx: &mut Tx,
    (mapped, shape): (&MappedObject, &TableShape),
    references: &[Reference],
    rows: &[BatchRow<'_>],
    follow: bool,
    concerns: impl Fn(&Reference) -> bool,
) -> Result<Vec<ReferencingRow>, RowError> {
    let mut found = Vec::new();
    let wanted = references
        .iter()
        .any(|one| one.is_to(shape) && concerns(one));
    if rows.is_empty() || !wanted {
        return Ok(found);
    }
    let table = quote::table(&mapped.sync.table);
    let mut levels = vec![(shape.oid, table, places(tx, mapped, shape, rows).await?)];
    let mut done: BTreeSet<usize> = BTreeSet::new();
    while let Some((parent, parent_name, parents)) = levels.pop() {
        for (index, reference) in references.iter().enumerate() {
            if reference.parent != parent || !reference.readable || !concerns(reference) {
                continue;
            }
            let external_id = reference
                .table
                .map(|place| &mapped.tables[place].sync.external_id.column);
            let children = children(tx, reference, (&parent_name, external_id), &parents).await?;
            if reference.is_mapped {
                found.extend(children.into_iter().map(|child| ReferencingRow {
                    record_id: RecordId(child.record_id),
                    reference: index,
                    external_id: child.external_id,
                }));
            } else if follow
                && reference.on_delete == ReferentialAction::Cascades
                && !children.is_empty()
                && done.insert(index)
            {
                levels.push((reference.child, reference.child_name.clone(), children));
            }
        }
    }
    Ok(found)
}

async fn places(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    rows: &[BatchRow<'_>],
) -> Result<Vec<Place>, RowError> {
    let (condition, key) = identity_join(mapped, shape)?;
    let sql = format!(
        "select change.record_id, target.tableoid::bigint as relation, target.ctid::text as place,
            null::text as external_id
        from jsonb_to_recordset($1) as change (record_id uuid, identity jsonb)
        cross join lateral jsonb_to_record(change.identity) as key ({key})
        join {table} as target on {condition}",
        table = quote::table(&mapped.sync.table),
    );
    let places = tx
        .rows_raw(
            "locating rows",
            sqlx::query_as(AssertSqlSafe(sql)).bind(recordset(rows)),
        )
        .await?;
    Ok(places)
}

async fn children(
    tx: &mut Tx,
    reference: &Reference,
    (parent, external_id): (&str, Option<&ColumnName>),
    parents: &[Place],
) -> Result<Vec<Place>, RowError> {
    let joined: Vec<String> = reference
        .columns
        .iter()
        .zip(&reference.referenced)
        .map(|(column, referenced)| {
            format!(
                "child.{} = parent.{}",
                quote::identifier(column),
                quote::identifier(referenced)
            )
        })
        .collect();
    let external_id = external_id.map_or("null".to_owned(), |column| {
        format!("child.{}", quote::column(column))
    });
    // Excludes writers of the rows until our write is committed. Rows that are not mapped go with a row that we
    // have locked; our role may not be allowed to lock them.
    let lock = match reference.is_mapped {
        true => "for update of child",
        false => "",
    };
    let sql = format!(
        "select parents.record_id, child.tableoid::bigint as relation, child.ctid::text as place,
            nullif(btrim({external_id}::text), '') as external_id
        from jsonb_to_recordset($1) as parents (record_id uuid, relation bigint, place text)
        join {parent} as parent
            on parent.tableoid = parents.relation::oid
            and parent.ctid = parents.place::tid
        join {child} as child on {joined}
        {lock}",
        child = reference.child_name,
        joined = joined.join(" and "),
    );
    let children = tx
        .rows_raw(
            "finding rows that reference a row",
            sqlx::query_as(AssertSqlSafe(sql)).bind(recordset(parents)),
        )
        .await?;
    Ok(children)
}

/// A row of a mapped table, with some of its columns.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ColumnsOfRow {
    /// Its external id.
    pub(crate) external_id: String,
    /// The columns, as JSON.
    pub(crate) columns: serde_json::Value,
}

/// Reads columns of the rows of a mapped table whose `column` has one of these values.
pub(crate) async fn rows_with(
    tx: &mut Tx,
    table: &MappedTable,
    column: &ColumnName,
    values: &[&str],
    columns: &BTreeSet<&ColumnName>,
) -> Result<Vec<ColumnsOfRow>, StoreError> {
    let known = read_columns(tx, &table.sync.table).await?;
    let key = &table.sync.external_id.column;
    let readable = |wanted: &ColumnName| {
        let mut readable = known
            .iter()
            .filter(|one| one.readable && one.hidden_rows.is_none());
        readable.find(|one| one.name == *wanted)
    };
    // What concerns a table that we cannot read stops that table alone.
    let all = columns.iter().copied().chain([key]);
    let Some(facts) =
        readable(column).filter(|_| all.into_iter().all(|one| readable(one).is_some()))
    else {
        return Ok(Vec::new());
    };
    // A text is compared as it is, so that its index is used. A value of another type may not be one.
    let (wanted_type, cast) = match facts.facts.column_type.is_text() {
        true => (facts.facts.column_type.name.as_str(), ""),
        false => ("text", "::text"),
    };
    let picked: Vec<String> = columns
        .iter()
        .map(|column| format!("target.{}", quote::column(column)))
        .collect();
    let sql = format!(
        "select target.{key}::text as external_id,
            (select to_jsonb(picked) from (select {picked}) as picked) as columns
        from jsonb_to_recordset($1) as wanted (value {wanted_type})
        join {table} as target on target.{column}{cast} = wanted.value
        where btrim(target.{key}::text) <> ''",
        key = quote::column(key),
        picked = picked.join(", "),
        table = quote::table(&table.sync.table),
        column = quote::column(column),
    );
    let wanted: Vec<serde_json::Value> = values
        .iter()
        .map(|value| serde_json::json!({ "value": value }))
        .collect();
    tx.rows(
        "reading rows of a mapped table",
        sqlx::query_as(AssertSqlSafe(sql)).bind(recordset(&wanted)),
    )
    .await
}
