//! The local org's model as a Salesforce port: no socket, no clock, no background task.
//!
//! Every call is one request to the org's state machine, so that tests can step from one to the next
//! and count them. Faults are declared at the org's own control endpoints.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use salesforce_org::{DecodedEvent, Delivery, Position, Request, Response, StreamError, local};
use serde_json::{Map, Value as Json, json};
use syncline::model::canonical;
use syncline::model::cursor::SourceCursor;
use syncline::model::ids::{FieldName, ObjectName, SalesforceId};
use syncline::model::observation::{ObservationKind, SalesforceObservation, Version};
use syncline::model::schema::{FieldSchema, FieldType, ObjectSchema};
use syncline::model::value::{Payload, Value};
use syncline::ports::salesforce::{
    Changes, Deleted, Disposition, EventBatch, EventStream, FieldWrite, FilterTrial, Interest,
    OrgIdentity, OrgLimits, ReadBy, Refusal, ReplayFrom, SalesforceError, SalesforcePort,
    SalesforceRecord, ScanPage, StreamEnd, Write, WriteLane, WriteOutcome, WriteTarget,
};
use syncline::salesforce::Fault;

use crate::local_org::{BASE, LocalOrg, encoded};

/// Records of one page: small, so that every test with a few records pages.
const PAGE_RECORDS: usize = 50;

/// The port over a [`LocalOrg`].
pub(crate) struct ModelSalesforce {
    org: LocalOrg,
    token: Mutex<String>,
}

impl ModelSalesforce {
    /// Logs in as the integration user.
    pub(crate) fn new(org: &LocalOrg) -> Self {
        let token = org.with(|org| org.open_session(local::INTEGRATION_USER));
        Self {
            org: org.clone(),
            token: Mutex::new(token.unwrap()),
        }
    }

    /// Makes a call; a session that has ended is opened again, once, because the call had no effect.
    fn call(&self, method: &str, target: &str, body: Option<&Json>) -> Result<Response, Lost> {
        self.call_if(method, target, body, None)
    }

    /// The same, with a condition: since when, in seconds, the record must not have changed.
    fn call_if(
        &self,
        method: &str,
        target: &str,
        body: Option<&Json>,
        unmodified_since: Option<&str>,
    ) -> Result<Response, Lost> {
        for last in [false, true] {
            let token = self.token.lock().unwrap().clone();
            let mut request = Request::new(method, &format!("{BASE}{target}"))
                .bearer(&token)
                .header("Sforce-Call-Options", "client=syncline");
            if let Some(body) = body {
                request = request.json(body);
            }
            if let Some(since) = unmodified_since {
                request = request.header("If-Unmodified-Since", since);
            }
            let answer = self.org.with(|org| org.request(&request));
            if answer.delivery == Delivery::Dropped {
                return Err(Lost);
            }
            if answer.status != 401 || last {
                return Ok(answer);
            }
            let renewed = self
                .org
                .with(|org| org.open_session(local::INTEGRATION_USER));
            *self.token.lock().unwrap() = renewed.unwrap();
        }
        unreachable!("the second round returns")
    }

    fn get(&self, what: &str, target: &str) -> Result<Json, SalesforceError> {
        match self.call("GET", target, None) {
            Ok(answer) if answer.status == 200 => Ok(answer.to_json()),
            Ok(answer) => Err(Fault::from_body(answer.status, &answer.body).into_error(what)),
            Err(Lost) => Err(lost(what)),
        }
    }

    fn rows(&self, resource: &str, soql: &str) -> Result<Vec<Json>, SalesforceError> {
        let answer = self.get("a query", &format!("/{resource}?q={}", encoded(soql)))?;
        assert!(answer["done"].as_bool().unwrap(), "pages are limited");
        Ok(answer["records"].as_array().unwrap().clone())
    }

    fn schema(&self, object: &ObjectName) -> Result<ObjectSchema, SalesforceError> {
        let described = self.get("describe", &format!("/sobjects/{object}/describe"))?;
        Ok(ObjectSchema {
            object: object.clone(),
            key_prefix: described["keyPrefix"].as_str().unwrap().to_owned(),
            fields: described["fields"]
                .as_array()
                .unwrap()
                .iter()
                .map(field_schema)
                .map(|field| (field.name.clone(), field))
                .collect(),
        })
    }

    fn records(
        &self,
        resource: &str,
        object: &ObjectName,
        fields: &[FieldName],
        rest: &str,
    ) -> Result<Vec<SalesforceRecord>, SalesforceError> {
        let schema = self.schema(object)?;
        let names: Vec<&str> = fields.iter().map(FieldName::as_str).collect();
        let soql = format!(
            "select Id, IsDeleted, SystemModstamp, LastModifiedById, {} from {object} {rest}",
            names.join(", ")
        );
        let rows = self.rows(resource, &soql)?;
        Ok(rows
            .iter()
            .map(|row| record(&schema, fields, row))
            .collect())
    }

    fn page(
        &self,
        resource: &str,
        object: &ObjectName,
        fields: &[FieldName],
        rest: &str,
    ) -> Result<ScanPage, SalesforceError> {
        let rest = format!("{rest} limit {PAGE_RECORDS}");
        let records = self.records(resource, object, fields, &rest)?;
        Ok(ScanPage {
            done: records.len() < PAGE_RECORDS,
            records,
        })
    }

    fn write_one(&self, write: &Write) -> WriteOutcome {
        let object = &write.object;
        let (method, target) = match &write.target {
            WriteTarget::UpsertByExternalId { field, value } => {
                ("PATCH", format!("/sobjects/{object}/{field}/{value}"))
            }
            WriteTarget::UpdateById(id) => ("PATCH", format!("/sobjects/{object}/{id}")),
            WriteTarget::DeleteById(id) => ("DELETE", format!("/sobjects/{object}/{id}")),
        };
        let body = Json::Object(members(write));
        let body = (method == "PATCH").then_some(&body);
        let since = write.unmodified_since_ms.map(http_date);
        let answer = self.call_if(method, &target, body, since.as_deref());
        match (answer, &write.target) {
            (Err(Lost), _) => unknown(),
            (Ok(answer), WriteTarget::UpdateById(id) | WriteTarget::DeleteById(id))
                if answer.status < 300 =>
            {
                WriteOutcome::Applied {
                    salesforce_id: id.clone(),
                    created: None,
                }
            }
            (Ok(answer), WriteTarget::UpsertByExternalId { .. }) if answer.status < 300 => {
                applied(&answer.to_json())
            }
            (Ok(answer), _) => {
                WriteOutcome::Refused(Fault::from_body(answer.status, &answer.body).into_refusal())
            }
        }
    }

    /// Sends writes of one kind and object as one collections call.
    fn write_many(&self, writes: &[&Write]) -> Vec<WriteOutcome> {
        let object = &writes[0].object;
        let records: Vec<Json> = writes.iter().map(|write| member_record(write)).collect();
        let body = json!({"allOrNone": false, "records": records});
        let answer = match &writes[0].target {
            WriteTarget::UpsertByExternalId { field, .. } => self.call(
                "PATCH",
                &format!("/composite/sobjects/{object}/{field}"),
                Some(&body),
            ),
            WriteTarget::UpdateById(_) => self.call("PATCH", "/composite/sobjects", Some(&body)),
            WriteTarget::DeleteById(_) => {
                let ids: Vec<&str> = writes
                    .iter()
                    .filter_map(|write| match &write.target {
                        WriteTarget::DeleteById(id) => Some(id.as_str()),
                        WriteTarget::UpsertByExternalId { .. } | WriteTarget::UpdateById(_) => None,
                    })
                    .collect();
                let target = format!("/composite/sobjects?allOrNone=false&ids={}", ids.join(","));
                self.call("DELETE", &target, None)
            }
        };
        match answer {
            Err(Lost) => vec![unknown(); writes.len()],
            Ok(answer) if answer.status == 200 => answer
                .to_json()
                .as_array()
                .unwrap()
                .iter()
                .map(save_result)
                .collect(),
            Ok(answer) => {
                let refusal = Fault::from_body(answer.status, &answer.body).into_refusal();
                vec![WriteOutcome::Refused(refusal); writes.len()]
            }
        }
    }
}

/// The connection closed without an answer.
struct Lost;

fn lost(what: &str) -> SalesforceError {
    SalesforceError {
        what: what.to_owned(),
        status: None,
        code: "CONNECTION_LOST".to_owned(),
        message: "the connection closed without an answer".to_owned(),
        disposition: Disposition::RetryLater,
    }
}

fn unknown() -> WriteOutcome {
    WriteOutcome::Unknown {
        reason: "the connection closed without an answer".to_owned(),
    }
}

fn applied(result: &Json) -> WriteOutcome {
    WriteOutcome::Applied {
        salesforce_id: SalesforceId::parse(result["id"].as_str().unwrap()).unwrap(),
        created: result["created"].as_bool(),
    }
}

fn save_result(result: &Json) -> WriteOutcome {
    if result["success"].as_bool().unwrap() {
        return applied(result);
    }
    let error = &result["errors"][0];
    WriteOutcome::Refused(refusal(error))
}

fn refusal(error: &Json) -> Refusal {
    let fields = error["fields"].as_array().into_iter().flatten();
    Fault {
        status: None,
        code: error["statusCode"].as_str().unwrap().to_owned(),
        message: error["message"].as_str().unwrap().to_owned(),
        fields: fields
            .filter_map(|field| field.as_str().map(str::to_owned))
            .collect(),
    }
    .into_refusal()
}

fn members(write: &Write) -> Map<String, Json> {
    write
        .fields
        .iter()
        .map(|(name, value)| match value {
            FieldWrite::Value(value) => (name.to_string(), value.to_json()),
            FieldWrite::Parent {
                relationship,
                field,
                external_id,
            } => (relationship.clone(), json!({ field.as_str(): external_id })),
        })
        .collect()
}

fn member_record(write: &Write) -> Json {
    let mut record = members(write);
    record.insert(
        "attributes".to_owned(),
        json!({"type": write.object.as_str()}),
    );
    match &write.target {
        WriteTarget::UpsertByExternalId { field, value } => {
            record.insert(field.to_string(), value.clone().into());
        }
        WriteTarget::UpdateById(id) | WriteTarget::DeleteById(id) => {
            record.insert("id".to_owned(), id.as_str().into());
        }
    }
    Json::Object(record)
}

#[async_trait]
impl SalesforcePort for ModelSalesforce {
    async fn identity(&self) -> Result<OrgIdentity, SalesforceError> {
        let soql = format!(
            "select Id from User where Username = '{}'",
            local::INTEGRATION_USER
        );
        let user = self.rows("query", &soql)?;
        Ok(OrgIdentity {
            organization_id: SalesforceId::parse(&self.org.with(|org| org.org_id())).unwrap(),
            user_id: SalesforceId::parse(user[0]["Id"].as_str().unwrap()).unwrap(),
            instance_url: "http://org.invalid".to_owned(),
        })
    }

    async fn describe(&self, object: &ObjectName) -> Result<ObjectSchema, SalesforceError> {
        self.schema(object)
    }

    fn forget_schema(&self, _object: &ObjectName) {}

    async fn write(
        &self,
        writes: &[Write],
        lane: WriteLane,
        _timeout: Duration,
    ) -> Vec<WriteOutcome> {
        if lane == WriteLane::Single {
            return writes.iter().map(|write| self.write_one(write)).collect();
        }
        let mut outcomes: Vec<Option<WriteOutcome>> = vec![None; writes.len()];
        for kind in [0, 1, 2] {
            let of_kind: Vec<usize> = (0..writes.len())
                .filter(|place| kind_of(&writes[*place].target) == kind)
                .collect();
            for chunk in of_kind.chunks(200) {
                let together: Vec<&Write> = chunk.iter().map(|place| &writes[*place]).collect();
                for (place, outcome) in chunk.iter().zip(self.write_many(&together)) {
                    outcomes[*place] = Some(outcome);
                }
            }
        }
        outcomes.into_iter().map(Option::unwrap).collect()
    }

    async fn read(
        &self,
        object: &ObjectName,
        by: &ReadBy,
        fields: &[FieldName],
    ) -> Result<Vec<SalesforceRecord>, SalesforceError> {
        let shown = match by {
            ReadBy::Matching { filter, .. } => format!("({filter}) and"),
            ReadBy::Id(_) | ReadBy::ExternalId { .. } => String::new(),
        };
        let (field, values): (&str, Vec<&str>) = match by {
            ReadBy::Id(ids) | ReadBy::Matching { ids, .. } => {
                ("Id", ids.iter().map(SalesforceId::as_str).collect())
            }
            ReadBy::ExternalId { field, values } => {
                (field.as_str(), values.iter().map(String::as_str).collect())
            }
        };
        let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
        let rest = format!("where {shown} {field} in ({})", values.join(","));
        self.records("queryAll", object, fields, &rest)
    }

    async fn scan(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: Option<&str>,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError> {
        let after = after.map(|id| format!("Id > '{id}'"));
        let filter = filter.map(|filter| format!("({filter})"));
        let conditions: Vec<String> = after.into_iter().chain(filter).collect();
        let given = if conditions.is_empty() { "" } else { "where" };
        let rest = format!("{given} {} order by Id", conditions.join(" and "));
        self.page("query", object, fields, &rest)
    }

    async fn try_filter(
        &self,
        object: &ObjectName,
        _fields: &[FieldName],
        filter: &str,
    ) -> Result<FilterTrial, SalesforceError> {
        let soql = format!("select Id from {object} where ({filter}) limit 1");
        let answer = self.call("GET", &format!("/query?q={}", encoded(&soql)), None);
        let Ok(answer) = answer else {
            return Err(lost("trying a filter"));
        };
        if answer.status != 200 {
            let fault = Fault::from_body(answer.status, &answer.body);
            return Ok(FilterTrial::Refused {
                said: format!("{}: {}", fault.code, fault.message),
            });
        }
        Ok(match answer.to_json()["totalSize"].as_u64() {
            Some(0) => FilterTrial::ShowsNothing,
            Some(_) | None => FilterTrial::ShowsRecords,
        })
    }

    async fn changed_since(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        since_ms: i64,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError> {
        let since = chrono_text(since_ms);
        let condition = match after {
            Some(id) => {
                format!("SystemModstamp > {since} or (SystemModstamp = {since} and Id > '{id}')")
            }
            None => format!("SystemModstamp >= {since}"),
        };
        let rest = format!("where {condition} order by SystemModstamp, Id");
        self.page("queryAll", object, fields, &rest)
    }

    async fn subscribe(
        &self,
        topic: &str,
        from: &ReplayFrom,
        objects: &BTreeMap<ObjectName, Interest>,
    ) -> Result<Box<dyn EventStream>, SalesforceError> {
        let mut schemas = BTreeMap::new();
        for (object, interest) in objects {
            schemas.insert(object.clone(), (self.schema(object)?, interest.clone()));
        }
        Ok(Box::new(ModelStream {
            org: self.org.clone(),
            topic: topic.to_owned(),
            position: match from {
                ReplayFrom::Earliest => Position::Earliest,
                ReplayFrom::Latest => self.org.with(|org| {
                    let head = org.fetch(topic, &Position::Latest, 0);
                    Position::After(head.unwrap().latest_replay_id)
                }),
                ReplayFrom::After(bytes) => Position::After(bytes.clone()),
            },
            schemas,
            again: None,
        }))
    }

    async fn limits(&self) -> Result<OrgLimits, SalesforceError> {
        Ok(OrgLimits::default())
    }
}

fn kind_of(target: &WriteTarget) -> u8 {
    match target {
        WriteTarget::UpsertByExternalId { .. } => 0,
        WriteTarget::UpdateById(_) => 1,
        WriteTarget::DeleteById(_) => 2,
    }
}

/// A subscription that never waits for time: what is there is delivered, else there is nothing.
struct ModelStream {
    org: LocalOrg,
    topic: String,
    position: Position,
    schemas: BTreeMap<ObjectName, (ObjectSchema, Interest)>,
    again: Option<EventBatch>,
}

#[async_trait]
impl EventStream for ModelStream {
    async fn next(
        &mut self,
        events_max: usize,
        _wait: Duration,
    ) -> Result<Option<EventBatch>, StreamEnd> {
        if let Some(again) = self.again.take() {
            return Ok(Some(again));
        }
        let (fetched, events) = self
            .org
            .with(|org| {
                let fetched = org.fetch(&self.topic, &self.position, events_max)?;
                let decoded = fetched.events.iter().map(|event| org.decode(event));
                let decoded: Vec<DecodedEvent> = decoded.collect();
                Ok((fetched, decoded))
            })
            .map_err(|error: StreamError| StreamEnd::PositionLost(error.to_string()))?;
        let position = Position::After(fetched.latest_replay_id.clone());
        if position == self.position {
            // A stream that waits lets others run; one that returned at once would keep a lingering
            // capture busy and everything else on its thread waiting.
            tokio::task::yield_now().await;
            return Ok(None);
        }
        let mut batch = EventBatch {
            observations: Vec::new(),
            needs_resync: Vec::new(),
            out_of_scope: 0,
            events: fetched.events.len(),
            position: SourceCursor::SalesforceReplayId(fetched.latest_replay_id),
        };
        for (event, decoded) in fetched.events.iter().zip(&events) {
            let seen = self.observations(decoded, &event.replay_id);
            batch.out_of_scope += usize::from(seen.is_empty());
            batch.observations.extend(seen);
        }
        if self.org.merges.load(Ordering::Relaxed) {
            for (seen, ordinal) in batch.observations.iter_mut().zip(0..) {
                seen.cursor = batch.position.clone();
                seen.ordinal = ordinal;
            }
        }
        self.position = position;
        if self.org.duplicates.load(Ordering::Relaxed) {
            self.again = Some(batch.clone());
        }
        Ok(Some(batch))
    }
}

impl ModelStream {
    fn observations(&self, event: &DecodedEvent, replay_id: &[u8]) -> Vec<SalesforceObservation> {
        let object = ObjectName::parse(&event.entity).unwrap();
        let Some((schema, interest)) = self.schemas.get(&object) else {
            return Vec::new();
        };
        let (kind, whole) = match event.change_type.as_str() {
            "CREATE" => (ObservationKind::Created, true),
            "UNDELETE" => (ObservationKind::Undeleted, true),
            "UPDATE" => (ObservationKind::Changed, false),
            "DELETE" => (ObservationKind::Deleted, false),
            other => panic!("unknown change type {other}"),
        };
        let payload: Payload = interest
            .fields
            .iter()
            .filter(|name| {
                let named = |known: &String| known.rsplit('.').next() == Some(name.as_str());
                whole
                    || event.changed_fields.iter().any(named)
                    || event.nulled_fields.iter().any(named)
            })
            .map(|name| {
                let raw = event_value(event, name.as_str());
                (name.clone(), event_canonical(schema, name, &raw))
            })
            .collect();
        let told = !payload.is_empty() || interest.changes == Changes::All;
        if !told && kind == ObservationKind::Changed {
            return Vec::new();
        }
        let modified_ms = event.fields.get("LastModifiedDate").and_then(Json::as_i64);
        event
            .record_ids
            .iter()
            .zip(0..)
            .map(|(id, ordinal)| SalesforceObservation {
                object: object.clone(),
                salesforce_id: SalesforceId::parse(id).unwrap(),
                external_id: payload
                    .get(&FieldName::parse("External_Id__c").unwrap())
                    .and_then(text_of),
                kind,
                fields: payload.clone(),
                version: Version {
                    modified_ms: modified_ms.or(Some(event.commit_timestamp)),
                    commit_number: Some(event.commit_number),
                },
                cursor: SourceCursor::SalesforceReplayId(replay_id.to_vec()),
                ordinal,
                ours: event.change_origin.contains("client=syncline"),
                transaction_key: Some(event.transaction_key.clone()),
            })
            .collect()
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Null | Value::Boolean(_) | Value::Number(_) => None,
    }
}

/// Finds a field of an event, inside a compound or beside them.
fn event_value(event: &DecodedEvent, name: &str) -> Json {
    let direct = event.fields.get(name).cloned();
    let inside = || {
        event
            .fields
            .values()
            .find_map(|compound| compound.get(name).cloned())
    };
    direct.or_else(inside).unwrap_or(Json::Null)
}

fn event_canonical(schema: &ObjectSchema, name: &FieldName, raw: &Json) -> Value {
    let field_type = &schema.fields[name].field_type;
    match (field_type, raw.as_i64()) {
        (FieldType::Date | FieldType::DateTime | FieldType::Time, Some(ms)) => {
            canonical::from_epoch_ms(field_type, ms).unwrap()
        }
        _ => canonical::from_salesforce_json(field_type, raw).unwrap(),
    }
}

fn record(schema: &ObjectSchema, fields: &[FieldName], row: &Json) -> SalesforceRecord {
    let stamp = row["SystemModstamp"].as_str().unwrap();
    SalesforceRecord {
        salesforce_id: SalesforceId::parse(row["Id"].as_str().unwrap()).unwrap(),
        deleted: if row["IsDeleted"].as_bool().unwrap() {
            Deleted::Yes
        } else {
            Deleted::No
        },
        fields: fields
            .iter()
            .map(|name| {
                let field_type = &schema.fields[name].field_type;
                let value = canonical::from_salesforce_json(field_type, &row[name.as_str()]);
                (name.clone(), value.unwrap())
            })
            .collect(),
        version: Version::stamped(canonical::datetime_ms(stamp).unwrap()),
        modified_by: row["LastModifiedById"]
            .as_str()
            .map(|id| SalesforceId::parse(id).unwrap()),
    }
}

fn field_schema(field: &Json) -> FieldSchema {
    let flag = |name: &str| field[name].as_bool().unwrap_or(false);
    let number = |name: &str| u32::try_from(field[name].as_u64().unwrap_or(0)).unwrap();
    FieldSchema {
        name: FieldName::parse(field["name"].as_str().unwrap()).unwrap(),
        field_type: match field["type"].as_str().unwrap() {
            "multipicklist" => FieldType::MultiPicklist,
            "reference" => FieldType::Reference {
                to: field["referenceTo"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|object| ObjectName::parse(object.as_str().unwrap()).unwrap())
                    .collect(),
                relationship: field["relationshipName"].as_str().map(str::to_owned),
            },
            "id" => FieldType::Id,
            "boolean" => FieldType::Boolean,
            "int" => FieldType::Integer,
            "double" | "currency" | "percent" => FieldType::Decimal {
                precision: number("precision"),
                scale: number("scale"),
            },
            "date" => FieldType::Date,
            "datetime" => FieldType::DateTime,
            "time" => FieldType::Time,
            name @ ("address" | "location") => FieldType::Unsupported {
                name: name.to_owned(),
            },
            _ => FieldType::Text {
                length: number("length"),
            },
        },
        createable: flag("createable"),
        updateable: flag("updateable"),
        nillable: flag("nillable"),
        defaulted_on_create: flag("defaultedOnCreate"),
        external_id: flag("externalId"),
        unique: flag("unique"),
        case_sensitive: flag("caseSensitive"),
        calculated: flag("calculated"),
    }
}

/// Writes a moment as HTTP does.
fn http_date(ms: i64) -> String {
    let moment = chrono::DateTime::from_timestamp_millis(ms).unwrap();
    moment.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Writes a moment as SOQL does.
fn chrono_text(ms: i64) -> String {
    match canonical::from_epoch_ms(&FieldType::DateTime, ms).unwrap() {
        Value::Text(text) => text,
        Value::Null | Value::Boolean(_) | Value::Number(_) => unreachable!("a moment is text"),
    }
}
