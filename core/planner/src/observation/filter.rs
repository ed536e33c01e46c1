//! A record that does not match the object's filter: observed by a change or a poll, or by a read.

use crate::model::link::Presence;
use crate::model::observation::VersionOrder;

use super::effect::{Absorbing, Effect};
use super::writes;

/// Absorbs that capture found no match with the filter: a refresh decides whether the record has left it.
pub(super) fn absorb_unmatched(record: &mut Absorbing<'_>) {
    if !is_known_outside(record) {
        record.apply(Effect::NeedsRefresh);
    }
}

/// Absorbs a read that found the record outside the filter: its values are not kept, and no echo is awaited.
/// Like every read, it is repeated if a later event may have arrived before it.
pub(super) fn absorb_filtered_out(record: &mut Absorbing<'_>) {
    let known = &record.link.remote_state;
    let was_present = known.presence == Presence::Present && record.is_current();
    match record.seen.version.order(known.presence_version) {
        VersionOrder::Older if was_present => return record.apply(Effect::NeedsRefresh),
        VersionOrder::Incomparable if was_present => record.apply(Effect::NeedsRefresh),
        VersionOrder::Older
        | VersionOrder::Same
        | VersionOrder::Newer
        | VersionOrder::Incomparable => {}
    }
    if !is_known_outside(record) {
        record.apply(Effect::Took);
    }
    record.apply(Effect::TakeId);
    record.apply(Effect::ForgetRemoteState);
    record.apply(Effect::Presence(Presence::FilteredOut));
    record.apply(Effect::PresenceVersion(record.seen.version));
    writes::settle_by_read(record);
}

fn is_known_outside(record: &Absorbing<'_>) -> bool {
    record.link.remote_state.presence == Presence::FilteredOut && record.is_current()
}
