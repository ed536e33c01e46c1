//! JSON with line breaks and indentation, as `X-PrettyPrint: 1` requests it.
//!
//! Only the whitespace between tokens changes: each member of an object gets a line, arrays stay on
//! one line. The input is JSON that the org wrote, so it is not checked.

/// Returns the JSON indented.
pub(super) fn pretty(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    // Whether each open bracket belongs to an object.
    let mut open: Vec<bool> = Vec::new();
    let mut quoted = false;
    let mut escaped = false;
    let mut bytes = json.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if quoted {
            out.push(byte);
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let empty = bytes.peek().is_some_and(|next| matches!(next, b'}' | b']'));
        match byte {
            b'"' => {
                out.push(byte);
                quoted = true;
            }
            b'{' | b'[' => {
                out.push(byte);
                open.push(byte == b'{');
                if empty {
                    out.push(b' ');
                } else {
                    begin(&mut out, &open);
                }
            }
            b'}' | b']' => {
                let object = open.pop().unwrap_or_default();
                if out.last() != Some(&b' ')
                    || !matches!(out[..out.len() - 1].last(), Some(b'{' | b'['))
                {
                    if object {
                        new_line(&mut out, &open);
                    } else {
                        out.push(b' ');
                    }
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                begin(&mut out, &open);
            }
            b':' => out.extend_from_slice(b" : "),
            other => out.push(other),
        }
    }
    out
}

/// Appends the whitespace before a member or an element.
fn begin(out: &mut Vec<u8>, open: &[bool]) {
    if open.last() == Some(&true) {
        new_line(out, open);
    } else {
        out.push(b' ');
    }
}

fn new_line(out: &mut Vec<u8>, open: &[bool]) {
    out.push(b'\n');
    let depth = open.iter().filter(|object| **object).count();
    out.resize(out.len() + 2 * depth, b' ');
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn members_get_lines_and_elements_do_not() {
        let plain = r#"{"a":[{"b":"x,\"{:"},{}],"c":[],"d":[1,2]}"#;
        let shown = "{\n  \"a\" : [ {\n    \"b\" : \"x,\\\"{:\"\n  }, { } ],\n  \"c\" : [ ],\n  \"d\" : [ 1, 2 ]\n}";
        let text = String::from_utf8(pretty(plain.as_bytes())).unwrap();
        assert_eq!(text, shown);
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed.to_string(), plain);
    }
}
