//! Which known name a mistaken one is like.

use strsim::levenshtein;

/// Most edits between a mistaken name and the one that is suggested.
const EDITS_MAX: usize = 3;

/// Returns the known name that is most similar to a mistaken one, if one is. Case does not matter; a short name has
/// fewer edits, so that not every short name is like it.
pub fn similar<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let edits_max = EDITS_MAX.min(name.chars().count() / 2);
    let mistaken = name.to_lowercase();
    known
        .into_iter()
        .map(|known| (levenshtein(&mistaken, &known.to_lowercase()), known))
        .min()
        .filter(|(edits, _)| *edits <= edits_max)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_found_and_others_are_not() {
        let known = ["Phone", "Name", "BillingCity"];
        for (name, meant) in [
            ("Phnoe", Some("Phone")),
            ("phone", Some("Phone")),
            ("BilingCty", Some("BillingCity")),
            ("Fax", None),
            ("Description", None),
        ] {
            assert_eq!(similar(name, known), meant, "{name}");
        }
    }
}
