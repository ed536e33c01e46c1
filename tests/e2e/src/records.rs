//! The real records that the demo and the tests move: airports, and the customers of a shop.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Deserializer};

const AIRPORTS: &str = include_str!("../data/airports.csv");
const CUSTOMERS: &str = include_str!("../data/customers.csv");

/// An airport.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Airport {
    /// Its ICAO code or, without one, the code of its country's authority: unique.
    pub icao: String,
    /// Its IATA code, if it has one.
    #[serde(deserialize_with = "text_or_none")]
    pub iata: Option<String>,
    /// Its name.
    pub name: String,
    /// Its city.
    #[serde(deserialize_with = "text_or_none")]
    pub city: Option<String>,
    /// State, province or region.
    #[serde(deserialize_with = "text_or_none")]
    pub subdivision: Option<String>,
    /// ISO code of its country.
    pub country: String,
    /// Height above the sea in feet, as written in the file.
    pub elevation: String,
    /// Degrees north, as written in the file.
    pub latitude: String,
    /// Degrees east, as written in the file.
    pub longitude: String,
    /// IANA name of its time zone.
    #[serde(deserialize_with = "text_or_none")]
    pub timezone: Option<String>,
}

/// A customer of the shop.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Customer {
    /// The number in the shop.
    pub id: u32,
    /// Given name.
    pub firstname: String,
    /// Family name.
    pub lastname: String,
    /// The company that the customer buys for.
    #[serde(deserialize_with = "text_or_none")]
    pub company: Option<String>,
    /// Street and number.
    #[serde(deserialize_with = "text_or_none")]
    pub address: Option<String>,
    /// City.
    #[serde(deserialize_with = "text_or_none")]
    pub city: Option<String>,
    /// State or province.
    #[serde(deserialize_with = "text_or_none")]
    pub state: Option<String>,
    /// Postal code.
    #[serde(deserialize_with = "text_or_none")]
    pub postalcode: Option<String>,
    /// Country.
    #[serde(deserialize_with = "text_or_none")]
    pub country: Option<String>,
    /// Telephone.
    #[serde(deserialize_with = "text_or_none")]
    pub phone: Option<String>,
    /// Fax.
    #[serde(deserialize_with = "text_or_none")]
    pub fax: Option<String>,
    /// E-mail address.
    pub email: String,
}

/// Returns the airports, in order of their codes.
///
/// # Errors
///
/// When the file is damaged.
pub fn airports() -> anyhow::Result<Vec<Airport>> {
    read(AIRPORTS).context("data/airports.csv is damaged")
}

/// Returns the customers, in order of their numbers.
///
/// # Errors
///
/// When the file is damaged.
pub fn customers() -> anyhow::Result<Vec<Customer>> {
    read(CUSTOMERS).context("data/customers.csv is damaged")
}

/// Returns the companies that customers buy for, by external id, in order.
pub fn companies(customers: &[Customer]) -> BTreeMap<String, String> {
    customers
        .iter()
        .filter_map(|customer| customer.company.clone())
        .map(|company| (company_id(&company), company))
        .collect()
}

/// Returns the external id of a company: its name in lower-case words.
pub fn company_id(company: &str) -> String {
    let words: Vec<String> = company
        .split(|dead_letter: char| !dead_letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!("company-{}", words.join("-"))
}

/// Returns the external id of a customer.
pub fn customer_id(customer: &Customer) -> String {
    format!("customer-{}", customer.id)
}

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>, csv::Error> {
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .collect()
}

/// An empty cell is null: both sides read an empty text back as null.
fn text_or_none<'de, D: Deserializer<'de>>(cell: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(cell)?;
    Ok((!text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_files_hold_what_the_demo_promises() {
        let airports = airports().unwrap();
        let codes: BTreeSet<String> = airports
            .iter()
            .map(|airport| airport.icao.to_lowercase())
            .collect();
        assert_eq!((airports.len(), codes.len()), (10_000, 10_000));
        assert!(airports.iter().any(|airport| !airport.name.is_ascii()));
        let customers = customers().unwrap();
        assert_eq!(customers.len(), 59);
        assert_eq!(companies(&customers).len(), 10);
        assert_eq!(company_id("JetBrains s.r.o."), "company-jetbrains-s-r-o");
    }
}
