//! Parses the tokens of a statement into a [`Query`].

use super::lexer::{Lexeme, Token, tokens};
use super::{
    Call, DateFunction, FieldGroup, Filter, Function, Having, Item, Literal, Operator, OrderBy,
    Query, Relative, STATEMENT_CHARS_MAX, Select, Show, Term, TypeOf, explained, malformed,
};
use crate::model::error::{Place, SfError};

/// Maximum nesting of conditions: above any real query, but safe for the stack.
const DEPTH_MAX: usize = 100;

/// The largest OFFSET.
const OFFSET_MAX: usize = 2_000;

/// Keywords that end a list of names, so they are never aliases.
const CLAUSES: [&str; 11] = [
    "from", "using", "where", "with", "group", "having", "order", "limit", "offset", "for", "all",
];

/// Parses a statement.
pub(crate) fn parse(text: &str) -> Result<Query, SfError> {
    if text.chars().count() > STATEMENT_CHARS_MAX {
        return Err(malformed(
            "SOQL statements cannot be longer than 100,000 characters.",
        ));
    }
    parse_tokens(text).map_err(|error| explained(text, error))
}

fn parse_tokens(text: &str) -> Result<Query, SfError> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        depth: 0,
        end: text.len(),
    };
    let query = parser.query()?;
    parser.purpose()?;
    match parser.tokens.first() {
        None => Ok(query),
        Some(_) => Err(parser.here()),
    }
}

struct Parser<'a> {
    tokens: &'a [Lexeme],
    depth: usize,
    /// Length of the statement in bytes.
    end: usize,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, SfError> {
        self.expect("select")?;
        let select = self.select()?;
        self.expect("from")?;
        let from = self.word()?;
        let alias = self.alias();
        if self.accept("using") {
            self.expect("scope")?;
            self.expect("everything")?;
        }
        let filter = if self.accept("where") {
            Some(self.filter()?)
        } else {
            None
        };
        if self.accept("with") {
            let word = self.word()?;
            return Err(malformed(format!("{word} not allowed in this context")));
        }
        let group = self.group()?;
        let having = self.having()?;
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
        let mut query = Query {
            select,
            from,
            filter,
            group,
            having,
            order,
            limit,
            offset,
        };
        if let Some(alias) = alias {
            query.drop_alias(&format!("{}.", alias.to_lowercase()));
        }
        Ok(query)
    }

    /// Skips the FOR clause, which does not change the result.
    fn purpose(&mut self) -> Result<(), SfError> {
        while self.accept("for") {
            let known = ["view", "reference", "update"];
            if !known.into_iter().any(|word| self.accept(word)) {
                return Err(self.here());
            }
        }
        if self.accept("all") {
            self.expect("rows")?;
            return Err(malformed("ALL ROWS not allowed in this context"));
        }
        Ok(())
    }

    fn alias(&mut self) -> Option<String> {
        let clause = CLAUSES.into_iter().any(|word| self.peek(word));
        match self.tokens.first() {
            Some(Lexeme {
                token: Token::Word(word),
                ..
            }) if !clause && !word.contains('.') => {
                self.tokens = &self.tokens[1..];
                Some(word.clone())
            }
            Some(_) | None => None,
        }
    }

    fn select(&mut self) -> Result<Select, SfError> {
        let mut items = Vec::new();
        loop {
            if items.is_empty() && self.accept_count() {
                return Ok(Select::Count);
            }
            items.push(self.item()?);
            if !self.accept_symbol(",") {
                return Ok(Select::Items(items));
            }
        }
    }

    /// Accepts `COUNT()`, which must be the only item.
    fn accept_count(&mut self) -> bool {
        let symbol = |place: usize, symbol: &str| {
            let lexeme = self.tokens.get(place);
            lexeme.is_some_and(|lexeme| matches!(&lexeme.token, Token::Symbol(s) if *s == symbol))
        };
        let found = self.peek("count") && symbol(1, "(") && symbol(2, ")");
        if found {
            self.tokens = &self.tokens[3..];
        }
        found
    }

    fn item(&mut self) -> Result<Item, SfError> {
        if self.accept_symbol("(") {
            self.descend()?;
            let query = self.query()?;
            self.depth -= 1;
            self.expect_symbol(")")?;
            return Ok(Item::Children(Box::new(query)));
        }
        if self.peek("from") {
            return Err(self.here());
        }
        let word = self.word()?;
        if word.eq_ignore_ascii_case("typeof") && matches!(self.token(), Some(Token::Word(_))) {
            return self.type_of();
        }
        if !self.peek_symbol("(") {
            return Ok(match self.alias() {
                Some(alias) => Item::Named { path: word, alias },
                None => Item::Path(word),
            });
        }
        if word.eq_ignore_ascii_case("fields") {
            self.expect_symbol("(")?;
            let group = match self.word()?.to_ascii_lowercase().as_str() {
                "all" => FieldGroup::All,
                "standard" => FieldGroup::Standard,
                "custom" => FieldGroup::Custom,
                _ => return Err(self.here()),
            };
            self.expect_symbol(")")?;
            return Ok(Item::Group(group));
        }
        if let Some(function) = DateFunction::named(&word) {
            return Ok(Item::Dated {
                term: self.dated(function)?,
                alias: self.alias(),
            });
        }
        if let Some(how) = Show::named(&word) {
            self.expect_symbol("(")?;
            let path = self.word()?;
            self.expect_symbol(")")?;
            let alias = self.alias();
            return Ok(Item::Shown { how, path, alias });
        }
        let function = Function::named(&word).ok_or_else(|| self.here())?;
        Ok(Item::Aggregate {
            call: self.call(function)?,
            alias: self.alias(),
        })
    }

    /// Parses the text after TYPEOF.
    fn type_of(&mut self) -> Result<Item, SfError> {
        let relationship = self.word()?;
        let mut branches = Vec::new();
        while self.accept("when") {
            let object = self.word()?;
            self.expect("then")?;
            branches.push((object, self.words()?));
        }
        if branches.is_empty() {
            return Err(self.here());
        }
        let otherwise = if self.accept("else") {
            self.words()?
        } else {
            Vec::new()
        };
        self.expect("end")?;
        Ok(Item::TypeOf(TypeOf {
            relationship,
            branches,
            otherwise,
        }))
    }

    fn words(&mut self) -> Result<Vec<String>, SfError> {
        let mut words = vec![self.word()?];
        while self.accept_symbol(",") {
            words.push(self.word()?);
        }
        Ok(words)
    }

    /// Parses the field of a date function in parentheses. `convertTimezone` has no effect, because
    /// the user's time zone is UTC.
    fn dated(&mut self, function: DateFunction) -> Result<Term, SfError> {
        self.expect_symbol("(")?;
        let mut path = self.word()?;
        if path.eq_ignore_ascii_case("convertTimezone") && self.accept_symbol("(") {
            path = self.word()?;
            self.expect_symbol(")")?;
        }
        self.expect_symbol(")")?;
        Ok(Term {
            function: Some(function),
            path,
        })
    }

    /// Parses a field or a date function.
    fn term(&mut self) -> Result<Term, SfError> {
        let path = self.word()?;
        match DateFunction::named(&path).filter(|_| self.peek_symbol("(")) {
            Some(function) => self.dated(function),
            None => Ok(Term {
                function: None,
                path,
            }),
        }
    }

    /// Parses the field of an aggregate function in parentheses.
    fn call(&mut self, function: Function) -> Result<Call, SfError> {
        self.expect_symbol("(")?;
        let path = self.word()?;
        self.expect_symbol(")")?;
        Ok(Call { function, path })
    }

    fn group(&mut self) -> Result<Vec<Term>, SfError> {
        let mut terms = Vec::new();
        if self.accept("group") {
            self.expect("by")?;
            terms.push(self.term()?);
            while self.accept_symbol(",") {
                terms.push(self.term()?);
            }
        }
        Ok(terms)
    }

    fn having(&mut self) -> Result<Vec<Having>, SfError> {
        let mut conditions = Vec::new();
        if !self.accept("having") {
            return Ok(conditions);
        }
        loop {
            let word = self.word()?;
            let function = Function::named(&word).ok_or_else(|| self.here())?;
            let call = self.call(function)?;
            let operator = self.operator()?;
            let number = match self.literal()? {
                Literal::Number(number) => number,
                Literal::Null
                | Literal::Bool(_)
                | Literal::Date(_)
                | Literal::Datetime(_)
                | Literal::Text(_)
                | Literal::Relative(_) => return Err(malformed("HAVING compares with numbers")),
            };
            conditions.push(Having {
                call,
                operator,
                number,
            });
            if !self.accept("and") {
                return Ok(conditions);
            }
        }
    }

    fn descend(&mut self) -> Result<(), SfError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(malformed("The query is nested too deeply."));
        }
        Ok(())
    }

    /// Parses conditions joined by one keyword. Mixed keywords need parentheses.
    fn filter(&mut self) -> Result<Filter, SfError> {
        self.descend()?;
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
            self.descend()?;
            let inner = self.condition()?;
            self.depth -= 1;
            return Ok(Filter::Not(Box::new(inner)));
        }
        if self.accept_symbol("(") {
            let inner = self.filter()?;
            self.expect_symbol(")")?;
            return Ok(inner);
        }
        let Term { function, path } = self.term()?;
        if let Some(function) = function {
            return self.date_condition(function, path);
        }
        if self.accept("in") {
            return self.members(path, false);
        }
        if self.accept("not") {
            self.expect("in")?;
            return self.members(path, true);
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

    /// Parses the operand of a date function.
    fn date_condition(&mut self, function: DateFunction, path: String) -> Result<Filter, SfError> {
        let compared = |operator: Operator, literal: Literal| Filter::Dated {
            function,
            path: path.clone(),
            operator,
            literal,
        };
        let negated = self.accept("not");
        if !negated && !self.peek("in") {
            let operator = self.operator()?;
            return Ok(compared(operator, self.literal()?));
        }
        self.expect("in")?;
        let literals = self.literals()?.into_iter();
        let equal = literals.map(|literal| compared(Operator::Equal, literal));
        let any = Filter::Any(equal.collect());
        Ok(if negated {
            Filter::Not(Box::new(any))
        } else {
            any
        })
    }

    /// Parses the operand of IN: a list of literals or a query.
    fn members(&mut self, path: String, negated: bool) -> Result<Filter, SfError> {
        let select = self.tokens.get(1).is_some_and(
            |lexeme| matches!(&lexeme.token, Token::Word(w) if w.eq_ignore_ascii_case("select")),
        );
        if !(self.peek_symbol("(") && select) {
            let literals = self.literals()?;
            return Ok(Filter::In {
                path,
                negated,
                literals,
            });
        }
        self.expect_symbol("(")?;
        self.descend()?;
        let query = Box::new(self.query()?);
        self.depth -= 1;
        self.expect_symbol(")")?;
        Ok(Filter::InQuery {
            path,
            negated,
            query,
        })
    }

    fn operator(&mut self) -> Result<Operator, SfError> {
        if self.accept("like") {
            return Ok(Operator::Like);
        }
        let operator = match self.token() {
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
        let literal = match self.token() {
            Some(Token::Literal(literal)) => literal.clone(),
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "null" => Literal::Null,
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                _ => Literal::Relative(Relative::parse(word).ok_or_else(|| self.here())?),
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
            let mut path = self.word()?;
            if self.peek_symbol("(") {
                path = match (Function::named(&path), DateFunction::named(&path)) {
                    (Some(function), _) => self.call(function)?.text(),
                    (None, Some(function)) => self.dated(function)?.text(),
                    (None, None) => return Err(self.here()),
                };
            }
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
        let count = match self.token() {
            Some(Token::Literal(Literal::Number(text))) => text.parse().ok(),
            _ => None,
        };
        let count = count.ok_or_else(|| self.here())?;
        self.tokens = &self.tokens[1..];
        Ok(count)
    }

    fn word(&mut self) -> Result<String, SfError> {
        let Some(Token::Word(word)) = self.token() else {
            return Err(self.here());
        };
        let word = word.clone();
        self.tokens = &self.tokens[1..];
        Ok(word)
    }

    fn token(&self) -> Option<&Token> {
        self.tokens.first().map(|lexeme| &lexeme.token)
    }

    fn peek(&self, word: &str) -> bool {
        matches!(self.token(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    fn peek_symbol(&self, symbol: &str) -> bool {
        matches!(self.token(), Some(Token::Symbol(s)) if *s == symbol)
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.peek(word);
        self.tokens = &self.tokens[usize::from(found)..];
        found
    }

    fn accept_symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek_symbol(symbol);
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
        let at = self.tokens.first().map_or(self.end, |lexeme| lexeme.at);
        unexpected(self.token()).placed(Place::At(at))
    }
}

impl Query {
    /// Removes the object's alias from all paths that start with it.
    fn drop_alias(&mut self, prefix: &str) {
        let drop = |path: &mut String| {
            if path.to_lowercase().starts_with(prefix) {
                path.drain(..prefix.len());
            }
        };
        if let Select::Items(items) = &mut self.select {
            for item in items {
                match item {
                    Item::Path(path) | Item::Named { path, .. } | Item::Shown { path, .. } => {
                        drop(path);
                    }
                    Item::Dated { term, .. } => drop(&mut term.path),
                    Item::TypeOf(type_of) => drop(&mut type_of.relationship),
                    Item::Aggregate { call, .. } => drop(&mut call.path),
                    Item::Children(query) => drop(&mut query.from),
                    Item::Group(_) => {}
                }
            }
        }
        self.group.iter_mut().for_each(|term| drop(&mut term.path));
        self.order.iter_mut().for_each(|key| drop(&mut key.path));
        for having in &mut self.having {
            drop(&mut having.call.path);
        }
        if let Some(filter) = &mut self.filter {
            filter.each_path(&drop);
        }
    }
}

impl Filter {
    fn each_path(&mut self, change: &impl Fn(&mut String)) {
        match self {
            Self::All(filters) | Self::Any(filters) => {
                filters
                    .iter_mut()
                    .for_each(|filter| filter.each_path(change));
            }
            Self::Not(inner) => inner.each_path(change),
            Self::Compare { path, .. }
            | Self::Dated { path, .. }
            | Self::In { path, .. }
            | Self::Includes { path, .. }
            | Self::InQuery { path, .. } => change(path),
        }
    }
}

fn unexpected(token: Option<&Token>) -> SfError {
    let shown = match token {
        None => "'<EOF>'".to_owned(),
        Some(Token::Word(word)) => format!("'{word}'"),
        Some(Token::Symbol(symbol)) => format!("'{symbol}'"),
        Some(Token::Literal(Literal::Text(text))) => format!("'{text}'"),
        Some(Token::Literal(Literal::Number(number))) => format!("'{number}'"),
        Some(Token::Literal(_)) => "date literal".to_owned(),
    };
    malformed(format!("unexpected token: {shown}"))
}
