//! A REST call and its answer as plain values.

use bytes::Bytes;
use serde_json::Value as Json;

/// One HTTP request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Shared, not copied, because uploads are stored.
    pub(crate) body: Bytes,
    /// Whether it used TLS. The addresses in the answer then use TLS too.
    pub(crate) secure: bool,
}

impl Request {
    /// Returns a request without headers and body; `target` is the path with an optional query.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_ascii_uppercase(),
            path: with_one_slash(path),
            query: query.to_owned(),
            ..Self::default()
        }
    }

    /// Returns the request that came by HTTP with this head and body.
    pub(crate) fn of(head: &http::request::Parts, body: Bytes, secure: bool) -> Self {
        let headers = head.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        Self {
            method: head.method.as_str().to_owned(),
            path: with_one_slash(head.uri.path()),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: headers.collect(),
            body,
            secure,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Removes a header; `name` is lower case.
    pub(crate) fn drop_header(&mut self, name: &str) {
        self.headers.retain(|(known, _)| known != name);
    }

    /// Adds the access token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        let value = format!("Bearer {token}");
        self.header("authorization", &value)
    }

    /// Sets the body and its content type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Bytes::from(body.into());
        self.header("content-type", content_type)
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, json: &Json) -> Self {
        self.body("application/json", json.to_string())
    }

    /// Returns the value of a header; `name` is lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the decoded value of a query parameter.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        form_pairs(&self.query)
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(_, v)| v)
    }
}

/// Whether the caller receives the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// The answer arrives.
    #[default]
    Answered,
    /// The connection closes without an answer. Only the org knows whether the work was done.
    Dropped,
}

/// One HTTP response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body; may be empty.
    pub body: Vec<u8>,
    /// Whether the caller receives the response.
    pub delivery: Delivery,
    /// How long the answer is delayed, in addition to any general latency.
    pub delay_ms: u64,
    /// Whether the answer waits for `POST /_org/release`.
    pub hold: bool,
    /// The number under which the call holds record locks until its answer was sent. Pass the
    /// response to [`Org::answered`](crate::Org::answered) then.
    pub in_flight: Option<u64>,
}

impl Response {
    /// Returns a JSON response.
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self {
            status,
            body: body.into_bytes(),
            ..Self::default()
        }
        .with_header("content-type", "application/json;charset=UTF-8")
    }

    /// Returns a response without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Adds a header.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the value of a header; `name` is lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON, or `null` if it is not JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Returns a path that begins with one slash. The Salesforce CLI adds paths to an address that ends
/// with one.
fn with_one_slash(path: &str) -> String {
    match path.strip_prefix("//") {
        Some(rest) => format!("/{}", rest.trim_start_matches('/')),
        None => path.to_owned(),
    }
}

/// Decodes one path segment, or returns `None` if an escape is invalid or the bytes are not UTF-8.
pub(crate) fn decode_segment(text: &str) -> Option<String> {
    decode(text, false)
}

/// Decodes `a=b&c=d`. Pairs that cannot be decoded are omitted.
pub(crate) fn form_pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
        .collect()
}

fn decode(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus_is_blank => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_is_a_space_only_in_forms() {
        assert_eq!(
            decode_segment("a+b%2Fc%20%C3%A9").as_deref(),
            Some("a+b/c é")
        );
        assert_eq!(
            form_pairs("q=a+b%2Bc&x"),
            [("q".into(), "a b+c".into()), ("x".into(), "".into())]
        );
        assert_eq!(decode_segment("%zz"), None);
        assert_eq!(decode_segment("%ff"), None);
    }
}
