//! Decodes the bitmaps of a change event to field positions (Pub/Sub API guide, "Event Deserialization
//! Considerations"). The schema maps positions to names.

use std::collections::BTreeSet;

/// The position of a field in an event: its index at top level and, for a part of a compound, its index
/// in the compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FieldPlace {
    pub(super) field: usize,
    pub(super) child: Option<usize>,
}

/// An invalid bitmap, so that the changed fields are unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bitmap {bitmap:?} is malformed")]
pub(super) struct BitmapError {
    bitmap: String,
}

/// Longest bitmap in hexadecimal digits: four times the 800 fields an object may have.
const DIGITS_MAX: usize = 800;

/// Returns the positions that the bitmaps set: `0x…` for top-level fields, `7-0x…` for the children of
/// field 7. The lowest bit of the number is index 0.
pub(super) fn places(bitmaps: &[String]) -> Result<BTreeSet<FieldPlace>, BitmapError> {
    let mut places = BTreeSet::new();
    for bitmap in bitmaps {
        let malformed = || BitmapError {
            bitmap: bitmap.chars().take(40).collect(),
        };
        let (parent, digits) = match bitmap.split_once('-') {
            Some((parent, digits)) => (Some(parent), digits),
            None => (None, bitmap.as_str()),
        };
        let parent: Option<usize> = match parent {
            Some(parent) => Some(parent.parse().map_err(|_| malformed())?),
            None => None,
        };
        let bits = set_bits(digits).ok_or_else(malformed)?;
        places.extend(bits.into_iter().map(|bit| match parent {
            Some(field) => FieldPlace {
                field,
                child: Some(bit),
            },
            None => FieldPlace {
                field: bit,
                child: None,
            },
        }));
    }
    Ok(places)
}

fn set_bits(text: &str) -> Option<Vec<usize>> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut bits = Vec::new();
    for (place, digit) in digits.chars().rev().enumerate() {
        let nibble = digit.to_digit(16)?;
        bits.extend(
            (0..4)
                .filter(|bit| nibble & (1 << bit) != 0)
                .map(|bit| place * 4 + bit),
        );
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bitmaps: &[&str]) -> String {
        let bitmaps: Vec<String> = bitmaps.iter().map(|bitmap| (*bitmap).to_owned()).collect();
        match places(&bitmaps) {
            Ok(places) => places
                .iter()
                .map(|place| match place.child {
                    Some(child) => format!("{}.{child}", place.field),
                    None => place.field.to_string(),
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(_) => "malformed".to_owned(),
        }
    }

    #[test]
    fn bitmaps_decode_to_field_positions() {
        for (bitmaps, expected) in [
            (&["0x400800"][..], "11 22"),
            (&["0x400080"], "7 22"),
            (&["0x410000"], "16 22"),
            (&["0x010000"], "16"),
            (&["0x08F81000"], "12 19 20 21 22 23 27"),
            (&["0x08f81000"], "12 19 20 21 22 23 27"),
            (&["0x650004E0"], "5 6 7 10 24 26 29 30"),
            (&["4-0x01"], "4.0"),
            (&["4-0x10"], "4.4"),
            (&["7-0x06"], "7.1 7.2"),
            (&["0x400000", "4-0x01"], "4.0 22"),
            (&[], ""),
            (&["0x00"], ""),
        ] {
            assert_eq!(decoded(bitmaps), expected, "{bitmaps:?}");
        }
    }

    #[test]
    fn malformed_bitmaps_are_refused() {
        for malformed in [
            "", "0x", "400800", "0xZZ", "-0x01", "x-0x01", "4-", "0x01-4",
        ] {
            assert_eq!(decoded(&[malformed]), "malformed", "{malformed}");
        }
    }
}
