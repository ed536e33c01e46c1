//! Reads `multipart/form-data`, as far as creating a job uses it: a part `job` and a part
//! `content`.

use crate::model::error::SfError;

/// The two parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) job: Vec<u8>,
    pub(super) content: Vec<u8>,
}

/// Returns the parts of a body, or `None` for another content type.
pub(super) fn parts(content_type: &str, body: &[u8]) -> Option<Result<Parts, SfError>> {
    let kind = content_type.split(';').next().unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary")
            .then(|| value.trim_matches('"'))
    });
    let read = boundary
        .filter(|boundary| !boundary.is_empty())
        .and_then(|boundary| read(boundary, body));
    Some(read.ok_or_else(|| {
        SfError::new(
            "API_ERROR",
            "A multipart request needs a boundary and the parts 'job' and 'content'",
        )
    }))
}

fn read(boundary: &str, body: &[u8]) -> Option<Parts> {
    let line = format!("--{boundary}");
    let (mut job, mut content) = (None, None);
    let mut rest = &body[find(body, line.as_bytes())? + line.len()..];
    while !rest.starts_with(b"--") {
        let rest_of_line = find(rest, b"\n")? + 1;
        let part = &rest[rest_of_line..];
        let end = find(part, format!("\n{line}").as_bytes())?;
        let inner = part[..end].strip_suffix(b"\r").unwrap_or(&part[..end]);
        let (head, data) = split_head(inner)?;
        match name_of(head)?.as_str() {
            "job" => job = Some(data.to_vec()),
            "content" => content = Some(data.to_vec()),
            _ => return None,
        }
        rest = &part[end + 1 + line.len()..];
    }
    Some(Parts {
        job: job?,
        content: content?,
    })
}

/// Splits the headers of a part from its data.
fn split_head(part: &[u8]) -> Option<(&[u8], &[u8])> {
    [&b"\r\n\r\n"[..], b"\n\n"]
        .into_iter()
        .filter_map(|gap| find(part, gap).map(|at| (at, gap.len())))
        .min()
        .map(|(at, gap)| (&part[..at], &part[at + gap..]))
}

/// Returns the `name` of the part's content disposition.
fn name_of(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let line = head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("content-disposition"))?;
    let name = line
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("name="))?;
    Some(name.trim_matches('"').to_owned())
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

#[cfg(test)]
mod tests {
    use super::{Parts, parts};

    const BODY: &str = "--B\r\nContent-Type: application/json\r\n\
        Content-Disposition: form-data; name=\"job\"\r\n\r\n{\"a\":1}\r\n\
        --B\r\nContent-Type: text/csv\r\n\
        Content-Disposition: form-data; name=\"content\"; filename=\"content\"\r\n\r\n\
        Name\nx\n\r\n--B--\r\n";

    #[test]
    fn both_parts_are_found_with_any_line_ending() {
        let expected = |content: &str| {
            Some(Ok(Parts {
                job: b"{\"a\":1}".to_vec(),
                content: content.as_bytes().to_vec(),
            }))
        };
        let kind = "multipart/form-data; boundary=\"B\"";
        assert_eq!(parts(kind, BODY.as_bytes()), expected("Name\nx\n"));
        let bare = BODY.replace("\r\n", "\n");
        assert_eq!(parts(kind, bare.as_bytes()), expected("Name\nx\n"));
    }

    #[test]
    fn broken_forms_are_refused_other_types_ignored() {
        assert_eq!(parts("application/json", b"{}"), None);
        for (kind, body) in [
            ("multipart/form-data", BODY),
            ("multipart/form-data; boundary=B", ""),
            ("multipart/form-data; boundary=B", "--B\r\n"),
            ("multipart/form-data; boundary=X", BODY),
            ("multipart/form-data; boundary=B", &BODY[..90]),
        ] {
            assert!(
                matches!(parts(kind, body.as_bytes()), Some(Err(_))),
                "{kind}"
            );
        }
    }
}
