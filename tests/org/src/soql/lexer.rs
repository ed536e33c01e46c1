//! Splits a SOQL statement into tokens.

use super::{Literal, malformed};
use crate::model::error::{Place, SfError};
use crate::model::stamp;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Literal(Literal),
    Symbol(&'static str),
}

/// A token and its start, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) at: usize,
}

const SYMBOLS: [&str; 10] = ["<=", ">=", "!=", "<>", "=", "<", ">", "(", ")", ","];

/// Returns the tokens of `text`.
pub(super) fn tokens(text: &str) -> Result<Vec<Lexeme>, SfError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let (token, length) = token(rest).map_err(|error| error.placed(Place::At(at)))?;
        tokens.push(Lexeme { token, at });
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// Returns the first token of a non-empty text and its length.
fn token(text: &str) -> Result<(Token, usize), SfError> {
    let first = text.chars().next().unwrap_or_default();
    if first == '\'' {
        return string(text);
    }
    if first.is_ascii_digit() || (matches!(first, '-' | '+') && digit_follows(text)) {
        return number_or_date(text);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = word_length(text);
        return Ok((Token::Word(text[..length].to_owned()), length));
    }
    if first == ':' {
        return Err(malformed("Bind variables only allowed in Apex code"));
    }
    let symbol = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol));
    let symbol = symbol.ok_or_else(|| malformed(format!("unexpected token: '{first}'")))?;
    Ok((Token::Symbol(symbol), symbol.len()))
}

/// Returns the length of the word at the start of a text, including the count of a date literal.
fn word_length(text: &str) -> usize {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let length = text.find(|c: char| !part(c)).unwrap_or(text.len());
    let Some(after) = text[length..].strip_prefix(':') else {
        return length;
    };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        length
    } else {
        length + 1 + digits
    }
}

fn digit_follows(text: &str) -> bool {
    text[1..].starts_with(|c: char| c.is_ascii_digit())
}

fn number_or_date(text: &str) -> Result<(Token, usize), SfError> {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '+' | '-');
    let length = text.find(|c: char| !part(c)).unwrap_or(text.len());
    let shown = &text[..length];
    let literal = if let Some(ms) = stamp::parse_datetime(shown) {
        Literal::Datetime(ms)
    } else if let Some(days) = stamp::parse_date(shown) {
        Literal::Date(days)
    } else if shown.parse::<f64>().is_ok() {
        Literal::Number(shown.to_owned())
    } else {
        return Err(malformed(format!("unexpected token: '{shown}'")));
    };
    Ok((Token::Literal(literal), length))
}

/// Reads a quoted string. An unknown escape is an error.
fn string(text: &str) -> Result<(Token, usize), SfError> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((Token::Literal(Literal::Text(out)), at + 1)),
            '\\' => {
                let escape = chars.next().map(|(_, c)| c);
                match escape.map(|c| c.to_ascii_lowercase()) {
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some('b') => out.push('\u{8}'),
                    Some('f') => out.push('\u{c}'),
                    Some(same @ ('"' | '\'')) => out.push(same),
                    // These keep their backslash, because LIKE needs it.
                    Some(kept @ ('\\' | '_' | '%')) => out.extend(['\\', kept]),
                    Some('u') => {
                        let hex: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&hex, 16)
                            .ok()
                            .filter(|_| hex.len() == 4);
                        let c = code.and_then(char::from_u32);
                        out.push(c.ok_or_else(illegal_escape)?);
                    }
                    _ => return Err(illegal_escape()),
                }
            }
            _ => out.push(c),
        }
    }
    Err(malformed("unexpected token: '<EOF>'"))
}

fn illegal_escape() -> SfError {
    malformed("Invalid string literal. Illegal character sequence in string literal.")
}
