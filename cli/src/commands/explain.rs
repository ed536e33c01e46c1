//! The history of one record, in order.

use anyhow::bail;
use chrono::SecondsFormat;
use serde_json::{Map, Value as Json, json};
use syncline::RecordPlan;
use syncline::model::fields::FieldMap;
use syncline::model::ids::FieldName;
use syncline::planner::record::SideWrite;
use syncline::planner::rule::Rule;
use syncline::store::{EntryKind, NamedRecord, RecordTimeline, TimelineAnswer, TimelineEntry};

use crate::outcome::Outcome;

use super::Context;

/// Shows the history of the record with this key.
pub(super) async fn explain(
    context: &Context,
    key: &str,
    object: Option<&str>,
) -> anyhow::Result<Outcome> {
    let object = context.object_option(object).await?;
    let mut timelines = Vec::new();
    let mut candidates = Vec::new();
    let (answers, failures) = context
        .each(async |tenant| {
            let store = context.instance.store(tenant).await?;
            Ok(store.timeline(tenant, object.as_ref(), key).await?)
        })
        .await?;
    for (_, answer) in answers {
        match answer {
            TimelineAnswer::Found(timeline) => timelines.push(timeline),
            TimelineAnswer::Several(several) => candidates.extend(several),
            TimelineAnswer::Unknown => {}
        }
    }
    match (timelines.as_slice(), candidates.is_empty()) {
        // A tenant without an answer may know the record.
        ([], true) if !failures.is_empty() => {
            let text = format!("no other tenant knows a record by {key:?}");
            Ok(Outcome::well(Vec::new(), text).with_failures(failures))
        }
        ([], true) => bail!(
            "no record is known by {key:?}: name an external id, a Salesforce id or a record id, as \
             `syncline conflicts list` or the view syncline.record_status show it"
        ),
        ([timeline], true) => Ok(Outcome {
            document: Some(json!(timeline)),
            failures,
            ..Outcome::well(Vec::new(), text_of(timeline))
        }),
        (timelines, _) => {
            candidates.extend(timelines.iter().map(|timeline| timeline.record.clone()));
            bail!(
                "several records are known by {key:?}; name one with --object or --tenant: {}",
                listed(&candidates)
            )
        }
    }
}

fn listed(records: &[NamedRecord]) -> String {
    let names: Vec<String> = records
        .iter()
        .map(|record| format!("{} of {}", record.object, record.tenant))
        .collect();
    names.join(", ")
}

fn text_of(timeline: &RecordTimeline) -> String {
    let NamedRecord {
        tenant,
        object,
        record_id,
        external_id,
        salesforce_id,
        state,
        reason,
    } = &timeline.record;
    let id = salesforce_id
        .as_ref()
        .map_or("no Salesforce id".to_owned(), ToString::to_string);
    let state = state.as_deref().unwrap_or("gone from both sides");
    let reason = reason
        .as_deref()
        .map_or(String::new(), |reason| format!(": {reason}"));
    let mut text =
        format!("{object} {external_id} ({id})\n{tenant}, record {record_id}\n{state}{reason}\n\n");
    if timeline.truncated {
        text.push_str("older entries are not shown\n");
    }
    if timeline.entries.is_empty() {
        text.push_str("nothing is recorded\n");
    }
    let entries = timeline.entries.iter().map(|entry| Shown {
        at: entry.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        lines: lines(entry),
    });
    text.push_str(&entries_text(&entries.collect::<Vec<Shown>>()));
    text
}

/// An entry as it is shown.
struct Shown {
    at: String,
    lines: Vec<String>,
}

/// Most entries of one try: decided, discarded values, write recorded, write ended, answer, stopped.
const TRY_ENTRIES_MAX: usize = 8;

/// Formats entries. Of equal tries in a row the first is shown, and how often and until when it was repeated.
fn entries_text(entries: &[Shown]) -> String {
    let mut text = String::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (length, times) = tries(rest);
        let (all, after) = rest.split_at(length * times);
        for shown in &all[..length] {
            let mut at = shown.at.as_str();
            for line in &shown.lines {
                text.push_str(&format!("{at:width$}  {line}\n", width = shown.at.len()));
                at = "";
            }
        }
        if let (Some(first), Some(last)) = (all.get(length), all.last()) {
            let again = match times - 1 {
                1 => "once more".to_owned(),
                again => format!("{again} more times, first at {}", first.at),
            };
            let what = match length {
                1 => "the same",
                _ => "the same entries",
            };
            text.push_str(&format!("{}  {what} {again}\n", last.at));
        }
        rest = after;
    }
    text
}

/// Returns how many entries the first try has and how often it follows itself unchanged, so that most entries are
/// covered; one entry, once, if nothing is repeated.
fn tries(entries: &[Shown]) -> (usize, usize) {
    let lengths = 1..=TRY_ENTRIES_MAX.min(entries.len());
    let repeated = lengths.map(|length| {
        let (first, _) = entries.split_at(length);
        let is_equal = |chunk: &&[Shown]| {
            chunk.len() == length
                && chunk
                    .iter()
                    .zip(first)
                    .all(|(one, other)| one.lines == other.lines)
        };
        (length, entries.chunks(length).take_while(is_equal).count())
    });
    // The shortest of those that cover the same entries.
    repeated
        .filter(|(_, times)| *times > 1)
        .rev()
        .max_by_key(|(length, times)| length * times)
        .unwrap_or((1, 1))
}

/// Formats an entry as one or more lines.
fn lines(entry: &TimelineEntry) -> Vec<String> {
    let entry_fields = Particulars(&entry.particulars);
    match entry.kind {
        EntryKind::Observed => vec![format!(
            "seen in {}: {}{}{}{}",
            side(&entry_fields.word("side")),
            entry_fields.word("operation"),
            entry_fields.fields("values"),
            entry_fields.names("columns"),
            entry_fields.noted("status")
        )],
        EntryKind::Settled => vec![format!(
            "answer recorded: {}{}{}",
            entry_fields.word("operation"),
            entry_fields.fields("values"),
            entry_fields.noted("status")
        )],
        EntryKind::Decided => decision(&entry_fields),
        EntryKind::DiscardedValue => vec![format!(
            "{} {} of {} discarded{}",
            entry_fields.word("field"),
            entry_fields.value("value"),
            side(&entry_fields.word("side")),
            entry_fields.noted("rule")
        )],
        EntryKind::ConflictOpened => vec![format!(
            "conflict {} over {}: base {}, Postgres {}, Salesforce {}",
            entry_fields.word("conflict_id"),
            entry_fields.field(),
            entry_fields.value("base"),
            entry_fields.value("postgres"),
            entry_fields.value("salesforce")
        )],
        EntryKind::ConflictClosed => vec![format!(
            "conflict {} over {} {}{}",
            entry_fields.word("conflict_id"),
            entry_fields.field(),
            entry_fields.word("state"),
            entry_fields.noted("resolution")
        )],
        EntryKind::WriteRecorded => vec![format!(
            "write to Salesforce recorded: {}{}",
            entry_fields.word("action"),
            entry_fields.fields("fields")
        )],
        EntryKind::WriteEnded => vec![format!(
            "write {}{}",
            entry_fields.word("state"),
            entry_fields.refusal()
        )],
        EntryKind::Stopped => vec![format!(
            "stopped ({}): {}",
            entry_fields.word("code"),
            entry_fields.word("message")
        )],
        EntryKind::Resumed => vec![format!("resumed{}", entry_fields.noted("outcome"))],
    }
}

fn decision(entry_fields: &Particulars<'_>) -> Vec<String> {
    let plan = entry_fields.0.get("plan").cloned().unwrap_or_default();
    let Ok(plan) = serde_json::from_value::<RecordPlan<FieldName>>(plan) else {
        return vec!["decided, by an unknown version of the planner".to_owned()];
    };
    let mut lines = vec![format!("decided: {}", plan.explanation.record.sentence())];
    for (side, write) in [
        ("Postgres", &plan.to_postgres),
        ("Salesforce", &plan.to_salesforce),
    ] {
        if !write.is_none() {
            lines.push(format!("  to {side}: {}", written(write)));
        }
    }
    for (field, rule) in plan.explanation.fields.iter() {
        if *rule != Rule::Equal && *rule != plan.explanation.record {
            lines.push(format!("  {field}: {}", rule.sentence()));
        }
    }
    lines
}

fn written(write: &SideWrite<FieldName>) -> String {
    let word = match write {
        SideWrite::None => "nothing",
        SideWrite::Create(_) => "create",
        SideWrite::Update(_) => "update",
        SideWrite::Delete => "delete",
        SideWrite::SoftDelete => "fill the soft-delete column",
    };
    let fields: Vec<String> = write
        .fields()
        .into_iter()
        .flat_map(FieldMap::iter)
        .map(|(field, value)| format!("{field} = {}", value.to_json()))
        .collect();
    match fields.is_empty() {
        true => word.to_owned(),
        false => format!("{word} {}", fields.join(", ")),
    }
}

fn side(word: &str) -> &str {
    match word {
        "postgres" => "Postgres",
        "salesforce" => "Salesforce",
        other => other,
    }
}

/// The details of an entry, formatted for people.
struct Particulars<'e>(&'e Map<String, Json>);

impl Particulars<'_> {
    /// Returns a text without its quotes; empty if it is absent.
    fn word(&self, name: &str) -> String {
        match self.0.get(name) {
            None | Some(Json::Null) => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// Returns a value as JSON; `none` if it is absent.
    fn value(&self, name: &str) -> String {
        self.0
            .get(name)
            .map_or_else(|| "none".to_owned(), Json::to_string)
    }

    fn field(&self) -> String {
        match self.word("field").as_str() {
            "" => "the whole record".to_owned(),
            field => field.to_owned(),
        }
    }

    fn noted(&self, name: &str) -> String {
        match self.word(name).as_str() {
            "" => String::new(),
            word => format!(" ({word})"),
        }
    }

    fn fields(&self, name: &str) -> String {
        let Some(Json::Object(fields)) = self.0.get(name) else {
            return String::new();
        };
        let fields: Vec<String> = fields
            .iter()
            .map(|(field, value)| format!(" {field} = {value}"))
            .collect();
        fields.join(",")
    }

    fn names(&self, name: &str) -> String {
        let Some(Json::Array(names)) = self.0.get(name) else {
            return String::new();
        };
        let names: Vec<String> = names
            .iter()
            .filter_map(Json::as_str)
            .map(|name| format!(" {name}"))
            .collect();
        names.join(",")
    }

    fn refusal(&self) -> String {
        match self.0.get("refusal") {
            None | Some(Json::Null) => String::new(),
            Some(refusal) => format!(": {refusal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tries_are_shown_once_with_their_count() {
        let mut entries: Vec<(u32, &str)> = vec![(0, "seen")];
        for number in 1..=3 {
            entries.extend([(number, "decided"), (number, "refused")]);
        }
        entries.extend([(4, "decided"), (4, "applied"), (5, "echo"), (6, "echo")]);
        let shown = |(at, line): &(u32, &str)| Shown {
            at: format!("0{at}:00"),
            lines: vec![(*line).to_owned()],
        };
        let shown: Vec<Shown> = entries.iter().map(shown).collect();
        assert_eq!(
            entries_text(&shown),
            "00:00  seen\n01:00  decided\n01:00  refused\n\
             03:00  the same entries 2 more times, first at 02:00\n\
             04:00  decided\n04:00  applied\n05:00  echo\n06:00  the same once more\n"
        );
    }
}
