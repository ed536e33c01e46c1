//! Whether a mapped table is the one that capture was installed on.

use crate::ports::MappedObject;
use crate::store::mapped_table::shape::TableShape;
use crate::store::tables::capture::Installed;

/// How the mapped table stands to the one that capture was installed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TableIdentity {
    /// Capture was never installed for the object.
    First,
    /// The same.
    Same,
    /// The mapping names another table.
    Renamed,
    /// A table of that name was created again: restored, rebuilt, swapped.
    Rebuilt,
    /// A partition was detached or dropped, with rows that no one deleted.
    LostPartitions,
}

impl TableIdentity {
    /// Returns how the mapped table, of this shape, stands to the `installed` one.
    pub(crate) fn of(
        installed: Option<&Installed>,
        mapped: &MappedObject,
        shape: &TableShape,
    ) -> Self {
        let table = &mapped.sync.table;
        match installed {
            None => Self::First,
            Some(before) if before.oid == shape.oid && before.lost_partitions => {
                Self::LostPartitions
            }
            Some(before) if before.oid == shape.oid => Self::Same,
            Some(before)
                if before.schema == table.schema.as_str()
                    && before.table == table.table.as_str() =>
            {
                Self::Rebuilt
            }
            Some(_) => Self::Renamed,
        }
    }
}

/// Returns why the table is not the one that the object's records were agreed on with.
pub(crate) fn other_table(
    mapped: &MappedObject,
    shape: &TableShape,
    before: &Installed,
) -> Option<&'static str> {
    match TableIdentity::of(Some(before), mapped, shape) {
        TableIdentity::First | TableIdentity::Same => None,
        TableIdentity::Renamed => Some("is not the table that capture is installed on"),
        TableIdentity::Rebuilt => Some("was recreated since capture was installed on it"),
        TableIdentity::LostPartitions => {
            Some("has lost a partition since capture was installed on it")
        }
    }
}
