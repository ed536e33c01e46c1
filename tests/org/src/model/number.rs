//! Numbers: doubles as Salesforce stores them, and the exact decimals that formulas calculate with.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Maximum number of decimal places of an exact number; no double that a field holds needs more.
const PLACES_MAX: usize = 30;

/// A stored number: an IEEE double, finite and without a negative zero.
///
/// A field keeps every decimal that a caller sent, because its scale binds the user interface only.
/// Beyond 15 digits a number is returned as the shortest text of the nearest double. Sources: Help
/// articles 000387302, 000385689, 000394530.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Double(f64);

impl Double {
    /// Returns the double nearest to a decimal text, or `None` if it is not a number. A number
    /// beyond all doubles is the largest one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
        let number: f64 = text.bytes().all(plain).then(|| text.parse().ok())??;
        Some(Self::of(number))
    }

    /// Returns a stored number. An infinite one becomes the largest double.
    pub(crate) fn of(number: f64) -> Self {
        // Adding zero makes a negative zero positive.
        Self(number.clamp(f64::MIN, f64::MAX) + 0.0)
    }

    /// Returns the number.
    pub(crate) fn get(self) -> f64 {
        self.0
    }

    /// Returns the nearest whole number, rounded half away from zero, if it is an `i32`.
    pub(crate) fn whole(self) -> Option<i32> {
        let rounded = self.0.round();
        let fits = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&rounded);
        fits.then_some(rounded as i32)
    }

    /// Appends the shortest text of the number, with at least one digit after the point and without
    /// an exponent.
    pub(crate) fn push(self, out: &mut String) {
        let start = out.len();
        out.push_str(&self.0.to_string());
        if !out[start..].contains('.') {
            out.push_str(".0");
        }
    }
}

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Double {}

impl PartialOrd for Double {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Double {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// An exact decimal number: `units` × `10^-scale`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    units: i128,
    scale: u32,
}

impl Number {
    /// Returns the number with the shortest text of a double, or `None` if it has too many digits.
    pub(crate) fn of(double: Double) -> Option<Self> {
        Self::parse(&double.0.to_string())
    }

    /// Reads a number without an exponent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > PLACES_MAX {
            return None;
        }
        Some(Self {
            units: format!("{whole}{fraction}").parse().ok()?,
            scale: u32::try_from(fraction.len()).ok()?,
        })
    }

    /// Returns a whole number.
    pub(crate) fn whole(number: i64) -> Self {
        Self {
            units: i128::from(number),
            scale: 0,
        }
    }

    /// Compares two numbers; `None` if they are too large to compare.
    pub(crate) fn order(self, other: Self) -> Option<Ordering> {
        let scale = self.scale.max(other.scale);
        Some(self.at_scale(scale)?.cmp(&other.at_scale(scale)?))
    }

    fn at_scale(self, scale: u32) -> Option<i128> {
        let factor = 10_i128.checked_pow(scale.checked_sub(self.scale)?)?;
        self.units.checked_mul(factor)
    }

    /// Returns the sum, or `None` if it has too many digits.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let units = self.at_scale(scale)?.checked_add(other.at_scale(scale)?)?;
        Some(Self { units, scale })
    }

    /// Returns the difference, or `None` if it has too many digits.
    pub(crate) fn minus(self, other: Self) -> Option<Self> {
        self.plus(Self {
            units: -other.units,
            ..other
        })
    }

    /// Returns the product, or `None` if it has too many digits.
    pub(crate) fn times(self, other: Self) -> Option<Self> {
        Some(Self {
            units: self.units.checked_mul(other.units)?,
            scale: self.scale + other.scale,
        })
    }

    /// Returns one minus this percentage, or `None` if it has too many digits.
    pub(crate) fn rest_of_hundred(self) -> Option<Self> {
        let rest = Self::whole(100).minus(self)?;
        Some(Self {
            scale: rest.scale + 2,
            ..rest
        })
    }

    /// Returns the number rounded to this many decimal places, half away from zero, or `None` if it
    /// is too large.
    pub(crate) fn rounded(self, scale: u32) -> Option<Self> {
        if scale >= self.scale {
            let units = self.at_scale(scale)?;
            return Some(Self { units, scale });
        }
        let factor = 10_i128.checked_pow(self.scale - scale)?;
        let half = factor / 2 * self.units.signum();
        let units = self.units.checked_add(half)? / factor;
        Some(Self { units, scale })
    }

    /// Returns the digits with all decimal places of the number.
    pub(crate) fn text(self) -> String {
        let places = self.scale as usize;
        let digits = format!("{:0width$}", self.units.unsigned_abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let sign = if self.units < 0 { "-" } else { "" };
        let point = if places == 0 { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }

    /// Returns the nearest double.
    pub(crate) fn double(self) -> Double {
        Double::parse(&self.text()).expect("the text of a number is one")
    }
}

#[cfg(test)]
mod tests {
    use super::{Double, Number};

    fn stored(text: &str) -> Option<String> {
        let mut out = String::new();
        Double::parse(text)?.push(&mut out);
        Some(out)
    }

    #[test]
    fn number_keeps_its_decimals_up_to_the_nearest_double() {
        for (sent, kept) in [
            ("1.50", "1.5"),
            ("7", "7.0"),
            ("-0.0", "0.0"),
            ("0.0000012345", "0.0000012345"),
            ("1e3", "1000.0"),
            ("123456789012345678", "123456789012345680.0"),
            ("12345678901234.5678", "12345678901234.568"),
        ] {
            assert_eq!(stored(sent).as_deref(), Some(kept), "{sent}");
        }
    }

    #[test]
    fn text_that_is_not_a_number_is_refused() {
        for text in ["", "x", "1.2.3", "--1", "1e", "NaN", "inf", "0x1", "."] {
            assert!(Double::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        let rounded = |text: &str| Some(Number::parse(text)?.rounded(2)?.text());
        for (text, expected) in [
            ("0.005", "0.01"),
            ("-0.005", "-0.01"),
            ("0.0004", "0.00"),
            ("1.005", "1.01"),
            ("5", "5.00"),
        ] {
            assert_eq!(rounded(text).as_deref(), Some(expected), "{text}");
        }
    }
}
