//! A Salesforce that is down, refuses, forgets, lies and interferes. Whatever it does: both sides come to rest equal,
//! each edit is final, in a conflict or in a log, neighbours go on, the status is true while it lasts and after, the
//! number of calls is bounded, and all ends by itself.
//!
//! Cases of this kind that stand elsewhere:
//! - refused calls of a whole org without its other roads: `outages`;
//! - a session that ends at the first call of a batch: `faults::session_ending_in_mid_batch_is_renewed_without_duplicates`;
//! - a hidden field met by a new process: `withheld::hidden_field_is_withheld_until_it_is_shown`;
//! - an object that cannot be described: `withheld::object_that_cannot_be_described_stops_no_other`;
//! - records that leave the sharing: `unreadable_records::records_that_leave_our_sharing_are_held`;
//! - another org met by a new process: `unreadable_records::another_org_holds_the_tenant_until_it_is_adopted`;
//! - a record that is locked once: `faults::locked_record_delays_no_other`;
//! - values that are lower-cased, rounded, cut or sanitised: `stored_values::row_that_salesforce_stores_otherwise_is_written_once`
//!   and `stored_values::value_that_automation_cuts_after_its_write_comes_back_once`;
//! - events behind a write of ours that overwrote their edit: `late_events`;
//! - edits that were never captured when we wrote: `unseen_edits`.

mod answers;
mod automation;
mod late;
mod permissions;
mod schema;
mod unavailable;
mod world;
