//! A gap event, or an undecodable one: the record changed in an unknown way.

use super::effect::{Absorbing, Effect};

pub(super) fn absorb(record: &mut Absorbing<'_>) {
    record.apply(Effect::NeedsRefresh);
}
