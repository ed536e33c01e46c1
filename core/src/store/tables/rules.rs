//! The rules of decisions, each stored once.

use std::sync::Arc;

use crate::ports::StoreError;
use crate::ports::apply_store::PlanRules;
use crate::store::transaction::Tx;

/// Stores the rules of decisions, each once.
pub(crate) async fn keep_rules(
    tx: &mut Tx,
    rules: impl Iterator<Item = &Arc<PlanRules>>,
) -> Result<(), StoreError> {
    let (hashes, rules): (Vec<&str>, Vec<serde_json::Value>) = rules
        .map(|rules| (rules.hash.as_str(), rules.to_json()))
        .unzip();
    if hashes.is_empty() {
        return Ok(());
    }
    tx.run(
        "keeping the rules of decisions",
        sqlx::query(
            "insert into syncline.sync_rules (rules_hash, rules)
            select rules_hash, rules
            from unnest($1::text[], $2::jsonb[]) as used (rules_hash, rules)
            -- Once a day is enough to know that they are in use. Rules that are known for today are not
            -- even proposed: a conflict would lock their row, and all workers would wait for one another.
            where not exists (
                select
                from syncline.sync_rules as known
                where known.rules_hash = used.rules_hash
                and known.last_used_on = syncline.clock()::date
            )
            order by rules_hash
            -- Another worker has just kept the same rules: only the day of use is renewed.
            on conflict (rules_hash) do update
            set last_used_on = syncline.clock()::date",
        )
        .bind(hashes)
        .bind(rules),
    )
    .await?;
    Ok(())
}
