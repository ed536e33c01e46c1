//! Which retired words does a file still use?
//!
//! The list is `retired-words.txt`: one word or phrase a line, then what is written instead. A word is
//! found in any case and inside names of either style (`a_word`, `AWord`); a phrase is found in running text.

use crate::{Source, Violation};

const LIST: &str = include_str!("../retired-words.txt");

/// The list itself, which names every word.
const LIST_PATH: &str = "tests/tidy/retired-words.txt";

/// Files that are written by hand and read by people.
const READ: [&str; 10] = [
    "rs", "md", "sql", "toml", "yaml", "ts", "tsx", "mjs", "py", "sh",
];

struct Retired {
    /// In lower case, words separated by one space.
    words: String,
    instead: String,
}

pub(crate) fn violations(source: &Source) -> Vec<Violation> {
    let is_read = READ.iter().any(|extension| source.has_extension(extension));
    if !is_read || source.path == LIST_PATH {
        return Vec::new();
    }
    let retired = list(LIST);
    (1..)
        .zip(source.text.lines())
        .flat_map(|(line, text)| {
            let spoken = format!(" {} ", spoken(text));
            retired
                .iter()
                .filter(move |retired| spoken.contains(&format!(" {} ", retired.words)))
                .map(move |retired| {
                    let rule = format!(
                        "\"{}\" is retired: write {}",
                        retired.words, retired.instead
                    );
                    source.violation(line, rule)
                })
        })
        .collect()
}

fn list(text: &str) -> Vec<Retired> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (words, instead) = line
                .split_once('|')
                .expect("a line of the list has a word, a bar and the word to use instead");
            Retired {
                words: words.trim().to_owned(),
                instead: instead.trim().to_owned(),
            }
        })
        .collect()
}

/// Returns the words of a line in lower case, separated by spaces; names are taken apart.
fn spoken(line: &str) -> String {
    let mut words = String::with_capacity(line.len() + 8);
    let mut before = ' ';
    for letter in line.chars() {
        let begins_word = letter.is_uppercase() && before.is_lowercase();
        if begins_word || (!letter.is_alphanumeric() && !words.ends_with(' ')) {
            words.push(' ');
        }
        if letter.is_alphanumeric() {
            words.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words
}

#[cfg(test)]
mod tests {
    use crate::Source;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        super::violations(&source)
            .into_iter()
            .map(|found| found.line)
            .collect()
    }

    /// Taken apart so that this file keeps its own rule.
    const WORD: &str = concat!("door", "bell");

    #[test]
    fn a_retired_word_is_found_in_text_and_names() {
        let capital = format!("D{}Queue", &WORD[1..]);
        let text = format!("a\nthe {WORD}.\nfn free_{WORD}() {{}}\n{capital}: 1\n");
        assert_eq!(lines("core/src/a.rs", &text), [2, 3, 4]);
        assert_eq!(lines("infra/template.yaml", &text), [2, 3, 4]);
    }

    #[test]
    fn a_longer_word_that_contains_one_is_not_found() {
        assert!(lines("README.md", &format!("the {WORD}maker")).is_empty());
    }

    #[test]
    fn a_phrase_is_found_across_punctuation() {
        let phrase = [concat!("in", " v"), "ain,"].concat();
        assert_eq!(
            lines("docs/a.md", &format!("x\nit runs {phrase} here")),
            [2]
        );
    }
}
