//! Events over REST: publishing a platform event like a record, and event schemas.

use serde_json::{Value as Json, json};

use super::Call;
use super::message::Response;
use crate::Org;
use crate::model::error::SfError;
use crate::model::id::RecordId;

/// A resource for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventResource<'a> {
    Schema(&'a str),
    SchemaById(&'a str),
    ToolingRows(&'a str),
    ToolingRow(&'a str, &'a str),
    ToolingQuery,
}

impl<'a> EventResource<'a> {
    /// Returns the resource for these decoded path segments.
    pub(crate) fn of(segments: &[&'a str]) -> Option<Self> {
        Some(match *segments {
            ["sobjects", event, "eventSchema"] => Self::Schema(event),
            ["event", "eventSchema", id] => Self::SchemaById(id),
            ["tooling", "sobjects", kind] => Self::ToolingRows(kind),
            ["tooling", "sobjects", kind, id] => Self::ToolingRow(kind, id),
            ["tooling", "query"] => Self::ToolingQuery,
            _ => return None,
        })
    }

    /// Returns the path with placeholders for its variable parts, used for counting.
    pub(crate) fn template(self) -> &'static str {
        match self {
            Self::Schema(_) => "/sobjects/{object}/eventSchema",
            Self::SchemaById(_) => "/event/eventSchema/{id}",
            Self::ToolingRows(_) => "/tooling/sobjects/{object}",
            Self::ToolingRow(..) => "/tooling/sobjects/{object}/{id}",
            Self::ToolingQuery => "/tooling/query",
        }
    }

    /// Returns the methods that the resource answers.
    pub(crate) fn allowed(self) -> &'static [&'static str] {
        match self {
            Self::Schema(_) | Self::SchemaById(_) | Self::ToolingQuery => &["GET", "HEAD"],
            Self::ToolingRows(_) => &["POST"],
            Self::ToolingRow(..) => &["GET", "HEAD", "PATCH", "DELETE"],
        }
    }
}

impl Org {
    /// Handles a call to the resource.
    pub(crate) fn events(
        &mut self,
        call: &Call<'_>,
        resource: EventResource<'_>,
        method: &str,
    ) -> Result<Response, SfError> {
        match (resource, method) {
            (EventResource::Schema(event), _) => self.event_schema(event),
            (EventResource::SchemaById(id), _) => self.event_schema_by_id(id),
            (EventResource::ToolingRows(kind), _) => self.tooling_create(call, kind),
            (EventResource::ToolingRow(kind, id), "PATCH") => self.tooling_update(call, kind, id),
            (EventResource::ToolingRow(kind, id), "DELETE") => self.tooling_delete(kind, id),
            (EventResource::ToolingRow(kind, id), _) => self.tooling_read(kind, id),
            (EventResource::ToolingQuery, _) => self.tooling_query(call),
        }
    }

    /// Handles `POST /sobjects/Event__e`.
    pub(crate) fn publish_row(
        &mut self,
        call: &Call<'_>,
        event: &str,
    ) -> Result<Response, SfError> {
        let members = call.members()?;
        let event = self
            .model
            .platform_named(event)
            .ok_or_else(SfError::not_found)?;
        let published = self
            .model
            .publish_members(event, call.actor.user, &members)?;
        self.bus.numbered += 1;
        let id = RecordId::numbered(*b"e00", self.bus.numbered);
        let enqueued = json!({
            "statusCode": "OPERATION_ENQUEUED",
            "message": published.id.to_string(),
            "fields": [],
        });
        let body = json!({"id": id.to_string(), "success": true, "errors": [enqueued]});
        Ok(Response::json(201, body.to_string()))
    }

    /// Handles `GET /sobjects/Event/eventSchema`.
    fn event_schema(&self, event: &str) -> Result<Response, SfError> {
        let source = self
            .model
            .source_named(event)
            .ok_or_else(SfError::not_found)?;
        let id = self.model.log.layout(source).1.schema.id.clone();
        self.event_schema_by_id(&id)
    }

    /// Handles `GET /event/eventSchema/id`.
    fn event_schema_by_id(&self, id: &str) -> Result<Response, SfError> {
        let schema = self.get_schema(id).ok_or_else(SfError::not_found)?;
        let mut json: Json =
            serde_json::from_str(&schema.schema_json).expect("the org writes its schemas as JSON");
        json["uuid"] = schema.schema_id.into();
        Ok(Response::json(200, json.to_string()))
    }
}
