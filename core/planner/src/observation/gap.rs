//! A gap event, or one that cannot be decoded: the record changed, and how is not known.

use super::effect::{Absorbing, Effect};

pub(super) fn absorb(record: &mut Absorbing<'_>) {
    record.apply(Effect::NeedsRefresh);
}
