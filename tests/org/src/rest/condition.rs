//! Conditional requests: `If-Modified-Since`, `If-Unmodified-Since` and entity tags.

use super::Call;
use super::message::Response;
use crate::model::Model;
use crate::model::error::SfError;
use crate::model::schema::ObjectNo;
use crate::model::stamp;
use crate::model::table::RowNo;
use crate::unconfirmed::PRECONDITION_FAILED_CODE;

/// The only object whose records have entity tags (REST guide, "Conditional Requests").
const TAGGED_OBJECT: &str = "Account";

/// The version of a resource that conditions are checked against.
pub(super) struct State {
    modified_ms: i64,
    etag: Option<String>,
}

/// How to answer a conditional request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Modified,
    /// The caller already has this version.
    NotModified,
}

impl State {
    /// Returns the version of something without an entity tag.
    pub(super) fn dated(modified_ms: i64) -> Self {
        Self {
            modified_ms,
            etag: None,
        }
    }

    /// Returns the version of a record.
    pub(super) fn of(model: &Model, object: ObjectNo, row: RowNo) -> Self {
        let shape = model.object(object);
        let table = model.table(object);
        let modified = table.get(row, shape.system.modified_date).as_datetime();
        let tagged = shape.name == TAGGED_OBJECT;
        Self {
            modified_ms: modified.unwrap_or_default(),
            etag: tagged.then(|| tag(model, object, row)),
        }
    }

    /// Adds the headers that the caller needs for its next conditional request.
    pub(super) fn with_validators(&self, response: Response) -> Response {
        let response = response.with_header("last-modified", &stamp::http_date(self.modified_ms));
        match &self.etag {
            Some(etag) => response.with_header("etag", etag),
            None => response,
        }
    }

    /// Checks the conditions of a request.
    pub(super) fn check(&self, call: &Call<'_>) -> Result<Condition, SfError> {
        let reading = matches!(call.method.as_str(), "GET" | "HEAD");
        let date = |name: &str| -> Result<Option<i64>, SfError> {
            let Some(text) = call.request.get(name) else {
                return Ok(None);
            };
            match stamp::parse_http_date(text) {
                None if !reading => {
                    let message = format!("The date of the header {name} is malformed: {text}");
                    Err(SfError::new("INVALID_ARGUMENT", message).with_status(400))
                }
                date => Ok(date),
            }
        };
        let names = |name: &str| {
            let etag = self.etag.as_deref()?;
            let listed = call.request.get(name)?;
            Some(listed.split(',').any(|one| {
                let one = one.trim();
                one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag
            }))
        };
        let changed = date("if-unmodified-since")?.is_some_and(|date| self.modified_ms > date);
        if changed || names("if-match") == Some(false) {
            return Err(failed("The record was modified meanwhile"));
        }
        match names("if-none-match") {
            Some(true) if reading => return Ok(Condition::NotModified),
            Some(true) => return Err(failed("The record is the one that must not be there")),
            Some(false) | None => {}
        }
        let since = date("if-modified-since")?.filter(|_| reading);
        Ok(if since.is_some_and(|date| self.modified_ms <= date) {
            Condition::NotModified
        } else {
            Condition::Modified
        })
    }
}

fn failed(message: &str) -> SfError {
    SfError::new(PRECONDITION_FAILED_CODE, message).with_status(412)
}

/// Returns an entity tag that changes when any value of the record changes.
fn tag(model: &Model, object: ObjectNo, row: RowNo) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut text = String::new();
    for (no, _) in model.object(object).numbered() {
        model.table(object).get(row, no).push_json(&mut text);
        text.push(',');
    }
    let mixed = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    format!("\"{:016x}--gzip\"", text.bytes().fold(OFFSET, mixed))
}
