//! Managed subscriptions: the server stores how far a client has processed.

use serde::{Deserialize, Serialize};

use super::refusal::{self, Refusal};
use crate::Org;
use crate::model::delivery::{Cursor, Topic};
use crate::model::event_file::{ManagedEntry, Preset};
use crate::model::id::RecordId;
use crate::model::log::{Position, StreamError};

/// One managed subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ManagedSubscription {
    pub(crate) id: RecordId,
    pub(crate) developer_name: String,
    pub(crate) label: String,
    pub(crate) topic: String,
    pub(crate) default_replay: Preset,
    pub(crate) error_recovery_replay: Preset,
    pub(crate) state: ManagedState,
    /// The last position that the client committed.
    pub(crate) committed: Option<Vec<u8>>,
    /// Whether a client is connected to it; never after a restore.
    #[serde(skip)]
    pub(crate) active: bool,
}

/// The state of a managed subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ManagedState {
    Run,
    Stop,
    Deleted,
}

impl ManagedSubscription {
    /// Returns a subscription that no client has used yet.
    pub(crate) fn new(id: RecordId, entry: &ManagedEntry) -> Self {
        Self {
            id,
            developer_name: entry.developer_name.clone(),
            label: entry
                .label
                .clone()
                .unwrap_or_else(|| entry.developer_name.clone()),
            topic: entry.topic.clone(),
            default_replay: entry.default_replay,
            error_recovery_replay: entry.error_recovery_replay,
            state: if entry.stopped {
                ManagedState::Stop
            } else {
                ManagedState::Run
            },
            committed: None,
            active: false,
        }
    }

    /// Returns why a client cannot resume it.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.state {
            ManagedState::Run => None,
            ManagedState::Stop => Some(refusal::MANAGED_STOPPED),
            ManagedState::Deleted => Some(refusal::MANAGED_DELETED),
        }
    }
}

impl Preset {
    /// Returns the position to start at.
    pub(crate) fn position(self) -> Position {
        match self {
            Self::Latest => Position::Latest,
            Self::Earliest => Position::Earliest,
        }
    }

    /// Returns the name in the Metadata API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latest => "LATEST",
            Self::Earliest => "EARLIEST",
        }
    }
}

impl Org {
    /// Connects a client to a managed subscription and returns its topic and where it continues.
    pub(crate) fn open_managed(
        &mut self,
        user: RecordId,
        id: &str,
        developer_name: &str,
    ) -> Result<(RecordId, Topic, Cursor), Refusal> {
        let place = self.managed_place(id, developer_name)?;
        let subscription = &self.bus.managed[place];
        if let Some(refusal) = subscription.refusal() {
            return Err(refusal);
        }
        if subscription.active {
            return Err(refusal::MANAGED_ACTIVE);
        }
        let topic = self.topic_for(user, &subscription.topic)?;
        let log = &self.model.log;
        let position = match &subscription.committed {
            None => subscription.default_replay.position(),
            Some(bytes) => Position::After(bytes.clone()),
        };
        let after = match log.resolve(&position) {
            Ok(after) => after,
            // The committed position is older than the retention or belongs to an earlier state of
            // the org.
            Err(_) => log.resolve(&subscription.error_recovery_replay.position())?,
        };
        let id = subscription.id;
        self.bus.managed[place].active = true;
        Ok((id, topic, Cursor::after(after)))
    }

    fn managed_place(&self, id: &str, developer_name: &str) -> Result<usize, Refusal> {
        let managed = &self.bus.managed;
        if !id.is_empty() {
            let id = RecordId::parse(id).filter(|id| id.prefix() == *b"18x");
            let id = id.ok_or(refusal::MANAGED_ID_INVALID)?;
            let found = managed.iter().position(|known| known.id == id);
            return found.ok_or(refusal::MANAGED_ID_NOT_FOUND);
        }
        if developer_name.is_empty() {
            return Err(refusal::MANAGED_UNNAMED);
        }
        let found = managed
            .iter()
            .position(|known| known.developer_name == developer_name);
        found.ok_or(refusal::MANAGED_NAME_NOT_FOUND)
    }

    /// Disconnects the client of a managed subscription.
    pub(crate) fn close_managed(&mut self, id: RecordId) {
        if let Some(managed) = self.managed_mut(id) {
            managed.active = false;
        }
    }

    /// Returns a managed subscription.
    pub(crate) fn managed_mut(&mut self, id: RecordId) -> Option<&mut ManagedSubscription> {
        self.bus.managed.iter_mut().find(|known| known.id == id)
    }

    /// Stores the position of a managed subscription's client. The last commit wins.
    pub(crate) fn commit_managed(
        &mut self,
        id: RecordId,
        replay_id: &[u8],
    ) -> Result<(), StreamError> {
        self.model
            .log
            .resolve(&Position::After(replay_id.to_vec()))?;
        if let Some(managed) = self.managed_mut(id) {
            managed.committed = Some(replay_id.to_vec());
        }
        Ok(())
    }
}
