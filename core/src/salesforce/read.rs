//! Reads records: by id, by external id, page by page, and by when they last changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::describe::{Schemas, field_of};
use super::rest::{Fetched, RestCall, RestClient};
use super::soql::{self, Literal, Selection};
use crate::model::canonical;
use crate::model::ids::{FieldName, ObjectName, SalesforceId};
use crate::model::observation::Version;
use crate::model::schema::{Cascade, ObjectSchema};
use crate::model::value::Payload;
use crate::ports::salesforce::{
    Deleted, Disposition, FilterTrial, ReadBy, SalesforceError, SalesforceRecord, ScanPage,
};

/// Reads from one org.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) rest: &'a RestClient,
    pub(super) schemas: &'a Schemas,
    /// Most concurrent queries.
    pub(super) calls_in_flight: usize,
    /// Rows of one page of a scan.
    pub(super) page_rows: usize,
}

/// Which rows a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Live,
    DeletedToo,
}

/// Timeout of a query with all its pages. Salesforce itself ends a query after two minutes.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// Records of one retrieve of sObject Collections (REST API Developer Guide, "Get Multiple Records with the Same
/// Object Type").
const RETRIEVED_MAX: usize = 2_000;

/// Most pages of one query: far more than any statement here needs.
const PAGES_MAX: usize = 500;

impl Reader<'_> {
    /// Reads the given records, deleted ones included, each once.
    pub(super) async fn by(
        &self,
        object: &ObjectName,
        by: &ReadBy,
        fields: &[FieldName],
    ) -> Result<Vec<SalesforceRecord>, SalesforceError> {
        let columns = self.columns(object, fields).await?;
        let (key, literals) = columns.literals(by)?;
        let filter = match by {
            ReadBy::Matching { filter, .. } => Some(filter.as_str()),
            ReadBy::Id(_) | ReadBy::ExternalId { .. } => None,
        };
        let statements = columns
            .selection()
            .by_values(&key, &literals, filter)
            .ok_or_else(|| too_long(object))?;
        let rows = self.queries(object, statements, Rows::DeletedToo).await?;
        let unique: BTreeMap<SalesforceId, SalesforceRecord> = columns
            .records(&rows)?
            .into_iter()
            .map(|record| (record.salesforce_id.clone(), record))
            .collect();
        Ok(unique.into_values().collect())
    }

    /// Returns those of the records that live records point to by the lookup: one row for each, however many do.
    pub(super) async fn referenced(
        &self,
        lookup: &Cascade,
        filter: Option<&str>,
        ids: &[SalesforceId],
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError> {
        let Cascade { object, field } = lookup;
        let literals: Vec<Literal> = ids.iter().map(|id| Literal::Text(id.to_string())).collect();
        let selection = Selection {
            object,
            columns: std::slice::from_ref(field),
        };
        let statements = selection
            .values_among(field, &literals, filter)
            .ok_or_else(|| too_long(object))?;
        let rows = self.queries(object, statements, Rows::Live).await?;
        let ids = rows.iter().map(|row| id_in(row, field.as_str()));
        let ids: Option<BTreeSet<SalesforceId>> = ids.collect();
        ids.ok_or_else(|| unreadable(object))
    }

    /// Reads when records were last modified: by the requests of a retrieve of sObject Collections.
    pub(super) async fn modified_at(
        &self,
        object: &ObjectName,
        ids: &[SalesforceId],
    ) -> Result<BTreeMap<SalesforceId, i64>, SalesforceError> {
        let columns = self.columns(object, &[]).await?;
        let stamp = columns.last_modified()?;
        let what = format!("reading when records of {object} were modified");
        let mut modified = BTreeMap::new();
        for ids in ids.chunks(RETRIEVED_MAX) {
            let body = serde_json::json!({"ids": ids, "fields": [ID, stamp.as_str()]});
            let call = RestCall {
                method: Method::POST,
                body: Some(body.to_string().into()),
                ..self.get(self.rest.path(&format!("/composite/sobjects/{object}")))
            };
            let body = self
                .rest
                .fetch(&what, &call)
                .await
                .map_err(|fetched| fetched.into_error(&what))?;
            let rows: Vec<Option<Row>> =
                serde_json::from_slice(&body).map_err(|_| unreadable(object))?;
            for row in rows.iter().flatten() {
                let at = row.get(stamp.as_str()).and_then(Json::as_str);
                let at = at.and_then(canonical::datetime_ms);
                let (id, at) = id_in(row, ID).zip(at).ok_or_else(|| unreadable(object))?;
                modified.insert(id, at);
            }
        }
        Ok(modified)
    }

    /// Reads the next page of all live records in id order.
    pub(super) async fn page(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: Option<&str>,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError> {
        let columns = self.columns(object, fields).await?;
        let statement = columns.selection().page(filter, after, self.page_rows);
        let rows = self.query(object, statement, Rows::Live).await?;
        columns.page(&rows, self.page_rows)
    }

    /// Tries a filter together with the fields that are read with it.
    pub(super) async fn try_filter(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: &str,
    ) -> Result<FilterTrial, SalesforceError> {
        let columns = self.columns(object, fields).await?;
        let id = FieldName::parse(ID).expect("it is a field name");
        let refused = |message: String| Ok(FilterTrial::Refused { message });
        let Some([beside, alone]) = columns.selection().trial(&id, filter) else {
            return refused(too_long(object).message);
        };
        match self.try_query(object, &beside).await? {
            TrialResult::Refused { message } => return refused(message),
            TrialResult::Rows(0) => {}
            TrialResult::Rows(_) => {
                return refused("it closes a parenthesis that it did not open".to_owned());
            }
        }
        match self.try_query(object, &alone).await? {
            TrialResult::Refused { message } => refused(message),
            TrialResult::Rows(0) => Ok(FilterTrial::MatchesNothing),
            TrialResult::Rows(_) => Ok(FilterTrial::MatchesRecords),
        }
    }

    /// Counts the live records that match the filter; with `empty`, those without a value in this field.
    pub(super) async fn count(
        &self,
        object: &ObjectName,
        filter: Option<&str>,
        empty: Option<&FieldName>,
    ) -> Result<u64, SalesforceError> {
        let what = format!("counting {object}");
        let statement = soql::count(object, filter, empty);
        let call = self.get(
            self.rest
                .path(&format!("/query?{}", encoded_statement(&statement))),
        );
        let body = self
            .rest
            .fetch(&what, &call)
            .await
            .map_err(|fetched| fetched.into_error(&what))?;
        let counted: Counted = serde_json::from_slice(&body).map_err(|_| unreadable(object))?;
        Ok(counted.total_size)
    }

    /// Asks for the permission that unmasks encrypted text. Any user may read its own permissions (object
    /// reference, "UserPermissionAccess").
    pub(super) async fn sees_encrypted_text(&self) -> Result<Option<bool>, SalesforceError> {
        let object = ObjectName::parse(OWN_PERMISSIONS).expect("it is an object name");
        let statement =
            format!("select Id from {OWN_PERMISSIONS} where PermissionsViewEncryptedData = true");
        Ok(match self.try_query(&object, &statement).await? {
            TrialResult::Rows(rows) => Some(rows > 0),
            TrialResult::Refused { .. } => None,
        })
    }

    /// Makes one query that is allowed to be refused.
    async fn try_query(
        &self,
        object: &ObjectName,
        statement: &str,
    ) -> Result<TrialResult, SalesforceError> {
        let what = format!("trying a query of {object}");
        let call = self.get(
            self.rest
                .path(&format!("/query?{}", encoded_statement(statement))),
        );
        match self.rest.fetch(&what, &call).await {
            Ok(body) => match serde_json::from_slice::<QueryPage>(&body) {
                Ok(page) => Ok(TrialResult::Rows(page.records.len())),
                Err(_) => Err(unreadable(object)),
            },
            Err(Fetched::Refused(fault)) if fault.disposition() == Disposition::Park => {
                let words: Vec<&str> = fault.message.split_whitespace().collect();
                Ok(TrialResult::Refused {
                    message: format!("{}: {}", fault.code, words.join(" ")),
                })
            }
            Err(other) => Err(other.into_error(&what)),
        }
    }

    /// Reads the next page of the records changed since a time, deleted ones included.
    pub(super) async fn changed_since(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        since_ms: i64,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError> {
        let columns = self.columns(object, fields).await?;
        let stamp = columns.stamp()?;
        let statement = columns
            .selection()
            .changed_since(&stamp, since_ms, after, self.page_rows)
            .ok_or_else(|| reading(object, "bad_moment", "the time is out of range"))?;
        let rows = self.query(object, statement, Rows::DeletedToo).await?;
        columns.page(&rows, self.page_rows)
    }

    /// Reads the log of deleted records.
    pub(super) async fn deleted_since(
        &self,
        object: &ObjectName,
        since_ms: i64,
        until_ms: i64,
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError> {
        let what = format!("reading deleted records of {object}");
        let (Some(start), Some(end)) = (minute_text(since_ms), minute_text(until_ms)) else {
            return Err(reading(object, "bad_moment", "the time is out of range"));
        };
        let call = self.get(self.rest.path(&format!(
            "/sobjects/{object}/deleted/?start={start}&end={end}"
        )));
        let body = self
            .rest
            .fetch(&what, &call)
            .await
            .map_err(|fetched| fetched.into_error(&what))?;
        let log: DeletedLog = serde_json::from_slice(&body).map_err(|_| unreadable(object))?;
        Ok(log
            .deleted_records
            .into_iter()
            .map(|deleted| deleted.id)
            .collect())
    }

    /// Reads the org's limits, which every user may.
    pub(super) async fn probe(&self) -> Result<(), SalesforceError> {
        let what = "reading the limits";
        let call = self.get(self.rest.path("/limits"));
        match self.rest.fetch(what, &call).await {
            Ok(_) => Ok(()),
            Err(fetched) => Err(fetched.into_error_of_org(what)),
        }
    }

    async fn columns(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
    ) -> Result<Columns, SalesforceError> {
        let schema = self.schemas.get(self.rest, object).await?;
        for field in fields {
            field_of(&schema, field)?;
        }
        Ok(Columns::new(&schema, fields))
    }

    /// Runs statements to their last pages, several at once.
    async fn queries(
        &self,
        object: &ObjectName,
        statements: Vec<String>,
        rows: Rows,
    ) -> Result<Vec<Row>, SalesforceError> {
        let answers: Vec<Vec<Row>> = stream::iter(statements)
            .map(|statement| self.query(object, statement, rows))
            .buffered(self.calls_in_flight)
            .try_collect()
            .await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Runs a statement to its last page.
    async fn query(
        &self,
        object: &ObjectName,
        statement: String,
        rows: Rows,
    ) -> Result<Vec<Row>, SalesforceError> {
        let what = format!("reading {object}");
        let resource = match rows {
            Rows::Live => "/query",
            Rows::DeletedToo => "/queryAll",
        };
        let encoded = encoded_statement(&statement);
        let mut call = self.get(self.rest.path(&format!("{resource}?{encoded}")));
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let body = match self.rest.fetch(&what, &call).await {
                Ok(body) => body,
                Err(Fetched::Refused(fault)) if fault.missing_column().is_some() => {
                    self.schemas.forget(object);
                    return Err(fault.into_error(&what));
                }
                Err(other) => return Err(other.into_error_of_org(&what)),
            };
            let page: QueryPage = serde_json::from_slice(&body).map_err(|_| unreadable(object))?;
            found.extend(page.records);
            match page.next_records_url {
                _ if page.done => return Ok(found),
                // Always root-relative by contract; an absolute URL would send the token to another host.
                Some(next) if next.starts_with("/services/data/") => call.path = next,
                // More rows are said to follow: without them, records would seem to be missing.
                Some(_) | None => return Err(unreadable(object)),
            }
        }
        Err(reading(object, "too_many_pages", "the query does not end"))
    }

    fn get(&self, path: String) -> RestCall {
        RestCall {
            method: Method::GET,
            path,
            body: None,
            headers: Vec::new(),
            deadline: Instant::now() + QUERY_TIMEOUT,
        }
    }
}

/// The result of a query that is allowed to be refused.
enum TrialResult {
    Rows(usize),
    Refused { message: String },
}

type Row = Map<String, Json>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryPage {
    records: Vec<Row>,
    done: bool,
    #[serde(default)]
    next_records_url: Option<String>,
}

/// The answer to `SELECT COUNT()`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    total_size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeletedLog {
    deleted_records: Vec<DeletedRecord>,
}

#[derive(Deserialize)]
struct DeletedRecord {
    id: SalesforceId,
}

/// Returns a time as the log of deleted records takes it, percent-encoded.
fn minute_text(ms: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(ms)?;
    Some(
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
            .replace(':', "%3A"),
    )
}

/// The columns of one read: the requested ones, and those for the record's id, deletion and version.
struct Columns {
    schema: Arc<ObjectSchema>,
    wanted: Vec<FieldName>,
    all: Vec<FieldName>,
}

const ID: &str = "Id";
const OWN_PERMISSIONS: &str = "UserPermissionAccess";
const IS_DELETED: &str = "IsDeleted";
const MODIFIED_BY: &str = "LastModifiedById";
const STAMP: &str = "SystemModstamp";
const LAST_MODIFIED: &str = "LastModifiedDate";

impl Columns {
    fn new(schema: &Arc<ObjectSchema>, fields: &[FieldName]) -> Self {
        // Not every object has all of them: a User cannot be deleted.
        let mut all: Vec<FieldName> = [ID, IS_DELETED, STAMP, MODIFIED_BY]
            .iter()
            .filter_map(|name| FieldName::parse(name).ok())
            .filter(|name| schema.fields.contains_key(name))
            .collect();
        for field in fields {
            if !all.contains(field) {
                all.push(field.clone());
            }
        }
        Self {
            schema: Arc::clone(schema),
            wanted: fields.to_vec(),
            all,
        }
    }

    fn selection(&self) -> Selection<'_> {
        Selection {
            object: &self.schema.object,
            columns: &self.all,
        }
    }

    fn stamp(&self) -> Result<FieldName, SalesforceError> {
        let stamp = FieldName::parse(STAMP).expect("it is a field name");
        field_of(&self.schema, &stamp).map(|field| field.name.clone())
    }

    /// Returns the field that says when a record was last modified. Not every object has the first one.
    fn last_modified(&self) -> Result<FieldName, SalesforceError> {
        let known = FieldName::parse(LAST_MODIFIED).expect("it is a field name");
        match self.schema.fields.contains_key(&known) {
            true => Ok(known),
            false => self.stamp(),
        }
    }

    fn literals(&self, by: &ReadBy) -> Result<(FieldName, Vec<Literal>), SalesforceError> {
        match by {
            ReadBy::Id(ids) | ReadBy::Matching { ids, .. } => {
                let texts = ids.iter().map(|id| Literal::Text(id.as_str().to_owned()));
                let id = FieldName::parse(ID).expect("it is a field name");
                Ok((id, texts.collect()))
            }
            ReadBy::ExternalId { field, values } => {
                let field_type = &field_of(&self.schema, field)?.field_type;
                let literals = values
                    .iter()
                    .filter_map(|value| Literal::of(field_type, value));
                Ok((field.clone(), literals.collect()))
            }
        }
    }

    fn page(&self, rows: &[Row], page_rows: usize) -> Result<ScanPage, SalesforceError> {
        Ok(ScanPage {
            records: self.records(rows)?,
            done: rows.len() < page_rows,
        })
    }

    /// Returns the rows as records. Fails if one of them has no id: a record left out would seem to be missing.
    fn records(&self, rows: &[Row]) -> Result<Vec<SalesforceRecord>, SalesforceError> {
        let records: Option<Vec<SalesforceRecord>> =
            rows.iter().map(|row| self.record(row)).collect();
        records.ok_or_else(|| unreadable(&self.schema.object))
    }

    /// Returns the row as a record, or none if it has no id.
    fn record(&self, row: &Row) -> Option<SalesforceRecord> {
        let salesforce_id = id_in(row, ID)?;
        let mut fields = Payload::new();
        let mut unreadable = BTreeMap::new();
        for field in &self.wanted {
            let (Some(json), Some(described)) =
                (row.get(field.as_str()), self.schema.fields.get(field))
            else {
                continue;
            };
            let field_type = &described.field_type;
            match canonical::from_salesforce_json(field_type, json) {
                Ok(value) => {
                    fields.insert(field.clone(), value);
                }
                Err(error) => {
                    unreadable.insert(field.clone(), error.to_string());
                }
            }
        }
        let deleted = match row.get(IS_DELETED).and_then(Json::as_bool) {
            Some(true) => Deleted::Yes,
            Some(false) | None => Deleted::No,
        };
        let modified_ms = row
            .get(STAMP)
            .and_then(Json::as_str)
            .and_then(canonical::datetime_ms);
        Some(SalesforceRecord {
            salesforce_id,
            deleted,
            fields,
            unreadable,
            version: Version {
                modified_ms,
                commit_number: None,
            },
            modified_by: id_in(row, MODIFIED_BY),
        })
    }
}

fn id_in(row: &Row, column: &str) -> Option<SalesforceId> {
    row.get(column)
        .and_then(Json::as_str)
        .and_then(|id| SalesforceId::parse(id).ok())
}

/// Returns the URI query for a statement.
fn encoded_statement(statement: &str) -> String {
    let mut url = reqwest::Url::parse("http://query").expect("it is an address");
    url.query_pairs_mut().append_pair("q", statement);
    url.query().unwrap_or_default().to_owned()
}

fn unreadable(object: &ObjectName) -> SalesforceError {
    reading(
        object,
        "unreadable_answer",
        "the response is not a query result",
    )
}

fn too_long(object: &ObjectName) -> SalesforceError {
    reading(
        object,
        "statement_too_long",
        "the mapped fields or the filter are too long for a query: map fewer fields or shorten the filter",
    )
}

fn reading(object: &ObjectName, code: &str, message: &str) -> SalesforceError {
    let disposition = match code {
        "unreadable_answer" => Disposition::RetryLater,
        _ => Disposition::Park,
    };
    SalesforceError {
        what: format!("reading {object}"),
        status: None,
        code: code.to_owned(),
        message: message.to_owned(),
        disposition,
    }
}
