//! The operator: decides conflicts, approves deletes, tries again what has stopped.

use secrecy::SecretString;
use syncline::model::Side;
use syncline::model::ids::{ObjectName, TenantId};
use syncline::ports::MappedObject;
use syncline::store::{ConflictFilter, PgStore, PgStoreOptions, SyncConflict};

use crate::process::LOCK_MAX;
use crate::script::Operation;
use crate::users::Told;

/// Most conflicts and dead letters that the operator looks at.
const SHOWN: i64 = 1_000;

/// What an error says of a server that takes no writes.
const READ_ONLY: &str = "25006";

/// An operator with a connection of their own.
pub(crate) struct Operator {
    store: PgStore,
    tenant: TenantId,
    /// Another tenant, to whom no table belongs.
    other: TenantId,
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
            other: TenantId::parse("other")?,
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
            Operation::InstallForOther => {
                let others = self.mapped.iter().map(|mapped| MappedObject {
                    tenant: self.other.clone(),
                    ..mapped.clone()
                });
                let others: Vec<MappedObject> = others.collect();
                let done = self.store.install(&others).await;
                let told = format!("operator: installs for another tenant: {}", done.is_ok());
                Ok((told, done.is_err()))
            }
            Operation::ExchangeTable | Operation::Demote | Operation::Promote => {
                Ok((String::new(), false))
            }
        }
    }

    /// Decides every conflict that is open, half of them for each side.
    pub(crate) async fn resolve_all(&self) -> anyhow::Result<Told> {
        let filter = ConflictFilter::default();
        let conflicts = self.store.conflicts(&self.tenant, &filter, SHOWN).await?;
        let mut lines = Vec::new();
        for (place, conflict) in conflicts.iter().enumerate() {
            let winner = [Side::Postgres, Side::Salesforce][place % 2];
            let (mut told, done) = self.decide(conflict, winner).await;
            // A connection from when the server took no writes says so once.
            if !done && told.contains(READ_ONLY) {
                told = self.decide(conflict, winner).await.0;
            }
            lines.push(told);
        }
        Ok((lines.join("\n"), !lines.is_empty()))
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
        Ok(self.decide(conflict, winner).await)
    }

    async fn decide(&self, conflict: &SyncConflict, winner: Side) -> Told {
        let mut mapped = self.mapped.iter();
        let Some(mapped) = mapped.find(|mapped| mapped.sync.object == conflict.object) else {
            return ("operator: the object is not mapped".to_owned(), false);
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
        (told, decided.is_ok())
    }

    pub(crate) async fn approve(&self) -> anyhow::Result<Told> {
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
