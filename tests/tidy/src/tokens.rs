//! What does a file say in code: without its comments, its documentation and its unit tests?

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// One word, mark or literal, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// What a token is. Groups are flattened: only their opening and closing are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(String),
    Text(String),
    Mark(char),
    Open,
    Close,
}

/// Returns the code of a file, or nothing if it is not Rust (another rule says so).
pub(crate) fn code(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    if let Ok(stream) = text.parse::<TokenStream>() {
        flatten(stream, &mut tokens);
    }
    tokens
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    let mut is_test = false;
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                if let Some(TokenTree::Punct(_)) = trees.peek() {
                    trees.next();
                }
                if let Some(TokenTree::Group(attribute)) = trees.next() {
                    is_test |= is_cfg_test(&attribute);
                }
            }
            // The item that #[cfg(test)] stands on ends with its braces or its semicolon.
            TokenTree::Group(group) if is_test => is_test = group.delimiter() != Delimiter::Brace,
            TokenTree::Punct(mark) if is_test => is_test = mark.as_char() != ';',
            TokenTree::Ident(_) | TokenTree::Literal(_) if is_test => {}
            TokenTree::Group(group) => {
                tokens.push(Token {
                    line,
                    kind: Kind::Open,
                });
                flatten(group.stream(), tokens);
                let line = group.span_close().start().line;
                tokens.push(Token {
                    line,
                    kind: Kind::Close,
                });
            }
            TokenTree::Ident(word) => tokens.push(Token {
                line,
                kind: Kind::Word(word.to_string()),
            }),
            TokenTree::Punct(mark) => tokens.push(Token {
                line,
                kind: Kind::Mark(mark.as_char()),
            }),
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    tokens.push(Token {
                        line,
                        kind: Kind::Text(text.value()),
                    });
                }
            }
        }
    }
}

fn is_cfg_test(attribute: &Group) -> bool {
    let written: String = attribute.stream().to_string().split_whitespace().collect();
    written == "cfg(test)"
}

#[cfg(test)]
mod tests {
    use super::{Kind, code};

    fn words(text: &str) -> Vec<String> {
        code(text)
            .into_iter()
            .filter_map(|token| match token.kind {
                Kind::Word(word) => Some(word),
                Kind::Text(text) => Some(format!("{text:?}")),
                Kind::Mark(_) | Kind::Open | Kind::Close => None,
            })
            .collect()
    }

    #[test]
    fn comments_documentation_and_attributes_are_not_code() {
        let text =
            "//! Of tokio.\n/// Of tokio.\n#[doc = \"tokio\"]\nfn a() { /* tokio */ \"text\" }";
        assert_eq!(words(text), ["fn", "a", "\"text\""]);
    }

    #[test]
    fn unit_tests_are_not_code_and_what_follows_them_is() {
        let text = "#[cfg(test)]\nmod tests { fn a(x: u8) {} }\n#[cfg(test)]\nuse a::b;\nfn c() {}";
        assert_eq!(words(text), ["fn", "c"]);
    }

    #[test]
    fn text_inside_macros_is_seen_with_its_line() {
        let tokens = code("fn a() {\n    query!(\n        r#\"select 1\"#\n    );\n}");
        assert!(
            tokens
                .iter()
                .any(|t| t.line == 3 && t.kind == Kind::Text("select 1".to_owned()))
        );
    }
}
