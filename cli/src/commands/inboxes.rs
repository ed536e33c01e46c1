//! Conflicts and dead letters.
use super::Context;
use crate::arguments::{Conflicts, Deadletters};
use crate::outcome::Outcome;
pub(super) async fn conflicts(_c: &Context, _a: Conflicts) -> anyhow::Result<Outcome> {
    anyhow::bail!("")
}
pub(super) async fn dead_letters(_c: &Context, _a: Deadletters) -> anyhow::Result<Outcome> {
    anyhow::bail!("")
}
