//! TOML with the place of everything, as far as `syncline.toml` can hold it.
//!
//! The usual parser makes up a quarter of what a browser must load to plan one record. This one reads
//! the same language (toml.io, version 1.1), but leaves out what no key takes: floating point numbers,
//! dates and times are known for what they are and their value is dropped. A test compares the two.

mod lexer;
mod tree;

pub(super) use lexer::Broken;
pub(super) use tree::{Item, Table, Value};

use lexer::{Key, Lexer};
use tree::{Made, Spot};

/// Most mistakes of form that are told of one file.
const BROKEN_MAX: usize = 20;

/// Reads a whole file: its tables, and what is no TOML, line by line.
pub(super) fn parse(text: &str) -> (Table, Vec<Broken>) {
    let mut document = Document {
        root: Table::made(Made::ByHeader),
        current: Vec::new(),
        skipped: false,
    };
    let mut lexer = Lexer::of(text);
    let mut broken = Vec::new();
    while lexer.next_line() && broken.len() < BROKEN_MAX {
        if let Err(mistake) = document.line(&mut lexer) {
            broken.push(mistake);
            lexer.skip_line();
        }
    }
    (document.root, broken)
}

struct Document {
    root: Table,
    /// The header that lines belong to.
    current: Vec<Key>,
    /// The header was a mistake, and its lines belong nowhere.
    skipped: bool,
}

impl Document {
    fn line(&mut self, lexer: &mut Lexer<'_>) -> Result<(), Broken> {
        if lexer.peek() == Some(b'[') {
            self.skipped = true;
            self.header(lexer)?;
            self.skipped = false;
            return Ok(());
        }
        let path = lexer.key()?;
        lexer.expect(b'=')?;
        let item = lexer.value(0)?;
        lexer.end_of_line()?;
        if self.skipped {
            return Ok(());
        }
        tree::table_at(&mut self.root, &self.current, Spot::Header)?.put(path, item)
    }

    fn header(&mut self, lexer: &mut Lexer<'_>) -> Result<(), Broken> {
        let at = lexer.at();
        lexer.expect(b'[')?;
        let of_list = lexer.takes(b'[');
        let path = lexer.key()?;
        lexer.expect(b']')?;
        if of_list {
            lexer.expect_next(b']')?;
        }
        lexer.end_of_line()?;
        let Some((last, parents)) = path.split_last() else {
            return Err(Broken::at(at, "a header needs a name"));
        };
        let parent = tree::table_at(&mut self.root, parents, Spot::Header)?;
        if of_list {
            parent.push(last, at)?;
        } else {
            parent.open(last, at)?;
        }
        self.current = path;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
