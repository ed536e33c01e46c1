//! Parses the formula of a validation rule.

use super::{Comparison, IgnoredWrite, Term, Test, ValidationRule};
use crate::model::formula::{Operand, operand};
use crate::model::schema::{FieldNo, FieldType, ObjectNo, Schema};

/// Maximum nesting of formulas.
const DEPTH_MAX: usize = 50;

/// The comparisons; a longer one comes before its own prefix.
const COMPARISONS: [(&str, Comparison); 8] = [
    ("<>", Comparison::NotEqual),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// A rule, as declared.
pub(crate) struct Declared<'a> {
    pub(crate) object: ObjectNo,
    pub(crate) name: &'a str,
    pub(crate) formula: &'a str,
    pub(crate) message: &'a str,
    pub(crate) field: Option<&'a str>,
}

impl ValidationRule {
    /// Parses a rule, or returns what is wrong with it.
    pub(crate) fn read(schema: &Schema, declared: &Declared<'_>) -> Result<Self, String> {
        let object = schema.object(declared.object);
        let wrong_if = Test::read(schema, declared.object, declared.formula)?;
        let field = declared.field.map(|name| {
            let no = object
                .find(name)
                .ok_or_else(|| format!("{name} is not a field"))?;
            Ok::<_, String>(object.field(no).name.clone())
        });
        Ok(Self {
            object: declared.object,
            name: declared.name.to_owned(),
            wrong_if,
            message: declared.message.to_owned(),
            field: field.transpose()?,
        })
    }
}

impl IgnoredWrite {
    /// Parses the condition of a field, or returns what is wrong with it.
    pub(crate) fn read(
        schema: &Schema,
        (object, field): (ObjectNo, &str),
        condition: &str,
    ) -> Result<Self, String> {
        let named = schema.object(object).find(field);
        Ok(Self {
            object,
            field: named.ok_or_else(|| format!("{field} is not a field"))?,
            condition: Test::read(schema, object, condition)?,
        })
    }
}

impl Test {
    fn read(schema: &Schema, object: ObjectNo, formula: &str) -> Result<Self, String> {
        let mut reader = Reader {
            schema,
            object,
            rest: formula.trim(),
            depth: 0,
        };
        let test = reader.any()?;
        if reader.rest.is_empty() {
            return Ok(test);
        }
        Err(format!("unexpected {:?} after the formula", reader.rest))
    }
}

struct Reader<'a> {
    schema: &'a Schema,
    object: ObjectNo,
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn any(&mut self) -> Result<Test, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("the formula is nested too deeply".to_owned());
        }
        let mut tests = vec![self.all()?];
        while self.accept("||") {
            tests.push(self.all()?);
        }
        self.depth -= 1;
        Ok(Test::Any(tests))
    }

    fn all(&mut self) -> Result<Test, String> {
        let mut tests = vec![self.one()?];
        while self.accept("&&") {
            tests.push(self.one()?);
        }
        Ok(Test::All(tests))
    }

    fn one(&mut self) -> Result<Test, String> {
        if self.rest.starts_with('!') && !self.rest.starts_with("!=") {
            self.accept("!");
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err("the formula is nested too deeply".to_owned());
            }
            let test = self.one()?;
            self.depth -= 1;
            return Ok(Test::Not(Box::new(test)));
        }
        if self.accept("(") {
            let test = self.any()?;
            self.expect(")")?;
            return Ok(test);
        }
        if let Some(name) = self.function() {
            let before = self.rest;
            if let Some(test) = self.called(&name)? {
                return Ok(test);
            }
            self.rest = before;
        }
        self.comparison()
    }

    /// Returns the name of the function called here, in upper case.
    fn function(&self) -> Option<String> {
        let letters = self.rest.find(|c: char| !c.is_ascii_alphabetic())?;
        let (name, after) = self.rest.split_at(letters);
        after
            .trim_start()
            .starts_with('(')
            .then(|| name.to_ascii_uppercase())
    }

    /// Parses a call of a boolean function, or returns `None` for another function.
    fn called(&mut self, name: &str) -> Result<Option<Test>, String> {
        self.rest = self.rest[name.len()..].trim_start();
        self.expect("(")?;
        let test = match name {
            "AND" => Test::All(self.tests()?),
            "OR" => Test::Any(self.tests()?),
            "NOT" => Test::Not(Box::new(self.any()?)),
            "ISBLANK" | "ISNULL" => Test::Blank(self.term()?),
            "ISCHANGED" => Test::Changed(self.own_field()?),
            "ISNEW" => Test::New,
            "ISPICKVAL" | "CONTAINS" | "BEGINS" => {
                let whole = self.term()?;
                self.expect(",")?;
                let part = self.term()?;
                match name {
                    "ISPICKVAL" => Test::Compare(whole, Comparison::Equal, part),
                    "CONTAINS" => Test::Contains(whole, part),
                    _ => Test::Begins(whole, part),
                }
            }
            _ => return Ok(None),
        };
        self.expect(")")?;
        Ok(Some(test))
    }

    fn tests(&mut self) -> Result<Vec<Test>, String> {
        let mut tests = vec![self.any()?];
        while self.accept(",") {
            tests.push(self.any()?);
        }
        Ok(tests)
    }

    fn comparison(&mut self) -> Result<Test, String> {
        let left = self.term()?;
        let found = COMPARISONS
            .iter()
            .find(|(symbol, _)| self.rest.starts_with(symbol));
        let Some((symbol, comparison)) = found else {
            return match self.kind(&left) {
                Kind::Bool => Ok(Test::True(left)),
                _ => Err("a condition without a comparison must be true or false".to_owned()),
            };
        };
        self.accept(symbol);
        let right = self.term()?;
        let (a, b) = (self.kind(&left), self.kind(&right));
        let ids = matches!((a, b), (Kind::Id, Kind::Text) | (Kind::Text, Kind::Id));
        if a != b && !ids {
            return Err(format!("{a:?} and {b:?} cannot be compared"));
        }
        Ok(Test::Compare(left, *comparison, right))
    }

    fn term(&mut self) -> Result<Term, String> {
        if let Some(name) = self.function() {
            self.rest = self.rest[name.len()..].trim_start();
            self.expect("(")?;
            let term = match name.as_str() {
                "LEN" => {
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err("the formula is nested too deeply".to_owned());
                    }
                    let inner = self.term()?;
                    self.depth -= 1;
                    if self.kind(&inner) != Kind::Text {
                        return Err("LEN needs a text".to_owned());
                    }
                    Term::Length(Box::new(inner))
                }
                "PRIORVALUE" => Term::Prior(self.own_field()?),
                "TODAY" => Term::Today,
                "NOW" => Term::Now,
                // A picklist value is already text here.
                "TEXT" => self.term()?,
                other => return Err(format!("unknown function {other}")),
            };
            self.expect(")")?;
            return Ok(term);
        }
        for (word, value) in [("TRUE", true), ("FALSE", false)] {
            let word = self
                .rest
                .get(..word.len())
                .filter(|w| w.eq_ignore_ascii_case(word));
            let after = word.and_then(|word| self.rest[word.len()..].chars().next());
            let ends = after.is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
            if let Some(word) = word.filter(|_| ends) {
                self.rest = self.rest[word.len()..].trim_start();
                return Ok(Term::Bool(value));
            }
        }
        let (operand, after) = operand(self.schema, self.object, self.rest)?;
        self.rest = after;
        Ok(Term::Operand(operand))
    }

    /// Parses a field of the record itself.
    fn own_field(&mut self) -> Result<FieldNo, String> {
        match self.term()? {
            Term::Operand(operand) => operand
                .field()
                .filter(|_| operand.is_own())
                .map(|(_, no)| no)
                .ok_or_else(|| "expected a field of the record itself".to_owned()),
            _ => Err("expected a field of the record itself".to_owned()),
        }
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let after = self.rest.strip_prefix(symbol);
        if let Some(after) = after {
            self.rest = after.trim_start();
        }
        after.is_some()
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        if self.accept(symbol) {
            Ok(())
        } else {
            Err(format!("expected {symbol} before {:?}", self.rest))
        }
    }

    fn kind(&self, term: &Term) -> Kind {
        match term {
            Term::Operand(Operand::Text(_)) => Kind::Text,
            Term::Operand(Operand::Number(_)) | Term::Length(_) => Kind::Number,
            Term::Operand(operand) => operand.field().map_or(Kind::Text, |(object, no)| {
                Kind::of(self.schema.object(object).field(no).kind)
            }),
            Term::Prior(no) => Kind::of(self.schema.object(self.object).field(*no).kind),
            Term::Bool(_) => Kind::Bool,
            Term::Today => Kind::Date,
            Term::Now => Kind::Datetime,
        }
    }
}

/// The type of an operand, which decides what it can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Bool,
    Id,
    Date,
    Datetime,
    Time,
}

impl Kind {
    fn of(kind: FieldType) -> Self {
        match kind {
            FieldType::Id | FieldType::Reference => Self::Id,
            FieldType::Boolean => Self::Bool,
            FieldType::Int | FieldType::Double | FieldType::Currency | FieldType::Percent => {
                Self::Number
            }
            FieldType::Date => Self::Date,
            FieldType::Datetime => Self::Datetime,
            FieldType::Time => Self::Time,
            FieldType::String
            | FieldType::Textarea
            | FieldType::Encryptedstring
            | FieldType::Picklist
            | FieldType::Multipicklist
            | FieldType::Email
            | FieldType::Phone
            | FieldType::Url
            | FieldType::Address
            | FieldType::PersonName => Self::Text,
        }
    }
}
