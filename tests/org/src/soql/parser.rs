//! Reads the tokens of a statement into a [`Query`].

use super::lexer::{Token, tokens};
use super::{
    FieldGroup, Filter, Item, Literal, Operator, OrderBy, Query, STATEMENT_CHARS_MAX, Select,
    malformed,
};
use crate::model::error::SfError;

/// How deep conditions may nest: far beyond any real query, far below the end of the stack.
const DEPTH_MAX: usize = 100;

/// The largest OFFSET.
const OFFSET_MAX: usize = 2_000;

/// Returns the query that `text` writes.
pub(crate) fn parse(text: &str) -> Result<Query, SfError> {
    if text.chars().count() > STATEMENT_CHARS_MAX {
        return Err(malformed(
            "SOQL statements cannot be longer than 100,000 characters.",
        ));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        depth: 0,
    };
    let query = parser.query()?;
    match parser.tokens.first() {
        None => Ok(query),
        Some(token) => Err(unexpected(Some(token))),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, SfError> {
        self.expect("select")?;
        let select = self.select()?;
        self.expect("from")?;
        let from = self.word()?;
        let filter = if self.accept("where") {
            Some(self.filter()?)
        } else {
            None
        };
        let order = if self.accept("order") {
            self.order()?
        } else {
            Vec::new()
        };
        let limit = if self.accept("limit") {
            Some(self.count()?)
        } else {
            None
        };
        let offset = if self.accept("offset") {
            self.count()?
        } else {
            0
        };
        if offset > OFFSET_MAX {
            return Err(SfError::new(
                "NUMBER_OUTSIDE_VALID_RANGE",
                "Maximum SOQL offset allowed is 2000",
            ));
        }
        Ok(Query {
            select,
            from,
            filter,
            order,
            limit,
            offset,
        })
    }

    fn select(&mut self) -> Result<Select, SfError> {
        let mut items = Vec::new();
        loop {
            let word = self.word()?;
            if word.eq_ignore_ascii_case("count") && self.accept_symbol("(") {
                self.expect_symbol(")")?;
                return if items.is_empty() {
                    Ok(Select::Count)
                } else {
                    Err(self.here())
                };
            }
            if word.eq_ignore_ascii_case("fields") && self.accept_symbol("(") {
                let group = match self.word()?.to_ascii_lowercase().as_str() {
                    "all" => FieldGroup::All,
                    "standard" => FieldGroup::Standard,
                    "custom" => FieldGroup::Custom,
                    _ => return Err(self.here()),
                };
                self.expect_symbol(")")?;
                items.push(Item::Group(group));
            } else {
                items.push(Item::Path(word));
            }
            if !self.accept_symbol(",") {
                return Ok(Select::Items(items));
            }
        }
    }

    /// Reads conditions joined by one kind of word; another kind needs parentheses.
    fn filter(&mut self) -> Result<Filter, SfError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(malformed("The query is nested too deeply."));
        }
        let first = self.condition()?;
        let (and, or) = (self.peek("and"), self.peek("or"));
        let filter = if and || or {
            let (word, other) = if and { ("and", "or") } else { ("or", "and") };
            let mut conditions = vec![first];
            while self.accept(word) {
                conditions.push(self.condition()?);
            }
            if self.peek(other) {
                return Err(self.here());
            }
            if and {
                Filter::All(conditions)
            } else {
                Filter::Any(conditions)
            }
        } else {
            first
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn condition(&mut self) -> Result<Filter, SfError> {
        if self.accept("not") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(malformed("The query is nested too deeply."));
            }
            let inner = self.condition()?;
            self.depth -= 1;
            return Ok(Filter::Not(Box::new(inner)));
        }
        if self.accept_symbol("(") {
            let inner = self.filter()?;
            self.expect_symbol(")")?;
            return Ok(inner);
        }
        let path = self.word()?;
        if self.accept("in") {
            return Ok(Filter::In {
                path,
                negated: false,
                literals: self.literals()?,
            });
        }
        if self.accept("not") {
            self.expect("in")?;
            return Ok(Filter::In {
                path,
                negated: true,
                literals: self.literals()?,
            });
        }
        for (word, negated) in [("includes", false), ("excludes", true)] {
            if self.accept(word) {
                return Ok(Filter::Includes {
                    path,
                    negated,
                    literals: self.literals()?,
                });
            }
        }
        let operator = self.operator()?;
        Ok(Filter::Compare {
            path,
            operator,
            literal: self.literal()?,
        })
    }

    fn operator(&mut self) -> Result<Operator, SfError> {
        if self.accept("like") {
            return Ok(Operator::Like);
        }
        let operator = match self.tokens.first() {
            Some(Token::Symbol("=")) => Operator::Equal,
            Some(Token::Symbol("!=" | "<>")) => Operator::NotEqual,
            Some(Token::Symbol("<")) => Operator::Less,
            Some(Token::Symbol("<=")) => Operator::AtMost,
            Some(Token::Symbol(">")) => Operator::Greater,
            Some(Token::Symbol(">=")) => Operator::AtLeast,
            _ => return Err(self.here()),
        };
        self.tokens = &self.tokens[1..];
        Ok(operator)
    }

    fn literals(&mut self) -> Result<Vec<Literal>, SfError> {
        self.expect_symbol("(")?;
        let mut literals = vec![self.literal()?];
        while self.accept_symbol(",") {
            literals.push(self.literal()?);
        }
        self.expect_symbol(")")?;
        Ok(literals)
    }

    fn literal(&mut self) -> Result<Literal, SfError> {
        let literal = match self.tokens.first() {
            Some(Token::Literal(literal)) => literal.clone(),
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "null" => Literal::Null,
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                _ => return Err(self.here()),
            },
            Some(Token::Symbol(_)) | None => return Err(self.here()),
        };
        self.tokens = &self.tokens[1..];
        Ok(literal)
    }

    fn order(&mut self) -> Result<Vec<OrderBy>, SfError> {
        self.expect("by")?;
        let mut keys = Vec::new();
        loop {
            let path = self.word()?;
            let descending = !self.accept("asc") && self.accept("desc");
            let mut nulls_last = false;
            if self.accept("nulls") {
                nulls_last = self.accept("last");
                if !nulls_last {
                    self.expect("first")?;
                }
            }
            keys.push(OrderBy {
                path,
                descending,
                nulls_last,
            });
            if !self.accept_symbol(",") {
                return Ok(keys);
            }
        }
    }

    fn count(&mut self) -> Result<usize, SfError> {
        let count = match self.tokens.first() {
            Some(Token::Literal(Literal::Number(text))) => text.parse().ok(),
            _ => None,
        };
        let count = count.ok_or_else(|| self.here())?;
        self.tokens = &self.tokens[1..];
        Ok(count)
    }

    fn word(&mut self) -> Result<String, SfError> {
        let Some(Token::Word(word)) = self.tokens.first() else {
            return Err(self.here());
        };
        self.tokens = &self.tokens[1..];
        Ok(word.clone())
    }

    fn peek(&self, word: &str) -> bool {
        matches!(self.tokens.first(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.peek(word);
        self.tokens = &self.tokens[usize::from(found)..];
        found
    }

    fn accept_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Symbol(s)) if *s == symbol);
        self.tokens = &self.tokens[usize::from(found)..];
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), SfError> {
        if self.accept(word) {
            Ok(())
        } else {
            Err(self.here())
        }
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), SfError> {
        if self.accept_symbol(symbol) {
            Ok(())
        } else {
            Err(self.here())
        }
    }

    fn here(&self) -> SfError {
        unexpected(self.tokens.first())
    }
}

fn unexpected(token: Option<&Token>) -> SfError {
    let shown = match token {
        None => "<EOF>".to_owned(),
        Some(Token::Word(word)) => format!("'{word}'"),
        Some(Token::Symbol(symbol)) => format!("'{symbol}'"),
        Some(Token::Literal(Literal::Text(text))) => format!("'{text}'"),
        Some(Token::Literal(Literal::Number(number))) => format!("'{number}'"),
        Some(Token::Literal(_)) => "date literal".to_owned(),
    };
    malformed(format!("unexpected token: {shown}"))
}
