//! getUpdated and getDeleted: the records that changed or were deleted in a time window.

use serde_json::json;

use super::Call;
use super::message::Response;
use crate::Org;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::permission::Action;
use crate::model::schema::ObjectNo;
use crate::model::stamp;
use crate::model::value::Value;
use crate::model::view::View;
use crate::unconfirmed::REPLICATION_DATE_TEXTS;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// Maximum age of the window's start.
const UPDATED_DAYS_MAX: i64 = 30;
const DELETED_DAYS_MAX: i64 = 15;

/// Maximum number of ids in an answer.
const IDS_MAX: usize = 600_000;

/// A time window in whole minutes, without its end.
struct Window {
    start_ms: i64,
    end_ms: i64,
    /// The time up to which the answer is complete.
    covered_ms: i64,
}

impl Org {
    /// Handles `/sobjects/O/updated`.
    pub(super) fn updated(&self, call: &Call<'_>, object: &str) -> Result<Response, SfError> {
        let object = self.view(call).object_named(object)?;
        let window = self.window(call, UPDATED_DAYS_MAX)?;
        let ids = changed_within(self.view(call), object, &window);
        if ids.len() > IDS_MAX {
            let message = format!("The window holds more than {IDS_MAX} ids");
            return Err(SfError::new("EXCEEDED_ID_LIMIT", message));
        }
        let body = json!({"ids": ids, "latestDateCovered": datetime(window.covered_ms)});
        Ok(Response::json(200, body.to_string()))
    }

    /// Handles `/sobjects/O/deleted`.
    pub(super) fn deleted(&self, call: &Call<'_>, object: &str) -> Result<Response, SfError> {
        let view = self.view(call);
        let object = view.object_named(object)?;
        let window = self.window(call, DELETED_DAYS_MAX)?;
        let log = &self.model.deletions;
        let prefix = self.model.object(object).key_prefix;
        // What left the recycle bin is shared with no one.
        let seen = |id: RecordId| {
            view.allows(object, Action::ViewAll) || view.row_of(object, id).is_some()
        };
        let records: Vec<_> = log
            .between(window.start_ms, window.end_ms)
            .iter()
            .filter(|deletion| deletion.id.prefix() == prefix && seen(deletion.id))
            .map(|deletion| {
                json!({"deletedDate": datetime(deletion.at_ms), "id": deletion.id.to_string()})
            })
            .collect();
        let body = json!({
            "deletedRecords": records,
            "earliestDateAvailable": datetime(log.complete_since_ms()),
            "latestDateCovered": datetime(window.covered_ms),
        });
        Ok(Response::json(200, body.to_string()))
    }

    /// Reads the window of a call, and refuses one that is empty or starts too early.
    fn window(&self, call: &Call<'_>, days_max: i64) -> Result<Window, SfError> {
        let [malformed, reversed, early] = REPLICATION_DATE_TEXTS;
        let refused = |message: &str| SfError::new("INVALID_REPLICATION_DATE", message);
        let minute = |name: &str| {
            let text = call
                .request
                .param(name)
                .ok_or_else(|| SfError::new("MISSING_ARGUMENT", format!("{name} is required")))?;
            // An unencoded plus was decoded as a space.
            let ms = stamp::parse_datetime(&text.trim().replace(' ', "+"));
            let ms = ms.ok_or_else(|| refused(&malformed.replace("{name}", name)))?;
            Ok(ms.div_euclid(MINUTE_MS) * MINUTE_MS)
        };
        let (start_ms, end_ms) = (minute("start")?, minute("end")?);
        if end_ms <= start_ms {
            return Err(refused(reversed));
        }
        let now_ms = self.now_ms();
        if start_ms < now_ms - days_max * DAY_MS {
            return Err(refused(&early.replace("{days}", &days_max.to_string())));
        }
        // A write in the current minute may still get a stamp of this minute.
        let running_ms = now_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        Ok(Window {
            start_ms,
            end_ms,
            covered_ms: end_ms.min(running_ms.max(start_ms)),
        })
    }
}

/// Returns the ids of the live records that changed in a window.
fn changed_within(view: View<'_>, object: ObjectNo, window: &Window) -> Vec<String> {
    let (table, shape) = (view.table(object), view.object(object));
    let stamp = |row: u32| match table.get(row, shape.system.modstamp) {
        Value::Datetime(ms) => *ms,
        _ => i64::MIN,
    };
    table
        .since(window.start_ms)
        .take_while(|row| stamp(*row) < window.end_ms)
        .filter(|row| !table.is_deleted(shape, *row) && view.sees(object, *row))
        .map(|row| view.id_of(object, row).to_string())
        .collect()
}

fn datetime(ms: i64) -> String {
    let mut out = String::new();
    stamp::push_datetime(&mut out, ms);
    out
}
