//! Shows the position of an error in a statement in its message.

use super::lexer::{Token, tokens};
use crate::model::error::{Place, SfError};

/// Number of characters shown before and after the position.
const SHOWN_CHARS: usize = 35;

/// Returns the error with its position in `text`, if it has one.
///
/// The format is that of real orgs: a piece of the statement, a caret below the position, row and
/// column counted from 1, and the message. An error at the very first word has no position.
pub(crate) fn explained(text: &str, error: SfError) -> SfError {
    let at = match error.place() {
        None => return error,
        Some(Place::At(at)) => Some(*at),
        Some(Place::Word(word)) => find(text, word),
    };
    let Some(at) = at.filter(|at| *at > 0) else {
        return error;
    };
    let before = text.get(..at).unwrap_or(text);
    let row = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let before = &before[line_start..];
    let after = text.get(at..).unwrap_or_default();
    let after = after.lines().next().unwrap_or_default();
    let column = before.chars().count() + 1;
    let left = column.saturating_sub(1 + SHOWN_CHARS);
    let mut left_part: String = before.chars().skip(left).collect();
    if left > 0
        && let Some(blank) = left_part.find([' ', ','])
    {
        left_part = left_part[blank..].trim_start_matches([' ', ',']).to_owned();
    }
    let right_part: String = after.chars().take(SHOWN_CHARS).collect();
    let indent = " ".repeat(left_part.chars().count());
    let message = error.message();
    let message = format!(
        "\n{left_part}{right_part}\n{indent}^\nERROR at Row:{row}:Column:{column}\n{message}"
    );
    error.explained(message)
}

/// Returns the position of a word's first occurrence.
fn find(text: &str, wanted: &str) -> Option<usize> {
    let tokens = tokens(text).ok()?;
    let found = tokens.iter().find(|lexeme| match &lexeme.token {
        Token::Word(word) => word == wanted || word.rsplit('.').next() == Some(wanted),
        Token::Literal(_) | Token::Symbol(_) => false,
    });
    found.map(|lexeme| lexeme.at)
}

#[cfg(test)]
mod tests {
    use super::explained;
    use crate::model::error::{Place, SfError};

    fn shown(text: &str, place: Place) -> String {
        explained(text, SfError::new("X", "why").placed(place))
            .message()
            .to_owned()
    }

    #[test]
    fn error_position_has_row_and_column() {
        assert_eq!(
            shown("SELECT Id,\n  Foo FROM Bar", Place::Word("Foo".to_owned())),
            "\n  Foo FROM Bar\n  ^\nERROR at Row:2:Column:3\nwhy"
        );
        assert_eq!(
            shown("SELECT Id FROM Bar WHERE", Place::At(24)),
            "\nSELECT Id FROM Bar WHERE\n                        ^\nERROR at Row:1:Column:25\nwhy"
        );
        let long = format!("SELECT {}Foo FROM Bar", "Name, ".repeat(20));
        assert_eq!(
            shown(&long, Place::Word("Foo".to_owned())),
            "\nName, Name, Name, Name, Name, Foo FROM Bar\n                              ^\n\
             ERROR at Row:1:Column:128\nwhy"
        );
    }

    #[test]
    fn errors_without_a_position_are_unchanged() {
        assert_eq!(shown("nonsense", Place::At(0)), "why");
        assert_eq!(shown("SELECT Id", Place::Word("Foo".to_owned())), "why");
    }
}
