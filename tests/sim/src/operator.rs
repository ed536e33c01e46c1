//! The operator: decides conflicts, approves deletes, tries again what has stopped.

use secrecy::SecretString;
use syncline::model::Side;
use syncline::model::ids::{ObjectName, TenantId};
use syncline::ports::MappedObject;
use syncline::store::{ConflictFilter, PgStore, PgStoreOptions};

use crate::process::LOCK_MAX;
use crate::script::Operation;
use crate::users::Told;

/// Most conflicts and dead letters that the operator looks at.
const SHOWN: i64 = 1_000;

/// An operator with a connection of their own.
pub(crate) struct Operator {
    store: PgStore,
    tenant: TenantId,
    /// What was installed.
    pub(crate) mapped: Vec<MappedObject>,
}

impl Operator {
    pub(crate) fn new(url: &str, tenant: &TenantId) -> anyhow::Result<Self> {
        let options = PgStoreOptions {
            lock_max: LOCK_MAX,
            ..PgStoreOptions::new(SecretString::from(url.to_owned()))
        };
        Ok(Self {
            store: PgStore::open(&options)?,
            tenant: tenant.clone(),
            mapped: Vec::new(),
        })
    }

    /// Does what a step says. What the engine has locked is not waited for: it stands still meanwhile.
    pub(crate) async fn act(&self, operation: Operation, pick: u64) -> anyhow::Result<Told> {
        match operation {
            Operation::Resolve => self.resolve(pick).await,
            Operation::Approve => self.approve().await,
            Operation::Replay => self.replay().await,
            Operation::Install => {
                let done = self.store.install(&self.mapped).await.is_ok();
                Ok((format!("operator: installs: {done}"), done))
            }
        }
    }

    async fn resolve(&self, pick: u64) -> anyhow::Result<Told> {
        let nothing = || ("operator: there is no conflict to decide".to_owned(), false);
        let filter = ConflictFilter::default();
        let conflicts = self.store.conflicts(&self.tenant, &filter, SHOWN).await?;
        let count = u64::try_from(conflicts.len())?;
        if count == 0 {
            return Ok(nothing());
        }
        let conflict = &conflicts[usize::try_from(pick % count)?];
        let winner = [Side::Postgres, Side::Salesforce][usize::try_from(pick / count % 2)?];
        let mapped = self
            .mapped
            .iter()
            .find(|mapped| mapped.sync.object == conflict.object);
        let Some(mapped) = mapped else {
            return Ok(nothing());
        };
        let decided = self
            .store
            .resolve_conflict(mapped, conflict.conflict_id, conflict.version, winner)
            .await;
        let told = format!(
            "operator: {winner:?} wins {:?} of {:?}: {}",
            conflict.field,
            conflict.external_id,
            decided
                .as_ref()
                .map_or_else(ToString::to_string, |ended| format!("{ended:?}"))
        );
        Ok((told, decided.is_ok()))
    }

    async fn approve(&self) -> anyhow::Result<Told> {
        let mut approved = 0;
        for mapped in &self.mapped {
            let object: &ObjectName = &mapped.sync.object;
            // One that is locked is approved another time.
            let done = self.store.approve_deletes(&self.tenant, object).await;
            approved += done.unwrap_or(0);
        }
        Ok((
            format!("operator: approves {approved} deletes"),
            approved > 0,
        ))
    }

    /// Tries again everything that has stopped.
    pub(crate) async fn replay(&self) -> anyhow::Result<Told> {
        let mut replayed = 0;
        let letters = self.store.dead_letters(&self.tenant, None, SHOWN).await?;
        for letter in letters {
            // One that is locked is tried another time.
            let done = self
                .store
                .replay_dead_letter(&self.tenant, letter.dead_letter_id)
                .await;
            replayed += usize::from(done.unwrap_or(false));
        }
        Ok((
            format!("operator: replays {replayed} dead letters"),
            replayed > 0,
        ))
    }
}
