//! What a person does about a refusal of Salesforce, by its code.

/// Returns what to do about a record that Salesforce refused with this code, if the code says it.
pub fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "FIELD_CUSTOM_VALIDATION_EXCEPTION" => {
            "correct the values so that they meet the validation rule, or change the rule in Setup; then replay"
        }
        "REQUIRED_FIELD_MISSING" => "fill the required fields, or map them; then replay",
        "STRING_TOO_LONG" => "shorten the text or widen the field, then replay",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST" => {
            "use a value of the picklist, or add the value to it; then replay"
        }
        "INVALID_EMAIL_ADDRESS"
        | "NUMBER_OUTSIDE_VALID_RANGE"
        | "INVALID_TYPE_ON_FIELD_IN_RECORD" => "correct the value, then replay",
        "DUPLICATES_DETECTED" => {
            "merge the duplicates in Salesforce, or allow the write with `duplicate_rules` in syncline.toml; then replay"
        }
        "DUPLICATE_VALUE" | "DUPLICATE_EXTERNAL_ID" => {
            "give one of the two records another value, then replay"
        }
        "INVALID_FIELD_FOR_INSERT_UPDATE"
        | "INSUFFICIENT_ACCESS_OR_READONLY"
        | "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"
        | "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
        | "TRANSFER_REQUIRES_READ" => {
            "grant the integration user what is missing, or correct the automation that refuses the record; then replay"
        }
        "INVALID_CROSS_REFERENCE_KEY" | "MALFORMED_ID" => {
            "correct the lookup or the record type, then replay"
        }
        "DELETE_FAILED" => "remove what depends on the record in Salesforce, then replay",
        code if code.starts_with("CANNOT_") => {
            "correct the automation in Salesforce that refuses the record, then replay"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_refusals_have_advice() {
        for code in [
            "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "DUPLICATE_VALUE",
            "CANNOT_EXECUTE_FLOW_TRIGGER",
        ] {
            assert!(advice(code).is_some(), "{code}");
        }
        assert_eq!(advice("SOMETHING_NEW"), None);
    }
}
