//! Compound fields: an address or a full name, and their parts.

use std::collections::HashMap;

use super::{FieldEntry, OrgFileError, content};
use crate::model::schema::{Field, FieldNo};

/// The order of the parts in a compound. Unknown parts come last.
const PART_ORDER: [&str; 15] = [
    "Salutation",
    "FirstName",
    "LastName",
    "MiddleName",
    "InformalName",
    "Suffix",
    "Street",
    "City",
    "State",
    "PostalCode",
    "Country",
    "StateCode",
    "CountryCode",
    "Latitude",
    "Longitude",
];

/// Links declared parts to their compounds, in the order of the compound.
pub(super) fn link_parts(
    fields: &mut [Field],
    entries: &[FieldEntry],
    by_name: &HashMap<String, FieldNo>,
    object: &str,
) -> Result<(), OrgFileError> {
    for (no, entry) in entries.iter().enumerate() {
        let Some(compound) = &entry.compound else {
            continue;
        };
        let parent = by_name
            .get(compound)
            .copied()
            .filter(|p| fields[p.0].kind.is_compound());
        let parent = parent.ok_or_else(|| {
            content(format!(
                "{object}.{}: {compound} is not a compound field",
                entry.name
            ))
        })?;
        let stem = compound.strip_suffix("Address").unwrap_or("");
        let part = entry
            .name
            .strip_prefix(stem)
            .unwrap_or(&entry.name)
            .to_owned();
        fields[no].part_of = Some((parent, part));
        fields[parent.0].parts.push(FieldNo(no));
    }
    for no in 0..fields.len() {
        let mut parts = std::mem::take(&mut fields[no].parts);
        parts.sort_by_key(|part| {
            let name = fields[part.0]
                .part_of
                .as_ref()
                .map_or("", |(_, name)| name.as_str());
            PART_ORDER
                .iter()
                .position(|known| *known == name)
                .unwrap_or(PART_ORDER.len())
        });
        fields[no].parts = parts;
    }
    Ok(())
}
