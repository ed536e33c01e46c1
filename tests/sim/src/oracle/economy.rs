//! Work without a cause: it repairs itself, and so no difference between the sides shows it.

use sqlx::PgConnection;

use super::{Found, json_rows, word};

/// Events that were absorbed more than once.
const ABSORBED_AGAIN: &str = "select object, salesforce_id, cursor, count(*) as times,
        string_agg(concat_ws(' ', operation, status, stream, org_epoch, to_char(journaled_at, 'HH24:MI:SS')), ', ') as lines
    from syncline.sync_journal
    where source = 'salesforce' and cursor like 'salesforce-replay-id:%' and status = 'taken'
    group by object, salesforce_id, operation, cursor, payload, observed_at
    having count(*) > 1";

/// Changes of rows that were captured, and those that users made.
const CAPTURED: &str = "select captured.last_value as captured, users.last_value as users
    from sim.captured as captured, sim.user_writes as users
    where captured.is_called and captured.last_value > case when users.is_called then users.last_value else 0 end";

pub(super) async fn findings(postgres: &mut PgConnection) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    for row in json_rows(postgres, ABSORBED_AGAIN).await? {
        let what = format!(
            "an event of {} {} was absorbed {} times: {} ({})",
            word(&row, "object"),
            word(&row, "salesforce_id"),
            word(&row, "times"),
            word(&row, "cursor"),
            word(&row, "lines")
        );
        found.push(("I5", None, what));
    }
    for row in json_rows(postgres, CAPTURED).await? {
        let what = format!(
            "{} changes of rows were captured, and users made {}",
            word(&row, "captured"),
            word(&row, "users")
        );
        found.push(("I5", None, what));
    }
    Ok(found)
}
