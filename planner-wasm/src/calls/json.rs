//! JSON texts as they come: small, exact, and never deeper than a stack.
//!
//! The usual parser brings along how floating point numbers are read and written, which no value here
//! ever is: its tables alone would be a fifth of the module. A test compares the two.

use std::borrow::Cow;

use super::Problem;

/// Arrays and objects within one another.
const DEPTH_MAX: usize = 127;

/// A JSON value, numbers and plain strings still in the text they came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number with all its digits.
    Number(&'t str),
    /// A string.
    Text(Cow<'t, str>),
    /// An array.
    List(Vec<Node<'t>>),
    /// An object. Of members with the same name the last one counts.
    Members(Vec<(Cow<'t, str>, Node<'t>)>),
}

/// Returns the one JSON value that `text` holds.
pub fn parse(text: &str) -> Result<Node<'_>, Problem> {
    let mut parser = Parser { text, at: 0 };
    let node = parser.value(0).and_then(|node| {
        parser.skip_space();
        match parser.peek() {
            None => Ok(node),
            Some(_) => Err("nothing more"),
        }
    });
    node.map_err(|expected| parser.problem(expected))
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

/// What was expected instead of what is there.
type Expected = &'static str;

impl<'t> Parser<'t> {
    fn problem(&self, expected: Expected) -> Problem {
        let before = &self.text.as_bytes()[..self.at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count();
        let message =
            format!("it is not JSON: {expected} is expected at line {line} column {column}");
        Problem::at("", message, "give the whole of one JSON text")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes over `byte`, if it is next.
    fn takes(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Returns the text since `from`, which is a place between characters as the current one is.
    fn since(&self, from: usize) -> &'t str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn value(&mut self, depth: usize) -> Result<Node<'t>, Expected> {
        self.skip_space();
        match self.peek() {
            Some(b'{' | b'[') if depth == DEPTH_MAX => Err("a value that is less deep"),
            Some(b'{') => self.members(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Node::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
            None => Err("a value"),
        }
    }

    fn word(&mut self) -> Result<Node<'t>, Expected> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, node) in [
            ("null", Node::Null),
            ("true", Node::Bool(true)),
            ("false", Node::Bool(false)),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(node);
            }
        }
        Err("a value")
    }

    fn list(&mut self, depth: usize) -> Result<Node<'t>, Expected> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.takes(b']') {
            return Ok(Node::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.takes(b']') {
                return Ok(Node::List(items));
            }
            if !self.takes(b',') {
                return Err("`,` or `]`");
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<Node<'t>, Expected> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_space();
        if self.takes(b'}') {
            return Ok(Node::Members(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err("a name in quotes");
            }
            let name = self.string()?;
            self.skip_space();
            if !self.takes(b':') {
                return Err("`:`");
            }
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
            if self.takes(b'}') {
                return Ok(Node::Members(members));
            }
            if !self.takes(b',') {
                return Err("`,` or `}`");
            }
        }
    }

    fn digits(&mut self) -> Result<(), Expected> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == from {
            Err("a digit")
        } else {
            Ok(())
        }
    }

    fn number(&mut self) -> Result<Node<'t>, Expected> {
        let from = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Ok(Node::Number(self.since(from)))
    }

    fn string(&mut self) -> Result<Cow<'t, str>, Expected> {
        self.at += 1;
        let mut from = self.at;
        let mut unescaped = String::new();
        loop {
            match self.peek() {
                None => return Err("`\"`"),
                Some(0..0x20) => return Err("an escape instead of a control character"),
                Some(b'"') => {
                    let rest = self.since(from);
                    self.at += 1;
                    if unescaped.is_empty() {
                        return Ok(Cow::Borrowed(rest));
                    }
                    unescaped.push_str(rest);
                    return Ok(Cow::Owned(unescaped));
                }
                Some(b'\\') => {
                    unescaped.push_str(self.since(from));
                    self.at += 1;
                    unescaped.push(self.escape()?);
                    from = self.at;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, Expected> {
        let dead_letter = self.peek();
        self.at += 1;
        match dead_letter {
            Some(b'"') => Ok('"'),
            Some(b'\\') => Ok('\\'),
            Some(b'/') => Ok('/'),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => self.unicode(),
            Some(_) | None => {
                self.at -= 1;
                Err("an escape that JSON knows")
            }
        }
    }

    /// Reads a character of one or two escapes; half a pair is none.
    fn unicode(&mut self) -> Result<char, Expected> {
        const HALF: Expected = "the other half of a surrogate pair";
        let first = self.hex()?;
        let code = match first {
            0xd800..0xdc00 => {
                if !(self.takes(b'\\') && self.takes(b'u')) {
                    return Err(HALF);
                }
                match self.hex()? {
                    second @ 0xdc00..0xe000 => {
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    _ => return Err(HALF),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(HALF)
    }

    fn hex(&mut self) -> Result<u32, Expected> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or("a hexadecimal digit")?;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::super::read::{Read as _, read};
    use super::parse;

    /// Compares with the parser that everything else uses: the same texts, and the same values.
    fn check(text: &str) {
        let ours = parse(text).ok().map(|node| Json::read(node).unwrap());
        let theirs: Option<Json> = serde_json::from_str(text).ok();
        // It writes an exponent in its own way.
        let same = match (&ours, &theirs) {
            (Some(ours), Some(theirs)) if text.contains(['e', 'E']) => {
                syncline_planner::model::hash::canonical_json(ours)
                    == syncline_planner::model::hash::canonical_json(theirs)
            }
            (ours, theirs) => ours == theirs,
        };
        assert!(same, "{text}: {ours:?} {theirs:?}");
    }

    const TEXTS: &[&str] = &[
        r#"{"a": [1, -0.50e+3, true, false, null], "b": {}, "": [], "a": "again"}"#,
        r#"["\u0041\ud83c\udf88\n\/\"\\", "é🎈", "\b\f\r\t"]"#,
        "  [ 1 , 2 ]\r\n\t",
        "12345678901234567890.123456789",
        "-0",
        "01",
        "1.",
        ".5",
        "-",
        "1e",
        "+1",
        "NaN",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "[1 2]",
        "1 2",
        "",
        " ",
        "\u{feff}1",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\x\"",
        "\"\\u00g0\"",
        "\"a\nb\"",
        "\"a",
        "nul",
        "truee",
        "[",
        "{\"a\"",
    ];

    #[test]
    fn the_same_texts_are_json_as_for_the_usual_parser() {
        for text in TEXTS {
            check(text);
            // Every beginning of it, and every text with one character less.
            for (at, dead_letter) in text.char_indices() {
                check(&text[..at]);
                check(&format!(
                    "{}{}",
                    &text[..at],
                    &text[at + dead_letter.len_utf8()..]
                ));
            }
        }
    }

    #[test]
    fn depth_is_bounded_where_the_usual_parser_bounds_it() {
        for depth in [1, 126, 127, 128, 10_000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                check(&format!("{}1{}", open.repeat(depth), close.repeat(depth)));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let problem = read::<Json>("{\"a\": 1,\n \"b\" 2}").unwrap_err();
        assert_eq!(
            problem.message,
            "it is not JSON: `:` is expected at line 2 column 6"
        );
    }
}
