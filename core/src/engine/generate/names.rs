//! Names of tables and columns, made from API names.
//!
//! `BillingCity` becomes `billing_city` and `My_Field__c` becomes `my_field`. Where two API names would get one name,
//! the standard one keeps it and the custom one keeps its suffix: `phone` and `phone_c`. The same API names always
//! get the same names, in whatever order they come.

use std::collections::{BTreeMap, BTreeSet};

/// The most bytes of a name that Postgres keeps.
const BYTES_MAX: usize = 63;

/// Characters of the hash that stands for the end of a name that is too long.
const HASH_LENGTH: usize = 8;

/// Names of columns that Postgres gives every table itself.
const SYSTEM_COLUMNS: [&str; 6] = ["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

/// Suffixes of API names: custom, part of a compound, of a person account.
const SUFFIXES: [&str; 4] = ["__c", "__s", "__pc", "__r"];

/// Returns the API name without its suffix.
pub(super) fn stem(api_name: &str) -> &str {
    let lower = api_name.to_ascii_lowercase();
    let suffix = SUFFIXES.iter().find(|suffix| lower.ends_with(*suffix));
    match suffix {
        Some(suffix) if suffix.len() < api_name.len() => &api_name[..api_name.len() - suffix.len()],
        Some(_) | None => api_name,
    }
}

/// Returns the name in lower case, with an underscore between its words.
pub(super) fn snake_case(api_name: &str) -> String {
    let letters: Vec<char> = api_name.chars().collect();
    let mut snake = String::with_capacity(api_name.len() + 8);
    for (place, letter) in letters.iter().enumerate() {
        if !letter.is_ascii_alphanumeric() {
            push_underscore(&mut snake);
            continue;
        }
        let before = place.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(place + 1);
        let ends_word = before.is_some_and(|before| !before.is_ascii_uppercase());
        // The last capital of several begins the next word: `SICDesc`.
        let begins_word = after.is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && (ends_word || begins_word) {
            push_underscore(&mut snake);
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake.trim_end_matches('_').to_owned()
}

fn push_underscore(snake: &mut String) {
    if !snake.is_empty() && !snake.ends_with('_') {
        snake.push('_');
    }
}

/// Returns the letters and digits of a name in lower case: names that differ in nothing else are alike.
pub(super) fn normal(name: &str) -> String {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Returns a name for each API name. None of them is in `taken`.
pub(super) fn names<'n>(
    api_names: impl IntoIterator<Item = &'n str>,
    taken: &BTreeSet<String>,
) -> BTreeMap<&'n str, String> {
    let mut taken = taken.clone();
    taken.extend(SYSTEM_COLUMNS.map(str::to_owned));
    let mut ordered: Vec<&str> = api_names.into_iter().collect();
    ordered.sort_unstable_by_key(|name| (stem(name).len() < name.len(), *name));
    ordered.dedup();
    let mut named = BTreeMap::new();
    for api_name in ordered {
        let name = free_name(api_name, &taken);
        taken.insert(name.clone());
        named.insert(api_name, name);
    }
    named
}

fn free_name(api_name: &str, taken: &BTreeSet<String>) -> String {
    let whole = snake_case(api_name);
    let numbered = (2_u32..).map(|number| format!("{}_{number}", cut(&whole, api_name, 11)));
    [snake_case(stem(api_name)), whole.clone()]
        .iter()
        .map(|name| cut(name, api_name, 0))
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .expect("there are more numbers than names")
}

/// Returns the name if it and `spare` more bytes are not too long, else its beginning and a hash of the API name.
fn cut(name: &str, api_name: &str, spare: usize) -> String {
    if name.len() + spare <= BYTES_MAX {
        return name.to_owned();
    }
    let hash = blake3::hash(api_name.as_bytes()).to_hex();
    let kept = &name[..BYTES_MAX - spare - HASH_LENGTH - 1];
    format!("{}_{}", kept.trim_end_matches('_'), &hash[..HASH_LENGTH])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ids::{ColumnName, FieldName};

    #[test]
    fn names_are_in_snake_case_without_suffix() {
        for (api_name, name) in [
            ("BillingCity", "billing_city"),
            ("My_Field__c", "my_field"),
            ("acme__MyField__c", "acme_my_field"),
            ("Place__Latitude__s", "place_latitude"),
            ("Hobby__pc", "hobby"),
            ("SicDesc", "sic_desc"),
            ("SICDesc", "sic_desc"),
            ("IsVATRegistered", "is_vat_registered"),
            ("OwnerId", "owner_id"),
            ("Address2Line", "address2_line"),
            ("NPS__c", "nps"),
            ("X2__c", "x2"),
        ] {
            assert_eq!(snake_case(stem(api_name)), name, "{api_name}");
        }
    }

    #[test]
    fn standard_field_keeps_the_name_and_the_order_does_not_count() {
        let taken = BTreeSet::from(["id".to_owned()]);
        let fields = ["Phone__c", "Phone", "PHONE__pc", "Id__c", "Xmin", "Phone_c"];
        let named = names(fields, &taken);
        let mut reversed = fields;
        reversed.reverse();
        assert_eq!(names(reversed, &taken), named);
        let expected = [
            ("Id__c", "id_c"),
            ("PHONE__pc", "phone_pc"),
            ("Phone", "phone"),
            ("Phone__c", "phone_c_2"),
            ("Phone_c", "phone_c"),
            ("Xmin", "xmin_2"),
        ];
        assert_eq!(
            named,
            expected
                .map(|(field, name)| (field, name.to_owned()))
                .into()
        );
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let long = "A".repeat(70);
        let fields: Vec<String> = (0..3).map(|n| format!("{long}{n}__c")).collect();
        let named = names(fields.iter().map(String::as_str), &BTreeSet::new());
        let different: BTreeSet<&String> = named.values().collect();
        assert_eq!(different.len(), 3, "{named:?}");
    }

    proptest! {
        #[test]
        fn every_field_gets_a_valid_name_of_its_own(
            fields in prop::collection::btree_set("[A-Za-z][A-Za-z0-9_]{0,79}", 1..60),
            suffixed in prop::collection::btree_set("[a-c][A-C_]{0,3}(__c|__pc|__s|)", 0..40),
        ) {
            let fields: BTreeSet<&str> =
                fields.iter().chain(&suffixed).map(String::as_str).collect();
            let taken = BTreeSet::from(["id".to_owned()]);
            let named = names(fields.iter().copied(), &taken);
            prop_assert_eq!(named.len(), fields.len());
            let different: BTreeSet<&String> = named.values().collect();
            prop_assert_eq!(different.len(), fields.len());
            for (field, name) in &named {
                prop_assert!(FieldName::parse(field).is_ok());
                prop_assert!(ColumnName::parse(name).is_ok(), "{} {}", field, name);
                let plain = |letter: char| {
                    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'
                };
                prop_assert!(name.chars().all(plain), "{} {}", field, name);
                prop_assert!(name.starts_with(|letter: char| letter.is_ascii_lowercase()));
                prop_assert!(!taken.contains(name) && !SYSTEM_COLUMNS.contains(&name.as_str()));
            }
        }
    }
}
