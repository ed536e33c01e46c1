//! A read that found neither the id nor the external id, deleted rows included.

use crate::model::link::Presence;

use super::deleted::set_deleted;
use super::effect::Absorbing;
use super::writes::abandon_unknown;

pub(super) fn absorb(record: &mut Absorbing<'_>) {
    if record.link.remote_state.presence == Presence::FilteredOut {
        abandon_unknown(record);
    } else if record.is_current() {
        set_deleted(record);
    } else if record.link.salesforce_id.is_none() {
        // It does not exist: the writes with an unknown outcome had no effect.
        abandon_unknown(record);
    }
}
