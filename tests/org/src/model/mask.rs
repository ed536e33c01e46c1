//! Masks of encrypted text: what a user without "View Encrypted Data" sees.

use serde::{Deserialize, Serialize};

/// Which characters stay readable. The names are those of `maskType` in describe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum MaskType {
    #[default]
    All,
    /// The last four, of a credit card number.
    CreditCard,
    LastFour,
    /// The last four, of a social security number.
    Ssn,
    /// The last three, of a social insurance number.
    Sin,
    /// None, of a national insurance number.
    Nino,
}

/// The character that replaces others. The names are those of `mask` in describe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MaskChar {
    #[default]
    Asterisk,
    X,
}

/// The mask of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) kind: MaskType,
    pub(crate) char: MaskChar,
}

impl Mask {
    /// Returns the text with the letters and digits replaced that the mask hides.
    pub(crate) fn masked(self, text: &str) -> String {
        let clear = match self.kind {
            MaskType::All | MaskType::Nino => 0,
            MaskType::CreditCard | MaskType::LastFour | MaskType::Ssn => 4,
            MaskType::Sin => 3,
        };
        let cover = match self.char {
            MaskChar::Asterisk => '*',
            MaskChar::X => 'X',
        };
        let hidden = text.chars().filter(|c| c.is_alphanumeric()).count();
        let mut hidden = hidden.saturating_sub(clear);
        let shown = |char: char| {
            if !char.is_alphanumeric() || hidden == 0 {
                return char;
            }
            hidden -= 1;
            cover
        };
        text.chars().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Mask, MaskChar, MaskType};

    #[test]
    fn mask_hides_all_but_the_last_characters_of_its_type() {
        for (kind, expected) in [
            (MaskType::All, "XXXX-XXXX-XX"),
            (MaskType::CreditCard, "XXXX-XX34-56"),
            (MaskType::Sin, "XXXX-XXX4-56"),
        ] {
            let char = MaskChar::X;
            assert_eq!(Mask { kind, char }.masked("abcd-1234-56"), expected);
        }
    }
}
