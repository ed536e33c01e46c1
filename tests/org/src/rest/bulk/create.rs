//! Creates jobs and refuses invalid requests.

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::multipart;
use super::{Response, job_response};
use crate::Org;
use crate::bulk::form::{Delimiter, Form, LineEnding};
use crate::bulk::job::{Head, Ingest, Job, Operation, Query, State, View, Work};
use crate::bulk::{Aim, NO_BATCHES_LEFT};
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::{FieldNo, ObjectNo};
use crate::rest::{Call, read_members};
use crate::unconfirmed::BULK_QUOTA_CODE;

/// Maximum length of the CSV in the request that creates its job, in characters.
const MULTIPART_CHARS_MAX: usize = 100_000;

const INGEST_MEMBERS: [&str; 8] = [
    "object",
    "operation",
    "externalIdFieldName",
    "contentType",
    "lineEnding",
    "columnDelimiter",
    "assignmentRuleId",
    "concurrencyMode",
];

const QUERY_MEMBERS: [&str; 6] = [
    "operation",
    "query",
    "contentType",
    "lineEnding",
    "columnDelimiter",
    "concurrencyMode",
];

impl Org {
    /// Handles `POST /jobs/ingest`.
    pub(super) fn create_ingest_job(&mut self, call: &Call<'_>) -> Result<Response, SfError> {
        let kind = call.request.get("content-type").unwrap_or_default();
        if let Some(parts) = multipart::parts(kind, &call.request.body) {
            return self.create_with_content(call, parts?);
        }
        let job = self.ingest_job(call, &call.members()?)?;
        Ok(job_response(self.bulk.keep(job), View::Created))
    }

    fn create_with_content(
        &mut self,
        call: &Call<'_>,
        parts: multipart::Parts,
    ) -> Result<Response, SfError> {
        let mut job = self.ingest_job(call, &read_members(&parts.job)?)?;
        if String::from_utf8_lossy(&parts.content).chars().count() > MULTIPART_CHARS_MAX {
            let message = "The content of a multipart request is at most 100000 characters";
            return Err(SfError::new("API_ERROR", message));
        }
        if let Work::Ingest(ingest) = &mut job.work {
            ingest.add_upload(Bytes::from(parts.content));
        }
        let now_ms = self.now_ms();
        let due_ms = now_ms + self.bulk.settings.queue_ms;
        job.head
            .move_to(State::UploadComplete, now_ms, Some(due_ms));
        Ok(job_response(self.bulk.keep(job), View::Created))
    }

    fn ingest_job(&mut self, call: &Call<'_>, members: &Map<String, Json>) -> Result<Job, SfError> {
        check_members(members, &INGEST_MEMBERS)?;
        let operation = choice(members, "operation", None, Operation::named)?;
        let form = form_of(members)?;
        let name = text(members, "object").unwrap_or_default();
        let object = self.view(call).find_object(name).ok_or_else(|| {
            SfError::new(
                "INVALIDJOB",
                format!("InvalidJob : Unable to find object: {name}"),
            )
        })?;
        self.check_bulk_object(object)?;
        let name = text(members, "externalIdFieldName");
        let key = self.upsert_key(call.actor.user, object, operation, name)?;
        self.check_hard_delete(call.actor.user, operation)?;
        let now_ms = self.now_ms();
        if self.bulk.batches.used(now_ms) >= self.bulk.batches.max {
            return Err(SfError::new(BULK_QUOTA_CODE, NO_BATCHES_LEFT));
        }
        let mut ingest = Ingest::new(Aim {
            object,
            operation,
            key,
        });
        ingest.external_id = key.map(|key| self.model.field(object, key).name.clone());
        ingest.assignment_rule = text(members, "assignmentRuleId").map(str::to_owned);
        Ok(Job {
            head: self.head(call, object, form),
            work: Work::Ingest(Box::new(ingest)),
        })
    }

    /// Handles `POST /jobs/query`.
    pub(super) fn create_query_job(&mut self, call: &Call<'_>) -> Result<Response, SfError> {
        let members = call.members()?;
        check_members(&members, &QUERY_MEMBERS)?;
        let with_deleted = choice(&members, "operation", None, |name| match name {
            "query" => Some(false),
            "queryAll" => Some(true),
            _ => None,
        })?;
        let form = form_of(&members)?;
        let soql = text(&members, "query").unwrap_or_default().to_owned();
        let object = self.check_bulk_query(call.actor.user, &soql)?;
        let now_ms = self.now_ms();
        if !self.bulk.queries.spend(now_ms) {
            let (used, max) = (self.bulk.queries.used(now_ms), self.bulk.queries.max);
            let message =
                format!("Max bulk v2 query jobs ({max}) per 24 hrs has been reached ({used})");
            return Err(SfError::new("LIMIT_EXCEEDED", message));
        }
        let mut job = Job {
            head: self.head(call, object, form),
            work: Work::Query(Box::new(Query::new(soql, with_deleted))),
        };
        let due_ms = now_ms + self.bulk.settings.queue_ms;
        job.head
            .move_to(State::UploadComplete, now_ms, Some(due_ms));
        Ok(job_response(self.bulk.keep(job), View::Created))
    }

    fn head(&mut self, call: &Call<'_>, object: ObjectNo, form: Form) -> Head {
        let now_ms = self.now_ms();
        Head {
            id: self.bulk.next_id(),
            user: call.actor.user,
            origin: call.actor.origin.replace("/api/rest/", "/api/bulkapi/"),
            version: call.version_number,
            object_name: self.model.object(object).name.clone(),
            form,
            state: State::Open,
            error: None,
            created_ms: now_ms,
            changed_ms: now_ms,
            due_ms: None,
            busy_ms: 0,
            fault: None,
        }
    }

    pub(in crate::rest) fn check_bulk_object(&self, object: ObjectNo) -> Result<(), SfError> {
        let object = self.model.object(object);
        if object.writable {
            return Ok(());
        }
        let message = format!(
            "InvalidEntity : Entity '{}' is not supported by the Bulk API.",
            object.name
        );
        Err(SfError::new("INVALIDENTITY", message))
    }

    pub(in crate::rest) fn upsert_key(
        &self,
        user: RecordId,
        object: ObjectNo,
        operation: Operation,
        name: Option<&str>,
    ) -> Result<Option<FieldNo>, SfError> {
        if operation != Operation::Upsert {
            return Ok(None);
        }
        let view = self.model.view(user);
        let described = view.object(object);
        let refused = |message: String| SfError::new("INVALIDJOB", message);
        let Some(name) = name else {
            return Err(refused(format!(
                "InvalidJob : External ID was blank for {}. An External ID must be specified for \
                 upsert.",
                described.name
            )));
        };
        let usable = |no: &FieldNo| {
            let field = described.field(*no);
            field.external_id || field.id_lookup || *no == described.system.id
        };
        let found = view.find_field(object, name).filter(usable);
        found.map(Some).ok_or_else(|| {
            refused(format!(
                "InvalidJob : Field name provided, {name} does not match an External ID for {}",
                described.name
            ))
        })
    }

    pub(in crate::rest) fn check_hard_delete(
        &self,
        user: RecordId,
        operation: Operation,
    ) -> Result<(), SfError> {
        let allowed = &self.bulk.settings.hard_delete;
        let permitted = |name: &String| self.user_named(name) == Some(user);
        if operation != Operation::HardDelete || allowed.iter().any(permitted) {
            return Ok(());
        }
        Err(SfError::new(
            "FEATURENOTENABLED",
            "FeatureNotEnabled : hardDelete operation requires special user profile permission, \
             please contact your system administrator",
        ))
    }
}

fn text<'m>(members: &'m Map<String, Json>, name: &str) -> Option<&'m str> {
    members.get(name).and_then(Json::as_str)
}

/// Returns the error for an unknown value of a property.
pub(super) fn invalid_value(name: &str, value: &str) -> SfError {
    let message = format!("Invalid value: '{value}' supplied for property: '{name}'");
    SfError::new("API_ERROR", message)
}

/// Reads a property that accepts one of several words.
fn choice<T>(
    members: &Map<String, Json>,
    name: &str,
    default: Option<T>,
    named: impl Fn(&str) -> Option<T>,
) -> Result<T, SfError> {
    match (members.get(name), default) {
        (None | Some(Json::Null), Some(default)) => Ok(default),
        (json, _) => {
            let shown = match json {
                None => String::new(),
                Some(Json::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            named(&shown).ok_or_else(|| invalid_value(name, &shown))
        }
    }
}

fn check_members(members: &Map<String, Json>, known: &[&str]) -> Result<(), SfError> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(SfError::new(
            "JSON_PARSER_ERROR",
            format!("Unrecognized field \"{name}\" at [line:1, column:1]"),
        )),
    }
}

fn form_of(members: &Map<String, Json>) -> Result<Form, SfError> {
    choice(members, "contentType", Some(()), |name| {
        (name == "CSV").then_some(())
    })?;
    choice(members, "concurrencyMode", Some(()), |name| {
        matches!(name, "Parallel" | "Serial").then_some(())
    })?;
    Ok(Form {
        delimiter: choice(
            members,
            "columnDelimiter",
            Some(Delimiter::default()),
            Delimiter::named,
        )?,
        line_ending: choice(
            members,
            "lineEnding",
            Some(LineEnding::default()),
            LineEnding::named,
        )?,
    })
}
