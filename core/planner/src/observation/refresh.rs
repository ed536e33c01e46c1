//! A read under the record's lease, with no write of ours in flight: authoritative.

use crate::model::intent::IntentState;
use crate::model::link::RemoteField;
use crate::model::observation::VersionOrder;

use super::effect::{Absorbing, Effect};
use super::fields::{self, Shown};
use super::presence::{Evidence, appears};
use super::writes::{self, shows};
use super::{edit_time, overwritten};

pub(super) fn absorb(record: &mut Absorbing<'_>) {
    if appears(record, Evidence::Authoritative).is_some() {
        fields::take(record, field);
        writes::settle_by_read(record);
    }
}

/// Absorbs a field of a read. If a later event may have arrived before the read, the record is read once
/// more; the second read returns the same.
fn field(record: &mut Absorbing<'_>, shown: &Shown<'_>) {
    let Shown {
        field,
        value,
        ref prior,
        order,
    } = *shown;
    let ours = record.seen.ours;
    let overridden = writes::pending(record, field)
        .into_iter()
        .find(|intent| intent.state == IntentState::Applied)
        .filter(|intent| ours && !shows(value, &intent.fields[field], record.parents));
    if let Some(intent) = overridden {
        writes::automation_override(record, intent, field, value);
    }
    let differs = shown.differs();
    if differs && prior.is_some() && order == VersionOrder::Incomparable {
        record.apply(Effect::NeedsRefresh);
    }
    let late = writes::is_abandoned(record, field, value) && !writes::is_base(record, field, value);
    let known_late = prior.as_ref().is_some_and(|prior| prior.late_write);
    let mut remote = RemoteField::new(value.clone(), record.seen.version);
    remote.late_write = late && (known_late || ours);
    remote.edited = edit_time::kept(record, shown);
    overwritten::complete_read(record, shown, &mut remote);
    record.apply(Effect::Field(field.clone(), Box::new(remote)));
    if differs {
        record.apply(Effect::Took);
    }
}
