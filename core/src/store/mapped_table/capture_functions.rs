//! The functions that capture the changes of one mapped table, as SQL text.
//!
//! They run in users' transactions, so they name the table's columns in static SQL: turning rows into JSON costs several
//! times the user's own statement. Statement triggers read what a statement changed from its transition tables. A row
//! trigger does the same for logical replication, which fires no statement triggers, and for foreign partitions.
//!
//! Rows before and after an update are paired by their place: Postgres adds both to the transition tables at once, also
//! when the update moves the row to another partition. A primary key pairs wrongly as soon as the update changes it. A
//! `when` or `update of` that names a column would keep the customer from changing its type.

use crate::model::column::ColumnKind;
use crate::model::ids::ColumnName;
use crate::ports::MappedObject;
use crate::store::mapped_table::shape::{TableShape, mapped_columns};
use crate::store::quote;

/// Skips what the engine writes. Its transaction is in a table that users cannot write: the setting, which any user could
/// set, only saves others the look into it. What users' triggers change because of our write is their change.
const OWN_WRITES: &str = "if current_setting('syncline.is_engine', true) = 'on' then
                    if pg_trigger_depth() = 1 and exists (
                        select
                        from syncline.engine_tx as engine
                        where engine.xid = pg_current_xact_id_if_assigned()
                    ) then
                        return null;
                    end if;
                end if;";

/// What a function captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Captured {
    /// The rows of a statement that inserts.
    Inserts,
    /// The rows of a statement that updates.
    Updates,
    /// The rows of a statement that deletes.
    Deletes,
    /// Each row by itself.
    Row,
}

impl Captured {
    /// Returns all of them.
    pub(crate) const ALL: [Self; 4] = [Self::Row, Self::Inserts, Self::Updates, Self::Deletes];

    /// Returns the word for it in the names of triggers and functions.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Inserts => "insert",
            Self::Updates => "update",
            Self::Deletes => "delete",
            Self::Row => "capture",
        }
    }
}

/// The SQL of one mapped table's columns.
pub(crate) struct CaptureFunctions<'a> {
    mapped: &'a MappedObject,
    shape: &'a TableShape,
    /// It has partitions: an update may move a row from one to another.
    partitioned: bool,
}

impl<'a> CaptureFunctions<'a> {
    pub(crate) fn new(mapped: &'a MappedObject, shape: &'a TableShape, partitioned: bool) -> Self {
        Self {
            mapped,
            shape,
            partitioned,
        }
    }

    /// Returns the statement that creates the function.
    pub(crate) fn create(&self, captured: Captured, name: &str) -> String {
        let body = match captured {
            Captured::Inserts => self.inserts(),
            Captured::Updates => self.updates(),
            Captured::Deletes => self.deletes(),
            Captured::Row => self.row(),
        };
        format!(
            "create or replace function syncline.{name}() returns trigger
                language plpgsql
                security definer
                set search_path = pg_catalog, pg_temp
                as {body};",
            name = quote::identifier(name),
            body = quote::literal(&body),
        )
    }

    /// Inserts are known by their keys alone: the row itself is read later.
    fn inserts(&self) -> String {
        let one = format!(
            "select not exists (select from new_rows offset 1), key.external_id,
                case when key.external_id is null then {local_key} end, {all}
            into is_one, the_id, the_key, the_columns
            from new_rows as n
            cross join lateral (select {id} as external_id) as key
            limit 1;",
            id = self.external_id("n"),
            local_key = self.local_key("n"),
            all = self.all_columns(),
        );
        let many = format!(
            "select {place}, 'insert', f.external_id, null::text, case when f.external_id is null then {local_key} end,
                {all}, false, captured_at
            from (select {id} as external_id, {keys} from new_rows as n offset 0) as f",
            place = self.place(),
            id = self.external_id("n"),
            local_key = self.picked_key("f"),
            keys = self.picked_keys("n"),
            all = self.all_columns(),
        );
        self.statement("insert", &one, &many)
    }

    fn deletes(&self) -> String {
        let one = format!(
            "select not exists (select from old_rows offset 1), key.external_id,
                case when key.external_id is null then {local_key} end
            into is_one, the_id, the_key
            from old_rows as o
            cross join lateral (select {id} as external_id) as key
            limit 1;",
            id = self.external_id("o"),
            local_key = self.local_key("o"),
        );
        let many = format!(
            "select {place}, 'delete', f.external_id, null::text, case when f.external_id is null then {local_key} end,
                null::text[], true, captured_at
            from (select {id} as external_id, {keys} from old_rows as o offset 0) as f",
            place = self.place(),
            id = self.external_id("o"),
            local_key = self.picked_key("f"),
            keys = self.picked_keys("o"),
        );
        self.statement("delete", &one, &many)
    }

    fn updates(&self) -> String {
        // A trigger may refuse a row that an update moves to another partition: it is gone then, and the rest is not in
        // pairs.
        let (lost, new_rows) = if self.partitioned {
            (
                "(select count(*) from old_rows) <> (select count(*) from new_rows)",
                "left join new_rows as n on true",
            )
        } else {
            ("false", "cross join new_rows as n")
        };
        let one = format!(
            "select not exists (select from old_rows offset 1), {lost}, {new_id}, {old_id}, {local_key}, {changed}
            into is_one, is_lost, the_id, the_old_id, the_key, the_columns
            from old_rows as o
            {new_rows}
            limit 1;
            if the_id = the_old_id then
                the_old_id := null;
                the_key := null;
            elsif the_id is not null and the_old_id is not null then
                the_key := null;
            end if;",
            new_id = self.external_id("n"),
            old_id = self.external_id("o"),
            local_key = self.local_key("o"),
            changed = self.changed("o", "n"),
        );
        let id = &self.mapped.configured.external_id.column;
        let many = format!(
            "select {place}, 'update', f.new_id, nullif(f.old_id, f.new_id),
                case when f.new_id is null or f.renamed and f.old_id is null then {local_key} end,
                f.columns, false, captured_at
            from (
                select
                    o.{PLACE} as place, {new_id} as new_id, {renamed} as renamed,
                    case when {renamed} then {old_id} end as old_id, {changed} as columns, {keys}
                from (select row_number() over () as {PLACE}, {picked_old} from old_rows as o) as o
                join (select row_number() over () as {PLACE}, {picked_new} from new_rows as n) as n
                    on n.{PLACE} = o.{PLACE}
                offset 0
            ) as f
            where cardinality(f.columns) > 0
            -- Of two renames the later one is taken last.
            order by f.place",
            place = self.place(),
            new_id = self.external_id("n"),
            old_id = self.external_id("o"),
            renamed = self.differs(id),
            changed = self.changed("o", "n"),
            local_key = self.picked_key("f"),
            keys = self.picked_keys("o"),
            picked_old = self.picked("o", true),
            picked_new = self.picked("n", false),
        );
        self.statement("update", &one, &many)
    }

    /// Returns the body of a function for statements. `one` reads the first row, `many` selects all rows for the outbox.
    fn statement(&self, operation: &str, one: &str, many: &str) -> String {
        let partition = if self.partitioned { PARTITION } else { "" };
        let read = self.read_first(operation, one);
        let write_one = self.write_one(operation);
        let write = self.write_all(operation, many);
        format!(
            "declare
                {VARIABLES}
                is_one boolean;
                is_lost boolean := false;
            begin
                {OWN_WRITES}
                {partition}
                {read}
                {write_one}
                {write}
                return null;
            end"
        )
    }

    /// Reads whether there is one row, and the first one. It must not write: else each statement of one row would use a
    /// transaction id of its own.
    fn read_first(&self, operation: &str, one: &str) -> String {
        format!(
            "begin
                {one}
            exception
                when others then
                    is_one := false;
            end;
            -- A control plane that was dropped by hand must not block users; the sweep reports it.
            if is_one is null or to_regclass('syncline.sync_outbox') is null then
                return null;
            end if;
            if is_lost then
                {lost}
                return null;
            end if;",
            lost = self.failed(operation, "'a row moved to no partition'"),
        )
    }

    fn write_one(&self, operation: &str) -> String {
        let unchanged = match operation {
            "update" => {
                "if cardinality(the_columns) = 0 then
                    return null;
                end if;"
            }
            _ => "",
        };
        format!(
            "if is_one then
                {unchanged}
                insert into syncline.sync_outbox ({COLUMNS})
                values (
                    {place}, '{operation}', the_id, the_old_id, the_key, the_columns, {tombstone}, captured_at
                );
                return null;
            end if;",
            place = self.place(),
            tombstone = operation == "delete",
        )
    }

    /// Writes all rows. The plan is kept for two rows and for millions: so no nested loop, and nothing is compiled, which
    /// takes longer than it runs. An error undoes the settings, too.
    fn write_all(&self, operation: &str, many: &str) -> String {
        let pairs = match operation {
            "insert" => INSERTED,
            "delete" => DELETED,
            _ => UPDATED,
        };
        format!(
            "declare
                the_jit constant text := current_setting('jit');
                the_nested_loops constant text := current_setting('enable_nestloop');
            begin
                {SET}
                insert into syncline.sync_outbox ({COLUMNS})
                {many};
                {RESET}
            exception
                -- The table's columns are not as they were: this names none of them.
                when others then
                    begin
                        {SET}
                        insert into syncline.sync_outbox ({COLUMNS})
                        select {place}, '{operation}', change.external_id, change.old_external_id, change.local_key,
                            change.changed_columns, {tombstone}, captured_at
                        from ({pairs}) as pair
                        cross join lateral syncline.change_of(
                            pair.old_row, pair.new_row, tg_argv[2], tg_argv[3]::text[], tg_argv[4]::text[]
                        ) as change
                        order by pair.place;
                        {RESET}
                    exception
                        when others then
                            {failed}
                    end;
            end;",
            place = self.place(),
            tombstone = operation == "delete",
            failed = self.failed(operation, "sqlstate"),
        )
    }

    /// The body of the row function. Its block writes nothing, so that no row uses a transaction id of its own.
    fn row(&self) -> String {
        format!(
            "declare
                {VARIABLES}
                error text;
            begin
                {OWN_WRITES}
                {REPLICATED}
                begin
                    {values}
                exception
                    -- The table's columns are not as they were: this names none of them.
                    when others then
                        begin
                            select change.*
                            into the_id, the_old_id, the_key, the_columns
                            from syncline.change_of(
                                case when tg_op <> 'INSERT' then to_jsonb(old) end,
                                case when tg_op <> 'DELETE' then to_jsonb(new) end,
                                tg_argv[2], tg_argv[3]::text[], tg_argv[4]::text[]
                            ) as change;
                            if not found then
                                return null;
                            end if;
                        exception
                            when others then
                                error := sqlstate;
                        end;
                end;
                if to_regclass('syncline.sync_outbox') is null then
                    return null;
                end if;
                if error is not null then
                    {failed}
                    return null;
                end if;
                insert into syncline.sync_outbox ({COLUMNS})
                values (
                    {place}, lower(tg_op), the_id, the_old_id, the_key, the_columns, tg_op = 'DELETE', captured_at
                );
                return null;
            end",
            values = self.row_values(),
            place = self.place(),
            failed = self.failed_row("lower(tg_op)", "error", "tg_op = 'DELETE'"),
        )
    }

    fn row_values(&self) -> String {
        format!(
            "if tg_op = 'INSERT' then
                the_id := {new_id};
                the_columns := {all};
                if the_id is null then
                    the_key := {new_key};
                end if;
            elsif tg_op = 'DELETE' then
                the_id := {old_id};
                if the_id is null then
                    the_key := {old_key};
                end if;
            else
                the_columns := {changed};
                if cardinality(the_columns) = 0 then
                    return null;
                end if;
                the_id := {new_id};
                the_old_id := {old_id};
                if the_id is null or the_old_id is null then
                    the_key := {old_key};
                elsif the_id = the_old_id then
                    the_old_id := null;
                end if;
            end if;",
            new_id = self.external_id("new"),
            old_id = self.external_id("old"),
            new_key = self.local_key("new"),
            old_key = self.local_key("old"),
            all = self.all_columns(),
            changed = self.changed("old", "new"),
        )
    }

    /// Returns the statement that stores a change without a key, which capture makes a dead letter.
    fn failed(&self, operation: &str, error: &str) -> String {
        let tombstone = (operation == "delete").to_string();
        self.failed_row(&quote::literal(operation), error, &tombstone)
    }

    fn failed_row(&self, operation: &str, error: &str, tombstone: &str) -> String {
        format!(
            "insert into syncline.sync_outbox (tenant, object, operation, changed, tombstone, changed_at)
            values ({place}, {operation}, jsonb_build_object('capture_error', {error}), {tombstone}, captured_at);",
            place = self.place(),
        )
    }

    /// Tenant and object, as literals.
    fn place(&self) -> String {
        format!(
            "{}, {}",
            quote::literal(self.mapped.tenant.as_str()),
            quote::literal(self.mapped.sync.object.as_str())
        )
    }

    fn columns(&self) -> Vec<&'a ColumnName> {
        // As configured: a field that is withheld for a while does not change the functions.
        mapped_columns(&self.mapped.configured)
    }

    /// Returns the names of all mapped columns.
    fn all_columns(&self) -> String {
        let columns = self.columns();
        let names = quote::text_array(columns.iter().map(|column| column.as_str()));
        format!("{}::text[]", quote::literal(&names))
    }

    fn kind(&self, column: &ColumnName) -> ColumnKind {
        let facts = self.shape.columns.get(column);
        facts.map_or(ColumnKind::Other, |facts| facts.column_type.kind)
    }

    /// Returns the SQL of the external id, the same as in the row as JSON; null if it has only blanks.
    fn external_id(&self, alias: &str) -> String {
        let column = &self.mapped.configured.external_id.column;
        let value = format!("{alias}.{}", quote::column(column));
        let text = match self.kind(column) {
            ColumnKind::Text
            | ColumnKind::Varchar
            | ColumnKind::Citext
            | ColumnKind::Smallint
            | ColumnKind::Integer
            | ColumnKind::Bigint
            | ColumnKind::Numeric
            | ColumnKind::Uuid => format!("{value}::text"),
            ColumnKind::Char
            | ColumnKind::Enum
            | ColumnKind::TextArray
            | ColumnKind::Boolean
            | ColumnKind::Real
            | ColumnKind::Double
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::Timestamptz
            | ColumnKind::Time
            | ColumnKind::Other => format!("(to_jsonb({value}) #>> '{{}}')"),
        };
        format!(
            "case when {text} collate \"default\" ~ '[^[:space:][:cntrl:]]' then {text} collate \"C\" end"
        )
    }

    /// Returns the SQL of the primary key as JSON, or of a null if the table lacks one.
    fn local_key(&self, alias: &str) -> String {
        self.key_of(|_, column| format!("{alias}.{}", quote::column(column)))
    }

    /// Returns the same of columns that [`Self::picked_keys`] has picked.
    fn picked_key(&self, alias: &str) -> String {
        self.key_of(|place, _| format!("{alias}.key_{place}"))
    }

    fn key_of(&self, value: impl Fn(usize, &ColumnName) -> String) -> String {
        let keys = self.shape.primary_key.iter().enumerate();
        let parts: Vec<String> = keys
            .map(|(place, column)| {
                let name = quote::literal(column.as_str());
                format!("{name}, {}", value(place, column))
            })
            .collect();
        if parts.is_empty() {
            return "null::jsonb".to_owned();
        }
        format!("jsonb_build_object({})", parts.join(", "))
    }

    fn picked_keys(&self, alias: &str) -> String {
        let keys = self.shape.primary_key.iter().enumerate();
        let picked: Vec<String> = keys
            .map(|(place, column)| format!("{alias}.{} as key_{place}", quote::column(column)))
            .collect();
        if picked.is_empty() {
            return "null as no_key".to_owned();
        }
        picked.join(", ")
    }

    /// Returns the mapped columns of an alias, and those of the primary key.
    fn picked(&self, alias: &str, with_keys: bool) -> String {
        let mut columns = self.columns();
        if with_keys {
            for key in &self.shape.primary_key {
                if !columns.contains(&key) {
                    columns.push(key);
                }
            }
        }
        let picked: Vec<String> = columns
            .into_iter()
            .map(|column| format!("{alias}.{}", quote::column(column)))
            .collect();
        picked.join(", ")
    }

    /// Returns the SQL of an array of the changed columns' names.
    fn changed(&self, old: &str, new: &str) -> String {
        let columns = self.columns();
        let changed: Vec<String> = columns
            .into_iter()
            .map(|column| {
                let name = quote::literal(column.as_str());
                format!(
                    "case when {} then {name} end",
                    self.differ(column, old, new)
                )
            })
            .collect();
        format!("array_remove(array[{}]::text[], null)", changed.join(", "))
    }

    fn differs(&self, column: &ColumnName) -> String {
        self.differ(column, "o", "n")
    }

    /// Returns the SQL of whether a column changed. Operators of other schemas are not in the search path, and those of
    /// some types take different values for equal: the values as they are stored decide.
    fn differ(&self, column: &ColumnName, old: &str, new: &str) -> String {
        let name = quote::column(column);
        match self.kind(column) {
            // Other collations may take different texts for equal.
            ColumnKind::Text | ColumnKind::Varchar => {
                format!("{old}.{name} collate \"C\" is distinct from {new}.{name} collate \"C\"")
            }
            ColumnKind::Boolean
            | ColumnKind::Smallint
            | ColumnKind::Integer
            | ColumnKind::Bigint
            | ColumnKind::Numeric
            | ColumnKind::Real
            | ColumnKind::Double
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::Timestamptz
            | ColumnKind::Time
            | ColumnKind::Uuid => format!("{old}.{name} is distinct from {new}.{name}"),
            ColumnKind::Char
            | ColumnKind::Citext
            | ColumnKind::Enum
            | ColumnKind::TextArray
            | ColumnKind::Other => {
                format!("row({old}.{name}) operator(pg_catalog.*<>) row({new}.{name})")
            }
        }
    }
}

/// Settings of a statement for many rows, and what they were before.
const SET: &str =
    "perform set_config('jit', 'off', true), set_config('enable_nestloop', 'off', true);";
const RESET: &str = "perform set_config('jit', the_jit, true), set_config('enable_nestloop', the_nested_loops, true);";

/// A row's place among the rows of a statement.
const PLACE: &str = "\"syncline place\"";

/// The columns of the outbox that a function fills.
const COLUMNS: &str = "tenant, object, operation, external_id, old_external_id, local_key, changed_columns, tombstone, \
     changed_at";

const VARIABLES: &str = "-- Not clock(): the user's transaction may have begun long ago.
                captured_at constant timestamptz := syncline.wall_clock();
                the_id text;
                the_old_id text;
                the_key jsonb;
                the_columns text[];";

/// A partition that was detached keeps its triggers. What becomes of its rows is no change of the mapped table.
const PARTITION: &str = "if pg_partition_root(tg_relid) is distinct from tg_relid then
                    if not syncline.is_captured_partition(tg_relid, tg_name) then
                        return null;
                    end if;
                end if;";

/// Without our outbox, what a subscription writes is a change like any other. That is looked up once in a transaction:
/// only superusers and replication workers have this role.
const REPLICATED: &str = "if current_setting('session_replication_role') = 'replica' then
                    if coalesce(current_setting('syncline.outbox_is_replicated', true), '') = '' then
                        perform set_config(
                            'syncline.outbox_is_replicated', syncline.outbox_is_replicated()::text, true
                        );
                    end if;
                    if current_setting('syncline.outbox_is_replicated') = 'true' then
                        return null;
                    end if;
                end if;";

/// The rows of a statement as JSON, before and after it.
const INSERTED: &str =
    "select 1 as place, null::jsonb as old_row, to_jsonb(\"syncline new\") as new_row
                        from new_rows as \"syncline new\"";

const DELETED: &str =
    "select 1 as place, to_jsonb(\"syncline old\") as old_row, null::jsonb as new_row
                        from old_rows as \"syncline old\"";

const UPDATED: &str = "select o.place, o.old_row, n.new_row
                        from (
                            select row_number() over () as place, to_jsonb(\"syncline old\") as old_row
                            from old_rows as \"syncline old\"
                        ) as o
                        join (
                            select row_number() over () as place, to_jsonb(\"syncline new\") as new_row
                            from new_rows as \"syncline new\"
                        ) as n on n.place = o.place";
