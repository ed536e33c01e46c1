//! The CSV dialect of a job: its delimiter and its line ending.

use serde::{Deserialize, Serialize};

/// The delimiter between two cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Delimiter {
    Backquote,
    Caret,
    #[default]
    Comma,
    Pipe,
    Semicolon,
    Tab,
}

impl Delimiter {
    const ALL: [Self; 6] = [
        Self::Backquote,
        Self::Caret,
        Self::Comma,
        Self::Pipe,
        Self::Semicolon,
        Self::Tab,
    ];

    /// Returns the delimiter of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Returns the name that job resources show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Backquote => "BACKQUOTE",
            Self::Caret => "CARET",
            Self::Comma => "COMMA",
            Self::Pipe => "PIPE",
            Self::Semicolon => "SEMICOLON",
            Self::Tab => "TAB",
        }
    }

    /// Returns the character itself.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Backquote => b'`',
            Self::Caret => b'^',
            Self::Comma => b',',
            Self::Pipe => b'|',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

/// The line ending of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LineEnding {
    #[default]
    Lf,
    Crlf,
}

impl LineEnding {
    /// Returns the line ending of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Lf, Self::Crlf]
            .into_iter()
            .find(|known| known.name() == name)
    }

    /// Returns the name that job resources show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lf => "LF",
            Self::Crlf => "CRLF",
        }
    }

    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Crlf => b"\r\n",
        }
    }
}

/// A CSV dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Form {
    pub(crate) delimiter: Delimiter,
    pub(crate) line_ending: LineEnding,
}

impl Form {
    /// Appends a row with every cell quoted, as Salesforce writes results.
    pub(crate) fn push_row<T: AsRef<[u8]>>(
        self,
        out: &mut Vec<u8>,
        cells: impl IntoIterator<Item = T>,
    ) {
        for (place, cell) in cells.into_iter().enumerate() {
            self.push_cell(out, place, cell.as_ref());
        }
        self.end_row(out);
    }

    /// Appends a quoted cell, with a delimiter before it unless it is the first.
    pub(crate) fn push_cell(self, out: &mut Vec<u8>, place: usize, cell: &[u8]) {
        if place > 0 {
            out.push(self.delimiter.byte());
        }
        push_quoted(out, cell);
    }

    /// Appends a cell, quoted only if it could not be read back otherwise.
    pub(crate) fn push_unquoted(self, out: &mut Vec<u8>, cell: &[u8]) {
        let special = |byte: &u8| {
            *byte == self.delimiter.byte() || *byte == b'"' || *byte == b'\n' || *byte == b'\r'
        };
        if cell.iter().any(special) {
            push_quoted(out, cell);
        } else {
            out.extend_from_slice(cell);
        }
    }

    /// Ends the row.
    pub(crate) fn end_row(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.line_ending.bytes());
    }
}

/// Appends a quoted cell.
pub(crate) fn push_quoted(out: &mut Vec<u8>, cell: &[u8]) {
    out.push(b'"');
    if !cell.contains(&b'"') {
        out.extend_from_slice(cell);
        out.push(b'"');
        return;
    }
    for part in cell.split_inclusive(|byte| *byte == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::{Delimiter, Form, LineEnding};

    #[test]
    fn written_rows_quote_every_cell() {
        let form = Form {
            delimiter: Delimiter::Pipe,
            line_ending: LineEnding::Crlf,
        };
        let mut out = Vec::new();
        form.push_row(&mut out, ["a", "", "say \"hi\"", "b|c\n"]);
        assert_eq!(out, b"\"a\"|\"\"|\"say \"\"hi\"\"\"|\"b|c\n\"\r\n");
    }

    #[test]
    fn delimiters_are_found_by_name() {
        for delimiter in Delimiter::ALL {
            assert_eq!(Delimiter::named(delimiter.name()), Some(delimiter));
        }
        assert_eq!(Delimiter::named("comma"), None);
    }
}
