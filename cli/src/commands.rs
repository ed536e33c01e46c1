//! One function per command, for the selected tenants.

mod adopt;
mod compare;
mod discarded;
mod explain;
mod generate;
mod inboxes;
mod plan;
mod run;
mod setup;
mod status;
mod switches;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::bail;
use syncline::config::similar;
use syncline::host::instance::{Instance, WakeUpTarget};
use syncline::model::ids::{ObjectName, TenantId};
use syncline::store::{InstallOptions, PgStore};

use crate::arguments::{Arguments, Command, Common, Deletes};
use crate::failure;
use crate::outcome::{Outcome, TenantFailure};

/// The engine's parts and the selected tenants of a command.
struct Context {
    instance: Instance,
    tenants: Vec<TenantId>,
}

impl Context {
    /// Returns the selected tenant, which must be one: ids are unique only within a database.
    async fn only_tenant(&self) -> anyhow::Result<(&TenantId, PgStore)> {
        let [tenant] = self.tenants.as_slice() else {
            bail!("the configuration has several tenants: name one with --tenant");
        };
        Ok((tenant, self.instance.store(tenant).await?))
    }

    /// Asks each selected tenant. One that fails does not stop the others: its failure is returned beside their
    /// answers. If only one is selected, its error is the command's.
    async fn each<T>(
        &self,
        ask: impl AsyncFn(&TenantId) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Vec<(TenantId, T)>, Vec<TenantFailure>)> {
        let (mut answers, mut failures) = (Vec::new(), Vec::new());
        for tenant in &self.tenants {
            match Box::pin(ask(tenant)).await {
                Ok(answer) => answers.push((tenant.clone(), answer)),
                Err(error) if self.tenants.len() == 1 => return Err(error),
                Err(error) => failures.push(failure::of_tenant(tenant, &error)),
            }
        }
        Ok((answers, failures))
    }

    /// Returns the object with this name. Fails, naming a similar one, if no selected tenant maps it.
    async fn object(&self, name: &str) -> anyhow::Result<ObjectName> {
        let mut known: BTreeSet<ObjectName> = BTreeSet::new();
        for tenant in &self.tenants {
            let config = self.instance.tenant(tenant).await?;
            known.extend(config.objects.iter().map(|sync| sync.object.clone()));
        }
        if let Some(object) = known.iter().find(|known| known.as_str() == name) {
            return Ok(object.clone());
        }
        match similar(name, known.iter().map(ObjectName::as_str)) {
            Some(similar) => bail!("no object {name} is mapped; did you mean {similar}?"),
            None => {
                let known: Vec<&str> = known.iter().map(ObjectName::as_str).collect();
                bail!(
                    "no object {name} is mapped; these are: {}",
                    known.join(", ")
                )
            }
        }
    }

    /// Returns the object that an option names, if it is given.
    async fn object_option(&self, name: Option<&str>) -> anyhow::Result<Option<ObjectName>> {
        match name {
            Some(name) => self.object(name).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Executes a command.
pub(crate) async fn execute(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Arguments { common, command } = arguments;
    match command {
        Command::Run => run::run(&common).await,
        Command::Check => setup::check(&context(&common).await?).await,
        Command::Generate(asked) => {
            generate::generate(&context(&common).await?, &common, asked).await
        }
        Command::Plan(asked) => plan::plan(&context(&common).await?, asked).await,
        Command::Migrate => setup::migrate(&context(&common).await?).await,
        Command::Install {
            new_changes_only,
            new_table,
            no_match,
            remove_unmapped,
        } => {
            let context = context(&common).await?;
            let mut new_tables = Vec::with_capacity(new_table.len());
            for name in &new_table {
                new_tables.push(context.object(name).await?);
            }
            let options = InstallOptions {
                new_tables,
                remove_unmapped,
            };
            setup::install(&context, new_changes_only, no_match, &options).await
        }
        Command::Uninstall { yes } => setup::uninstall(&context(&common).await?, yes).await,
        Command::Compare { object } => {
            compare::compare(&context(&common).await?, object.as_deref()).await
        }
        Command::Status { stale_minutes } => {
            status::status(&context(&common).await?, stale_minutes).await
        }
        Command::Pause { reason } => switches::pause(&context(&common).await?, &reason).await,
        Command::Resume => switches::resume(&context(&common).await?).await,
        Command::Adopt { copy, yes } => {
            adopt::adopt(&context(&common).await?, adopt::Asked { copy, yes }).await
        }
        Command::Deletes(Deletes::Approve { object, unreadable }) => {
            switches::approve_deletes(&context(&common).await?, &object, unreadable).await
        }
        Command::Discarded(listing) => discarded::list(&context(&common).await?, &listing).await,
        Command::Restore { ids } => discarded::restore(&context(&common).await?, &ids).await,
        Command::Explain { key, object } => {
            explain::explain(&context(&common).await?, &key, object.as_deref()).await
        }
        Command::Conflicts(asked) => inboxes::conflicts(&context(&common).await?, asked).await,
        Command::Deadletters(asked) => inboxes::dead_letters(&context(&common).await?, asked).await,
    }
}

async fn context(common: &Common) -> anyhow::Result<Context> {
    let only = common.tenant.as_deref().map(TenantId::parse).transpose()?;
    let instance = Instance::new(&common.config, Path::new(""), WakeUpTarget::Silent);
    let tenants = instance.tenants(only.as_ref()).await?;
    Ok(Context { instance, tenants })
}
