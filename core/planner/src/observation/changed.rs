//! A change event: only the changed fields are present.

use super::effect::{Absorbing, Effect};
use super::presence::{Evidence, appears};
use super::{after_delete, fields, writes};

pub(super) fn absorb(record: &mut Absorbing<'_>) {
    if after_delete::is_known(record) {
        return after_delete::absorb(record);
    }
    let Some(appeared) = appears(record, Evidence::Content) else {
        return;
    };
    if appeared.newly {
        // The event has only the changed fields; the rest of the remote state is unknown.
        record.apply(Effect::NeedsRefresh);
    }
    fields::take(record, fields::from_event);
    writes::confirm_echoed(record);
    if record.seen.ours && writes::lacks_fields(record) {
        // The event of a write names what the write changed. Salesforce has ignored the rest, or stores it otherwise.
        record.apply(Effect::NeedsRefresh);
    }
}
