//! What Salesforce does wrong, as the local org is told to do it.

use salesforce_org::{Org, Request, local};
use serde_json::{Value as Json, json};

use crate::script::{OrgFault, Side};
use crate::shapes::SHAPES;

/// Calls that are refused once the calls of the day are spent.
const REFUSED_CALLS: u32 = 3;

/// Writes that are not answered in a row: more than a record may take without a pause.
const UNANSWERED_CALLS: u32 = 14;

/// The control endpoint of permissions.
const RIGHTS: &str = "permissions";

/// Events that lose their content.
const GAPS: u32 = 2;

/// Makes the org do this, where the fields that it has lost stay hidden. Fails if it cannot.
pub(crate) fn declare(org: &mut Org, fault: OrgFault, lacks: Option<Side>) -> anyhow::Result<()> {
    let Some((path, mut order)) = order(fault) else {
        return Ok(());
    };
    if path == RIGHTS && lacks == Some(Side::Salesforce) {
        let mut hidden = order["hidden_fields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        hidden.extend(
            SHAPES
                .iter()
                .map(|shape| json!(format!("{}.{}", shape.object, shape.extra.0))),
        );
        order["hidden_fields"] = json!(hidden);
    }
    let request = Request::new("POST", &format!("/_org/{path}")).json(&order);
    let answer = org.request(&request);
    anyhow::ensure!(answer.status < 300, "{fault:?}: {}", answer.to_json());
    Ok(())
}

/// Returns the control endpoint and what it is told. The users' own queries do not fail: they name no stamps.
fn order(fault: OrgFault) -> Option<(&'static str, Json)> {
    let on_write = json!({"path_contains": "sobjects"});
    let on_read = json!({"path_contains": "SystemModstamp"});
    let refused = |status: u16, code: &str| {
        json!({"action": "status", "status": status, "match": on_write,
            "body": [{"errorCode": code, "message": "try again"}]})
    };
    let order = match fault {
        OrgFault::LostWrite => json!({"action": "drop_before", "match": on_write}),
        OrgFault::LostWriteAnswer => json!({"action": "drop_after", "match": on_write}),
        OrgFault::NoAnswers => {
            json!({"action": "drop_after", "count": UNANSWERED_CALLS, "match": on_write})
        }
        OrgFault::LostReadAnswer => json!({"action": "drop_after", "match": on_read}),
        OrgFault::SessionAtWrite => json!({"action": "expire_token", "match": on_write}),
        OrgFault::SessionAtRead => json!({"action": "expire_token", "match": on_read}),
        OrgFault::Unavailable => refused(503, "SERVER_UNAVAILABLE"),
        OrgFault::LockedRow => refused(400, "UNABLE_TO_LOCK_ROW"),
        OrgFault::QuotaSpent => {
            json!({"action": "request_limit", "count": REFUSED_CALLS, "match": on_write})
        }
        OrgFault::DoubleEvents => json!({"action": "duplicate_events"}),
        OrgFault::ReorderedEvents => json!({"action": "reorder_events"}),
        OrgFault::ResetStream => json!({"action": "stream_reset"}),
        OrgFault::ExpiredPosition => json!({"action": "expire_replay"}),
        OrgFault::MissingEvents => json!({"action": "missing_events"}),
        OrgFault::Gap => {
            let object = SHAPES[0].object;
            return Some(("events/gap", json!({"object": object, "next": GAPS})));
        }
        OrgFault::HiddenField => {
            let hidden = format!("{}.{}", SHAPES[0].object, SHAPES[0].fields[1].0);
            return Some(rights(json!({"hidden_fields": [hidden]})));
        }
        OrgFault::LostRight => return Some(rights(json!({"cannot_edit": [SHAPES[1].object]}))),
        OrgFault::RightsBack => return Some(rights(json!({}))),
        // They are no faults of the org.
        OrgFault::Down | OrgFault::OtherOrg | OrgFault::OurOrg => return None,
    };
    Some(("faults", order))
}

/// Returns the order that leaves our user with these restrictions.
fn rights(mut restrictions: Json) -> (&'static str, Json) {
    restrictions["user"] = json!(local::INTEGRATION_USER);
    (RIGHTS, restrictions)
}
