//! What a call is about, read from its path and body before the call is parsed.

use serde_json::Value as Json;

use crate::model::id::RecordId;
use crate::rest::message::{Request, decode_segment};

/// What rules can match of a call.
#[derive(Debug)]
pub(super) struct CallSummary<'a> {
    request: &'a Request,
    method: &'a str,
    segments: Vec<String>,
}

/// How a call names a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Id(RecordId),
    Key {
        object: String,
        field: String,
        value: String,
    },
}

impl<'a> CallSummary<'a> {
    /// Reads a call.
    pub(super) fn of(request: &'a Request) -> Self {
        let overridden = request.method == "POST" && request.query.contains("_HttpMethod=PATCH");
        let rest = request.path.strip_prefix("/services/data/");
        let segments = rest
            .and_then(|rest| rest.split_once('/'))
            .map_or("", |(_, rest)| rest)
            .split('/')
            .filter(|segment| !segment.is_empty())
            .filter_map(decode_segment)
            .collect();
        Self {
            request,
            method: if overridden { "PATCH" } else { &request.method },
            segments,
        }
    }

    pub(super) fn method(&self) -> &str {
        &self.request.method
    }

    pub(super) fn path(&self) -> &str {
        &self.request.path
    }

    /// Returns the method and path.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.request.method, self.request.path)
    }

    fn parts(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// Returns the operation of the call.
    pub(super) fn operation(&self) -> &'static str {
        if self.request.path.starts_with("/services/oauth2/token") {
            return "login";
        }
        if self.request.path.starts_with("/services/async/") {
            return "async_job";
        }
        match (self.parts().as_slice(), self.method) {
            (["composite", "tree", _], "POST") => "create",
            (["tooling", ..], _) => "tooling",
            (["sobjects", _], "POST") | (["composite", "sobjects"], "POST") => "create",
            (["sobjects", _, "describe"], _) | (["sobjects"], _) => "describe",
            (["sobjects", _, _], "PATCH") | (["composite", "sobjects"], "PATCH") => "update",
            (["sobjects", _, _, _], "PATCH") | (["composite", "sobjects", _, _], "PATCH") => {
                "upsert"
            }
            (["sobjects", ..] | ["composite", "sobjects"], "DELETE") => "delete",
            (["sobjects", ..] | ["composite", "sobjects", ..], _) => "read",
            (["query" | "queryAll", ..], _) => "query",
            (["jobs", "ingest", ..], _) => "ingest",
            (["jobs", "query", ..], _) => "query_job",
            (["composite", "graph"], _) => "graph",
            (["composite", "batch"], _) => "batch",
            (["composite"], _) => "composite",
            _ => "other",
        }
    }

    /// Returns whether the call names this object in its path, or in its body or statement for
    /// mixed types and queries.
    pub(super) fn names_object(&self, wanted: &str) -> bool {
        match self.parts().as_slice() {
            ["sobjects", object, ..] | ["composite", "sobjects", object, ..] => {
                object.eq_ignore_ascii_case(wanted)
            }
            ["query" | "queryAll", ..] => {
                let statement = self.request.param("q").unwrap_or_default();
                let mut words = statement.split(|c: char| !c.is_alphanumeric() && c != '_');
                words.any(|word| word.eq_ignore_ascii_case(wanted))
            }
            _ if self.operation() == "async_job" => self.body_names(wanted),
            ["composite", ..] | ["jobs", ..] => self.body_names(wanted),
            _ => false,
        }
    }

    fn body_names(&self, wanted: &str) -> bool {
        let body = String::from_utf8_lossy(&self.request.body);
        let mut words = body.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| word.eq_ignore_ascii_case(wanted))
    }

    /// Returns the records that the call names, in order.
    pub(super) fn records(&self) -> Vec<Named> {
        match self.parts().as_slice() {
            ["sobjects", _, id] => id_of(id).into_iter().collect(),
            ["sobjects", object, field, value] => vec![key_of(object, field, value)],
            ["composite", "sobjects"] if self.method == "DELETE" => {
                let ids = self.request.param("ids").unwrap_or_default();
                ids.split(',').filter_map(|id| id_of(id.trim())).collect()
            }
            ["composite", "sobjects", rest @ ..] => {
                let body: Json = serde_json::from_slice(&self.request.body).unwrap_or_default();
                let records = body["records"].as_array().cloned().unwrap_or_default();
                let named = |record: &Json| match rest {
                    [object, field] => {
                        let value = member(record, field)?;
                        Some(key_of(object, field, value))
                    }
                    _ => id_of(member(record, "Id")?),
                };
                records.iter().filter_map(named).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn member<'a>(record: &'a Json, name: &str) -> Option<&'a str> {
    let mut members = record.as_object()?.iter();
    let found = members.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    found.1.as_str()
}

fn id_of(text: &str) -> Option<Named> {
    RecordId::parse(text).map(Named::Id)
}

fn key_of(object: &str, field: &str, value: &str) -> Named {
    Named::Key {
        object: object.to_owned(),
        field: field.to_owned(),
        value: value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(method: &str, target: &str) -> &'static str {
        CallSummary::of(&Request::new(method, target)).operation()
    }

    #[test]
    fn every_write_path_has_an_operation() {
        let at = |rest: &str| format!("/services/data/v62.0/{rest}");
        for (method, rest, expected) in [
            ("POST", "sobjects/Account", "create"),
            ("POST", "sobjects/Account/", "create"),
            ("PATCH", "sobjects/Account/001", "update"),
            ("POST", "sobjects/Account/001?_HttpMethod=PATCH", "update"),
            ("PATCH", "sobjects/Account/Ext__c/a%2Fb", "upsert"),
            ("DELETE", "sobjects/Account/001", "delete"),
            ("DELETE", "composite/sobjects?ids=001", "delete"),
            ("PATCH", "composite/sobjects", "update"),
            ("PATCH", "composite/sobjects/Account/Ext__c", "upsert"),
            ("GET", "sobjects/Account/describe", "describe"),
            ("GET", "query?q=select", "query"),
            ("PUT", "jobs/ingest/750/batches", "ingest"),
            ("POST", "composite/graph", "graph"),
            ("GET", "limits", "other"),
        ] {
            assert_eq!(operation(method, &at(rest)), expected, "{method} {rest}");
        }
        assert_eq!(operation("POST", "/services/oauth2/token"), "login");
    }

    #[test]
    fn calls_name_records_by_id_or_key() {
        let body = serde_json::json!({"records": [{"Ext__c": "a"}, {"ext__c": "b"}, {}]});
        let path = "/services/data/v62.0/composite/sobjects/Account/Ext__c";
        let request = Request::new("PATCH", path).json(&body);
        assert_eq!(
            CallSummary::of(&request).records(),
            [
                key_of("Account", "Ext__c", "a"),
                key_of("Account", "Ext__c", "b")
            ]
        );
        let path = "/services/data/v62.0/sobjects/Account/0015g00002J9YYEAA3";
        let request = Request::new("PATCH", path);
        assert!(matches!(
            CallSummary::of(&request).records()[..],
            [Named::Id(_)]
        ));
    }
}
