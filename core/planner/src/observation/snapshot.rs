//! A read by poll, scan or comparison: every mapped field is present, but the read may be older than
//! our own last write.

use super::effect::{Absorbing, Effect};
use super::fields::Shown;
use super::presence::{Evidence, appears};
use super::{after_delete, fields, writes};

pub(super) fn absorb(record: &mut Absorbing<'_>) {
    if after_delete::is_known(record) {
        return after_delete::absorb(record);
    }
    if appears(record, Evidence::Content).is_some() {
        fields::take(record, field);
        writes::confirm_echoed(record);
    }
}

fn field(record: &mut Absorbing<'_>, shown: &Shown<'_>) {
    if fields::echoes(record, shown) {
        return;
    }
    if writes::awaits_echo(record, shown.field) {
        // It may be from before or after our write: only a read under the lease can decide.
        record.apply(Effect::NeedsRefresh);
    } else {
        fields::unexplained(record, shown);
    }
}
