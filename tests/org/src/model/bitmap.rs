//! The bitmaps of change events: sets of fields as hexadecimal over the event's Avro schema.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Position of a field in an event: its top-level index, and its index within a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bit {
    pub(crate) top: usize,
    pub(crate) child: Option<usize>,
}

/// Returns the bitmaps of a set of fields: first the top-level one, then one for each compound.
pub(crate) fn encode(bits: impl IntoIterator<Item = Bit>) -> Vec<String> {
    let mut top = Vec::new();
    let mut compounds: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for bit in bits {
        match bit.child {
            None => set_bit(&mut top, bit.top),
            Some(child) => set_bit(compounds.entry(bit.top).or_default(), child),
        }
    }
    let mut maps = Vec::new();
    if !top.is_empty() {
        maps.push(hex(&top));
    }
    maps.extend(
        compounds
            .iter()
            .map(|(parent, bytes)| format!("{parent}-{}", hex(bytes))),
    );
    maps
}

/// Returns the fields of one bitmap, or `None` if it is malformed.
pub(crate) fn decode(map: &str) -> Option<Vec<Bit>> {
    let (parent, digits) = match map.split_once('-') {
        Some((parent, digits)) => (Some(parent.parse::<usize>().ok()?), digits),
        None => (None, map),
    };
    let digits = digits.strip_prefix("0x")?;
    let mut bits = Vec::new();
    for (place, digit) in digits.bytes().rev().enumerate() {
        let value = char::from(digit).to_digit(16)?;
        let set = (0..4)
            .filter(|bit| value >> bit & 1 == 1)
            .map(|bit| place * 4 + bit);
        bits.extend(set.map(|index| match parent {
            Some(top) => Bit {
                top,
                child: Some(index),
            },
            None => Bit {
                top: index,
                child: None,
            },
        }));
    }
    Some(bits)
}

/// Sets bit `index` in little-endian bytes.
fn set_bit(bytes: &mut Vec<u8>, index: usize) {
    if bytes.len() <= index / 8 {
        bytes.resize(index / 8 + 1, 0);
    }
    bytes[index / 8] |= 1 << (index % 8);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().rev().fold("0x".to_owned(), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::{Bit, decode, encode};

    fn top(indexes: &[usize]) -> Vec<Bit> {
        indexes
            .iter()
            .map(|&top| Bit { top, child: None })
            .collect()
    }

    fn child(top: usize, indexes: &[usize]) -> Vec<Bit> {
        indexes
            .iter()
            .map(|&child| Bit {
                top,
                child: Some(child),
            })
            .collect()
    }

    #[test]
    fn bitmaps_of_real_events_round_trip() {
        for (map, bits) in [
            ("0x400800", top(&[11, 22])),
            ("0x400080", top(&[7, 22])),
            ("0x410000", top(&[16, 22])),
            ("0x010000", top(&[16])),
            ("0x08F81000", top(&[12, 19, 20, 21, 22, 23, 27])),
            ("0x650004E0", top(&[5, 6, 7, 10, 24, 26, 29, 30])),
            ("4-0x01", child(4, &[0])),
            ("4-0x10", child(4, &[4])),
            ("7-0x06", child(7, &[1, 2])),
        ] {
            assert_eq!(decode(map).as_deref(), Some(&*bits), "{map}");
            assert_eq!(encode(bits), [map]);
        }
    }

    #[test]
    fn top_level_bitmap_comes_before_compounds() {
        let bits = child(4, &[0]).into_iter().chain(top(&[22]));
        assert_eq!(encode(bits), ["0x400000", "4-0x01"]);
        assert_eq!(encode([]), Vec::<String>::new());
    }

    #[test]
    fn malformed_bitmaps_are_refused() {
        for map in ["", "40", "0xZZ", "x-0x01"] {
            assert_eq!(decode(map), None, "{map}");
        }
    }
}
