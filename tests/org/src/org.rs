//! The org as a whole: the model, the sessions, the usage counts and the faults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::bulk::Bulk;
use crate::faults::Faults;
use crate::faults::locks::Locks;
use crate::model::decode::DecodedEvent;
use crate::model::deletions::Deletions;
use crate::model::delivery::{Cursor, Reading, Topic};
use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::evolve::SchemaChange;
use crate::model::id::RecordId;
use crate::model::log::{ChangeEvent, Fetched, Position, Source, StreamError, replay_bytes};
use crate::model::org_file::{OrgFile, OrgFileError};
use crate::model::permission::Permissions;
use crate::model::schema::{ORGANIZATION, OWN_PERMISSIONS, ObjectNo, PRICE_BOOK};
use crate::model::table::RowNo;
use crate::model::transaction::Transaction;
use crate::model::value::Value;
use crate::model::view::View;
use crate::model::{Actor, Model};
use crate::pubsub::bus::Bus;
use crate::rest::Call;
use crate::rest::dataload::AsyncJobs;
use crate::rest::query::Cursors;
use crate::rest::session::Sessions;
use crate::rest::usage::Usage;
use crate::unconfirmed::MULTI_OBJECT_SCHEMA_ID;

/// The clock of a new org: 2026-05-01T09:30:00Z.
pub(crate) const START_MS: i64 = 1_777_627_800_000;

/// Maximum offset of the org's clock from real time: a century, which keeps every date in range.
const AHEAD_MS_MAX: i64 = 100 * 366 * 86_400_000;

/// A local Salesforce org.
///
/// It has no clock. Its time is the last [`Org::set_wall_ms`] plus everything that
/// [`Org::advance_ms`] added.
#[derive(Debug)]
pub struct Org {
    id: RecordId,
    pub(crate) file: OrgFile,
    pub(crate) model: Model,
    pub(crate) sessions: Sessions,
    pub(crate) cursors: Cursors,
    pub(crate) usage: Usage,
    pub(crate) faults: Faults,
    pub(crate) locks: Locks,
    /// How many times held answers were released.
    pub(crate) releases: u64,
    pub(crate) bulk: Bulk,
    pub(crate) async_jobs: AsyncJobs,
    pub(crate) stats: Stats,
    pub(crate) bus: Bus,
    pub(crate) base_url: String,
    /// The address with the other protocol (plaintext or TLS) than that of the current call.
    pub(crate) other_url: String,
    /// The certificate authority that TLS clients trust; empty without a server.
    pub(crate) certificate_pem: String,
    pub(crate) latency_ms: u64,
    /// Whether the history comes from a dump.
    pub(crate) restored: bool,
    wall_ms: i64,
    ahead_ms: i64,
}

/// Counts of the org.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stats {
    pub(crate) calls: BTreeMap<String, u64>,
    pub(crate) events_delivered: u64,
    /// How many writes failed because of another holder's lock.
    pub(crate) row_locks_met: u64,
}

/// The result of `GetTopic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// The requested name.
    pub topic_name: String,
    /// Identifies the org.
    pub tenant_guid: String,
    /// Schema of the events; empty for topics with several objects.
    pub schema_id: String,
    /// Whether events can be published to it: platform events only.
    pub can_publish: bool,
}

/// The result of `GetSchema`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaInfo {
    /// Avro schema as JSON.
    pub schema_json: String,
    /// Its id.
    pub schema_id: String,
}

impl Default for Org {
    fn default() -> Self {
        Self::of(OrgFile::built_in()).expect("the built-in org file is consistent")
    }
}

impl Org {
    /// Returns an org with the declarations of `text` added to the built-in org.
    ///
    /// # Errors
    ///
    /// Fails if the text is not TOML in the documented form or contradicts itself.
    pub fn from_toml(text: &str) -> Result<Self, OrgFileError> {
        Self::of(OrgFile::parse(text)?)
    }

    fn of(file: OrgFile) -> Result<Self, OrgFileError> {
        let mut org = Self::empty(file, START_MS, &[])?;
        org.load_org_file()?;
        Ok(org)
    }

    /// Returns an org without records and sessions, with the schema changes since its file was
    /// read.
    pub(crate) fn empty(
        file: OrgFile,
        now_ms: i64,
        changes: &[SchemaChange],
    ) -> Result<Self, OrgFileError> {
        let mut model = Model::new(file.schema()?, now_ms);
        model.switches = file.switches()?;
        for change in changes {
            model.repeat(change).map_err(OrgFileError::Content)?;
        }
        let id = file.org.id.as_deref().and_then(RecordId::parse);
        let id = id.ok_or_else(|| OrgFileError::Content("org.id is not a record id".to_owned()))?;
        Ok(Self {
            id,
            model,
            sessions: Sessions::default(),
            cursors: Cursors::default(),
            usage: Usage::new(file.org.daily_api_requests.unwrap_or(100_000)),
            faults: Faults::default(),
            locks: Locks::default(),
            releases: 0,
            bulk: Bulk::default(),
            async_jobs: AsyncJobs::default(),
            stats: Stats::default(),
            bus: Bus::default(),
            base_url: "http://127.0.0.1:0".to_owned(),
            other_url: "https://127.0.0.1:0".to_owned(),
            certificate_pem: String::new(),
            latency_ms: 0,
            restored: false,
            wall_ms: START_MS,
            ahead_ms: 0,
            file,
        })
    }

    /// Adds what the org file declares to an empty org.
    fn load_org_file(&mut self) -> Result<(), OrgFileError> {
        self.add_users()?;
        self.add_organization()?;
        self.add_record_types()?;
        self.add_queues()?;
        self.add_price_book()?;
        self.model.deletions = self.deletions(self.model.now_ms);
        self.restrict_users()?;
        self.sessions = Sessions::new(&self.file.apps, |name| self.user_named(name));
        self.declare_bus()
    }

    /// Creates User records for the users of the org file.
    fn add_users(&mut self) -> Result<(), OrgFileError> {
        let object = self.user_object();
        for user in self.file.users.clone() {
            let row = self.model.table(object).next_row();
            let actor = Actor {
                user: self.model.id_of(object, row),
                origin: String::new(),
            };
            let mut members = Map::new();
            members.insert("Username".to_owned(), user.username.clone().into());
            members.insert("LastName".to_owned(), user.last_name.into());
            members.insert("FirstName".to_owned(), user.first_name.into());
            let email = user.email.unwrap_or_else(|| user.username.clone());
            members.insert("Email".to_owned(), email.into());
            members.insert("IsActive".to_owned(), true.into());
            let mut tx = Transaction::default();
            Draft::read(self.model.whole(), object, Purpose::Create, &members, &[])
                .and_then(|draft| self.model.create(&mut tx, &actor, draft))
                .and_then(|_| self.add_setup_record(OWN_PERMISSIONS, &json!({})))
                .map_err(|e| OrgFileError::Content(format!("user {}: {e}", user.username)))?;
        }
        Ok(())
    }

    /// Creates the record that describes the org itself.
    fn add_organization(&mut self) -> Result<(), OrgFileError> {
        let entry = &self.file.org;
        let fields = json!({
            "Name": self.org_name(),
            "IsSandbox": entry.is_sandbox,
            "InstanceName": entry.instance_name,
            "OrganizationType": entry.organization_type,
            "DefaultLocaleSidKey": "en_US",
            "LanguageLocaleKey": "en_US",
            "TimeZoneSidKey": "GMT",
        });
        self.add_setup_record(ORGANIZATION, &fields)
            .map(|_| ())
            .map_err(|error| OrgFileError::Content(format!("org: {error}")))
    }

    /// Gives the users of the org file their permissions.
    fn restrict_users(&mut self) -> Result<(), OrgFileError> {
        for entry in self.file.users.clone() {
            let user = self.user_named(&entry.username);
            let user = user.expect("the users of the org file were created");
            self.model
                .restrict(user, entry.permissions)
                .map_err(|why| OrgFileError::Content(format!("user {}: {why}", entry.username)))?;
        }
        Ok(())
    }

    /// Creates the queues of the org file.
    fn add_queues(&mut self) -> Result<(), OrgFileError> {
        for queue in self.file.queues.clone() {
            let wrong =
                |error: SfError| OrgFileError::Content(format!("queue {}: {error}", queue.name));
            let fields = json!({
                "Name": queue.name, "DeveloperName": queue.name.replace(' ', "_"), "Type": "Queue",
            });
            let id = self.add_setup_record("Group", &fields).map_err(wrong)?;
            for object in &queue.objects {
                let served = json!({"QueueId": id.to_string(), "SobjectType": object});
                self.add_setup_record("QueueSobject", &served)
                    .map_err(wrong)?;
            }
        }
        Ok(())
    }

    /// Creates the standard price book of an org with products.
    fn add_price_book(&mut self) -> Result<(), OrgFileError> {
        let Some(prices) = self.model.schema.prices else {
            return Ok(());
        };
        let fields = json!({"Name": "Standard Price Book", "IsActive": true});
        let id = self.add_setup_record(PRICE_BOOK, &fields);
        let id = id.map_err(|error| OrgFileError::Content(format!("price book: {error}")))?;
        self.model.make_standard(prices, id);
        Ok(())
    }

    /// Creates a record of an object that only Salesforce writes. It has no change event.
    fn add_setup_record(&mut self, object: &str, fields: &Json) -> Result<RecordId, SfError> {
        let object = self.model.object_named(object)?;
        let actor = Actor {
            user: self.model.id_of(self.user_object(), 0),
            origin: String::new(),
        };
        let draft = self.draft(object, Purpose::Create, fields)?;
        let mut tx = Transaction::default();
        let row = self.model.create(&mut tx, &actor, draft)?;
        Ok(self.model.id_of(object, row))
    }

    /// Creates RecordType records for the record types of all objects.
    fn add_record_types(&mut self) -> Result<(), OrgFileError> {
        for owner in self.model.schema.objects.clone() {
            for kind in &owner.record_types {
                let fields = json!({
                    "Name": kind.name, "DeveloperName": kind.developer_name,
                    "SobjectType": owner.name, "IsActive": true,
                });
                self.add_setup_record("RecordType", &fields).map_err(|e| {
                    OrgFileError::Content(format!("record type {}: {e}", kind.name))
                })?;
            }
        }
        Ok(())
    }

    pub(crate) fn user_object(&self) -> ObjectNo {
        self.model
            .schema
            .find("User")
            .expect("the built-in org file declares User")
    }

    /// Deletes all records, events, sessions, faults and counts. Clock, schema and addresses stay.
    pub fn reset(&mut self) {
        let mut fresh = Self::empty(self.file.clone(), self.now_ms(), &self.model.changes)
            .expect("the org file was consistent before");
        fresh
            .load_org_file()
            .expect("the org file was consistent before");
        fresh.latency_ms = self.latency_ms;
        self.replace_with(fresh);
        self.advance_clock();
    }

    /// Replaces this org with another at the same addresses and real time.
    pub(crate) fn replace_with(&mut self, other: Self) {
        let before = std::mem::replace(self, other);
        self.bus = std::mem::take(&mut self.bus).following(&before.bus);
        // Releases the held answers of the replaced org.
        self.releases = before.releases + 1;
        (self.wall_ms, self.ahead_ms) = (before.wall_ms, before.ahead_ms);
        self.base_url = before.base_url;
        self.other_url = before.other_url;
        self.certificate_pem = before.certificate_pem;
    }

    /// Sets the real time; the org's clock advances by the same amount.
    ///
    /// Runs at most one due batch of a bulk job, so that a call that only needs the time never
    /// waits for a long job.
    pub fn set_wall_ms(&mut self, ms: i64) {
        self.wall_ms = ms;
        self.advance_clock();
        self.run_one_job();
    }

    /// Returns the milliseconds until the next step of a bulk job, or `None` if no job waits.
    pub(crate) fn next_job_in_ms(&self) -> Option<u64> {
        let due_ms = self.bulk.due_ms()?;
        Some(u64::try_from(due_ms - self.now_ms()).unwrap_or(0))
    }

    /// Starts the history of a new org at this time instead of the built-in one. The clock of an org
    /// with a history continues from its own time, so that its events are as old as their stamps say.
    pub(crate) fn start_clock(&mut self, wall_ms: i64) {
        if self.model.log.published() == 0 && !self.restored {
            let now_ms = wall_ms + self.ahead_ms;
            self.model.log.start_at(now_ms);
            self.model.deletions = self.deletions(now_ms);
        } else {
            self.ahead_ms = self.now_ms().saturating_sub(wall_ms);
        }
        self.set_wall_ms(wall_ms);
    }

    /// Advances the org's clock and runs the bulk job steps that become due.
    pub fn advance_ms(&mut self, ms: i64) {
        self.move_to(self.ahead_ms.saturating_add(ms));
    }

    /// Sets the org's clock to `ms`. It continues from there with the real time.
    pub fn set_now_ms(&mut self, ms: i64) {
        self.move_to(ms.saturating_sub(self.wall_ms));
    }

    /// Returns an empty delete log with the maximum size of the org file.
    fn deletions(&self, now_ms: i64) -> Deletions {
        let mut deletions = Deletions::new(now_ms);
        if let Some(max) = self.file.org.delete_log_max {
            deletions.limit(max);
        }
        deletions
    }

    fn move_to(&mut self, ahead_ms: i64) {
        self.ahead_ms = ahead_ms.clamp(-AHEAD_MS_MAX, AHEAD_MS_MAX);
        self.advance_clock();
        self.run_jobs();
    }

    /// Returns the org's time.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.wall_ms + self.ahead_ms
    }

    /// Returns the real time, which signed assertions are checked against.
    pub(crate) fn wall_ms(&self) -> i64 {
        self.wall_ms
    }

    fn advance_clock(&mut self) {
        self.model.advance_clock(self.now_ms());
    }

    /// Sets the address of the org, which token answers contain as `instance_url`.
    pub fn set_base_url(&mut self, url: &str) {
        url.trim_end_matches('/').clone_into(&mut self.base_url);
    }

    /// Sets the TLS address of the org, which token answers to TLS clients contain.
    pub fn set_secure_url(&mut self, url: &str) {
        url.trim_end_matches('/').clone_into(&mut self.other_url);
    }

    /// Returns the 18-character id of the org.
    #[must_use]
    pub fn org_id(&self) -> String {
        self.id.to_string()
    }

    pub(crate) fn org_name(&self) -> &str {
        self.file.org.name.as_deref().unwrap_or_default()
    }

    /// Opens a session for a user without a login, or returns `None` if the user does not exist.
    pub fn open_session(&mut self, username: &str) -> Option<String> {
        let user = self.user_named(username)?;
        Some(self.new_session(user))
    }

    pub(crate) fn new_session(&mut self, user: RecordId) -> String {
        let org_id = self.org_id();
        let (first, second) = (self.model.random.uuid(), self.model.random.uuid());
        let token = format!("{}!AQE{}{}", &org_id[..15], first.simple(), second.simple());
        self.sessions.open(token.clone(), user, self.now_ms());
        token
    }

    pub(crate) fn user_named(&self, username: &str) -> Option<RecordId> {
        let object = self.user_object();
        let field = self.model.object(object).find("Username")?;
        let rows = self.model.find_by(object, field, username);
        rows.first().map(|row| self.model.id_of(object, *row))
    }

    /// Returns the queue with that name.
    pub(crate) fn queue_named(&self, name: &str) -> Option<RecordId> {
        let object = self.model.schema.find("Group")?;
        let field = self.model.object(object).find("Name")?;
        let named = |row: &RowNo| {
            let known = self.model.table(object).get(*row, field).as_text();
            known == Some(name)
        };
        let row = self.model.table(object).all().find(named)?;
        Some(self.model.id_of(object, row))
    }

    pub(crate) fn session_idle_ms(&self) -> i64 {
        self.file.org.session_idle_minutes.unwrap_or(120) * 60_000
    }

    /// Returns the `GetTopic` result of a topic.
    ///
    /// # Errors
    ///
    /// [`StreamError::TopicNotFound`] for any name but `/data/ChangeEvents`,
    /// `/data/<Object>ChangeEvent` of an object with change events, `/event/<Event>__e`, and the
    /// channels below `/data/` and `/event/`.
    pub fn get_topic(&self, name: &str) -> Result<TopicInfo, StreamError> {
        let topic = self.model.topic(name)?;
        let of = |source| self.model.log.layout(source).1.schema.id.clone();
        let schema_id = match topic {
            Topic::Everything | Topic::Channel(_) => MULTI_OBJECT_SCHEMA_ID.to_owned(),
            Topic::One(object) => of(Source::Object(object)),
            Topic::Platform(event) => of(Source::Platform(event)),
        };
        Ok(TopicInfo {
            topic_name: name.to_owned(),
            tenant_guid: format!("core/prod/{}", self.org_id()),
            schema_id,
            can_publish: matches!(topic, Topic::Platform(_)),
        })
    }

    /// Returns an Avro schema, or `None` for an unknown id.
    #[must_use]
    pub fn get_schema(&self, schema_id: &str) -> Option<SchemaInfo> {
        let (_, _, layout) = self.model.log.schema(schema_id)?;
        Some(SchemaInfo {
            schema_json: layout.schema.json.clone(),
            schema_id: layout.schema.id.clone(),
        })
    }

    /// Returns at most `max` events of a topic.
    ///
    /// # Errors
    ///
    /// Fails for an unknown topic and for a position that is malformed or older than the retention.
    pub fn fetch(
        &self,
        topic: &str,
        position: &Position,
        max: usize,
    ) -> Result<Fetched, StreamError> {
        let topic = self.model.topic(topic)?;
        let after = self.model.log.resolve(position)?;
        let reading = Reading {
            topic,
            permissions: &Permissions::default(),
            events_max: max,
        };
        let (events, cursor) = self.model.read(&reading, Cursor::after(after));
        Ok(Fetched {
            events,
            latest_replay_id: replay_bytes(cursor.after),
        })
    }

    /// Returns a decoded change event: header, changed names, values by field.
    ///
    /// # Panics
    ///
    /// Panics if the payload is not a change event of its schema, for example a platform event.
    #[must_use]
    pub fn decode(&self, event: &ChangeEvent) -> DecodedEvent {
        let schema = self.model.log.schema(&event.schema_id);
        let (_, _, layout) = schema.expect("an event's schema is kept");
        DecodedEvent::read(layout, &event.payload).expect("the org writes data of its own schema")
    }

    /// Creates a record like a user in Salesforce.
    ///
    /// # Errors
    ///
    /// The error that Salesforce would answer.
    pub fn insert_as(
        &mut self,
        username: &str,
        object: &str,
        fields: &Json,
    ) -> Result<RecordId, SfError> {
        let object = self.model.object_named(object)?;
        let draft = self.draft(object, Purpose::Create, fields)?;
        let row = self.by_hand(username, |model, tx, actor| model.create(tx, actor, draft))?;
        Ok(self.model.id_of(object, row))
    }

    /// Updates a record like a user in Salesforce.
    ///
    /// # Errors
    ///
    /// The error that Salesforce would answer.
    pub fn update_as(
        &mut self,
        username: &str,
        id: RecordId,
        fields: &Json,
    ) -> Result<(), SfError> {
        let (object, row) = self.place_of(id)?;
        let draft = self.draft(object, Purpose::Update, fields)?;
        self.by_hand(username, |model, tx, actor| {
            model.update(tx, actor, row, draft)
        })
    }

    /// Moves a record to the recycle bin like a user in Salesforce.
    ///
    /// # Errors
    ///
    /// The error that Salesforce would answer.
    pub fn delete_as(&mut self, username: &str, id: RecordId) -> Result<(), SfError> {
        let (object, row) = self.place_of(id)?;
        self.by_hand(username, |model, tx, actor| {
            model.delete(tx, actor, object, row)
        })
    }

    /// Restores a record from the recycle bin like a user in Salesforce.
    ///
    /// # Errors
    ///
    /// The error that Salesforce would answer.
    pub fn undelete_as(&mut self, username: &str, id: RecordId) -> Result<(), SfError> {
        let (object, row) = self.place_of(id)?;
        self.by_hand(username, |model, tx, actor| {
            model.undelete(tx, actor, object, row)
        })
    }

    /// Returns one field of a record as plain text, or `None` if the record or field does not exist
    /// or the value is null.
    #[must_use]
    pub fn value_of(&self, id: RecordId, field: &str) -> Option<String> {
        let (object, row) = self.place_of(id).ok()?;
        let no = self.model.object(object).find(field)?;
        let value = self.model.table(object).get(row, no);
        let mut text = String::new();
        value.push_plain(&mut text);
        (*value != Value::Null).then_some(text)
    }

    /// Returns the number of live records of an object; 0 for an unknown object.
    #[must_use]
    pub fn count(&self, object: &str) -> usize {
        self.model
            .schema
            .find(object)
            .map_or(0, |no| self.model.table(no).live())
    }

    fn draft(&self, object: ObjectNo, purpose: Purpose, json: &Json) -> Result<Draft, SfError> {
        let members = json.as_object().ok_or_else(|| {
            SfError::new(
                "JSON_PARSER_ERROR",
                "The fields of a record are a JSON object.",
            )
        })?;
        Draft::read(self.model.whole(), object, purpose, members, &[])
    }

    pub(crate) fn place_of(&self, id: RecordId) -> Result<(ObjectNo, RowNo), SfError> {
        self.model.whole().place_of(id)
    }

    /// Returns the org as the caller sees it.
    pub(crate) fn view(&self, call: &Call<'_>) -> View<'_> {
        self.model.view(call.actor.user)
    }

    fn by_hand<T>(
        &mut self,
        username: &str,
        write: impl FnOnce(&mut Model, &mut Transaction, &Actor) -> Result<T, SfError>,
    ) -> Result<T, SfError> {
        let user = self.user_named(username).ok_or_else(SfError::unknown_id)?;
        let actor = Actor {
            user,
            origin: String::new(),
        };
        let mut tx = Transaction::default();
        let done = write(&mut self.model, &mut tx, &actor)?;
        self.model.commit(tx, &actor);
        Ok(done)
    }
}
