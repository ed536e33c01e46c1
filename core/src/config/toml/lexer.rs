//! The letters of TOML: lines, keys, values.

use super::tree::{Item, Made, Table, Value};

/// Arrays and tables within one another, and parts of a dotted key.
const DEPTH_MAX: usize = 80;

/// What is no TOML, and where.
#[derive(Debug)]
pub(in crate::config) struct Broken {
    pub(in crate::config) at: usize,
    pub(in crate::config) problem: String,
}

impl Broken {
    pub(super) fn at(at: usize, problem: &str) -> Self {
        Self {
            at,
            problem: problem.to_owned(),
        }
    }
}

/// One part of a key, and where it stands.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) at: usize,
}

/// Reads a text from its beginning to its end.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Self { text, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes over `byte`, if it is next.
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Goes over `byte` and the space before it.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Broken> {
        self.skip_space();
        self.expect_next(byte)
    }

    pub(super) fn expect_next(&mut self, byte: u8) -> Result<(), Broken> {
        if self.takes(byte) {
            return Ok(());
        }
        let mut expected = "`` is expected here".to_owned();
        expected.insert(1, char::from(byte));
        Err(Broken::at(self.at, &expected))
    }

    /// Goes to the next line that says something; returns whether there is one.
    pub(super) fn next_line(&mut self) -> bool {
        while self.at < self.text.len() {
            self.skip_space();
            match self.peek() {
                Some(b'\n') => self.at += 1,
                Some(b'\r') if self.rest().starts_with("\r\n") => self.at += 2,
                Some(b'#') if self.comment().is_ok() => {}
                Some(_) => return true,
                None => return false,
            }
        }
        false
    }

    /// Goes over what is left of a line.
    pub(super) fn skip_line(&mut self) {
        let rest = self.rest();
        self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
    }

    /// Makes sure that nothing more stands on this line.
    pub(super) fn end_of_line(&mut self) -> Result<(), Broken> {
        self.skip_space();
        if self.peek() == Some(b'#') {
            self.comment()?;
        }
        if self.at == self.text.len() || self.takes(b'\n') {
            return Ok(());
        }
        if self.rest().starts_with("\r\n") {
            self.at += 2;
            return Ok(());
        }
        Err(Broken::at(self.at, "the line should end here"))
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes over space, comments and ends of lines, which count for nothing within brackets.
    fn skip_lines(&mut self) -> Result<(), Broken> {
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'\n') => self.at += 1,
                Some(b'\r') if self.rest().starts_with("\r\n") => self.at += 2,
                Some(b'#') => self.comment()?,
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), Broken> {
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => break,
                b'\r' if self.rest().starts_with("\r\n") => break,
                b'\t' | b' '..=b'~' | 0x80.. => self.at += 1,
                _ => return Err(self.control()),
            }
        }
        Ok(())
    }

    fn control(&self) -> Broken {
        Broken::at(self.at, "a control character must be escaped")
    }

    // Keys.

    /// Reads a key, which may be dotted.
    pub(super) fn key(&mut self) -> Result<Vec<Key>, Broken> {
        let mut path = Vec::new();
        loop {
            self.skip_space();
            let at = self.at;
            if path.len() == DEPTH_MAX {
                return Err(Broken::at(at, "the key has too many parts"));
            }
            let text = self.key_part()?;
            path.push(Key { text, at });
            self.skip_space();
            if !self.takes(b'.') {
                return Ok(path);
            }
        }
    }

    fn key_part(&mut self) -> Result<String, Broken> {
        let from = self.at;
        match self.peek() {
            Some(b'"') => return self.basic_string(),
            Some(b'\'') => return self.literal_string(),
            Some(_) | None => {}
        }
        while let Some(b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-') = self.peek() {
            self.at += 1;
        }
        if from == self.at {
            return Err(Broken::at(self.at, "a key is expected here"));
        }
        Ok(self.text[from..self.at].to_owned())
    }

    // Values.

    /// Reads a value with the space before it.
    pub(super) fn value(&mut self, depth: usize) -> Result<Item, Broken> {
        self.skip_space();
        let at = self.at;
        let value = match self.peek() {
            Some(b'[' | b'{') if depth == DEPTH_MAX => {
                return Err(Broken::at(at, "it is nested too deeply"));
            }
            Some(b'"') if self.rest().starts_with("\"\"\"") => Value::Text(self.long_string(b'"')?),
            Some(b'"') => Value::Text(self.basic_string()?),
            Some(b'\'') if self.rest().starts_with("'''") => Value::Text(self.long_string(b'\'')?),
            Some(b'\'') => Value::Text(self.literal_string()?),
            Some(b'[') => Value::List(self.list(depth)?),
            Some(b'{') => Value::Table(self.inline_table(depth)?),
            Some(_) | None => self.word()?,
        };
        Ok(Item { at, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Item>, Broken> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_lines()?;
            if self.takes(b']') {
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.skip_lines()?;
            if !self.takes(b',') {
                self.expect_next(b']')?;
                return Ok(items);
            }
        }
    }

    fn inline_table(&mut self, depth: usize) -> Result<Table, Broken> {
        self.at += 1;
        // While it is being written, its dotted keys may add to each other.
        let mut table = Table::made(Made::Inline);
        loop {
            self.skip_lines()?;
            if self.takes(b'}') {
                return Ok(table);
            }
            let path = self.key()?;
            self.expect(b'=')?;
            self.skip_lines()?;
            let item = self.value(depth + 1)?;
            table.put(path, item)?;
            self.skip_lines()?;
            if !self.takes(b',') {
                self.expect_next(b'}')?;
                return Ok(table);
            }
        }
    }

    /// A boolean, a number, a date or a time.
    fn word(&mut self) -> Result<Value, Broken> {
        let from = self.at;
        self.skip_word();
        // A date and a time may be parted by a space.
        let is_date = self.text[from..self.at]
            .bytes()
            .filter(|byte| *byte == b'-')
            .count()
            == 2;
        let time_follows = self
            .rest()
            .as_bytes()
            .get(1)
            .is_some_and(u8::is_ascii_digit);
        if is_date && self.peek() == Some(b' ') && time_follows {
            self.at += 1;
            self.skip_word();
        }
        let word = &self.text[from..self.at];
        match word {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ if whole(word).is_some() => Ok(Value::Whole(whole(word).flatten())),
            "inf" | "+inf" | "-inf" | "nan" | "+nan" | "-nan" => Ok(Value::Other),
            _ if word.starts_with(|first: char| first.is_ascii_digit() || "+-".contains(first)) => {
                Ok(Value::Other)
            }
            _ => Err(Broken::at(
                from,
                "a value is expected here; texts stand in quotes",
            )),
        }
    }

    fn skip_word(&mut self) {
        while let Some(b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'+' | b'.' | b':') =
            self.peek()
        {
            self.at += 1;
        }
    }

    // Strings.

    fn literal_string(&mut self) -> Result<String, Broken> {
        self.at += 1;
        let from = self.at;
        loop {
            match self.peek() {
                Some(b'\'') => {
                    self.at += 1;
                    return Ok(self.text[from..self.at - 1].to_owned());
                }
                Some(b'\t' | b' '..=b'~' | 0x80..) => self.at += 1,
                Some(b'\n' | b'\r') | None => return Err(self.unended()),
                Some(_) => return Err(self.control()),
            }
        }
    }

    fn basic_string(&mut self) -> Result<String, Broken> {
        self.at += 1;
        let mut string = String::new();
        let mut from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    string.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    string.push_str(&self.text[from..self.at]);
                    string.push(self.escape()?);
                    from = self.at;
                }
                Some(b'\t' | b' '..=b'~' | 0x80..) => self.at += 1,
                Some(b'\n' | b'\r') | None => return Err(self.unended()),
                Some(_) => return Err(self.control()),
            }
        }
    }

    /// A string of many lines, between three quotes.
    fn long_string(&mut self, quote: u8) -> Result<String, Broken> {
        self.at += 3;
        let _ = self.takes(b'\n') || (self.rest().starts_with("\r\n") && self.skip(2));
        let mut string = String::new();
        let mut from = self.at;
        loop {
            match self.peek() {
                Some(byte) if byte == quote => {
                    let quotes = self
                        .rest()
                        .bytes()
                        .take_while(|byte| *byte == quote)
                        .count();
                    if quotes < 3 {
                        self.at += quotes;
                        continue;
                    }
                    // One or two more quotes belong to the text.
                    let kept = quotes.min(5) - 3;
                    string.push_str(&self.text[from..self.at + kept]);
                    self.at += kept + 3;
                    return Ok(string);
                }
                Some(b'\\') if quote == b'"' => {
                    string.push_str(&self.text[from..self.at]);
                    if !self.skip_line_end() {
                        string.push(self.escape()?);
                    }
                    from = self.at;
                }
                Some(b'\r') if self.rest().starts_with("\r\n") => self.at += 2,
                Some(b'\t' | b'\n' | b' '..=b'~' | 0x80..) => self.at += 1,
                None => return Err(self.unended()),
                Some(_) => return Err(self.control()),
            }
        }
    }

    fn skip(&mut self, bytes: usize) -> bool {
        self.at += bytes;
        true
    }

    /// A backslash at the end of a line takes away all white space up to the next letter.
    fn skip_line_end(&mut self) -> bool {
        let rest = self.rest().get(1..).unwrap_or_default();
        let line = rest.trim_start_matches([' ', '\t']);
        if !line.starts_with('\n') && !line.starts_with("\r\n") {
            return false;
        }
        let mut text = line.trim_start_matches([' ', '\t', '\n']);
        while let Some(more) = text.strip_prefix("\r\n") {
            text = more.trim_start_matches([' ', '\t', '\n']);
        }
        self.at = self.text.len() - text.len();
        true
    }

    fn unended(&self) -> Broken {
        Broken::at(self.at, "the text does not end")
    }

    fn escape(&mut self) -> Result<char, Broken> {
        let at = self.at;
        self.at += 1;
        let dead_letter = self.peek();
        self.at += 1;
        let unescaped = match dead_letter {
            Some(b'"') => Some('"'),
            Some(b'\\') => Some('\\'),
            Some(b'b') => Some('\u{8}'),
            Some(b'e') => Some('\u{1b}'),
            Some(b'f') => Some('\u{c}'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b't') => Some('\t'),
            Some(b'x') => self.hex(2),
            Some(b'u') => self.hex(4),
            Some(b'U') => self.hex(8),
            Some(_) | None => None,
        };
        unescaped.ok_or_else(|| {
            self.at = at;
            Broken::at(
                at,
                "TOML does not know this escape; write a backslash as \\\\",
            )
        })
    }

    fn hex(&mut self, digits: usize) -> Option<char> {
        let mut code: u32 = 0;
        for _ in 0..digits {
            let digit = char::from(self.peek()?).to_digit(16)?;
            code = code.checked_mul(16)? + digit;
            self.at += 1;
        }
        char::from_u32(code)
    }
}

/// Returns the whole number that a word is, if it is one of 32 bits; none if it is no whole number.
fn whole(word: &str) -> Option<Option<u32>> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (digits, radix) = match unsigned.get(..2) {
        Some("0x") => (&word[2..], 16),
        Some("0o") => (&word[2..], 8),
        Some("0b") => (&word[2..], 2),
        Some(_) | None => (unsigned, 10),
    };
    let signed = unsigned.len() != word.len();
    let padded = digits.len() > 1 && digits.starts_with('0');
    let is_number = digits
        .split('_')
        .all(|part| !part.is_empty() && part.chars().all(|digit| digit.is_digit(radix)));
    let allowed = if radix == 10 { !padded } else { !signed };
    if !is_number || !allowed {
        return None;
    }
    let mut number: Option<u32> = Some(0);
    for digit in digits.chars().filter_map(|digit| digit.to_digit(radix)) {
        number = number
            .and_then(|number| number.checked_mul(radix))
            .and_then(|number| number.checked_add(digit));
    }
    Some(number.filter(|number| !word.starts_with('-') || *number == 0))
}
