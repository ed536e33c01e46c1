//! Records as a Salesforce admin would write them down.
//!
//! ```text
//! rules  policy=salesforce_wins seed=postgres Rating:postgres
//! base   Name=Ada Phone=1
//! pg     Name=Ada Phone=2
//! sf     -
//! ```
//!
//! `-` is a deleted side (or no base), `?` one that never held the record, `filtered_out` one that holds it
//! outside the filter, `null` a cleared field.
//! The external id `id` is K1 on both sides and in the base unless it is given. Sides end in
//! `@1000` to say when they last changed; `edits pg Phone=1000 Name=1000..2000` says when fields were edited.

use std::collections::BTreeMap;

use serde_json::json;
use syncline_planner::model::edit_time::EditTime;
use syncline_planner::model::fields::FieldMap;
use syncline_planner::model::ids::{
    FencingToken, FieldName, IntentId, ObjectName, OrgEpoch, RecordId, TenantId,
};
use syncline_planner::model::intent::{Intent, IntentState, WriteAction};
use syncline_planner::model::link::{
    AutomationOverride, Presence, RemoteField, RemoteState, SyncLink,
};
use syncline_planner::model::observation::Version;
use syncline_planner::model::value::{Payload, Value};
use syncline_planner::record::{RecordPlan, SideWrite, plan_record};
use syncline_planner::route::Routable;
use syncline_planner::{Mapping, ObjectSync, RecordFacts, Side, SideState};

/// What is known of a record, its fields by name.
pub(crate) type NamedFacts = RecordFacts<FieldName>;
/// What a side holds, by name.
pub(crate) type NamedSide = SideState<FieldName>;
/// A plan with its fields named.
pub(crate) type NamedPlan = RecordPlan<FieldName>;
/// A write with its fields named.
pub(crate) type NamedWrite = SideWrite<FieldName>;

/// What a fixture describes.
pub(crate) struct World {
    pub(crate) policy: ObjectSync,
    pub(crate) base: Payload,
    pub(crate) agreed: bool,
    pub(crate) postgres: NamedSide,
    pub(crate) salesforce: NamedSide,
    pub(crate) late: Vec<FieldName>,
    pub(crate) automation_overrides: BTreeMap<FieldName, AutomationOverride>,
    pub(crate) intents: Vec<Intent>,
    /// The fields of a row that is marked as deleted.
    pub(crate) marked: Option<FieldMap<FieldName, Value>>,
    /// When fields were edited, by side.
    pub(crate) edits: Vec<(Side, EditTimes)>,
}

/// When fields were edited.
pub(crate) type EditTimes = FieldMap<FieldName, EditTime>;

impl World {
    pub(crate) fn read(fixture: &str) -> Self {
        let mut world = Self {
            policy: policy(""),
            base: Payload::new(),
            agreed: false,
            postgres: NamedSide::default(),
            salesforce: NamedSide::default(),
            late: Vec::new(),
            automation_overrides: BTreeMap::new(),
            marked: None,
            edits: Vec::new(),
            intents: Vec::new(),
        };
        for line in fixture
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "rules" => world.policy = policy(rest),
                "base" => {
                    world.agreed = rest != "-";
                    world.base = side(rest).fields.into_iter().collect();
                }
                "pg" => world.postgres = side(rest),
                "marked" => {
                    world.marked = Some(side(rest).fields);
                    world.agreed = false;
                }
                "sf" => world.salesforce = side(rest),
                "edits" => {
                    let (side, edits) = rest.split_once(' ').expect("a side and its edits");
                    world.edits.push((system(side), edit_times(edits)));
                }
                "late" => world.late = rest.split(' ').map(field).collect(),
                "override" => {
                    let (name, automation_override) = automation_override(rest);
                    world.automation_overrides.insert(name, automation_override);
                }
                "open" => world.intents.push(intent(IntentState::Open, rest)),
                "unknown" => world.intents.push(intent(IntentState::Unknown, rest)),
                _ => panic!("no such word in a fixture: {word}"),
            }
        }
        world
    }

    /// What is known of the record, from its link and writes as they are stored.
    pub(crate) fn facts(&self) -> NamedFacts {
        let name = |name: &FieldName| Some(name.clone());
        let mut facts = NamedFacts::of(&self.link(), &self.intents, 500, name);
        facts.set_side(Side::Postgres, self.postgres.clone());
        facts.set_side(Side::Salesforce, self.salesforce.clone());
        facts.soft_deleted.clone_from(&self.marked);
        for (side, edits) in &self.edits {
            match side {
                Side::Postgres => facts.edited.postgres.clone_from(edits),
                Side::Salesforce => facts.edited.salesforce.clone_from(edits),
            }
        }
        facts
    }

    fn link(&self) -> SyncLink {
        let mut link = link("K1");
        link.base.clone_from(&self.base);
        link.agreed = self.agreed;
        link.automation_overrides
            .clone_from(&self.automation_overrides);
        for late in &self.late {
            let remote = RemoteField {
                late_write: true,
                ..RemoteField::new(Value::Null, Version::default())
            };
            link.remote_state.fields.insert(late.clone(), remote);
        }
        link
    }

    /// Plans the fixture; what is kept of it as facts, and read again, must give the same plan.
    /// Its plan as its lane sees it.
    pub(crate) fn routable(&self) -> Routable {
        let mapping = Mapping::new(self.policy.clone());
        let plan = plan_record(&mapping, &self.facts().placed(&mapping));
        Routable::of(&plan, &mapping)
    }

    pub(crate) fn plan(&self) -> NamedPlan {
        let mapping = Mapping::new(self.policy.clone());
        let facts = self.facts();
        let kept = serde_json::to_string(&facts).expect("facts are JSON");
        let read: NamedFacts = serde_json::from_str(&kept).expect("facts are read as written");
        let plan = facts.plan(&mapping);
        assert_eq!(read.plan(&mapping), plan, "planned again from {kept}");
        plan
    }
}

/// A link of which nothing is known but its external id.
fn link(external_id: &str) -> SyncLink {
    SyncLink {
        record_id: RecordId(uuid::Uuid::from_u128(2)),
        tenant: TenantId::parse("acme").expect("a tenant"),
        object: ObjectName::parse("Account").expect("an object"),
        org_epoch: OrgEpoch(1),
        external_id: external_id.to_owned(),
        canonical_id: external_id.to_owned(),
        salesforce_id: None,
        local_key: None,
        base: Payload::new(),
        agreed: false,
        remote_state: RemoteState::default(),
        automation_overrides: BTreeMap::new(),
        version: 1,
    }
}

/// Plans the fixture and compares what the plan does, in words, one part after the other.
#[track_caller]
pub(crate) fn check(fixture: &str, expected: &str) {
    assert_eq!(shown(&World::read(fixture).plan()), expected, "\n{fixture}");
}

/// Returns what a plan does, in words.
pub(crate) fn shown(plan: &NamedPlan) -> String {
    let mut parts = Vec::new();
    for (side, write) in [
        ("postgres", &plan.to_postgres),
        ("salesforce", &plan.to_salesforce),
    ] {
        match write {
            SideWrite::None => {}
            SideWrite::Create(fields) => {
                parts.push(format!("create {side}{}", listed(fields.iter())));
            }
            SideWrite::Update(fields) => parts.push(format!("{side} <-{}", listed(fields.iter()))),
            SideWrite::Delete => parts.push(format!("delete {side}")),
            SideWrite::SoftDelete => parts.push(format!("soft-delete {side}")),
        }
    }
    for conflict in &plan.conflicts {
        let field = conflict.field.as_ref().map_or("record", FieldName::as_str);
        let held = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), word);
        parts.push(format!(
            "conflict {field} {}|{}|{}",
            held(&conflict.base),
            held(&conflict.postgres),
            held(&conflict.salesforce)
        ));
    }
    for lost in &plan.discarded {
        let side = format!("{:?}", lost.side).to_lowercase();
        parts.push(format!("lost {side} {}={}", lost.field, word(&lost.value)));
    }
    if parts.is_empty() {
        format!("nothing ({:?})", plan.explanation.record)
    } else {
        parts.join("; ")
    }
}

pub(crate) fn field(name: &str) -> FieldName {
    FieldName::parse(name).expect("a field name")
}

pub(crate) fn value(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" => Value::Boolean(true),
        text => Value::text(text),
    }
}

pub(crate) fn payload(text: &str) -> Payload {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| word.split_once('=').expect("field=value"))
        .map(|(name, text)| (field(name), value(text)))
        .collect()
}

pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    }
}

pub(crate) fn listed<'f>(fields: impl IntoIterator<Item = (&'f FieldName, &'f Value)>) -> String {
    fields
        .into_iter()
        .map(|(field, value)| format!(" {field}={}", word(value)))
        .collect()
}

/// Rules as `key=value` for the object and `Field:owner` for fields.
pub(crate) fn policy(rules: &str) -> ObjectSync {
    let mut fields: BTreeMap<&str, &str> = ["Name", "Phone", "Rating"]
        .map(|name| (name, "shared"))
        .into_iter()
        .collect();
    let mut object = json!({
        "object": "Account",
        "table": {"schema": "public", "table": "account"},
        "external_id": {"field": "id", "column": "external_id"},
        "deletes": {"mode": "propagate", "on_edit": "manual", "column": "deleted_at"},
    });
    for rule in rules.split(' ').filter(|rule| !rule.is_empty()) {
        match (rule.split_once('='), rule.split_once(':')) {
            (Some(("policy", policy)), _) => object["conflicts"] = json!(policy),
            (Some(("mode", mode)), _) => object["deletes"]["mode"] = json!(mode),
            (Some(("on_edit", rule)), _) => object["deletes"]["on_edit"] = json!(rule),
            (Some((key, value)), _) => object[key] = json!(value),
            (None, Some((name, owner))) => {
                fields.insert(name, owner);
            }
            (None, None) => panic!("no such rule: {rule}"),
        }
    }
    object["fields"] = fields
        .into_iter()
        .map(|(name, owner)| (name.to_owned(), json!({"column": name, "owner": owner})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    serde_json::from_value(object).expect("rules of an object")
}

pub(crate) fn intent(state: IntentState, text: &str) -> Intent {
    let (action, fields) = match text.split_once(' ') {
        Some(("create", fields)) => (WriteAction::Create, fields),
        Some(("update", fields)) => (WriteAction::Update, fields),
        None if text == "delete" => (WriteAction::Delete, ""),
        Some(_) | None => panic!("an intent is create, update or delete: {text}"),
    };
    Intent {
        intent_id: IntentId(uuid::Uuid::from_u128(1)),
        record_id: RecordId(uuid::Uuid::from_u128(2)),
        fencing_token: FencingToken(1),
        action,
        fields: payload(fields),
        state,
        echoed: Default::default(),
    }
}

fn side(text: &str) -> NamedSide {
    let (text, changed_at_ms) = match text.split_once('@') {
        Some((text, ms)) => (text.trim(), Some(ms.parse().expect("milliseconds"))),
        None => (text, None),
    };
    let (presence, mut fields) = match text {
        "-" => (Presence::Deleted, Payload::new()),
        "?" => (Presence::Unseen, Payload::new()),
        "filtered_out" => (Presence::FilteredOut, Payload::new()),
        text => (Presence::Present, payload(text)),
    };
    if presence == Presence::Present {
        fields.entry(field("id")).or_insert(Value::text("K1"));
    }
    NamedSide {
        presence,
        fields: fields.into_iter().collect(),
        changed_at_ms,
        edited: FieldMap::default(),
    }
}

fn system(word: &str) -> Side {
    match word {
        "pg" => Side::Postgres,
        "sf" => Side::Salesforce,
        other => panic!("no such side: {other}"),
    }
}

/// `Phone=1000 Name=1000..2000`.
fn edit_times(text: &str) -> EditTimes {
    let ms = |text: &str| text.parse::<i64>().expect("milliseconds");
    let edits = text
        .split_whitespace()
        .map(|word| word.split_once('=').expect("field=time"));
    edits
        .map(|(name, text)| {
            let time = match text.split_once("..") {
                Some((since, at)) => EditTime::between(Some(ms(since)), ms(at)),
                None => EditTime::at(ms(text)),
            };
            (field(name), time)
        })
        .collect()
}

/// `Phone 2 sent stored`.
fn automation_override(text: &str) -> (FieldName, AutomationOverride) {
    let words: Vec<&str> = text.split(' ').collect();
    let [name, count, sent, stored] = words[..] else {
        panic!("an override is a field, a count, what was sent and what was stored");
    };
    let count = count.parse().expect("a count");
    (
        field(name),
        AutomationOverride {
            count,
            sent: value(sent),
            stored: value(stored),
        },
    )
}
