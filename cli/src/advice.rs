//! What a person does about a dead letter, by its code.

/// Returns what to do about a dead letter with this code. An edit of the record tries again by itself too.
pub(crate) fn advice(code: &str) -> &'static str {
    match code {
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
        "DUPLICATE_VALUE"
        | "DUPLICATE_EXTERNAL_ID"
        | "duplicate_value"
        | "duplicate_key"
        | "key_taken" => "give one of the two records another value, then replay",
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
        "constraint_violation" => {
            "correct the value in Salesforce, or relax the constraint of the table; then replay"
        }
        "invalid_value" => {
            "correct the value, or change the type of the column or field; then replay"
        }
        "row_refused" => {
            "correct the value, or the trigger, rule or policy of the table that refuses it; then replay"
        }
        "row_write_suppressed" => {
            "let the trigger or rule of the table pass the write, then replay"
        }
        "missing_parent" => {
            "create or map the record that it points to; it is tried again when that exists"
        }
        "still_referenced" => "remove the rows that point to it, then replay",
        "row_contended" | "statement_timeout" => {
            "end what locks or slows the table down for so long, then replay"
        }
        "mass_delete" => {
            "if the deletes are meant, run `syncline deletes approve OBJECT`; else bring the records back"
        }
        "unreadable" | "unreadable_value" => {
            "grant the integration user access; if the records were deleted, run `syncline deletes approve OBJECT \
             --unreadable`"
        }
        "not_writeable" => {
            "grant the integration user edit access, or give the field the owner salesforce; then replay"
        }
        "observation_bad_key" | "outbox_bad_key" => "correct the external id, then replay",
        "unknown_outcome" | "worker_lost" | "panic" => "look at the log of that time, then replay",
        code if code.starts_with("outbox_") => {
            "correct the call of `syncline.emit`, and let it emit the change again"
        }
        code if code.starts_with("CANNOT_") => {
            "correct the automation in Salesforce that refuses the record, then replay"
        }
        _ => "remove the cause, then run `syncline deadletters replay`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_advice_of_their_own() {
        let general = advice("SOMETHING_NEW");
        for code in [
            "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "constraint_violation",
            "duplicate_value",
            "CANNOT_EXECUTE_FLOW_TRIGGER",
            "outbox_bad_identifier",
        ] {
            assert_ne!(advice(code), general, "{code}");
        }
    }
}
