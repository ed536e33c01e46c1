//! Tables, and which of them may be written to where (toml.io, "Keys", "Table", "Array of Tables").

use std::collections::BTreeMap;

use super::lexer::{Broken, Key};

/// A table: its entries by name.
#[derive(Debug)]
pub(in crate::config) struct Table {
    pub(in crate::config) entries: BTreeMap<String, Entry>,
    made: Made,
}

/// One entry of a table.
#[derive(Debug)]
pub(in crate::config) struct Entry {
    /// Where its name stands.
    pub(in crate::config) name_at: usize,
    pub(in crate::config) item: Item,
}

/// A value and where it stands.
#[derive(Debug)]
pub(in crate::config) struct Item {
    pub(in crate::config) at: usize,
    pub(in crate::config) value: Value,
}

/// A value.
#[derive(Debug)]
pub(in crate::config) enum Value {
    Text(String),
    Flag(bool),
    /// A whole number; none if it is not one of 32 bits.
    Whole(Option<u32>),
    /// A floating point number, a date or a time.
    Other,
    /// An array.
    List(Vec<Item>),
    /// `[[…]]`.
    Tables(Vec<Item>),
    Table(Table),
}

impl Item {
    /// Returns the table that it is, if it is one.
    pub(in crate::config) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            Value::Text(_)
            | Value::Flag(_)
            | Value::Whole(_)
            | Value::Other
            | Value::List(_)
            | Value::Tables(_) => None,
        }
    }
}

/// What made a table: it decides what may still be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// A header of its own.
    ByHeader,
    /// The header of a table inside of it.
    InPassing,
    /// A dotted key.
    ByKey,
    /// Braces: it is complete.
    Inline,
}

/// From where a table is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    Header,
    Key,
}

/// Returns the table at `path` below `table`. Tables that are missing on the way are made.
pub(super) fn table_at<'t>(
    table: &'t mut Table,
    path: &[Key],
    spot: Spot,
) -> Result<&'t mut Table, Broken> {
    let mut table = table;
    for key in path {
        table = table.below(key, spot)?;
    }
    Ok(table)
}

impl Table {
    pub(super) fn made(made: Made) -> Self {
        Self {
            entries: BTreeMap::new(),
            made,
        }
    }

    /// Sets the value of a key, which may be dotted.
    pub(super) fn put(&mut self, path: Vec<Key>, item: Item) -> Result<(), Broken> {
        let Some((last, parents)) = path.split_last() else {
            return Err(Broken::at(item.at, "a value needs a name"));
        };
        let parent = table_at(self, parents, Spot::Key)?;
        if parent.entries.contains_key(&last.text) {
            return Err(twice(last));
        }
        parent.add(last, item);
        Ok(())
    }

    /// Opens the table of a header.
    pub(super) fn open(&mut self, key: &Key, at: usize) -> Result<(), Broken> {
        match self.entries.get_mut(&key.text).map(|entry| &mut entry.item) {
            None => {
                let value = Value::Table(Self::made(Made::ByHeader));
                self.add(key, Item { at, value });
                Ok(())
            }
            Some(Item {
                at: known_at,
                value: Value::Table(table),
            }) if table.made == Made::InPassing => {
                table.made = Made::ByHeader;
                *known_at = at;
                Ok(())
            }
            Some(_) => Err(twice(key)),
        }
    }

    /// Begins the next table of a list.
    pub(super) fn push(&mut self, key: &Key, at: usize) -> Result<(), Broken> {
        let value = Value::Table(Self::made(Made::ByHeader));
        let item = Item { at, value };
        match self
            .entries
            .get_mut(&key.text)
            .map(|entry| &mut entry.item.value)
        {
            None => {
                let value = Value::Tables(vec![item]);
                self.add(key, Item { at, value });
                Ok(())
            }
            Some(Value::Tables(tables)) => {
                tables.push(item);
                Ok(())
            }
            Some(_) => Err(twice(key)),
        }
    }

    fn add(&mut self, key: &Key, item: Item) {
        let name_at = key.at;
        self.entries
            .insert(key.text.clone(), Entry { name_at, item });
    }

    fn below(&mut self, key: &Key, spot: Spot) -> Result<&mut Self, Broken> {
        if !self.entries.contains_key(&key.text) {
            let made = match spot {
                Spot::Header => Made::InPassing,
                Spot::Key => Made::ByKey,
            };
            let value = Value::Table(Self::made(made));
            self.add(key, Item { at: key.at, value });
        }
        let item = self.entries.get_mut(&key.text).map(|entry| &mut entry.item);
        let table = match item.map(|item| &mut item.value) {
            Some(Value::Table(table)) => Some(table),
            Some(Value::Tables(tables)) => match tables.last_mut().map(|last| &mut last.value) {
                Some(Value::Table(table)) => Some(table),
                Some(_) | None => None,
            },
            Some(_) | None => None,
        };
        match table {
            Some(table) if table.made == Made::Inline => Err(Broken::at(
                key.at,
                "nothing can be added to a table in braces",
            )),
            Some(table) if spot == Spot::Key && table.made == Made::ByHeader => Err(twice(key)),
            Some(table) => {
                if spot == Spot::Key {
                    table.made = Made::ByKey;
                }
                Ok(table)
            }
            None => Err(Broken::at(key.at, "it is a value already, not a table")),
        }
    }
}

fn twice(key: &Key) -> Broken {
    Broken::at(
        key.at,
        &format!("duplicate key: {} is there already", key.text),
    )
}
