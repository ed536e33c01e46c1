//! Installs and removes capture triggers, and removes the control plane.

use std::collections::BTreeSet;

use crate::model::ids::{ObjectName, TenantId};
use crate::ports::{MappedObject, StoreError};
use crate::store::PgStore;
use crate::store::mapped_table::shape::read_shape;
use crate::store::mapped_table::triggers::{
    Expected, FIND_STRAYS, capture_problems, install_script, relations, run_all, unused_functions,
};
use crate::store::operations::table_identity::adopt_table;
use crate::store::tables::capture::{CaptureProblem, captured, remember};
use crate::store::transaction::{Tx, recordset};

/// What an operator confirms when capture is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallOptions {
    /// Objects whose table was emptied or recreated: they start from Salesforce, nothing is deleted.
    pub new_tables: Vec<ObjectName>,
    /// Objects that are captured but not mapped any more are no longer captured.
    pub remove_unmapped: bool,
}

impl PgStore {
    /// Creates the capture triggers of the mapped tables, and removes this tenant's triggers from tables that
    /// are not mapped any more. May be repeated.
    ///
    /// An object that is mapped to another table than before is a new mapping: what both sides agreed on is
    /// forgotten, and no row that the table lacks counts as deleted.
    ///
    /// Creating a trigger waits for writers of that table, two seconds at most. Fails with
    /// [`StoreError::Mapping`], and changes nothing then, if a table or column does not exist, if another tenant
    /// captures the table, or if the table was recreated and lacks many rows.
    pub async fn install(&self, mapped_objects: &[MappedObject]) -> Result<(), StoreError> {
        let options = InstallOptions {
            remove_unmapped: true,
            ..InstallOptions::default()
        };
        self.install_with(mapped_objects, &options).await
    }

    /// Does what [`PgStore::install`] does, as far as the operator has confirmed it. Fails, and changes nothing,
    /// if an object is captured but not mapped and its removal is not confirmed.
    pub async fn install_with(
        &self,
        mapped_objects: &[MappedObject],
        options: &InstallOptions,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if !options.remove_unmapped {
            refuse_unmapped(&mut tx, mapped_objects).await?;
        }
        let problems = capture_problems(&mut tx, mapped_objects).await?;
        for mapped in mapped_objects {
            let shape = read_shape(&mut tx, mapped).await?;
            let new_table = options.new_tables.contains(&mapped.sync.object);
            adopt_table(&mut tx, mapped, &shape, new_table).await?;
            let members = relations(&mut tx, shape.oid).await?;
            let script = install_script(mapped, &shape, &members);
            tx.script("installing capture triggers", sqlx::AssertSqlSafe(script))
                .await?;
            let partitions: Vec<i64> = members
                .iter()
                .filter(|member| member.leaf)
                .map(|member| member.oid)
                .collect();
            let was_broken = problems.iter().any(|problem| {
                problem.tenant == mapped.tenant && problem.object == mapped.sync.object
            });
            remember(
                &mut tx,
                mapped,
                shape.oid,
                &partitions,
                !was_broken && !new_table,
            )
            .await?;
        }
        drop_strays(&mut tx, mapped_objects).await?;
        tx.commit().await
    }

    /// Removes the capture triggers of these objects. The control plane stays.
    pub async fn remove_capture(&self, mapped_objects: &[MappedObject]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let expected: Vec<Expected> = mapped_objects.iter().map(Expected::of).collect();
        let drops: Vec<String> = tx
            .values(
                "finding capture triggers",
                sqlx::query_scalar(
                    "select format('drop trigger if exists %I on %s', trigger.tgname, trigger.tgrelid::regclass)
                    from pg_trigger as trigger
                    join jsonb_to_recordset($1) as expected (triggers text[])
                        on trigger.tgname = any(expected.triggers)
                    join pg_proc as function on function.oid = trigger.tgfoid
                    where function.pronamespace = 'syncline'::regnamespace
                    and trigger.tgparentid = 0",
                )
                .bind(recordset(&expected)),
            )
            .await?;
        run_all(&mut tx, "removing capture triggers", drops).await?;
        drop_unused_functions(&mut tx).await?;
        tx.run(
            "forgetting capture triggers",
            sqlx::query(
                "delete from syncline.sync_capture as capture
                using jsonb_to_recordset($1) as expected (tenant text, object text)
                where capture.tenant = expected.tenant
                and capture.object = expected.object",
            )
            .bind(recordset(&expected)),
        )
        .await?;
        tx.commit().await
    }

    /// Removes the schema `syncline` from the database, and with it every trigger that calls its functions.
    /// Mapped tables and their rows stay as they are.
    pub async fn uninstall(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.script(
            "removing the control plane",
            "drop schema if exists syncline cascade",
        )
        .await?;
        tx.commit().await
    }

    /// Returns how capture differs from what was installed: triggers, their mode and arguments, the table's
    /// identity, its set of partitions.
    pub async fn check_install(
        &self,
        mapped_objects: &[MappedObject],
    ) -> Result<Vec<CaptureProblem>, StoreError> {
        let mut tx = self.begin().await?;
        let problems = capture_problems(&mut tx, mapped_objects).await?;
        tx.rollback().await?;
        Ok(problems)
    }
}

/// Fails if an object of these tenants is captured but not mapped.
async fn refuse_unmapped(tx: &mut Tx, mapped_objects: &[MappedObject]) -> Result<(), StoreError> {
    let tenants: BTreeSet<&TenantId> = mapped_objects.iter().map(|mapped| &mapped.tenant).collect();
    for tenant in tenants {
        let unmapped: Vec<String> = captured(tx, tenant)
            .await?
            .into_keys()
            .filter(|object| {
                let mut mapped = mapped_objects
                    .iter()
                    .filter(|mapped| mapped.tenant == *tenant);
                !mapped.any(|mapped| mapped.sync.object == *object)
            })
            .map(|object| object.to_string())
            .collect();
        if !unmapped.is_empty() {
            return Err(StoreError::Mapping(format!(
                "{} of tenant {tenant} is captured, but the configuration does not map it. Map it again; or stop \
                 capturing its changes with `syncline install --remove-unmapped`",
                unmapped.join(", ")
            )));
        }
    }
    Ok(())
}

/// Drops the functions that captured tables which are not captured any more.
pub(crate) async fn drop_unused_functions(tx: &mut Tx) -> Result<(), StoreError> {
    let unused = unused_functions(tx).await?;
    run_all(tx, "dropping capture functions that are not used", unused).await
}

/// Drops triggers of these tenants on tables that are not mapped any more.
async fn drop_strays(tx: &mut Tx, mapped_objects: &[MappedObject]) -> Result<(), StoreError> {
    let expected: Vec<Expected> = mapped_objects.iter().map(Expected::of).collect();
    let drops: Vec<String> = tx
        .values(
            "finding stray capture triggers",
            sqlx::query_scalar(FIND_STRAYS).bind(recordset(&expected)),
        )
        .await?;
    run_all(tx, "dropping stray capture triggers", drops).await?;
    drop_unused_functions(tx).await?;
    let tenants: Vec<&str> = mapped_objects
        .iter()
        .map(|mapped| mapped.tenant.as_str())
        .collect();
    let objects: Vec<String> = mapped_objects
        .iter()
        .map(|mapped| format!("{} {}", mapped.tenant, mapped.sync.object))
        .collect();
    tx.run(
        "forgetting stray capture triggers",
        sqlx::query(
            "delete from syncline.sync_capture
            where tenant = any($1)
            and tenant || ' ' || object <> all($2)",
        )
        .bind(tenants)
        .bind(objects),
    )
    .await?;
    Ok(())
}
