//! Rich text: which HTML Salesforce keeps when a rich text field is saved.
//!
//! Elements that its editor does not know are removed without their content's loss, scripts and
//! styles with it; attributes are kept if they are harmless; quotes, angle brackets and ampersands
//! of the text become entities. Source: Salesforce Help, "Rich Text Editor: supported HTML"; the
//! entities are from reports.

/// Elements that stay.
const TAGS: [&str; 38] = [
    "a",
    "abbr",
    "acronym",
    "address",
    "b",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "del",
    "div",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "span",
    "strong",
    "table",
    "u",
    "ul",
];

/// Elements that stay, of tables and small text.
const MORE_TAGS: [&str; 10] = [
    "sub", "sup", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "strike",
];

/// Elements that are removed with their content.
const DROPPED: [&str; 2] = ["script", "style"];

/// Returns the text that is stored for `html`.
pub(super) fn sanitised(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        push_text(&mut out, &rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("<!--") {
            rest = after.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some(tag) = Tag::read(rest) else {
            out.push_str("&lt;");
            rest = &rest[1..];
            continue;
        };
        rest = &rest[tag.length..];
        if DROPPED.contains(&tag.name.as_str()) && !tag.closes {
            rest = after_element(rest, &tag.name);
        } else if TAGS.contains(&tag.name.as_str()) || MORE_TAGS.contains(&tag.name.as_str()) {
            tag.push(&mut out);
        }
    }
    push_text(&mut out, rest);
    out
}

/// Returns the text after the end tag of an element, or nothing if it has none.
fn after_element<'a>(text: &'a str, name: &str) -> &'a str {
    let end = format!("</{name}");
    let lower = text.to_ascii_lowercase();
    let Some(at) = lower.find(&end) else {
        return "";
    };
    text[at..].split_once('>').map_or("", |(_, after)| after)
}

/// A start or end tag.
struct Tag<'a> {
    name: String,
    closes: bool,
    attributes: &'a str,
    /// Bytes from `<` to `>`.
    length: usize,
}

impl<'a> Tag<'a> {
    /// Reads the tag at the start of a text, or returns `None` if its `<` starts none.
    fn read(text: &'a str) -> Option<Self> {
        let inner = &text[1..text.find('>')?];
        let (closes, body) = match inner.strip_prefix('/') {
            Some(body) => (true, body),
            None => (false, inner),
        };
        let end = body.find(|c: char| !c.is_ascii_alphanumeric());
        let (name, attributes) = body.split_at(end.unwrap_or(body.len()));
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            .then(|| Self {
                name: name.to_ascii_lowercase(),
                closes,
                attributes: attributes.trim_end_matches('/').trim(),
                length: inner.len() + 2,
            })
    }

    fn push(&self, out: &mut String) {
        if self.closes {
            out.push_str(&format!("</{}>", self.name));
            return;
        }
        out.push('<');
        out.push_str(&self.name);
        let mut rest = self.attributes;
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = quoted(after.trim_start());
            if harmless(name.trim(), value) {
                let name = name.trim().to_ascii_lowercase();
                out.push_str(&format!(" {name}=\"{value}\""));
            }
            rest = after.trim_start();
        }
        out.push('>');
    }
}

/// Returns the value at the start of a text, without its quotes, and the text after it.
fn quoted(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split_once(quote).unwrap_or((inner, ""));
        }
    }
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// Returns whether an attribute runs no script.
fn harmless(name: &str, value: &str) -> bool {
    let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let runs = |text: &str, start: &str| {
        text.get(..start.len())
            .is_some_and(|text| text.eq_ignore_ascii_case(start))
    };
    word && !runs(name, "on") && !runs(value.trim(), "javascript:") && !value.contains(['"', '<'])
}

/// Appends text between tags. Entities stay as they are.
fn push_text(out: &mut String, text: &str) {
    for (at, char) in text.char_indices() {
        match char {
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&quot;"),
            '>' => out.push_str("&gt;"),
            '&' if !starts_entity(&text[at..]) => out.push_str("&amp;"),
            other => out.push(other),
        }
    }
}

fn starts_entity(text: &str) -> bool {
    let name = text[1..].split_once(';').map_or("", |(name, _)| name);
    let digits = name.strip_prefix('#').unwrap_or(name);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::sanitised;
    use proptest::prelude::*;

    #[test]
    fn scripts_handlers_and_unknown_tags_are_removed() {
        for (sent, stored) in [
            ("<p>it's</p>", "<p>it&#39;s</p>"),
            ("a & b &amp; c < d", "a &amp; b &amp; c &lt; d"),
            ("<B onclick=\"x()\">b</B>", "<b>b</b>"),
            ("x<script>alert(1)</script>y<!-- z -->", "xy"),
            ("<blink>b</blink>", "b"),
            (
                "<a href='https://x.example' target=_blank>\"x\"</a>",
                "<a href=\"https://x.example\" target=\"_blank\">&quot;x&quot;</a>",
            ),
            ("<a href=\"JavaScript:x()\">x</a>", "<a>x</a>"),
        ] {
            assert_eq!(sanitised(sent), stored, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn stored_rich_text_is_stored_unchanged(html in "[<>/=a-c&;#'\" p-s!-]{0,60}") {
            let stored = sanitised(&html);
            prop_assert_eq!(sanitised(&stored), stored);
        }
    }
}
