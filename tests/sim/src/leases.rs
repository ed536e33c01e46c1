//! What holds between any two steps: work that one process has leased is ended by no other.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sqlx::PgConnection;

use crate::oracle::Finding;

/// The fencing token of each record that another process than this one has leased, until the lease expires.
const OF_OTHERS: &str = "select record_id::text, fencing_token from syncline.sync_task
    where state = 'leased' and lease_until > syncline.clock() and split_part(lease_owner, '/', 1) <> $1";

/// Leases of records by fencing token.
pub(crate) struct Leases(BTreeMap<String, i64>);

impl Leases {
    /// Reads the leases of all processes but this one.
    pub(crate) async fn of_others(
        postgres: &mut PgConnection,
        worker: &str,
    ) -> anyhow::Result<Self> {
        let leases: Vec<(String, i64)> = sqlx::query_as(OF_OTHERS)
            .bind(worker)
            .fetch_all(postgres)
            .await
            .context("the leases can be read")?;
        Ok(Self(leases.into_iter().collect()))
    }

    /// Returns those that this process has ended although they are not its own.
    pub(crate) async fn ended_by(
        &self,
        postgres: &mut PgConnection,
        worker: &str,
    ) -> anyhow::Result<Vec<Finding>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let left = Self::of_others(postgres, worker).await?;
        let ended = self
            .0
            .iter()
            .filter(|(record, token)| left.0.get(*record) != Some(*token));
        Ok(ended
            .map(|(record, token)| {
                let what = format!("{worker} ended the lease {token} of another process: {record}");
                Finding::of("I10", what)
            })
            .collect())
    }
}
