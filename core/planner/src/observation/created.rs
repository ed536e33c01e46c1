//! A created or undeleted record: every mapped field is present, cleared ones as null.

use super::effect::Absorbing;
use super::presence::{Evidence, appears};
use super::{fields, writes};

pub(super) fn absorb(record: &mut Absorbing<'_>) {
    if appears(record, Evidence::Arrival).is_some() {
        fields::take(record, fields::from_event);
        writes::confirm_echoed(record);
    }
}
