//! Reads uploaded CSV row by row and reports what Salesforce would reject.
//!
//! The text is never copied as a whole. A reader holds one row and can restart at the end of any
//! row that it returned.

use std::io::Read as _;

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::form::{Form, LineEnding};

/// Put before the text so that the reader does not remove a byte-order mark; the empty line is
/// skipped.
const LEAD: &[u8] = b"\n";

/// The rows of a CSV text, starting at the beginning of any row.
pub(super) struct Rows<'a> {
    csv: &'a [u8],
    form: Form,
    reader: Reader<std::io::Chain<&'static [u8], &'a [u8]>>,
    /// Offset at which the reader started.
    from: usize,
    record: ByteRecord,
}

/// One row.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// The cells. Text that is not UTF-8 was refused earlier.
    pub(super) cells: &'a ByteRecord,
    /// Offset at which the next row starts.
    pub(super) end: usize,
    /// How the row ends.
    pub(super) ending: Ending,
    /// Whether the quotes of the row are valid.
    pub(super) quotes: Quotes,
    /// Length of the row in bytes, including its line ending.
    pub(super) bytes: usize,
}

/// The line ending of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Lf,
    Crlf,
    /// The text ends without a line ending.
    None,
}

impl Ending {
    /// Returns whether a job with this line ending accepts the row.
    pub(super) fn fits(self, wanted: LineEnding) -> bool {
        match self {
            Self::None => true,
            Self::Lf => wanted == LineEnding::Lf,
            Self::Crlf => wanted == LineEnding::Crlf,
        }
    }
}

/// Whether the quotes of a row are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// Every quote opens a cell, closes it, or is doubled inside it.
    Proper,
    /// A quote appears inside an unquoted cell, or text follows a closing quote.
    Stray,
    /// The text ends inside a quoted cell.
    Open,
}

impl<'a> Rows<'a> {
    /// Returns the rows from `from`, which is 0 or the end of a row.
    pub(super) fn new(csv: &'a [u8], form: Form, from: usize) -> Self {
        let text = csv.get(from..).unwrap_or_default();
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(form.delimiter.byte())
            // Carriage returns are handled here, because the reader would accept either line
            // ending.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(LEAD.chain(text));
        Self {
            csv,
            form,
            reader,
            from,
            record: ByteRecord::new(),
        }
    }

    /// Returns the next row that is not blank.
    pub(super) fn read(&mut self) -> Option<Row<'_>> {
        loop {
            let start = self.place();
            // Reading from memory cannot fail, and a row may have any length.
            if !self.reader.read_byte_record(&mut self.record).ok()? {
                return None;
            }
            let raw = self.csv.get(start..self.place()).unwrap_or_default();
            let (raw, ending) = split_ending(raw);
            if ending == Ending::Crlf {
                self.drop_carriage_return();
            }
            if self.record.len() == 1 && raw.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                continue;
            }
            let bytes = self.place() - start;
            return Some(Row {
                quotes: quotes(raw, self.form.delimiter.byte()),
                end: self.place(),
                cells: &self.record,
                ending,
                bytes,
            });
        }
    }

    /// Returns the offset up to which the text was read.
    fn place(&self) -> usize {
        let read = usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX);
        (self.from + read.saturating_sub(LEAD.len())).min(self.csv.len())
    }

    /// Removes the carriage return from the last cell; it belongs to the line ending.
    fn drop_carriage_return(&mut self) {
        let Some(last) = self.record.iter().next_back() else {
            return;
        };
        if let Some(text) = last.strip_suffix(b"\r") {
            let text = text.to_vec();
            self.record.truncate(self.record.len() - 1);
            self.record.push_field(&text);
        }
    }
}

fn split_ending(raw: &[u8]) -> (&[u8], Ending) {
    match raw.strip_suffix(b"\n") {
        None => (raw, Ending::None),
        Some(rest) => match rest.strip_suffix(b"\r") {
            None => (rest, Ending::Lf),
            Some(rest) => (rest, Ending::Crlf),
        },
    }
}

fn quotes(raw: &[u8], delimiter: u8) -> Quotes {
    enum At {
        Start,
        Unquoted,
        Quoted,
        Closed,
    }
    if !raw.contains(&b'"') {
        return Quotes::Proper;
    }
    let mut at = At::Start;
    let mut stray = false;
    for byte in raw {
        at = match (at, *byte) {
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) | (At::Start | At::Closed, b'"') => At::Quoted,
            (At::Start | At::Unquoted | At::Closed, byte) if byte == delimiter => At::Start,
            // Empty lines before the row.
            (At::Start, b'\n' | b'\r') => At::Start,
            (At::Start, _) => At::Unquoted,
            (At::Unquoted, byte) => {
                stray |= byte == b'"';
                At::Unquoted
            }
            (At::Closed, _) => {
                stray = true;
                At::Unquoted
            }
        };
    }
    match at {
        At::Quoted => Quotes::Open,
        At::Start | At::Unquoted | At::Closed if stray => Quotes::Stray,
        At::Start | At::Unquoted | At::Closed => Quotes::Proper,
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Quotes, Rows};
    use crate::bulk::form::{Delimiter, Form, LineEnding};

    type Seen = (Vec<String>, Ending, Quotes);

    fn read(csv: &str, form: Form) -> Vec<Seen> {
        let mut rows = Rows::new(csv.as_bytes(), form, 0);
        let mut seen = Vec::new();
        while let Some(row) = rows.read() {
            let cells = row
                .cells
                .iter()
                .map(|c| String::from_utf8(c.to_vec()).unwrap());
            seen.push((cells.collect(), row.ending, row.quotes));
        }
        seen
    }

    fn cells(csv: &str, form: Form) -> Vec<Vec<String>> {
        read(csv, form).into_iter().map(|row| row.0).collect()
    }

    const CRLF: Form = Form {
        delimiter: Delimiter::Comma,
        line_ending: LineEnding::Crlf,
    };

    #[test]
    fn quoted_newlines_and_doubled_quotes_stay_in_their_cell() {
        let form = Form::default();
        assert_eq!(
            cells("a,b\n\"x\r\ny\",\"say \"\"hi\"\"\"\n", form),
            [["a", "b"], ["x\r\ny", "say \"hi\""]]
        );
        assert_eq!(
            cells("a,b\r\n\"x\r\n\",\"y\r\"\r\nlast,", CRLF),
            [vec!["a", "b"], vec!["x\r\n", "y\r"], vec!["last", ""]]
        );
    }

    #[test]
    fn empty_lines_are_skipped() {
        assert_eq!(
            cells("\n\na,b\n\n1,2\n\n", Form::default()),
            [["a", "b"], ["1", "2"]]
        );
        assert_eq!(
            cells("\r\na,b\r\n\r\n1,2\r\n\r\n", CRLF),
            [["a", "b"], ["1", "2"]]
        );
    }

    #[test]
    fn rows_report_their_line_ending_and_stray_quotes() {
        let of = |csv: &str| {
            let seen = read(csv, Form::default());
            (seen[0].1, seen[0].2)
        };
        assert_eq!(of("a,\"b\"\n"), (Ending::Lf, Quotes::Proper));
        assert_eq!(of("a,b\r\n"), (Ending::Crlf, Quotes::Proper));
        assert_eq!(of("\"a\", \"b\""), (Ending::None, Quotes::Stray));
        assert_eq!(of("\"a\" ,b"), (Ending::None, Quotes::Stray));
        assert_eq!(of("a,\"b\n"), (Ending::Lf, Quotes::Open));
    }

    #[test]
    fn byte_order_mark_stays_in_its_cell() {
        let seen = read("\u{feff}\"Id\"\n1\n", Form::default());
        assert_eq!(seen[0].2, Quotes::Stray);
        assert_eq!(
            cells("\u{feff}Id\n1\n", Form::default()),
            [["\u{feff}Id"], ["1"]]
        );
    }

    #[test]
    fn reading_can_resume_after_any_row() {
        let csv = "h\n\"a\nb\"\n\nc\n";
        let mut first = Rows::new(csv.as_bytes(), Form::default(), 0);
        first.read().unwrap();
        let end = first.read().unwrap().end;
        let mut rest = Rows::new(csv.as_bytes(), Form::default(), end);
        assert_eq!(&rest.read().unwrap().cells[0], b"c");
        assert!(rest.read().is_none());
    }
}
