//! The SOAP login, the only SOAP call that REST clients still use.

use super::VERSION_MIN;
use super::message::{Request, Response};
use crate::Org;
use crate::model::id::RecordId;

/// The profile of every user.
const PROFILE: &str = "00e5g000000000000AAA";

impl Org {
    /// Handles `/services/Soap/u/<version>` (partner) and `/c/` (enterprise), or returns `None` for
    /// another path.
    pub(super) fn soap(&mut self, request: &Request, path: &str) -> Option<Response> {
        let rest = path.strip_prefix("/services/Soap/")?;
        let (api, rest) = rest.split_once('/')?;
        let version = rest.split('/').next()?;
        if !matches!(api, "u" | "c") || version.parse::<f32>().is_err() {
            return None;
        }
        self.count_call("/services/Soap", &request.method);
        let text = String::from_utf8_lossy(&request.body);
        let old = version
            .parse::<f32>()
            .is_ok_and(|number| number < VERSION_MIN as f32);
        Some(
            match (element(&text, "username"), element(&text, "password")) {
                _ if old => fault(
                    "UNSUPPORTED_API_VERSION",
                    "Invalid Api version specified on URL",
                ),
                (Some(username), Some(password)) => {
                    self.login(&username, &password, &format!("{api}/{version}"))
                }
                _ => fault("UNKNOWN_EXCEPTION", "The request is no login"),
            },
        )
    }

    fn login(&mut self, username: &str, password: &str, api: &str) -> Response {
        let Some(user) = self.user_by_password(username, password) else {
            return fault(
                "INVALID_LOGIN",
                "Invalid username, password, security token; or user locked out.",
            );
        };
        let session = self.new_session(user);
        let (org_id, base) = (self.org_id(), &self.base_url);
        let version = api.split('/').next_back().unwrap_or_default();
        let short = &org_id[..15];
        let is_sandbox = self.file.org.is_sandbox.unwrap_or(false);
        // Clients read the members by position, so both lists are complete and in the order of the
        // partner WSDL (LoginResult and GetUserInfoResult).
        let result = members(&[
            (
                "metadataServerUrl",
                &format!("{base}/services/Soap/m/{version}/{short}"),
            ),
            ("passwordExpired", "false"),
            ("sandbox", &is_sandbox.to_string()),
            ("serverUrl", &format!("{base}/services/Soap/{api}/{short}")),
            ("sessionId", &session),
            ("userId", &user.to_string()),
        ]);
        let body = format!(
            "<loginResponse><result>{result}<userInfo>{}</userInfo></result></loginResponse>",
            self.user_info(user)
        );
        envelope(200, "urn:partner.soap.sforce.com", &body)
    }

    /// Returns the members of GetUserInfoResult.
    fn user_info(&self, user: RecordId) -> String {
        let of = |field: &str| self.value_of(user, field).unwrap_or_default();
        let currencies = &self.file.org.currencies;
        let currency = currencies.first().map_or("USD", String::as_str);
        let several = !currencies.is_empty();
        let idle_seconds = (self.session_idle_ms() / 1_000).to_string();
        members(&[
            ("accessibilityMode", "false"),
            ("chatterExternal", "false"),
            ("currencySymbol", "$"),
            ("orgAttachmentFileSizeLimit", "5242880"),
            ("orgDefaultCurrencyIsoCode", currency),
            ("orgDefaultCurrencyLocale", "en_US"),
            ("orgDisallowHtmlAttachments", "false"),
            ("orgHasPersonAccounts", "false"),
            ("organizationId", &self.org_id()),
            ("organizationMultiCurrency", &several.to_string()),
            ("organizationName", self.org_name()),
            ("profileId", PROFILE),
            ("roleId", ""),
            ("sessionSecondsValid", &idle_seconds),
            ("userDefaultCurrencyIsoCode", ""),
            ("userEmail", &of("Email")),
            ("userFullName", &of("Name")),
            ("userId", &user.to_string()),
            ("userLanguage", "en_US"),
            ("userLocale", "en_US"),
            ("userName", &of("Username")),
            ("userTimeZone", "GMT"),
            ("userType", "Standard"),
            ("userUiSkin", "Theme3"),
        ])
    }
}

/// Returns elements without children; an empty text is nil.
fn members(members: &[(&str, &str)]) -> String {
    let one = |(name, text): &(&str, &str)| match *text {
        "" => format!("<{name} xsi:nil=\"true\"/>"),
        text => format!("<{name}>{}</{name}>", escaped(text)),
    };
    members.iter().map(one).collect()
}

fn fault(code: &str, message: &str) -> Response {
    let body = format!(
        "<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {message}\
         </faultstring><detail><sf:LoginFault xsi:type=\"sf:LoginFault\"><sf:exceptionCode>{code}\
         </sf:exceptionCode><sf:exceptionMessage>{message}</sf:exceptionMessage></sf:LoginFault>\
         </detail></soapenv:Fault>"
    );
    envelope(500, "urn:partner.soap.sforce.com", &body)
}

fn envelope(status: u16, namespace: &str, body: &str) -> Response {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns=\"{namespace}\" \
         xmlns:sf=\"urn:fault.partner.soap.sforce.com\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{body}\
         </soapenv:Body></soapenv:Envelope>"
    );
    Response {
        status,
        body: text.into_bytes(),
        ..Response::default()
    }
    .with_header("content-type", "text/xml;charset=UTF-8")
}

/// Returns the text of the first element with that local name.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    let open = |tag: &str| {
        let local = tag.split_ascii_whitespace().next().unwrap_or_default();
        local.rsplit(':').next() == Some(name)
    };
    let mut rest = xml;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, text) = after.split_once('>')?;
        if open(tag) {
            return content(text);
        }
        rest = text;
    }
    None
}

/// Returns the text up to the next tag, of which any part may be in a CDATA section.
fn content(mut rest: &str) -> Option<String> {
    let mut content = String::new();
    loop {
        if let Some(section) = rest.strip_prefix("<![CDATA[") {
            let (raw, after) = section.split_once("]]>")?;
            content.push_str(raw);
            rest = after;
        }
        let end = rest.find('<')?;
        content.push_str(&unescaped(&rest[..end]));
        rest = &rest[end..];
        if !rest.starts_with("<![CDATA[") {
            return Some(content);
        }
    }
}

const ENTITIES: [(&str, &str); 5] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&apos;", "'"),
    // Last, so that the result is not decoded as another entity.
    ("&amp;", "&"),
];

fn unescaped(text: &str) -> String {
    let replaced = |text: String, (entity, plain): &(&str, &str)| text.replace(entity, plain);
    ENTITIES.iter().fold(text.to_owned(), replaced)
}

/// Returns a text escaped for use between two tags.
pub(super) fn escaped(text: &str) -> String {
    let replaced = |text: String, (entity, plain): &(&str, &str)| text.replace(plain, entity);
    ENTITIES.iter().rev().fold(text.to_owned(), replaced)
}

#[cfg(test)]
mod tests {
    use super::{element, escaped, unescaped};

    #[test]
    fn elements_are_found_by_local_name_and_unescaped() {
        let xml = "<?xml?><e:Body><n1:login xmlns:n1=\"x\"><n1:username >a&amp;lt;b</n1:username>";
        assert_eq!(element(xml, "username").as_deref(), Some("a&lt;b"));
        assert_eq!(element(xml, "password"), None);
        assert_eq!(element("<username", "username"), None);
        let raw = "<password>a&amp;<![CDATA[<b>&amp;]]></password>";
        assert_eq!(element(raw, "password").as_deref(), Some("a&<b>&amp;"));
        assert_eq!(element("<password><![CDATA[a]]>", "password"), None);
        assert_eq!(unescaped(&escaped("a<&'\">b")), "a<&'\">b");
    }
}
