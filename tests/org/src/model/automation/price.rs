//! Prices: a product has a standard price before any other, and the products of an opportunity are
//! those of its price book.
//!
//! Source: object reference, "PricebookEntry", "OpportunityLineItem", "Opportunity".

use crate::model::draft::Draft;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::{FieldNo, ObjectNo, PRICE_BOOK, Schema};
use crate::model::table::RowNo;
use crate::model::transaction::Transaction;
use crate::model::value::Value;
use crate::model::{Actor, Model};
use crate::unconfirmed::PRICE_BOOK_CHANGE_CODE;

/// The objects and fields with prices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prices {
    book: Book,
    entry: Entry,
    line: Line,
    opportunity: Opportunity,
}

#[derive(Clone, Copy, Debug)]
struct Book {
    object: ObjectNo,
    is_standard: FieldNo,
    is_active: FieldNo,
}

/// The price of a product in a price book.
#[derive(Clone, Copy, Debug)]
struct Entry {
    object: ObjectNo,
    book: FieldNo,
    product: FieldNo,
    is_active: FieldNo,
}

/// A product of an opportunity.
#[derive(Clone, Copy, Debug)]
struct Line {
    object: ObjectNo,
    entry: FieldNo,
    opportunity: FieldNo,
}

#[derive(Clone, Copy, Debug)]
struct Opportunity {
    object: ObjectNo,
    book: FieldNo,
    has_lines: FieldNo,
}

impl Prices {
    /// Returns the fields with prices, or `None` if the org has no products.
    pub(crate) fn find(schema: &Schema) -> Option<Self> {
        let book = schema.find(PRICE_BOOK)?;
        let entry = schema.find("PricebookEntry")?;
        let line = schema.find("OpportunityLineItem")?;
        let opportunity = schema.find("Opportunity")?;
        let at = |object: ObjectNo, name: &str| schema.object(object).find(name);
        Some(Self {
            book: Book {
                object: book,
                is_standard: at(book, "IsStandard")?,
                is_active: at(book, "IsActive")?,
            },
            entry: Entry {
                object: entry,
                book: at(entry, "Pricebook2Id")?,
                product: at(entry, "Product2Id")?,
                is_active: at(entry, "IsActive")?,
            },
            line: Line {
                object: line,
                entry: at(line, "PricebookEntryId")?,
                opportunity: at(line, "OpportunityId")?,
            },
            opportunity: Opportunity {
                object: opportunity,
                book: at(opportunity, "Pricebook2Id")?,
                has_lines: at(opportunity, "HasOpportunityLineItem")?,
            },
        })
    }
}

impl Model {
    /// Makes a price book the standard one.
    pub(crate) fn make_standard(&mut self, prices: Prices, book: RecordId) {
        let Book {
            object,
            is_standard,
            ..
        } = prices.book;
        if let Some(row) = self.row_of(object, book) {
            let shape = &self.schema.objects[object.0];
            self.tables[object.0].set(shape, row, is_standard, Value::Bool(true));
        }
    }

    /// Refuses a write that would leave a price or a product of an opportunity without its price book.
    pub(super) fn check_prices(&self, draft: &Draft, row: Option<RowNo>) -> Result<(), SfError> {
        let Some(prices) = self.schema.prices else {
            return Ok(());
        };
        match row {
            None if draft.object == prices.entry.object => self.check_entry(prices, draft),
            None if draft.object == prices.line.object => self.check_line(prices, draft),
            Some(row) if draft.object == prices.opportunity.object => {
                self.check_book_change(prices, draft, row)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses a price in a custom price book for a product without an active standard price.
    fn check_entry(&self, prices: Prices, draft: &Draft) -> Result<(), SfError> {
        let entry = prices.entry;
        let (Some(book), Some(product)) = (set_id(draft, entry.book), set_id(draft, entry.product))
        else {
            return Ok(());
        };
        if self.is_standard(prices, book) {
            return Ok(());
        }
        let table = self.table(entry.object);
        let others = table
            .children_of(entry.product, product)
            .unwrap_or_default();
        let is_standard_price = |row: &RowNo| {
            let book = table.get(*row, entry.book).as_id();
            *table.get(*row, entry.is_active) == Value::Bool(true)
                && book.is_some_and(|book| self.is_standard(prices, book))
        };
        if others.iter().any(is_standard_price) {
            return Ok(());
        }
        let message = "Before creating a custom price, create a standard price.";
        Err(SfError::of_record("STANDARD_PRICE_NOT_DEFINED", message))
    }

    fn is_standard(&self, prices: Prices, book: RecordId) -> bool {
        let row = self.row_of(prices.book.object, book);
        row.is_some_and(|row| {
            *self
                .table(prices.book.object)
                .get(row, prices.book.is_standard)
                == Value::Bool(true)
        })
    }

    /// Refuses a product of another price book than the opportunity's, and the first product if its
    /// price book is not active.
    fn check_line(&self, prices: Prices, draft: &Draft) -> Result<(), SfError> {
        let (Some(entry), Some(opportunity)) = (
            set_id(draft, prices.line.entry),
            set_id(draft, prices.line.opportunity),
        ) else {
            return Ok(());
        };
        let book = self.id_at((prices.entry.object, entry), prices.entry.book);
        let own = self.id_at(
            (prices.opportunity.object, opportunity),
            prices.opportunity.book,
        );
        let wrong = match own {
            Some(own) if Some(own) == book => return Ok(()),
            Some(_) => {
                "pricebook entry is in a different pricebook than the one assigned to the \
                 opportunity"
            }
            None if book.is_some_and(|book| self.is_active(prices, book)) => return Ok(()),
            None => "pricebook entry is in an inactive pricebook",
        };
        let name = &self.field(prices.line.object, prices.line.entry).name;
        let message = format!("field integrity exception: {name} ({wrong})");
        Err(SfError::of_field(
            "FIELD_INTEGRITY_EXCEPTION",
            message,
            name,
        ))
    }

    fn is_active(&self, prices: Prices, book: RecordId) -> bool {
        let row = self.row_of(prices.book.object, book);
        row.is_some_and(|row| {
            *self
                .table(prices.book.object)
                .get(row, prices.book.is_active)
                == Value::Bool(true)
        })
    }

    /// Returns the reference of a record.
    fn id_at(&self, (object, id): (ObjectNo, RecordId), field: FieldNo) -> Option<RecordId> {
        let row = self.row_of(object, id)?;
        self.table(object).get(row, field).as_id()
    }

    /// Refuses another price book for an opportunity with products.
    fn check_book_change(&self, prices: Prices, draft: &Draft, row: RowNo) -> Result<(), SfError> {
        let Opportunity {
            object,
            book,
            has_lines,
        } = prices.opportunity;
        let table = self.table(object);
        let mut sets = draft.sets.iter();
        let changes = sets.any(|(no, value)| *no == book && value != table.get(row, book));
        if !changes || *table.get(row, has_lines) != Value::Bool(true) {
            return Ok(());
        }
        let name = &self.field(object, book).name;
        let message = format!(
            "field integrity exception: {name} (the price book of an opportunity with products \
             cannot change)"
        );
        Err(SfError::of_field(PRICE_BOOK_CHANGE_CODE, message, name))
    }

    /// Gives an opportunity without a price book that of its first product.
    pub(super) fn give_price_book(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        (object, row): (ObjectNo, RowNo),
    ) {
        let Some(prices) = self.schema.prices else {
            return;
        };
        if object != prices.line.object {
            return;
        }
        let table = self.table(object);
        let entry = table.get(row, prices.line.entry).as_id();
        let book =
            entry.and_then(|entry| self.id_at((prices.entry.object, entry), prices.entry.book));
        let opportunity = table.get(row, prices.line.opportunity).as_id();
        let opportunity = opportunity.and_then(|id| self.live_row(id));
        if let (Some(book), Some(at)) = (book, opportunity)
            && *self.table(at.0).get(at.1, prices.opportunity.book) == Value::Null
        {
            self.put(tx, at, prices.opportunity.book, Value::Id(book));
            self.stamp(tx, actor, at);
        }
    }
}

/// Returns the id that a draft gives a field.
fn set_id(draft: &Draft, field: FieldNo) -> Option<RecordId> {
    let set = draft.sets.iter().rev().find(|(no, _)| *no == field);
    set.and_then(|(_, value)| value.as_id())
}
