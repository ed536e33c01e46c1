//! Matches text against a LIKE pattern, ignoring case.

/// A LIKE pattern: `%` is any text, `_` any single character, and a backslash escapes both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Any,
    One,
    Char(char),
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let lower = text.to_lowercase();
        let mut chars = lower.chars();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '%' => Piece::Any,
                '_' => Piece::One,
                '\\' => Piece::Char(chars.next().unwrap_or('\\')),
                other => Piece::Char(other),
            });
        }
        Self(pieces)
    }

    /// Returns whether `text` matches, in time linear in text length times pattern length.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let chars: Vec<char> = text.to_lowercase().chars().collect();
        let (mut piece, mut at) = (0, 0);
        let mut last_any: Option<(usize, usize)> = None;
        while at < chars.len() {
            match self.0.get(piece) {
                Some(Piece::Any) => {
                    last_any = Some((piece, at));
                    piece += 1;
                }
                Some(Piece::One) => (piece, at) = (piece + 1, at + 1),
                Some(Piece::Char(c)) if *c == chars[at] => (piece, at) = (piece + 1, at + 1),
                Some(Piece::Char(_)) | None => {
                    let Some((any, start)) = last_any else {
                        return false;
                    };
                    last_any = Some((any, start + 1));
                    (piece, at) = (any + 1, start + 1);
                }
            }
        }
        self.0[piece..].iter().all(|piece| *piece == Piece::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn wildcards_case_and_escapes_match() {
        for (pattern, text, fits) in [
            ("Ac%", "ACME", true),
            ("%me", "Acme", true),
            ("A_me", "Acme", true),
            ("A_me", "Ame", false),
            ("%", "", true),
            ("a%b%c", "axxbyyc", true),
            ("a%b%c", "axxbyy", false),
            (r"50\%", "50%", true),
            (r"50\%", "50x", false),
            (r"a\_b", "a_b", true),
            (r"a\\b", r"a\b", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                fits,
                "{pattern} {text}"
            );
        }
    }
}
