//! The resources that describe the org: versions, resources, limits, record counts.

use serde_json::{Map, Value as Json, json};

use super::message::Response;
use super::usage::Usage;
use super::{Call, VERSION_MAX, VERSION_MIN};
use crate::Org;
use crate::model::permission::Action;

/// Handles `/services/data`, the only data path without a token.
pub(crate) fn versions() -> Response {
    let entries: Vec<String> = (VERSION_MIN..=VERSION_MAX)
        .map(|number| {
            let label = release(number);
            format!(
                r#"{{"label":"{label}","url":"/services/data/v{number}.0","version":"{number}.0"}}"#
            )
        })
        .collect();
    Response::json(200, format!("[{}]", entries.join(",")))
}

/// Returns the name of a release. There are three a year; v66.0 is Spring '26.
fn release(number: u32) -> String {
    let since_spring_2014 = number - 30;
    let season = ["Spring", "Summer", "Winter"][since_spring_2014 as usize % 3];
    // A winter release has the number of the following year.
    let year = 14 + (since_spring_2014 + 1) / 3;
    format!("{season} '{year}")
}

/// Handles `/services/data/vXX.X/`.
pub(crate) fn resources(call: &Call<'_>) -> Response {
    let base = format!("/services/data/{}", call.version);
    let names = [
        "composite",
        "event",
        "jobs",
        "limits",
        "query",
        "queryAll",
        "sobjects",
        "tooling",
    ];
    let mut map: Map<String, Json> = names
        .iter()
        .map(|name| ((*name).to_owned(), format!("{base}/{name}").into()))
        .collect();
    map.insert("identity".to_owned(), "/services/oauth2/userinfo".into());
    Response::json(200, Json::Object(map).to_string())
}

impl Org {
    /// Handles `/limits`.
    pub(crate) fn limits(&mut self) -> Response {
        let used = self.reported_usage();
        let requests =
            json!({"Max": self.usage.max, "Remaining": self.usage.max.saturating_sub(used)});
        let now_ms = self.now_ms();
        let left = |usage: &mut Usage| {
            let remaining = usage.max.saturating_sub(usage.used(now_ms));
            json!({"Max": usage.max, "Remaining": remaining})
        };
        let full = |max: u64| json!({"Max": max, "Remaining": max});
        let delivered = self.stats.events_delivered;
        let body = json!({
            "DailyApiRequests": requests,
            "DailyBulkApiBatches": left(&mut self.bulk.batches),
            "DailyBulkV2QueryJobs": left(&mut self.bulk.queries),
            "DailyBulkV2QueryFileStorageMB": full(976_562),
            "DailyAsyncApexExecutions": full(250_000),
            "DailyStreamingApiEvents": full(200_000),
            "DailyDeliveredPlatformEvents":
                json!({"Max": 50_000, "Remaining": 50_000_u64.saturating_sub(delivered)}),
            "HourlyPublishedPlatformEvents": full(250_000),
            "DataStorageMB": full(10_240),
            "FileStorageMB": full(10_240),
        });
        Response::json(200, body.to_string())
    }

    /// Handles `/limits/recordCount?sObjects=…`, which omits objects without records.
    pub(crate) fn record_count(&self, call: &Call<'_>) -> Response {
        let wanted = call.request.param("sObjects");
        let asked = |name: &str| {
            wanted
                .as_ref()
                .is_none_or(|w| w.split(',').any(|n| n.trim().eq_ignore_ascii_case(name)))
        };
        let counts: Vec<Json> = self
            .model
            .schema
            .numbered()
            .filter(|(no, _)| self.view(call).allows(*no, Action::Read))
            .filter(|(no, object)| asked(&object.name) && self.model.table(*no).live() > 0)
            .map(|(no, object)| json!({"count": self.model.table(no).live(), "name": object.name}))
            .collect();
        Response::json(200, json!({"sObjects": counts}).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn releases_are_named_by_season_and_year() {
        for (number, label) in [
            (66, "Spring '26"),
            (67, "Summer '26"),
            (65, "Winter '26"),
            (31, "Summer '14"),
        ] {
            assert_eq!(release(number), label);
        }
    }
}
