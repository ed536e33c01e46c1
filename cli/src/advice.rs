//! What a person does about a dead letter, by its code.

use syncline::salesforce;

/// Returns what to do about a dead letter with this code. An edit of the record tries again by itself too.
pub(crate) fn advice(code: &str) -> &'static str {
    match code {
        "duplicate_value" | "duplicate_key" | "key_taken" => {
            "give one of the two records another value, then replay"
        }
        "constraint_violation" => {
            "correct the value in Salesforce, or relax the constraint of the table; then replay"
        }
        "invalid_value" => {
            "correct the value, or change the type of the column or field; then replay"
        }
        "row_refused" => {
            "correct the value, or the trigger, rule or policy of the table that refuses it; then replay"
        }
        "row_altered" => {
            "change the trigger of the table, or the owner of the field that it changes; then replay"
        }
        "row_missing" => {
            "if the row was deleted, run `syncline compare`; else bring it back, or let our role see it"
        }
        "row_write_suppressed" => {
            "let the trigger or rule of the table pass the write, then replay"
        }
        "missing_parent" => {
            "create or map the record that it points to; it is tried again when that exists"
        }
        "waits_for_children" => {
            "delete the records that point to it, or let them point to another one; it is tried again when they do"
        }
        "still_referenced" => "remove the rows that point to it, then replay",
        "row_contended" | "statement_timeout" => {
            "end what locks or slows the table down for so long, then replay"
        }
        "mass_delete" => {
            "if the deletes are meant, run `syncline deletes approve OBJECT`; else bring the records back"
        }
        "mass_clear" => {
            "if the values are meant to be cleared, run `syncline deletes approve OBJECT`; else fill them in again"
        }
        "unreadable_record" | "unreadable_value" => {
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
        code => salesforce::advice(code)
            .unwrap_or("remove the cause, then run `syncline deadletters replay`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_advice_of_their_own() {
        let general = advice("SOMETHING_NEW");
        for code in [
            "constraint_violation",
            "duplicate_value",
            "outbox_bad_identifier",
        ] {
            assert_ne!(advice(code), general, "{code}");
        }
    }
}
