//! The functions that capture the changes of one mapped table, as SQL text.
//!
//! They run in users' transactions, so they name the table's columns in static SQL: turning rows into JSON costs several
//! times the user's own statement. Statement triggers read what a statement changed from its transition tables. A row
//! trigger does the same for logical replication, which fires no statement triggers, and for foreign partitions.
//!
//! Rows before and after an update are paired by their place: Postgres adds both to the transition tables at once, also
//! when the update moves the row to another partition. A primary key pairs wrongly as soon as the update changes it. A
//! `when` or `update of` that names a column would keep the customer from changing its type.
//!
//! Whether the columns still have the types for which this was written is asked by a statement of its own, before another
//! one names a cast or an operator: planning those may already run what is behind them, with the rights of our owner.

use crate::ports::MappedObject;
use crate::store::mapped_table::capture_columns::CapturedColumns;
use crate::store::mapped_table::shape::TableShape;
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
    columns: CapturedColumns<'a>,
    /// It has partitions: an update may move a row from one to another.
    partitioned: bool,
}

impl<'a> CaptureFunctions<'a> {
    pub(crate) fn new(mapped: &'a MappedObject, shape: &'a TableShape, partitioned: bool) -> Self {
        Self {
            mapped,
            columns: CapturedColumns { mapped, shape },
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
        // Each setting costs a few microseconds.
        let settings = if self.columns.names_vary() {
            NAME_SETTINGS
        } else {
            ""
        };
        format!(
            "create or replace function syncline.{name}() returns trigger
                language plpgsql
                security definer
                set search_path = pg_catalog, pg_temp
                {settings}
                as {body};",
            name = quote::identifier(name),
            body = quote::literal(&body),
        )
    }

    /// Inserts are known by their keys alone: the row itself is read later.
    fn inserts(&self) -> String {
        let first = format!(
            "select not exists (select from new_rows offset 1), {fits}
            into is_one, fits
            from new_rows as n
            limit 1;",
            fits = self.columns.fits("n"),
        );
        let one = format!(
            "select key.external_id, case when key.external_id is null then {local_key} end, {all}
            into the_id, the_key, the_columns
            from new_rows as n
            cross join lateral (select {id} as external_id) as key;",
            id = self.columns.external_id("n"),
            local_key = self.columns.local_key("n"),
            all = self.columns.all_columns(),
        );
        let many = format!(
            "select {place}, 'insert', f.external_id, null::text, case when f.external_id is null then {local_key} end,
                {all}, false, captured_at, is_nested
            from (select {id} as external_id, {keys} from new_rows as n offset 0) as f",
            place = self.place(),
            id = self.columns.external_id("n"),
            local_key = self.columns.picked_key("f"),
            keys = self.columns.picked_keys("n"),
            all = self.columns.all_columns(),
        );
        self.statement("insert", &first, &one, &many)
    }

    fn deletes(&self) -> String {
        let first = format!(
            "select not exists (select from old_rows offset 1), {fits}
            into is_one, fits
            from old_rows as o
            limit 1;",
            fits = self.columns.fits("o"),
        );
        let one = format!(
            "select key.external_id, case when key.external_id is null then {local_key} end
            into the_id, the_key
            from old_rows as o
            cross join lateral (select {id} as external_id) as key;",
            id = self.columns.external_id("o"),
            local_key = self.columns.local_key("o"),
        );
        let many = format!(
            "select {place}, 'delete', f.external_id, null::text, case when f.external_id is null then {local_key} end,
                null::text[], true, captured_at, is_nested
            from (select {id} as external_id, {keys} from old_rows as o offset 0) as f",
            place = self.place(),
            id = self.columns.external_id("o"),
            local_key = self.columns.picked_key("f"),
            keys = self.columns.picked_keys("o"),
        );
        self.statement("delete", &first, &one, &many)
    }

    fn updates(&self) -> String {
        // A trigger may refuse a row that an update moves to another partition: it is gone then, and the rest is not in
        // pairs.
        let lost = if self.partitioned {
            "(select count(*) from old_rows) <> (select count(*) from new_rows)"
        } else {
            "false"
        };
        let first = format!(
            "select not exists (select from old_rows offset 1), {lost}, {fits}
            into is_one, is_lost, fits
            from old_rows as o
            limit 1;",
            fits = self.columns.fits("o"),
        );
        let one = format!(
            "select {new_id}, {old_id}, {local_key}, {changed}
            into the_id, the_old_id, the_key, the_columns
            from old_rows as o
            cross join new_rows as n;
            if the_id = the_old_id then
                the_old_id := null;
                the_key := null;
            elsif the_id is not null and the_old_id is not null then
                the_key := null;
            end if;",
            new_id = self.columns.external_id("n"),
            old_id = self.columns.external_id("o"),
            local_key = self.columns.local_key("o"),
            changed = self.columns.changed("o", "n"),
        );
        let id = &self.mapped.configured.external_id.column;
        let many = format!(
            "select {place}, 'update', f.new_id, nullif(f.old_id, f.new_id),
                case when f.new_id is null or f.renamed and f.old_id is null then {local_key} end,
                f.columns, false, captured_at, is_nested
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
            new_id = self.columns.external_id("n"),
            old_id = self.columns.external_id("o"),
            renamed = self.columns.differs(id),
            changed = self.columns.changed("o", "n"),
            local_key = self.columns.picked_key("f"),
            keys = self.columns.picked_keys("o"),
            picked_old = self.columns.picked("o", true),
            picked_new = self.columns.picked("n", false),
        );
        self.statement("update", &first, &one, &many)
    }

    /// Returns the body of a function for statements. `first` reads whether there is one row, `one` reads it, and `many`
    /// selects all rows for the outbox.
    fn statement(&self, operation: &str, first: &str, one: &str, many: &str) -> String {
        let partition = if self.partitioned { PARTITION } else { "" };
        let read = self.read_first(first, one);
        let write_one = self.write_one(operation);
        let write = self.write_all(operation, many);
        format!(
            "declare
                {VARIABLES}
                is_one boolean;
                is_lost boolean := false;
                the_jit constant text := current_setting('jit');
                the_nested_loops constant text := current_setting('enable_nestloop');
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

    /// Reads whether there is one row, and that one. It must not write: else each statement of one row would use a
    /// transaction id of its own.
    fn read_first(&self, first: &str, one: &str) -> String {
        format!(
            "begin
                {first}
                if is_one and fits and not is_lost then
                    {one}
                end if;
            exception
                -- The table lacks a column.
                when others then
                    is_one := false;
                    fits := false;
            end;
            -- A control plane that was dropped by hand must not block users; the sweep reports it.
            if is_one is null or to_regclass('syncline.sync_outbox') is null then
                return null;
            end if;
            if is_lost then
                {lost}
                return null;
            end if;",
            lost = self.failed("tg_op", "'a row moved to no partition'"),
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
            "if is_one and fits then
                {unchanged}
                insert into syncline.sync_outbox ({COLUMNS})
                values (
                    {place}, '{operation}', the_id, the_old_id, the_key, the_columns, {tombstone}, captured_at, is_nested
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
        format!(
            "if fits then
                begin
                    {SET}
                    insert into syncline.sync_outbox ({COLUMNS})
                    {many};
                    {RESET}
                    return null;
                exception
                    -- A column is of another type than it was.
                    when others then
                        null;
                end;
            end if;
            begin
                {SET}
                execute $execute$
                    insert into syncline.sync_outbox ({COLUMNS})
                    select $1, $2, '{operation}', change.*, {tombstone}, $3, $4
                    from ($execute$ || {query} || $execute$) as change
                $execute$
                using tg_argv[0], tg_argv[1], captured_at, is_nested;
                {RESET}
            exception
                when others then
                    {failed}
            end;",
            tombstone = operation == "delete",
            query = capture_query(&quote::literal(operation), false),
            failed = self.failed("tg_op", "sqlstate"),
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
                    fits := case when tg_op = 'DELETE' then {old_fits} else {new_fits} end;
                    if fits then
                        {values}
                    end if;
                exception
                    -- The table lacks a column, or one is of another type than it was.
                    when others then
                        fits := false;
                end;
                if not fits then
                    begin
                        {values_of_query}
                    exception
                        when others then
                            error := sqlstate;
                    end;
                end if;
                if to_regclass('syncline.sync_outbox') is null then
                    return null;
                end if;
                if error is not null then
                    {failed}
                    return null;
                end if;
                insert into syncline.sync_outbox ({COLUMNS})
                values (
                    {place}, lower(tg_op), the_id, the_old_id, the_key, the_columns, tg_op = 'DELETE', captured_at, is_nested
                );
                return null;
            end",
            old_fits = self.columns.fits("old"),
            new_fits = self.columns.fits("new"),
            values = self.row_values(),
            values_of_query = row_values_of_query(),
            place = self.place(),
            failed = self.failed("tg_op", "error"),
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
            new_id = self.columns.external_id("new"),
            old_id = self.columns.external_id("old"),
            new_key = self.columns.local_key("new"),
            old_key = self.columns.local_key("old"),
            all = self.columns.all_columns(),
            changed = self.columns.changed("old", "new"),
        )
    }

    /// Returns the statement that stores that a change could not be captured: the object is then read again.
    fn failed(&self, operation: &str, error: &str) -> String {
        format!(
            "insert into syncline.sync_outbox (tenant, object, operation, changed, tombstone, changed_at)
            values (
                {place}, 'uncaptured', jsonb_build_object('operation', {operation}, 'error', {error}), false,
                captured_at
            );",
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
}

/// Settings of a statement for many rows, and what they were before.
const SET: &str =
    "perform set_config('jit', 'off', true), set_config('enable_nestloop', 'off', true);";
const RESET: &str = "perform set_config('jit', the_jit, true), set_config('enable_nestloop', the_nested_loops, true);";

/// The settings with which the engine reads rows, too.
const NAME_SETTINGS: &str = "set timezone = 'UTC'
                set datestyle = 'ISO'
                set intervalstyle = 'postgres'
                set bytea_output = 'hex'
                set extra_float_digits = 1";

/// A row's place among the rows of a statement.
const PLACE: &str = "\"syncline place\"";

/// The columns of the outbox that a function fills.
const COLUMNS: &str = "tenant, object, operation, external_id, old_external_id, local_key, changed_columns, tombstone, \
     changed_at, nested";

const VARIABLES: &str = "-- Not clock(): the user's transaction may have begun long ago.
                captured_at constant timestamptz := syncline.wall_clock();
                -- A trigger changed the rows: its statement ends before the one that fired it.
                is_nested constant boolean := nullif(pg_trigger_depth() > 1, false);
                the_id text;
                the_old_id text;
                the_key jsonb;
                the_columns text[];
                -- The mapped columns are of Postgres's own types, as they were.
                fits boolean;";

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

/// Returns the SQL of the query for a table whose columns are not as they were.
fn capture_query(operation: &str, of_row: bool) -> String {
    format!(
        "syncline.capture_query({operation}, tg_relid, {of_row}, tg_argv[2], tg_argv[3]::text[], tg_argv[4]::text[])"
    )
}

/// Reads one row by that query.
fn row_values_of_query() -> String {
    let read = |operation: &str, rows: &str| {
        format!(
            "execute {query}
            into the_id, the_old_id, the_key, the_columns
            using {rows};",
            query = capture_query(&quote::literal(operation), true),
        )
    };
    // One statement each: the type of a row that an operation does not have is not that of the table.
    format!(
        "if tg_op = 'INSERT' then
            {insert}
        elsif tg_op = 'DELETE' then
            {delete}
        else
            {update}
            if the_columns is null then
                return null;
            end if;
        end if;",
        insert = read("insert", "null::text, new"),
        delete = read("delete", "old"),
        update = read("update", "old, new"),
    )
}
