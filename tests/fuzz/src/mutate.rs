//! Changes inputs in the ways that break parsers: bits, lengths, nesting, duplicates, numbers, pieces of other inputs.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value as Json;

/// Texts that parsers treat in a special way, or should not.
const SPECIAL: [&str; 24] = [
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "0",
    "-0",
    "1e999",
    "-1e-999",
    "1E400",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999999",
    "0.1e1",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\u{feff}",
    "NaN",
    "\\",
    "\"",
    "'",
    "\r\n",
    "ß",
    "𐀀",
];

/// Bytes that lengths and signs turn at.
const BYTES: [u8; 8] = [0x00, 0x01, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x0a];

/// Most levels that a mutation nests a piece by: more than any parser should follow.
const LEVELS_MAX: usize = 3_000;

/// Longest input that a mutation grows on.
const LENGTH_MAX: usize = 64 * 1024;

/// Returns one of the inputs with a few changes, and the name of the input. The same number gives the same.
pub fn mutated(corpus: &[(String, Vec<u8>)], number: u64) -> (String, Vec<u8>) {
    let mut mutator = Mutator::new(number);
    let (name, bytes) = &corpus[usize::try_from(number).unwrap_or_default() % corpus.len()];
    (name.clone(), mutator.mutate(bytes, corpus))
}

/// Changes inputs, by a seed.
#[derive(Debug)]
pub struct Mutator(StdRng);

impl Mutator {
    /// Returns the mutator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Returns an input with one to four changes.
    pub fn mutate(&mut self, bytes: &[u8], corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..self.0.random_range(1..=4) {
            let structured = self.0.random_bool(0.5).then(|| self.change_json(&bytes));
            bytes = match structured.flatten() {
                Some(changed) => changed,
                None => self.change_bytes(bytes, corpus),
            };
        }
        bytes
    }

    /// Returns a place in the bytes, their end included.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.0.random_range(0..=bytes.len())
    }

    /// Returns the ends of a piece of at most so many bytes.
    fn piece(&mut self, bytes: &[u8], most: usize) -> (usize, usize) {
        let begin = self.place(bytes);
        let length = self.0.random_range(0..=most);
        (begin, (begin + length).min(bytes.len()))
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.0.random_range(0..all.len())]
    }

    fn special(&mut self) -> &'static str {
        SPECIAL[self.0.random_range(0..SPECIAL.len())]
    }

    fn change_bytes(&mut self, mut bytes: Vec<u8>, corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
        let (begin, end) = self.piece(&bytes, 40);
        match self.0.random_range(0..11) {
            0 if begin < bytes.len() => bytes[begin] ^= 1 << self.0.random_range(0..8),
            1 if begin < bytes.len() => bytes[begin] = *self.one_of(&BYTES),
            2 => bytes.truncate(begin),
            3 => drop(bytes.drain(begin..end)),
            4 if bytes.len() < LENGTH_MAX => {
                let piece = bytes[begin..end].to_vec();
                let at = self.place(&bytes);
                bytes.splice(at..at, piece);
            }
            5 => drop(bytes.splice(begin..end, self.special().bytes())),
            6 => drop(bytes.splice(begin..begin, self.special().bytes())),
            // A length: announced, and not there.
            7 => drop(bytes.splice(begin..end.min(begin + 1), varint(self.length()))),
            8 if bytes.len() < LENGTH_MAX => return self.nest(&bytes, begin, end),
            9 => {
                let other = self.one_of(corpus).1.clone();
                let (from, to) = self.piece(&other, 200);
                bytes.splice(begin..end, other[from..to].iter().copied());
            }
            10 => self.change_number(&mut bytes),
            _ => bytes.insert(begin, *self.one_of(&BYTES)),
        }
        bytes
    }

    fn length(&mut self) -> u64 {
        let bits = self.0.random_range(0..64);
        (1_u64 << bits).wrapping_add(self.0.random_range(0..3))
    }

    fn nest(&mut self, bytes: &[u8], begin: usize, end: usize) -> Vec<u8> {
        let (open, close) = *self.one_of(&[("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("a.", "")]);
        let levels = match self.0.random_bool(0.5) {
            true => self.0.random_range(1..6),
            false => self.0.random_range(1..LEVELS_MAX),
        };
        let before = open.repeat(levels);
        let after = close.repeat(levels);
        let parts = [
            &bytes[..begin],
            before.as_bytes(),
            &bytes[begin..end],
            after.as_bytes(),
            &bytes[end..],
        ];
        parts.concat()
    }

    /// Replaces a number that is written out.
    fn change_number(&mut self, bytes: &mut Vec<u8>) {
        let from = self.place(bytes);
        let Some(begin) = bytes[from..].iter().position(u8::is_ascii_digit) else {
            return;
        };
        let begin = from + begin;
        let digits = bytes[begin..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let end = begin + digits.count();
        let number = match self.0.random_range(0..4) {
            0 => self.length().to_string(),
            1 => "9".repeat(self.0.random_range(1..400)),
            2 => format!(
                "-{}.5e{}",
                self.0.random_range(0..9),
                self.0.random_range(0..2_000)
            ),
            _ => self.0.random_range(-2_i64..300).to_string(),
        };
        bytes.splice(begin..end, number.into_bytes());
    }

    /// Changes one value of a JSON document; `None` if it is not one.
    fn change_json(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut json: Json = serde_json::from_slice(bytes).ok()?;
        let count = nodes(&json);
        let mut place = self.0.random_range(0..count);
        let other = node_at(&json, &mut self.0.random_range(0..count))?.clone();
        let node = node_at_mut(&mut json, &mut place)?;
        let special: Option<Json> = serde_json::from_str(self.special()).ok();
        match self.0.random_range(0..6) {
            0 => *node = special.unwrap_or_default(),
            1 => *node = other,
            2 => *node = Json::Array(vec![node.clone(), other]),
            3 => *node = serde_json::json!({"City": node.clone()}),
            4 => match node {
                Json::Array(items) if !items.is_empty() => {
                    let at = self.0.random_range(0..items.len());
                    items.swap_remove(at);
                }
                Json::Object(members) if !members.is_empty() => {
                    let at = self.0.random_range(0..members.len());
                    let key = members.keys().nth(at)?.clone();
                    members.remove(&key);
                }
                other => *other = Json::Null,
            },
            _ => return Some(self.duplicate_key(&json)),
        }
        Some(json.to_string().into_bytes())
    }

    /// Writes the document with one of its outer members twice, the second time with another value.
    fn duplicate_key(&mut self, json: &Json) -> Vec<u8> {
        let text = json.to_string();
        let keys: Vec<&String> = json
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys())
            .collect();
        if keys.is_empty() {
            return text.into_bytes();
        }
        let key = Json::from(self.one_of(&keys).as_str());
        let value = self.special();
        format!("{},{key}:{value}}}", &text[..text.len() - 1]).into_bytes()
    }
}

/// Returns a number as Avro writes lengths.
fn varint(number: u64) -> Vec<u8> {
    let mut rest = number;
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn children(json: &Json) -> Vec<&Json> {
    match json {
        Json::Array(items) => items.iter().collect(),
        Json::Object(members) => members.values().collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Vec::new(),
    }
}

fn nodes(json: &Json) -> usize {
    1 + children(json).into_iter().map(nodes).sum::<usize>()
}

/// Returns the value at a place, counted from the outermost.
fn node_at<'a>(json: &'a Json, place: &mut usize) -> Option<&'a Json> {
    if *place == 0 {
        return Some(json);
    }
    *place -= 1;
    children(json)
        .into_iter()
        .find_map(|child| node_at(child, place))
}

fn node_at_mut<'a>(json: &'a mut Json, place: &mut usize) -> Option<&'a mut Json> {
    if *place == 0 {
        return Some(json);
    }
    *place -= 1;
    match json {
        Json::Array(items) => items.iter_mut().find_map(|child| node_at_mut(child, place)),
        Json::Object(members) => members
            .values_mut()
            .find_map(|child| node_at_mut(child, place)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    }
}
