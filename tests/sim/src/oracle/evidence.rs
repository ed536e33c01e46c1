//! What the control plane knows of a record that breaks an invariant.

use super::json_rows;
use crate::shapes::SHAPES;
use crate::users::Users;

/// Returns what the control plane knows of a record.
pub(super) async fn evidence(users: &mut Users, place: usize, key: &str) -> anyhow::Result<String> {
    let names = users
        .log
        .names
        .iter()
        .filter(|((of, _), known)| *of == place && *known == key);
    let names: Vec<String> = names.map(|((_, name), _)| format!("'{name}'")).collect();
    let ids = users.log.ids.iter().filter(|(_, known)| *known == key);
    let ids: Vec<String> = ids.map(|(id, _)| format!("'{id}'")).collect();
    let links = format!(
        "select record_id from syncline.sync_link
        where object = '{}' and (external_id in ({}) or salesforce_id = any (array[{}]::text[]))",
        SHAPES[place].object,
        names.join(", "),
        ids.join(", ")
    );
    let mut lines = Vec::new();
    for table in [
        "sync_link",
        "sync_task",
        "sync_conflict",
        "sync_discarded_value",
        "sync_intent",
        "sync_journal",
        "sync_dead_letter",
    ] {
        let rows = format!("select * from syncline.{table} where record_id in ({links})");
        let rows = json_rows(&mut users.postgres, &rows).await?;
        lines.extend(rows.iter().map(|row| format!("{table}: {row}")));
    }
    Ok(lines.join("\n"))
}
