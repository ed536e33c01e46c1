//! Which resource a path below `/services/data/vXX.X/` names.

use crate::unconfirmed::CLIENT_TAG_ON_COMPOSITE;

/// A record named by one of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExternalKey<'a> {
    pub(crate) object: &'a str,
    pub(crate) field: &'a str,
    pub(crate) value: &'a str,
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
    Collection,
    CollectionOf(&'a str),
    CollectionUpsert(&'a str, &'a str),
    Query { with_deleted: bool },
    QueryMore { locator: &'a str },
}

impl<'a> Resource<'a> {
    /// Returns the resource that these decoded path segments name.
    pub(crate) fn of(segments: &[&'a str]) -> Option<Self> {
        Some(match *segments {
            [] => Self::Root,
            ["limits"] => Self::Limits,
            ["limits", "recordCount"] => Self::RecordCount,
            ["sobjects"] => Self::Objects,
            ["sobjects", object] => Self::Object(object),
            ["sobjects", object, "describe"] => Self::Describe(object),
            ["sobjects", object, id] => Self::Row(object, id),
            ["sobjects", object, field, value] => Self::ByExternalId(ExternalKey {
                object,
                field,
                value,
            }),
            ["composite", "sobjects"] => Self::Collection,
            ["composite", "sobjects", object] => Self::CollectionOf(object),
            ["composite", "sobjects", object, field] => Self::CollectionUpsert(object, field),
            ["query"] => Self::Query {
                with_deleted: false,
            },
            ["queryAll"] => Self::Query { with_deleted: true },
            ["query" | "queryAll", locator] => Self::QueryMore { locator },
            _ => return None,
        })
    }

    /// Returns the path with its variable parts named, for counting.
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
            Self::Collection => "/composite/sobjects",
            Self::CollectionOf(_) => "/composite/sobjects/{object}",
            Self::CollectionUpsert(..) => "/composite/sobjects/{object}/{field}",
            Self::Query {
                with_deleted: false,
            } => "/query",
            Self::Query { with_deleted: true } => "/queryAll",
            Self::QueryMore { .. } => "/query/{locator}",
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
            | Self::Query { .. }
            | Self::QueryMore { .. } => &["GET", "HEAD"],
            Self::Object(_) => &["GET", "HEAD", "POST"],
            Self::Row(..) | Self::ByExternalId(_) => &["HEAD", "GET", "PATCH", "DELETE"],
            Self::Collection => &["POST", "PATCH", "DELETE"],
            Self::CollectionOf(_) => &["GET", "POST"],
            Self::CollectionUpsert(..) => &["PATCH"],
        }
    }

    /// Tells whether a client tag in the call options reaches the change origin.
    pub(crate) fn honours_client_tag(&self) -> bool {
        match self {
            Self::Collection | Self::CollectionOf(_) | Self::CollectionUpsert(..) => {
                CLIENT_TAG_ON_COMPOSITE
            }
            Self::Root
            | Self::Limits
            | Self::RecordCount
            | Self::Objects
            | Self::Object(_)
            | Self::Describe(_)
            | Self::Row(..)
            | Self::ByExternalId(_)
            | Self::Query { .. }
            | Self::QueryMore { .. } => true,
        }
    }
}
