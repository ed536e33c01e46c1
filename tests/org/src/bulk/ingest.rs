//! Processes an upload: checks it as a whole, then writes it batch by batch, 200 rows per
//! transaction.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::NO_BATCHES_LEFT;
use super::csv_text::{Quotes, Row, Rows};
use super::header::{Aim, Column, Header};
use super::job::{Head, Ingest, JobError, Operation, Outcome, State, UNESCAPED_QUOTE};
use crate::Org;
use crate::model::Actor;
use crate::model::Model;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::FieldNo;
use crate::model::table::RowNo;
use crate::model::transaction::Transaction;
use crate::model::view::View;
use crate::rest::Call;
use crate::rest::message::Request;
use crate::rest::save::{Edit, Key, Saved};
use crate::unconfirmed::switches::StrayQuoteInBulk;
use crate::unconfirmed::{
    ASYNC_BATCH_TOO_LONG_MESSAGE, BULK_BAD_ROW_CODE, BULK_NO_ROWS_MESSAGE, HARD_DELETE_SENDS_EVENT,
};

/// Rows per transaction, as triggers and change events see it.
const TRANSACTION_ROWS: usize = 200;

/// Maximum length of a cell and of a row, in characters.
const CELL_CHARS_MAX: usize = 32_000;
const ROW_CHARS_MAX: usize = 400_000;

/// The API version from which failed rows of updates and deletes name their record.
const FAILED_IDS_SINCE: u32 = 53;

/// A row that is ready to be written.
struct Ready {
    members: Map<String, Json>,
    /// The value of the column `Id`.
    id: Option<String>,
    /// The value of the external id column.
    key: Option<String>,
}

/// A row and the record that it refers to.
struct Prepared {
    id: Option<RecordId>,
    row: Result<Ready, SfError>,
}

impl Org {
    /// Checks an upload before its first row is written.
    pub(super) fn begin_ingest(
        &mut self,
        head: &Head,
        ingest: &mut Ingest,
    ) -> Result<(), JobError> {
        if ingest.csv.is_empty() {
            return Err(JobError::no_data());
        }
        if std::str::from_utf8(&ingest.csv).is_err() {
            return Err(JobError::no_utf8());
        }
        let header = Header::read(
            self.model.view(head.user),
            &ingest.csv,
            head.form,
            ingest.aim,
        )?;
        let mut rows = Rows::new(&ingest.csv, head.form, header.end);
        let mut count = 0_u64;
        let stray_quote = self.model.switches.stray_quote_in_bulk;
        while let Some(row) = rows.read() {
            if !row.ending.fits(head.form.line_ending) {
                return Err(JobError::line_ending(head.form.line_ending));
            }
            match row.quotes {
                Quotes::Open => {
                    return Err(JobError::invalid_batch(
                        "Failed to parse CSV. EOF reached before closing an opened quote",
                    ));
                }
                Quotes::Stray if stray_quote == StrayQuoteInBulk::FailsJob => {
                    return Err(JobError::unescaped_quote());
                }
                Quotes::Stray | Quotes::Proper => count += 1,
            }
        }
        if count == 0 {
            return Err(JobError(BULK_NO_ROWS_MESSAGE.to_owned()));
        }
        if let Some(max) = ingest.rows_max
            && count > max
        {
            return Err(JobError(ASYNC_BATCH_TOO_LONG_MESSAGE.to_owned()));
        }
        let now_ms = self.now_ms();
        if self.bulk.rows.used(now_ms) + count > self.bulk.rows.max {
            let message = "ExceededQuota : The rows of the last 24 hours exceed the limit";
            return Err(JobError(message.to_owned()));
        }
        self.bulk.rows.spend_many(now_ms, count);
        ingest.read_to = header.end;
        ingest.header = Some(header);
        Ok(())
    }

    /// Writes the next batch and returns the new state of the job.
    pub(super) fn run_batch(
        &mut self,
        head: &Head,
        ingest: &mut Ingest,
    ) -> Result<State, JobError> {
        let now_ms = self.now_ms();
        if !self.bulk.batches.spend(now_ms) {
            return Err(JobError(NO_BATCHES_LEFT.to_owned()));
        }
        let request = Request::new("PUT", &format!("/{}", head.content_url()));
        let call = call_of(head, &request);
        self.faults.continue_call(&request);
        let Ingest {
            aim,
            csv,
            header,
            read_to,
            outcomes,
            failed,
            ..
        } = ingest;
        let header = header
            .as_ref()
            .expect("a job in progress has a checked header");
        let mut rows = Rows::new(csv, head.form, *read_to);
        let mut left = self.bulk.settings.batch_rows;
        if let Some(fault) = &head.fault {
            left = left.min(fault.after_rows.saturating_sub(outcomes.len()));
        }
        let mut at_end = false;
        while left > 0 && !at_end {
            let mut chunk = Vec::with_capacity(TRANSACTION_ROWS.min(left));
            while chunk.len() < TRANSACTION_ROWS.min(left) && !at_end {
                match rows.read() {
                    Some(row) => {
                        *read_to = row.end;
                        chunk.push(prepare(self.view(&call), *aim, header, &row));
                    }
                    None => at_end = true,
                }
            }
            left -= chunk.len();
            for outcome in self.write(&call, *aim, chunk) {
                *failed += usize::from(matches!(outcome, Outcome::Failed { .. }));
                outcomes.push(outcome);
            }
        }
        self.faults.end_call();
        if let Some(fault) = &head.fault
            && outcomes.len() >= fault.after_rows
        {
            return Err(JobError(fault.message.clone()));
        }
        let done = at_end || Rows::new(csv, head.form, *read_to).read().is_none();
        Ok(if done {
            State::JobComplete
        } else {
            State::InProgress
        })
    }

    /// Writes the rows of one transaction. A failed row does not affect the others.
    fn write(&mut self, call: &Call<'_>, aim: Aim, chunk: Vec<Prepared>) -> Vec<Outcome> {
        let repeated = repeated(&self.model, aim, &chunk);
        let mut tx = Transaction::default();
        let mut outcomes = Vec::with_capacity(chunk.len());
        for Prepared { id, row } in chunk {
            let saved = row.and_then(|ready| {
                if let Some(refusal) = repeated.refusal(&self.model, aim, &ready) {
                    return Err(refusal);
                }
                self.apply(&mut tx, call, aim, &ready)
            });
            outcomes.push(match saved {
                Ok(saved) => Outcome::Saved(saved),
                Err(error) => Outcome::Failed {
                    id: id.filter(|_| call.version_number >= FAILED_IDS_SINCE),
                    error: error_text(&error).into(),
                },
            });
        }
        if aim.operation == Operation::HardDelete {
            self.delete_for_good(tx, &call.actor);
        } else {
            self.model.commit(tx, &call.actor);
        }
        outcomes
    }

    /// Commits deletes whose records skip the recycle bin.
    fn delete_for_good(&mut self, tx: Transaction, actor: &Actor) {
        let deleted = tx.deleted();
        let mut tx = Some(tx);
        if HARD_DELETE_SENDS_EVENT {
            self.model.commit(tx.take().unwrap_or_default(), actor);
        }
        for (object, row) in deleted {
            self.model.tables[object.0].purge(&self.model.schema.objects[object.0], row);
        }
        // A record that no longer exists gets no event.
        self.model.commit(tx.unwrap_or_default(), actor);
    }

    fn apply(
        &mut self,
        tx: &mut Transaction,
        call: &Call<'_>,
        aim: Aim,
        ready: &Ready,
    ) -> Result<Saved, SfError> {
        let object = aim.object;
        let edit = Edit {
            object,
            members: &ready.members,
            skip: &[],
        };
        match (aim.operation, aim.key) {
            (Operation::Insert, _) if ready.id.is_some() => Err(SfError::of_field(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "cannot specify Id in an insert call",
                "Id",
            )),
            (Operation::Insert, _) => self.save_new(tx, call, edit, None),
            (Operation::Update, _) => {
                let row = self.named_row(call, aim, ready, "an update")?;
                self.save_row(tx, call, edit, row)
            }
            (Operation::Delete | Operation::HardDelete, _) => {
                let row = self.named_row(call, aim, ready, "a delete")?;
                self.save_delete(tx, call, object, row)
            }
            (Operation::Upsert, Some(field)) if field != self.model.object(object).system.id => {
                let name = &self.model.field(object, field).name;
                let value = ready.key.as_deref().ok_or_else(|| {
                    SfError::of_field("MISSING_ARGUMENT", format!("{name} not specified"), name)
                })?;
                let key = Key {
                    object,
                    field,
                    value,
                };
                self.save_by_key(tx, call, edit, key)
            }
            (Operation::Upsert, _) if ready.id.is_none() => self.save_new(tx, call, edit, None),
            (Operation::Upsert, _) => {
                let row = self.named_row(call, aim, ready, "an update")?;
                self.save_row(tx, call, edit, row)
            }
        }
    }

    /// Returns the record that the row refers to by id.
    fn named_row(
        &self,
        call: &Call<'_>,
        aim: Aim,
        ready: &Ready,
        operation: &str,
    ) -> Result<RowNo, SfError> {
        let text = ready.id.as_deref().ok_or_else(|| {
            let message = format!("Id not specified in {operation} call");
            SfError::of_record("MISSING_ARGUMENT", message)
        })?;
        let id = RecordId::parse(text).ok_or_else(|| {
            SfError::of_field("MALFORMED_ID", format!("malformed id {text}"), "Id")
        })?;
        self.view(call)
            .row_of(aim.object, id)
            .ok_or_else(SfError::unknown_id)
    }
}

/// Returns the call on whose behalf rows are written.
fn call_of<'a>(head: &Head, request: &'a Request) -> Call<'a> {
    Call {
        request,
        method: "PUT".to_owned(),
        version: format!("v{}.0", head.version),
        version_number: head.version,
        actor: Actor {
            user: head.user,
            origin: head.origin.clone(),
        },
        outer: None,
    }
}

/// Reads one row. References by external id are resolved before any row of the transaction is
/// written, so that rows do not see each other.
fn prepare(view: View<'_>, aim: Aim, header: &Header, row: &Row<'_>) -> Prepared {
    let mut ready = Ready {
        members: Map::new(),
        id: None,
        key: None,
    };
    let read = read_cells(view, aim, header, row, &mut ready);
    let id = match aim.operation {
        Operation::Insert => None,
        Operation::Update | Operation::Upsert | Operation::Delete | Operation::HardDelete => {
            ready.id.as_deref().and_then(RecordId::parse)
        }
    };
    Prepared {
        id,
        row: read.map(|()| ready),
    }
}

fn read_cells(
    view: View<'_>,
    aim: Aim,
    header: &Header,
    row: &Row<'_>,
    ready: &mut Ready,
) -> Result<(), SfError> {
    let bad = |message: &str| SfError::of_record(BULK_BAD_ROW_CODE, message);
    if row.quotes != Quotes::Proper {
        return Err(bad(&format!("Failed to parse CSV. {UNESCAPED_QUOTE}")));
    }
    if row.cells.len() != header.columns.len() {
        let (found, wanted) = (row.cells.len(), header.columns.len());
        return Err(bad(&format!(
            "The row has {found} cells, the header row has {wanted}"
        )));
    }
    let too_long = |bytes: &[u8], max: usize| {
        bytes.len() > max && String::from_utf8_lossy(bytes).chars().count() > max
    };
    if row.bytes > ROW_CHARS_MAX && row.cells.iter().map(<[u8]>::len).sum::<usize>() > ROW_CHARS_MAX
    {
        return Err(bad("The row is longer than 400000 characters"));
    }
    let mut refused = None;
    for (place, (column, cell)) in header.columns.iter().zip(row.cells).enumerate() {
        if too_long(cell, CELL_CHARS_MAX) {
            return Err(bad("A cell is longer than 32000 characters"));
        }
        let cell = String::from_utf8_lossy(cell);
        match column {
            Column::Id => ready.id = named(&cell),
            Column::Field(no) if aim.by_key(*no) => ready.key = named(&cell),
            Column::Field(_) | Column::Parent { .. } => {
                match column.member(view, aim, (place, &cell)) {
                    Ok(member) => ready.members.extend(member),
                    // Later columns are still read, because one of them may hold the id.
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Returns the record key in a cell, or `None` if the cell is empty or `#N/A`.
fn named(cell: &str) -> Option<String> {
    let text = cell.trim();
    (!text.is_empty() && text != "#N/A").then(|| text.to_owned())
}

impl Aim {
    /// Returns whether this is the external id field of the upsert.
    fn by_key(self, no: FieldNo) -> bool {
        self.operation == Operation::Upsert && self.key == Some(no)
    }
}

/// Records that several rows of one transaction refer to. All of those rows are refused.
struct Repeated(HashMap<String, usize>);

impl Repeated {
    fn refusal(&self, model: &Model, aim: Aim, ready: &Ready) -> Option<SfError> {
        let name = normalized_key(model, aim, ready)?;
        if self.0.get(&name).is_none_or(|count| *count < 2) {
            return None;
        }
        Some(match (&ready.key, aim.key) {
            (Some(key), Some(field)) => SfError::of_field(
                "DUPLICATE_VALUE",
                format!("Duplicate external id specified: {key}"),
                &model.field(aim.object, field).name,
            ),
            _ => {
                let id = ready.id.as_deref().unwrap_or_default();
                SfError::of_record("DUPLICATE_VALUE", format!("Duplicate id specified: {id}"))
            }
        })
    }
}

fn repeated(model: &Model, aim: Aim, chunk: &[Prepared]) -> Repeated {
    let mut counts = HashMap::new();
    let ready = chunk
        .iter()
        .filter_map(|prepared| prepared.row.as_ref().ok());
    for name in ready.filter_map(|ready| normalized_key(model, aim, ready)) {
        *counts.entry(name).or_default() += 1;
    }
    Repeated(counts)
}

/// Returns the normalized key of the record that a row refers to, the same for all spellings.
fn normalized_key(model: &Model, aim: Aim, ready: &Ready) -> Option<String> {
    match (aim.operation, &ready.key, aim.key) {
        (Operation::Upsert, Some(key), Some(field)) => {
            let exact = model.field(aim.object, field).case_sensitive;
            Some(if exact {
                key.clone()
            } else {
                key.to_lowercase()
            })
        }
        (Operation::Update | Operation::Upsert, _, _) => {
            RecordId::parse(ready.id.as_deref()?).map(|id| id.to_string())
        }
        (Operation::Insert | Operation::Delete | Operation::HardDelete, _, _) => None,
    }
}

/// Returns the column `sf__Error` of a failed row.
fn error_text(error: &SfError) -> String {
    let (code, message) = (error.code(), error.message());
    match error.fields().unwrap_or_default() {
        [] => format!("{code}:{message}:--"),
        fields => format!("{code}:{message}:{} --", fields.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::error_text;
    use crate::model::error::SfError;

    #[test]
    fn error_text_has_code_message_and_fields() {
        let of = |fields: &[&str]| {
            let fields = fields.iter().map(|f| (*f).to_owned()).collect();
            error_text(&SfError::of_record("CODE", "text: [x]").with_fields(fields))
        };
        assert_eq!(of(&[]), "CODE:text: [x]:--");
        assert_eq!(of(&["Name"]), "CODE:text: [x]:Name --");
        assert_eq!(of(&["A", "B"]), "CODE:text: [x]:A B --");
    }
}
