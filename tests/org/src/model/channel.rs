//! Channels: which events belong to a topic, with which extra fields, and with which filter.

use super::Model;
use super::error::SfError;
use super::log::Source;
use super::schema::{FieldNo, ObjectNo};
use super::table::RowNo;
use crate::soql::Criterion;

/// The name of the channel that every org has.
pub(crate) const STANDARD: &str = "ChangeEvents";

/// Maximum number of channels. A 64-bit mask records which filters refuse an event.
pub(crate) const CHANNELS_MAX: usize = 64;

/// Maximum number of enriched fields of one member.
const ENRICHED_MAX: usize = 10;

/// Maximum length of a filter, in characters.
const FILTER_CHARS_MAX: usize = 131_072;

/// A channel.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) label: String,
    /// A channel holds either platform events or change events.
    pub(crate) of_platform_events: bool,
    pub(crate) members: Vec<Member>,
}

/// One kind of event in a channel.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) source: Source,
    /// Fields whose values are added to updates and deletes that lack them.
    pub(crate) enriched: Vec<FieldNo>,
    pub(crate) filter: Option<Filter>,
}

/// A filter expression.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) text: String,
    condition: Criterion,
}

/// A member, as declared.
#[derive(Clone, Debug)]
pub(crate) struct MemberRequest<'a> {
    pub(crate) channel: &'a str,
    /// API name of the event: `AccountChangeEvent`, `Sync_Marker__e`.
    pub(crate) event: &'a str,
    pub(crate) enriched: &'a [String],
    pub(crate) filter: &'a str,
}

impl Channel {
    /// Returns the member for these events.
    pub(crate) fn member(&self, source: Source) -> Option<&Member> {
        self.members.iter().find(|member| member.source == source)
    }
}

impl Model {
    /// Declares a channel. An existing one keeps its members.
    pub(crate) fn add_channel(
        &mut self,
        name: &str,
        label: &str,
        platform: bool,
    ) -> Result<(), SfError> {
        if name != STANDARD && !name.ends_with("__chn") {
            return Err(refused(
                "INVALID_FULL_NAME",
                format!("{name}: a channel ends in __chn"),
            ));
        }
        if self.channels.iter().any(|channel| channel.name == name) {
            return Err(refused(
                "DUPLICATE_DEVELOPER_NAME",
                format!("{name} exists"),
            ));
        }
        if self.channels.len() == CHANNELS_MAX {
            return Err(refused(
                "LIMIT_EXCEEDED",
                "the org has its number of channels".to_owned(),
            ));
        }
        self.channels.push(Channel {
            name: name.to_owned(),
            label: label.to_owned(),
            of_platform_events: platform,
            members: Vec::new(),
        });
        Ok(())
    }

    /// Adds a member to a channel, or replaces the member for the same events.
    pub(crate) fn add_member(&mut self, order: &MemberRequest<'_>) -> Result<(), SfError> {
        if order.channel == STANDARD && self.standard_channel().is_none() {
            self.add_channel(STANDARD, "Change Events", false)?;
        }
        let place = self
            .channels
            .iter()
            .position(|channel| channel.name == order.channel);
        let place = place.ok_or_else(|| {
            refused(
                "INVALID_INPUT",
                format!("there is no channel {}", order.channel),
            )
        })?;
        let source = self.source_named(order.event).ok_or_else(|| {
            refused(
                "INVALID_INPUT",
                format!("there is no event {}", order.event),
            )
        })?;
        let platform = matches!(source, Source::Platform(_));
        if platform != self.channels[place].of_platform_events {
            let message = format!("{} does not fit the type of {}", order.event, order.channel);
            return Err(refused("INVALID_INPUT", message));
        }
        let member = match source {
            Source::Object(object) => self.member_of(object, order)?,
            Source::Platform(_) => Member {
                source,
                enriched: Vec::new(),
                filter: None,
            },
        };
        let members = &mut self.channels[place].members;
        members.retain(|known| known.source != source);
        members.push(member);
        Ok(())
    }

    fn member_of(&self, object: ObjectNo, order: &MemberRequest<'_>) -> Result<Member, SfError> {
        if order.enriched.len() > ENRICHED_MAX {
            let message = format!("a member has at most {ENRICHED_MAX} enriched fields");
            return Err(refused("LIMIT_EXCEEDED", message));
        }
        let (_, layout) = self.log.layout(Source::Object(object));
        let enriched = order.enriched.iter().map(|name| {
            let no = self.field_named(object, name)?;
            let shown = layout.bit(no).is_some();
            shown.then_some(no).ok_or_else(|| {
                refused(
                    "INVALID_INPUT",
                    format!("{name} cannot enrich change events"),
                )
            })
        });
        let enriched = enriched.collect::<Result<_, SfError>>()?;
        if order.filter.chars().count() > FILTER_CHARS_MAX {
            return Err(refused(
                "INVALID_INPUT",
                "the filter is too long".to_owned(),
            ));
        }
        let filter = (!order.filter.trim().is_empty())
            .then(|| Criterion::parse(self.whole(), object, order.filter))
            .transpose()?
            .map(|condition| Filter {
                text: order.filter.to_owned(),
                condition,
            });
        Ok(Member {
            source: Source::Object(object),
            enriched,
            filter,
        })
    }

    /// Returns the standard channel and its index, if something is declared for it.
    pub(crate) fn standard_channel(&self) -> Option<(usize, &Channel)> {
        let mut numbered = self.channels.iter().enumerate();
        numbered.find(|(_, channel)| channel.name == STANDARD)
    }

    /// Returns the source of the events with that API name.
    pub(crate) fn source_named(&self, event: &str) -> Option<Source> {
        let mut objects = self.schema.numbered();
        let object = objects.find(|(_, o)| o.change_events && o.event_name() == event);
        let object = object.map(|(no, _)| Source::Object(no));
        object.or_else(|| self.platform_named(event).map(Source::Platform))
    }

    /// Returns the channels, as bits, whose filters refuse an event of this record.
    pub(crate) fn refusing_channels(&self, object: ObjectNo, row: RowNo) -> u64 {
        let mut mask = 0;
        for (place, channel) in self.channels.iter().enumerate() {
            let filter = channel
                .member(Source::Object(object))
                .and_then(|m| m.filter.as_ref());
            if filter.is_some_and(|filter| !filter.condition.holds(self.whole(), object, row)) {
                mask |= 1 << place;
            }
        }
        mask
    }
}

fn refused(code: &str, message: String) -> SfError {
    SfError::of_record(code, message)
}
