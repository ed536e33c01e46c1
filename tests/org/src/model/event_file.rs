//! The event sections of an org file: platform events, channels, managed subscriptions and relays.

use serde::{Deserialize, Serialize};

use super::Model;
use super::channel::MemberRequest;
use super::error::SfError;
use super::org_file::{FieldEntry, OrgFile, OrgFileError, build_field};
use super::platform_event::PlatformEvent;

/// A platform event, as declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlatformEventEntry {
    pub(crate) name: String,
    #[serde(default, rename = "field")]
    pub(crate) fields: Vec<FieldEntry>,
}

/// A channel, as declared. `ChangeEvents` is the channel that always exists.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelEntry {
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    /// Whether it holds platform events. Needed only for a channel without members.
    pub(crate) platform_events: Option<bool>,
    #[serde(default, rename = "member")]
    pub(crate) members: Vec<MemberEntry>,
}

/// A member of a channel, as declared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberEntry {
    /// API name: `AccountChangeEvent`, `Sync_Marker__e`.
    pub(crate) event: String,
    #[serde(default)]
    pub(crate) enriched_fields: Vec<String>,
    #[serde(default)]
    pub(crate) filter: String,
}

/// Where a subscription or relay without a position starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Preset {
    #[default]
    Latest,
    Earliest,
}

/// A managed subscription, as declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManagedEntry {
    pub(crate) developer_name: String,
    pub(crate) topic: String,
    pub(crate) label: Option<String>,
    #[serde(default)]
    pub(crate) default_replay: Preset,
    #[serde(default)]
    pub(crate) error_recovery_replay: Preset,
    #[serde(default)]
    pub(crate) stopped: bool,
}

/// The state of a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum RelayState {
    Run,
    /// Sends nothing and keeps its position.
    Pause,
    /// Sends nothing and loses its position.
    #[default]
    Stop,
}

/// An event relay, as declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelayEntry {
    pub(crate) name: String,
    /// `Sales__chn`, or `ChangeEvents`.
    pub(crate) channel: String,
    /// The URL that each event is posted to.
    pub(crate) url: Option<String>,
    /// The SQS queue that receives the events. Its host is the endpoint.
    pub(crate) queue_url: Option<String>,
    #[serde(default)]
    pub(crate) state: RelayState,
    #[serde(default)]
    pub(crate) replay_recovery: Preset,
    /// The AWS account and region named in the envelopes.
    pub(crate) account: Option<String>,
    pub(crate) region: Option<String>,
}

impl Model {
    /// Declares the platform events and channels of an org file.
    pub(crate) fn declare_events(&mut self, file: &OrgFile) -> Result<(), OrgFileError> {
        for entry in &file.platform_events {
            let fields = entry
                .fields
                .iter()
                .map(|field| build_field(field, &entry.name));
            let fields = fields.collect::<Result<_, _>>()?;
            if !entry.name.ends_with("__e") || self.platform_named(&entry.name).is_some() {
                return Err(wrong(format!(
                    "{}: a platform event has a name of its own that ends in __e",
                    entry.name
                )));
            }
            self.add_platform_event(PlatformEvent {
                name: entry.name.clone(),
                fields,
            });
        }
        for entry in &file.channels {
            self.declare_channel(entry)
                .map_err(|error| wrong(format!("{}: {error}", entry.name)))?;
        }
        Ok(())
    }

    /// Declares a channel with its members.
    pub(super) fn declare_channel(&mut self, entry: &ChannelEntry) -> Result<(), SfError> {
        let mut members = entry.members.iter();
        let platform = entry
            .platform_events
            .unwrap_or_else(|| members.any(|member| member.event.ends_with("__e")));
        let label = entry.label.as_deref().unwrap_or(&entry.name);
        self.add_channel(&entry.name, label, platform)?;
        for member in &entry.members {
            self.add_member(&MemberRequest {
                channel: &entry.name,
                event: &member.event,
                enriched: &member.enriched_fields,
                filter: &member.filter,
            })?;
        }
        Ok(())
    }
}

fn wrong(text: String) -> OrgFileError {
    OrgFileError::Content(text)
}
