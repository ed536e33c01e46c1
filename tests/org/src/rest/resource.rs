//! The resource of a path below `/services/data/vXX.X/`.

use super::VERSION_MIN;
use super::bulk::BulkResource;
use super::events::EventResource;
use crate::unconfirmed::switches::ClientTagOnComposite;

/// A record identified by the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExternalKey<'a> {
    pub(crate) object: &'a str,
    pub(crate) field: &'a str,
    pub(crate) value: &'a str,
}

/// A call that contains other calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Composite,
    Batch,
    Graph,
}

/// A resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    Root,
    Limits,
    RecordCount,
    Objects,
    Object(&'a str),
    Describe(&'a str),
    Row(&'a str, &'a str),
    ByExternalId(ExternalKey<'a>),
    Updated(&'a str),
    Deleted(&'a str),
    Composite,
    Batch,
    Graph,
    Tree(&'a str),
    Collection,
    CollectionOf(&'a str),
    CollectionUpsert(&'a str, &'a str),
    Query { with_deleted: bool },
    QueryMore { locator: &'a str },
    Bulk(BulkResource<'a>),
    Events(EventResource<'a>),
}

impl<'a> Resource<'a> {
    /// Returns the resource for these decoded path segments.
    pub(crate) fn of(segments: &[&'a str]) -> Option<Self> {
        Some(match *segments {
            [] => Self::Root,
            ["limits"] => Self::Limits,
            ["limits", "recordCount"] => Self::RecordCount,
            ["sobjects"] => Self::Objects,
            ["sobjects", object] => Self::Object(object),
            ["sobjects", object, "describe"] => Self::Describe(object),
            ["sobjects", _, "eventSchema"] | ["event", ..] | ["tooling", ..] => {
                Self::Events(EventResource::of(segments)?)
            }
            ["sobjects", object, "updated"] => Self::Updated(object),
            ["sobjects", object, "deleted"] => Self::Deleted(object),
            ["sobjects", object, id] => Self::Row(object, id),
            ["sobjects", object, field, value] => Self::ByExternalId(ExternalKey {
                object,
                field,
                value,
            }),
            ["composite"] => Self::Composite,
            ["composite", "batch"] => Self::Batch,
            ["composite", "graph"] => Self::Graph,
            ["composite", "tree", object] => Self::Tree(object),
            ["composite", "sobjects"] => Self::Collection,
            ["composite", "sobjects", object] => Self::CollectionOf(object),
            ["composite", "sobjects", object, field] => Self::CollectionUpsert(object, field),
            ["query"] => Self::Query {
                with_deleted: false,
            },
            ["queryAll"] => Self::Query { with_deleted: true },
            ["query" | "queryAll", locator] => Self::QueryMore { locator },
            ["jobs", ref rest @ ..] => Self::Bulk(BulkResource::of(rest)?),
            _ => return None,
        })
    }

    /// Returns the path with placeholders for its variable parts, used for counting.
    pub(crate) fn template(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Limits => "/limits",
            Self::RecordCount => "/limits/recordCount",
            Self::Objects => "/sobjects",
            Self::Object(_) => "/sobjects/{object}",
            Self::Describe(_) => "/sobjects/{object}/describe",
            Self::Row(..) => "/sobjects/{object}/{id}",
            Self::ByExternalId(_) => "/sobjects/{object}/{field}/{value}",
            Self::Updated(_) => "/sobjects/{object}/updated",
            Self::Deleted(_) => "/sobjects/{object}/deleted",
            Self::Composite => "/composite",
            Self::Batch => "/composite/batch",
            Self::Graph => "/composite/graph",
            Self::Tree(_) => "/composite/tree/{object}",
            Self::Collection => "/composite/sobjects",
            Self::CollectionOf(_) => "/composite/sobjects/{object}",
            Self::CollectionUpsert(..) => "/composite/sobjects/{object}/{field}",
            Self::Query {
                with_deleted: false,
            } => "/query",
            Self::Query { with_deleted: true } => "/queryAll",
            Self::QueryMore { .. } => "/query/{locator}",
            Self::Bulk(resource) => resource.template(),
            Self::Events(resource) => resource.template(),
        }
    }

    /// Returns the methods that the resource answers.
    pub(crate) fn allowed(&self) -> &'static [&'static str] {
        match self {
            Self::Root
            | Self::Limits
            | Self::RecordCount
            | Self::Objects
            | Self::Describe(_)
            | Self::Updated(_)
            | Self::Deleted(_)
            | Self::Query { .. }
            | Self::QueryMore { .. } => &["GET", "HEAD"],
            Self::Composite | Self::Batch | Self::Graph | Self::Tree(_) => &["POST"],
            Self::Events(resource) => resource.allowed(),
            Self::Object(_) => &["GET", "HEAD", "POST"],
            Self::Row(..) | Self::ByExternalId(_) => &["HEAD", "GET", "PATCH", "DELETE"],
            Self::Collection => &["POST", "PATCH", "DELETE"],
            Self::CollectionOf(_) => &["GET", "POST"],
            Self::CollectionUpsert(..) => &["PATCH"],
            Self::Bulk(resource) => resource.allowed(),
        }
    }

    /// Returns whether a client tag in the call options becomes part of the change origin.
    pub(crate) fn honours_client_tag(&self, on_composite: ClientTagOnComposite) -> bool {
        match self {
            Self::Composite
            | Self::Batch
            | Self::Graph
            | Self::Tree(_)
            | Self::Collection
            | Self::CollectionOf(_)
            | Self::CollectionUpsert(..) => on_composite == ClientTagOnComposite::Kept,
            Self::Root
            | Self::Limits
            | Self::RecordCount
            | Self::Objects
            | Self::Object(_)
            | Self::Describe(_)
            | Self::Updated(_)
            | Self::Deleted(_)
            | Self::Row(..)
            | Self::ByExternalId(_)
            | Self::Query { .. }
            | Self::QueryMore { .. }
            | Self::Bulk(_)
            | Self::Events(_) => true,
        }
    }

    /// Returns the first API version that has the resource.
    pub(crate) fn since(&self) -> u32 {
        match self {
            Self::Graph => 50,
            Self::CollectionUpsert(..) => 46,
            Self::Collection | Self::CollectionOf(_) => 42,
            Self::RecordCount => 40,
            Self::Composite => 38,
            Self::Batch | Self::Tree(_) => 34,
            Self::Bulk(resource) => resource.since(),
            Self::Root
            | Self::Limits
            | Self::Objects
            | Self::Object(_)
            | Self::Describe(_)
            | Self::Updated(_)
            | Self::Deleted(_)
            | Self::Row(..)
            | Self::ByExternalId(_)
            | Self::Query { .. }
            | Self::QueryMore { .. }
            | Self::Events(_) => VERSION_MIN,
        }
    }

    /// Returns whether such a call may contain the resource.
    pub(crate) fn fits_in(&self, container: Container) -> bool {
        match self {
            Self::Object(_) | Self::Row(..) | Self::ByExternalId(_) => true,
            Self::Describe(_) | Self::Query { .. } | Self::QueryMore { .. } => {
                container != Container::Graph
            }
            Self::Collection | Self::CollectionOf(_) | Self::CollectionUpsert(..) => {
                container == Container::Composite
            }
            Self::Root
            | Self::Limits
            | Self::RecordCount
            | Self::Objects
            | Self::Updated(_)
            | Self::Deleted(_) => container == Container::Batch,
            Self::Composite
            | Self::Batch
            | Self::Graph
            | Self::Tree(_)
            | Self::Bulk(_)
            | Self::Events(_) => false,
        }
    }

    /// Returns whether a composite request limits the number of calls to the resource.
    pub(crate) fn is_heavy(&self) -> bool {
        matches!(
            self,
            Self::Query { .. }
                | Self::QueryMore { .. }
                | Self::Collection
                | Self::CollectionOf(_)
                | Self::CollectionUpsert(..)
        )
    }

    /// Returns the object that the path names.
    pub(crate) fn object(&self) -> Option<&'a str> {
        match self {
            Self::Object(object)
            | Self::Describe(object)
            | Self::Updated(object)
            | Self::Deleted(object)
            | Self::Row(object, _)
            | Self::Tree(object)
            | Self::CollectionOf(object)
            | Self::CollectionUpsert(object, _) => Some(object),
            Self::ByExternalId(key) => Some(key.object),
            Self::Root
            | Self::Limits
            | Self::RecordCount
            | Self::Objects
            | Self::Composite
            | Self::Batch
            | Self::Graph
            | Self::Collection
            | Self::Query { .. }
            | Self::QueryMore { .. }
            | Self::Bulk(_)
            | Self::Events(_) => None,
        }
    }
}
