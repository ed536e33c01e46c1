//! One function per command, for the selected tenants.

mod explain;
mod inboxes;
mod run;
mod setup;
mod status;
mod switches;

use std::path::Path;

use syncline::host::instance::{Instance, WakeUpTarget};
use syncline::model::ids::TenantId;

use crate::arguments::{Arguments, Command, Common, Deletes};
use crate::outcome::Outcome;

/// The engine's parts and the selected tenants of a command.
struct Context {
    instance: Instance,
    tenants: Vec<TenantId>,
}

/// Executes a command.
pub(crate) async fn execute(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Arguments { common, command } = arguments;
    match command {
        Command::Run => run::run(&common).await,
        Command::Check => setup::check(&context(&common).await?).await,
        Command::Migrate => setup::migrate(&context(&common).await?).await,
        Command::Install {
            new_changes_only,
            new_table,
        } => setup::install(&context(&common).await?, new_changes_only, &new_table).await,
        Command::Uninstall { yes } => setup::uninstall(&context(&common).await?, yes).await,
        Command::Status => status::status(&context(&common).await?).await,
        Command::Pause { reason } => switches::pause(&context(&common).await?, &reason).await,
        Command::Resume => switches::resume(&context(&common).await?).await,
        Command::Deletes(Deletes::Approve { object }) => {
            switches::approve_deletes(&context(&common).await?, &object).await
        }
        Command::Explain { key, object } => {
            explain::explain(&context(&common).await?, &key, object.as_deref()).await
        }
        Command::Conflicts(asked) => inboxes::conflicts(&context(&common).await?, asked).await,
        Command::Deadletters(asked) => inboxes::dead_letters(&context(&common).await?, asked).await,
    }
}

async fn context(common: &Common) -> anyhow::Result<Context> {
    wired(common, WakeUpTarget::Silent).await
}

async fn wired(common: &Common, sent_wake_up: WakeUpTarget) -> anyhow::Result<Context> {
    let only = common.tenant.as_deref().map(TenantId::parse).transpose()?;
    let instance = Instance::new(&common.config, Path::new(""), sent_wake_up);
    let tenants = instance.tenants(only.as_ref()).await?;
    Ok(Context { instance, tenants })
}
