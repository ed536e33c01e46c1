//! Status.
use super::Context;
use crate::outcome::Outcome;
pub(super) async fn status(_c: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("")
}
