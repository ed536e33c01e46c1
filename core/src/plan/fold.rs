//! What one sighting in Salesforce means for a record: its image, its open writes, its task.

use std::collections::BTreeMap;

use crate::model::ids::{FieldName, IntentId};
use crate::model::intent::IntentState;
use crate::model::link::{Bounce, Image};
use crate::model::value::Value;

/// What a sighting did.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// The image afterwards.
    pub image: Image,
    /// Bounces afterwards.
    pub bounces: BTreeMap<FieldName, Bounce>,
    /// Fields of intents that the sighting echoed.
    pub echoed: Vec<(IntentId, FieldName)>,
    /// Intents whose state the sighting settles.
    pub intents: Vec<(IntentId, IntentState)>,
    /// Values that a write of ours replaced before anybody saw them: logged, never applied.
    pub overwritten: Vec<(FieldName, Value)>,
    /// What became of the sighting.
    pub fate: Fate,
    /// The record has new work: its task gets a new generation.
    pub dirty: bool,
    /// The record must be read again under its lease before it is planned.
    pub look: bool,
}

/// What became of a sighting. The first four are terminal states of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// The image took something from it.
    Folded,
    /// It showed nothing but our own write.
    Echo,
    /// It was older than the image.
    Superseded,
    /// It showed what the image already held.
    Unchanged,
    /// It cannot be ordered: the record is to be read again.
    Reread,
}
