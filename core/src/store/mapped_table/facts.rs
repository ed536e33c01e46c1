//! Queries of the command line on a mapped table: columns, duplicate keys, rows older than the mapping.

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use crate::model::ids::{FieldName, RelationName, TableName};
use crate::ports::operator_store::{MissingGrant, Parent, RelationKind, TableContent, TableFacts};
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::columns::read_columns;
use crate::store::mapped_table::identity::other_table;
use crate::store::mapped_table::lookups::{foreign_keys, strange_lookups};
use crate::store::mapped_table::privileges::{missing_grants, other_owner};
use crate::store::mapped_table::shape::{canonical_key, mapped_columns, read_shape_only};
use crate::store::mapped_table::triggers::capture_problems;
use crate::store::quote;
use crate::store::tables::capture::installed;
use crate::store::transaction::Tx;

/// An external id of several rows that are equal for Salesforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateKey {
    /// The external id in the form in which it is compared.
    pub canonical_id: String,
    /// The external ids of the rows.
    pub external_ids: Vec<String>,
}

/// Most pairs of rows with one key that a check names.
const DUPLICATES_SHOWN_MAX: i64 = 5;

/// Reads what the database knows of a mapped table. Reads rows only if our role sees all of them.
pub(crate) async fn table_facts(
    tx: &mut Tx,
    mapped: &MappedObject,
    parents: &[Parent],
) -> Result<TableFacts, StoreError> {
    let columns = read_columns(tx, &mapped.sync.table).await?;
    let hidden_rows = columns.first().and_then(|first| first.hidden_rows.as_ref());
    let mut facts = TableFacts {
        kind: relation_kind(tx, &mapped.sync.table).await?,
        hidden_rows_fix: hidden_rows.map(|hidden| hidden.fix(&mapped.sync.table)),
        external_id_unique: columns
            .iter()
            .any(|column| column.alone_unique && column.name == mapped.sync.external_id.column),
        columns: columns
            .into_iter()
            .map(|column| (column.name, column.facts))
            .collect(),
        ..TableFacts::default()
    };
    if facts.columns.is_empty() {
        let others = table_names(tx).await?.into_iter();
        let others = others.map(|table| format!("{}.{}", table.schema, table.table));
        facts.other_tables = others.collect();
        return Ok(facts);
    }
    facts.foreign_keys = foreign_keys(tx, mapped).await?;
    let whole = mapped_columns(&mapped.sync)
        .iter()
        .all(|column| facts.columns.contains_key(*column));
    (facts.was_installed, facts.triggers_installed) = is_installed(tx, mapped, whole).await?;
    if facts.was_installed && whole {
        facts.other_table = other_table_problem(tx, mapped).await?;
    }
    facts.other_owner = other_owner(tx, mapped).await?;
    let missing = missing_grants(tx, mapped).await?;
    let may_read = !missing.iter().any(|grant| grant.to_read);
    facts.missing_grants = missing.into_iter().map(MissingGrant::from).collect();
    if facts.hidden_rows_fix.is_none() && may_read {
        read_rows(tx, mapped, parents, &mut facts).await?;
    }
    Ok(facts)
}

/// Returns why the table is not the one that capture was installed on.
async fn other_table_problem(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<Option<String>, StoreError> {
    let Some(before) = installed(tx, mapped).await? else {
        return Ok(None);
    };
    let shape = read_shape_only(tx, mapped).await?;
    Ok(other_table(mapped, &shape, &before).map(str::to_owned))
}

/// Reads what only the rows show.
async fn read_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    parents: &[Parent],
    facts: &mut TableFacts,
) -> Result<(), StoreError> {
    if !facts.columns.contains_key(&mapped.sync.external_id.column) {
        return Ok(());
    }
    facts.content = Some(content(tx, mapped, facts).await?);
    facts.duplicate_keys = duplicates(tx, mapped, DUPLICATES_SHOWN_MAX)
        .await?
        .into_iter()
        .filter_map(|duplicate| {
            let mut written = duplicate.external_ids.into_iter();
            Some((written.next()?, written.next()?))
        })
        .collect();
    let mapped_parents: Vec<Parent> = parents
        .iter()
        .filter(|parent| facts.columns.contains_key(&parent.column))
        .cloned()
        .collect();
    facts.strange_lookups = strange_lookups(tx, mapped, &mapped_parents).await?;
    Ok(())
}

/// Counts rows: all, those without an external id, and those with a text that its field cannot hold. Reads the
/// table once.
async fn content(
    tx: &mut Tx,
    mapped: &MappedObject,
    facts: &TableFacts,
) -> Result<TableContent, StoreError> {
    let texts: Vec<(&FieldName, String)> = mapped
        .sync
        .fields
        .iter()
        .filter_map(|(name, field)| {
            let column = facts.columns.get(&field.column)?;
            let length = mapped.schema.fields.get(name)?.field_type.length()?;
            column.column_type.is_text().then(|| {
                let column = quote::column(&field.column);
                (name, format!("char_length({column}::text) > {length}"))
            })
        })
        .collect();
    let required = required(mapped, facts);
    let external_id = quote::column(&mapped.sync.external_id.column);
    let without_id = format!("nullif(btrim({external_id}::text), '') is null");
    let counts: Vec<String> = [&without_id]
        .into_iter()
        .chain(texts.iter().map(|(_, too_long)| too_long))
        .chain(required.iter().map(|(_, empty)| empty))
        .map(|condition| format!("count(*) filter (where {condition})"))
        .collect();
    let sql = format!(
        "select array[count(*), {}] from {}",
        counts.join(", "),
        quote::table(&mapped.sync.table)
    );
    let counted: Option<(Vec<i64>,)> = tx
        .row(
            "counting rows of a mapped table",
            sqlx::query_as(AssertSqlSafe(sql)),
        )
        .await?;
    let mut counted = counted
        .unwrap_or_default()
        .0
        .into_iter()
        .map(|count| u64::try_from(count).unwrap_or_default());
    let (rows, without_id) = (
        counted.next().unwrap_or_default(),
        counted.next().unwrap_or_default(),
    );
    let mut of_fields = |fields: Vec<(&FieldName, String)>| {
        let counts = fields.into_iter().zip(counted.by_ref());
        let found = counts.filter(|(_, rows)| *rows > 0);
        found
            .map(|((name, _), rows)| (name.clone(), rows))
            .collect()
    };
    Ok(TableContent {
        rows,
        without_id,
        too_long: of_fields(texts),
        empty_required: of_fields(required),
    })
}

/// Returns the mapped fields that Salesforce requires, with the condition of rows that have no value for them.
fn required<'a>(mapped: &'a MappedObject, facts: &TableFacts) -> Vec<(&'a FieldName, String)> {
    let fields = mapped.sync.fields.iter();
    let found = fields.filter_map(|(name, field)| {
        let schema = mapped.schema.fields.get(name)?;
        let is_known = facts.columns.contains_key(&field.column);
        (is_known && schema.is_required()).then(|| {
            let column = quote::column(&field.column);
            (name, format!("nullif(btrim({column}::text), '') is null"))
        })
    });
    found.collect()
}

async fn relation_kind(tx: &mut Tx, table: &TableName) -> Result<RelationKind, StoreError> {
    let kinds: Vec<String> = tx
        .values(
            "reading the kind of a mapped relation",
            sqlx::query_scalar(
                "select class.relkind::text
                from pg_class as class
                join pg_namespace as namespace on namespace.oid = class.relnamespace
                where namespace.nspname = $1
                and class.relname = $2",
            )
            .bind(table.schema.as_str())
            .bind(table.table.as_str()),
        )
        .await?;
    Ok(match kinds.first().map(String::as_str) {
        None => RelationKind::Missing,
        Some("r") => RelationKind::Table,
        Some("p") => RelationKind::Partitioned,
        Some(_) => RelationKind::Other,
    })
}

/// Most tables whose names are read: they are searched for one that may have been meant.
const TABLES_MAX: i64 = 1_000;

/// Returns the names of the database's tables, of at most [`TABLES_MAX`].
pub(crate) async fn table_names(tx: &mut Tx) -> Result<Vec<TableName>, StoreError> {
    let names: Vec<(String, String)> = tx.rows(
        "reading the names of tables",
        sqlx::query_as(
            "select namespace.nspname::text, class.relname::text
            from pg_class as class
            join pg_namespace as namespace on namespace.oid = class.relnamespace
            where class.relkind in ('r', 'p')
            and namespace.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'syncline')
            and not class.relispartition
            order by 1, 2
            limit $1",
        )
        .bind(TABLES_MAX),
    )
    .await?;
    let names = names.into_iter().filter_map(|(schema, table)| {
        let schema = RelationName::parse(&schema).ok()?;
        let table = RelationName::parse(&table).ok()?;
        Some(TableName { schema, table })
    });
    Ok(names.collect())
}

/// Returns whether capture was ever installed for the object, and whether it is now as it should be. Without a
/// control plane, or rights to read it, it is not. Where a column is missing, triggers that were installed count as
/// right: they cannot be compared, and the column is the problem.
async fn is_installed(
    tx: &mut Tx,
    mapped: &MappedObject,
    whole: bool,
) -> Result<(bool, bool), StoreError> {
    let readable: Vec<bool> = tx
        .values(
            "looking for the control plane",
            sqlx::query_scalar(
                "select coalesce(has_table_privilege(to_regclass('syncline.sync_capture'), 'select'), false)",
            ),
        )
        .await?;
    if readable != [true] {
        return Ok((false, false));
    }
    let before = installed(tx, mapped).await?;
    if !whole {
        return Ok((before.is_some(), before.is_some()));
    }
    let problems = capture_problems(tx, std::slice::from_ref(mapped)).await?;
    Ok((before.is_some(), problems.is_empty()))
}

/// Returns external ids of several rows that are equal for Salesforce.
pub(crate) async fn duplicates(
    tx: &mut Tx,
    mapped: &MappedObject,
    limit: i64,
) -> Result<Vec<DuplicateKey>, StoreError> {
    let written = format!("{}::text", quote::column(&mapped.sync.external_id.column));
    let compared = canonical_key(mapped, "written");
    let sql = format!(
        "select compared, array_agg(written order by written) as external_ids
        from (
            select written, {compared} as compared
            from (select {written} as written from {table}) as given
            where btrim(written) <> ''
        ) as keys
        group by compared
        having count(*) > 1
        order by compared
        limit $1",
        table = quote::table(&mapped.sync.table),
    );
    let rows: Vec<(String, Vec<String>)> = tx
        .rows(
            "looking for duplicate keys",
            sqlx::query_as(AssertSqlSafe(sql)).bind(limit),
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(canonical_id, external_ids)| DuplicateKey {
            canonical_id,
            external_ids,
        })
        .collect())
}
