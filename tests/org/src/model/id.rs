//! Salesforce record ids: 15 significant characters and a 3-character checksum of their case.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The digits of an id in ASCII order, so that ids of one object sort in order of creation.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The letters for the values 0 to 31 of a checksum group.
const CHECKSUM: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The instance part that all ids of the local org share (characters 4 to 6).
const INSTANCE: &[u8; 3] = b"5g0";

/// A record id in its 15-character form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId([u8; 15]);

impl RecordId {
    /// Parses an id of 15 or 18 characters.
    ///
    /// The checksum of an 18-character id repairs damaged case. Returns `None` for any other
    /// length, for characters outside `[A-Za-z0-9]`, and for an impossible checksum.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        match bytes.len() {
            15 => Some(Self(bytes.try_into().ok()?)),
            18 => Self::repaired(bytes),
            _ => None,
        }
    }

    fn repaired(bytes: &[u8]) -> Option<Self> {
        let mut id = [0_u8; 15];
        for group in 0..3 {
            let letter = bytes[15 + group].to_ascii_uppercase();
            let bits = CHECKSUM.iter().position(|&c| c == letter)?;
            for offset in 0..5 {
                let position = group * 5 + offset;
                let upper = bits >> offset & 1 == 1;
                let byte = bytes[position];
                if upper && !byte.is_ascii_alphabetic() {
                    return None;
                }
                id[position] = if upper {
                    byte.to_ascii_uppercase()
                } else {
                    byte.to_ascii_lowercase()
                };
            }
        }
        Some(Self(id))
    }

    /// Returns the id of the `number`th record of the object with this key prefix.
    pub(crate) fn numbered(prefix: [u8; 3], number: u32) -> Self {
        let mut id = [b'0'; 15];
        id[..3].copy_from_slice(&prefix);
        id[3..6].copy_from_slice(INSTANCE);
        let mut rest = number as usize;
        for position in (6..15).rev() {
            id[position] = DIGITS[rest % 62];
            rest /= 62;
        }
        Self(id)
    }

    /// Returns the number passed to [`RecordId::numbered`], if the local org made this id.
    pub(crate) fn number(self) -> Option<u32> {
        if &self.0[3..6] != INSTANCE {
            return None;
        }
        let mut number = 0_u64;
        for &byte in &self.0[6..] {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'A'..=b'Z' => byte - b'A' + 10,
                _ => byte - b'a' + 36,
            };
            number = number * 62 + u64::from(digit);
        }
        u32::try_from(number).ok()
    }

    /// Returns the first three characters, which identify the object.
    pub(crate) fn prefix(self) -> [u8; 3] {
        [self.0[0], self.0[1], self.0[2]]
    }

    /// Returns the 15-character form, as some messages show it.
    #[must_use]
    pub fn short(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id holds only ASCII letters and digits")
    }

    fn checksum(self) -> [u8; 3] {
        let mut letters = [0_u8; 3];
        for (letter, group) in letters.iter_mut().zip(self.0.chunks_exact(5)) {
            let bits = group.iter().enumerate().fold(0, |bits, (j, c)| {
                bits | usize::from(c.is_ascii_uppercase()) << j
            });
            *letter = CHECKSUM[bits];
        }
        letters
    }
}

impl fmt::Display for RecordId {
    /// Writes the 18-character form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checksum = self.checksum();
        f.write_str(self.short())?;
        f.write_str(std::str::from_utf8(&checksum).expect("checksum letters are ASCII"))
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text} is not a record id")))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::RecordId;

    #[test]
    fn checksum_matches_ids_of_real_orgs() {
        for (short, long) in [
            ("0015f00002J9YYE", "0015f00002J9YYEAA3"),
            ("001D000000IqhSL", "001D000000IqhSLIAZ"),
            ("001xx000003DGb2", "001xx000003DGb2AAG"),
            ("005D0000001LjdW", "005D0000001LjdWIAS"),
            ("00DRM000000Gv5X", "00DRM000000Gv5X2AS"),
            ("000000000000000", "000000000000000AAA"),
        ] {
            assert_eq!(RecordId::parse(short).unwrap().to_string(), long);
            assert_eq!(RecordId::parse(long).unwrap().short(), short);
            assert_eq!(
                RecordId::parse(&long.to_lowercase()).unwrap().short(),
                short
            );
            assert_eq!(
                RecordId::parse(&long.to_uppercase()).unwrap().short(),
                short
            );
        }
    }

    #[test]
    fn invalid_ids_are_refused() {
        for text in [
            "",
            "001",
            "0015f00002J9YY",
            "0015f00002J9YYEAA",
            "0015f00002J9Y-E",
        ] {
            assert_eq!(RecordId::parse(text), None, "{text}");
        }
        assert_eq!(
            RecordId::parse("000000000000000BAA"),
            None,
            "a digit has no upper case"
        );
    }

    #[test]
    fn numbered_ids_round_trip_and_sort_by_number() {
        let ids: Vec<_> = [0, 1, 61, 62, 4000, u32::MAX]
            .into_iter()
            .map(|n| (n, RecordId::numbered(*b"001", n)))
            .collect();
        assert!(ids.iter().all(|(n, id)| id.number() == Some(*n)));
        assert!(ids.is_sorted_by_key(|(_, id)| *id));
    }
}
