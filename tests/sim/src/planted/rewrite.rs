//! Makes rules of a source file removable by name.

use std::ops::Range;

use anyhow::Context as _;
use proc_macro2::{Ident, TokenStream, TokenTree};

use super::{Kind, Place};

/// A rule of one file, and the bug that removes it.
#[derive(Debug, Clone, Copy)]
pub struct Removal<'a> {
    /// The name of the bug.
    pub bug: &'a str,
    /// The rule.
    pub place: &'a Place,
}

impl Removal<'_> {
    /// Returns the text with what replaces the rule. Fails if the rule does not stand there exactly once.
    pub fn once(&self, text: &str) -> anyhow::Result<String> {
        let rule = self.range(text)?;
        let (before, after) = (&text[..rule.start], &text[rule.end..]);
        Ok(format!("{before}{}{after}", self.place.instead))
    }

    fn range(&self, text: &str) -> anyhow::Result<Range<usize>> {
        let rule = &self.place.rule;
        let places: Vec<usize> = text.match_indices(rule).map(|(at, _)| at).collect();
        match places[..] {
            [at] => Ok(at..at + rule.len()),
            _ => anyhow::bail!(
                "{}: its rule stands there {} times: {rule}",
                self.bug,
                places.len()
            ),
        }
    }
}

/// Returns the file with a choice at each rule: as it is, or, if the bug is switched on, what replaces it.
///
/// `switch` is the path of the module that knows which bug is switched on. A rule in a string literal makes the whole literal a choice, or the whole macro that
/// takes it. A constant literal becomes a function, because a constant cannot choose.
///
/// Fails if a rule does not stand there exactly once, or not in one literal.
pub fn rewrite(text: &str, removals: &[Removal<'_>], switch: &str) -> anyhow::Result<String> {
    let stream: TokenStream = text
        .parse()
        .map_err(|error| anyhow::anyhow!("the file is not Rust: {error}"))?;
    let mut source = Source::default();
    source.read(stream, None);
    let mut edits = Vec::new();
    let mut constants: Vec<&Constant> = Vec::new();
    for removal in removals {
        let bug = removal.bug;
        let rule = removal.range(text)?;
        let unit = match removal.place.kind {
            Kind::Expression | Kind::Value => rule.clone(),
            Kind::Sql => {
                let literal = source
                    .literal_around(&rule)
                    .with_context(|| format!("{bug}: its rule is not within one string literal"))?;
                constants.extend(&literal.constant);
                literal.unit.clone()
            }
            Kind::Function => anyhow::bail!("{bug}: functions of the database are not in Rust"),
        };
        let instead = format!(
            "{}{}{}",
            &text[unit.start..rule.start],
            removal.place.instead,
            &text[rule.end..unit.end]
        );
        edits.push(match removal.place.kind {
            Kind::Value => Edit {
                range: unit,
                before: format!("{switch}::choose(\"{bug}\", {instead}, "),
                after: Some(")".to_owned()),
            },
            _ => Edit {
                range: unit,
                before: format!("(if {switch}::is(\"{bug}\") {{ {instead} }} else {{ "),
                after: Some(" })".to_owned()),
            },
        });
    }
    for constant in constants {
        edits.extend(source.functions_for(constant));
    }
    // What contains others comes before them.
    edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
    edits.dedup_by(|one, other| one.after.is_none() && one.range == other.range);
    render(text, 0..text.len(), &edits)
}

/// A change of the text.
struct Edit {
    range: Range<usize>,
    before: String,
    /// What stands after the former text, if that stays.
    after: Option<String>,
}

fn render(text: &str, range: Range<usize>, edits: &[Edit]) -> anyhow::Result<String> {
    let mut rendered = String::new();
    let (mut at, mut left) = (range.start, edits);
    while let Some((edit, later)) = left.split_first() {
        let end = edit.range.end;
        anyhow::ensure!(end <= range.end, "two rules overlap: {}", edit.before);
        let inner = later.partition_point(|edit| edit.range.start < end);
        let (inner, later) = later.split_at(inner);
        rendered.push_str(&text[at..edit.range.start]);
        rendered.push_str(&edit.before);
        if let Some(after) = &edit.after {
            rendered.push_str(&render(text, edit.range.clone(), inner)?);
            rendered.push_str(after);
        }
        (at, left) = (end, later);
    }
    rendered.push_str(&text[at..range.end]);
    Ok(rendered)
}

/// What a file consists of, as far as it matters here.
#[derive(Default)]
struct Source {
    literals: Vec<Literal>,
    names: Vec<Ident>,
}

/// A string literal.
struct Literal {
    range: Range<usize>,
    /// What can be a choice: itself, or the macro that takes it.
    unit: Range<usize>,
    constant: Option<Constant>,
}

/// A constant that is one literal.
struct Constant {
    name: String,
    /// From `const` to the literal.
    head: Range<usize>,
    /// The semicolon.
    end: Range<usize>,
}

impl Source {
    /// Reads tokens, which may be those that a macro takes.
    fn read(&mut self, stream: TokenStream, of_macro: Option<&Range<usize>>) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        for (place, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Group(group) => {
                    let range = macro_before(&trees[..place])
                        .map(|start| start..group.span().byte_range().end);
                    self.read(group.stream(), range.as_ref());
                }
                TokenTree::Literal(literal) if is_text(&literal.to_string()) => {
                    let range = literal.span().byte_range();
                    self.literals.push(Literal {
                        unit: of_macro.cloned().unwrap_or_else(|| range.clone()),
                        constant: constant_around(&trees, place),
                        range,
                    });
                }
                TokenTree::Ident(name) => self.names.push(name.clone()),
                TokenTree::Literal(_) | TokenTree::Punct(_) => {}
            }
        }
    }

    fn literal_around(&self, rule: &Range<usize>) -> Option<&Literal> {
        self.literals
            .iter()
            .find(|literal| literal.range.start < rule.start && rule.end < literal.range.end)
    }

    /// Makes a constant a function, and each use of it a call.
    fn functions_for(&self, constant: &Constant) -> Vec<Edit> {
        let replace = |range: &Range<usize>, text: String| Edit {
            range: range.clone(),
            before: text,
            after: None,
        };
        let name = &constant.name;
        let uses = self.names.iter().filter(|used| *used == name);
        let uses = uses.map(|used| used.span().byte_range());
        uses.filter(|used| !constant.head.contains(&used.start))
            .map(|used| replace(&used, format!("{name}()")))
            .chain([
                replace(&constant.head, format!("fn {name}() -> &'static str {{ ")),
                replace(&constant.end, " }".to_owned()),
            ])
            .collect()
    }
}

fn is_text(literal: &str) -> bool {
    ["\"", "r\"", "r#"]
        .iter()
        .any(|start| literal.starts_with(start))
}

/// Returns where the macro begins whose name and `!` are the last of these tokens.
fn macro_before(trees: &[TokenTree]) -> Option<usize> {
    match trees {
        [.., TokenTree::Ident(name), TokenTree::Punct(mark)] if mark.as_char() == '!' => {
            Some(name.span().byte_range().start)
        }
        _ => None,
    }
}

/// Returns the constant whose value is the literal at this place.
fn constant_around(trees: &[TokenTree], place: usize) -> Option<Constant> {
    let is_mark = |tree: &TokenTree, wanted: char| matches!(tree, TokenTree::Punct(mark) if mark.as_char() == wanted);
    let end = trees.get(place + 1).filter(|tree| is_mark(tree, ';'))?;
    let before = &trees[..place];
    let start = before
        .iter()
        .rposition(|tree| matches!(tree, TokenTree::Ident(word) if word == "const"))?;
    let (head, name) = (&before[start..], before.get(start + 1)?);
    if head
        .iter()
        .any(|tree| is_mark(tree, ';') || matches!(tree, TokenTree::Group(_)))
    {
        return None;
    }
    Some(Constant {
        name: name.to_string(),
        head: head[0].span().byte_range().start..trees[place].span().byte_range().start,
        end: end.span().byte_range(),
    })
}
