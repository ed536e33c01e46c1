//! Composite batch: independent calls in one request. Each counts as an API call.

use serde_json::Value as Json;

use super::composite::{flag, malformed, push_body};
use super::message::{Request, Response};
use super::resource::Container;
use super::{Call, allowance_spent, refusal};
use crate::Org;
use crate::model::error::SfError;
use crate::unconfirmed::COMPOSITE_LIMIT_CODE;

/// Maximum number of subrequests in a batch.
const SUBREQUESTS_MAX: usize = 25;

impl Org {
    /// Handles `POST /composite/batch`.
    pub(super) fn batch(&mut self, call: &mut Call<'_>) -> Result<Response, SfError> {
        let body = call.members()?;
        let halt_on_error = flag(&body, "haltOnError")?;
        let Some(Json::Array(items)) = body.get("batchRequests") else {
            return Err(malformed("batchRequests is required and is an array"));
        };
        if items.is_empty() {
            return Err(malformed("batchRequests has no subrequest"));
        }
        if items.len() > SUBREQUESTS_MAX {
            let message = format!("batchRequests has more than {SUBREQUESTS_MAX} subrequests");
            return Err(SfError::new(COMPOSITE_LIMIT_CODE, message).with_status(400));
        }
        let requests: Vec<Request> = items.iter().map(read).collect::<Result<_, _>>()?;
        let mut results = String::new();
        let mut failed = false;
        for (place, request) in requests.iter().enumerate() {
            let response = if failed && halt_on_error {
                let error = SfError::new(
                    "BATCH_PROCESSING_HALTED",
                    "Batch processing halted per request",
                );
                refusal(&error.with_status(412))
            } else if place > 0 && !self.usage.spend(self.now_ms()) {
                // The first subrequest uses the API call that the batch itself was counted as.
                refusal(&allowance_spent())
            } else {
                self.within(call, request, Container::Batch)
            };
            failed |= response.status >= 400 || response.status == 300;
            results.push_str(if place > 0 { ",{" } else { "{" });
            results.push_str(&format!("\"statusCode\":{},\"result\":", response.status));
            push_body(&mut results, &response);
            results.push('}');
        }
        let body = format!("{{\"hasErrors\":{failed},\"results\":[{results}]}}");
        Ok(Response::json(200, body))
    }
}

/// Reads one subrequest, whose URL starts with the version.
fn read(json: &Json) -> Result<Request, SfError> {
    let text = |name: &str| match json.get(name) {
        Some(Json::String(text)) if !text.is_empty() => Ok(text.as_str()),
        _ => Err(malformed(&format!("A subrequest needs the member {name}"))),
    };
    let url = text("url")?;
    let url = url.strip_prefix("/services/data/").unwrap_or(url);
    let target = format!("/services/data/{}", url.trim_start_matches('/'));
    let request = Request::new(text("method")?, &target);
    Ok(match json.get("richInput") {
        None | Some(Json::Null) => request,
        Some(input) => request.json(input),
    })
}
