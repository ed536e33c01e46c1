//! One mapped object with a new database and a new org, the engine in this process, and the operator's
//! program.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use salesforce_org::server::{self, Options, Running};
use salesforce_org::{FaultAction, Org, RecordId, Request, local};
use serde_json::{Value as Json, json};
use syncline::SyncEngine;
use syncline::capture::CaptureOptions;
use syncline::host::instance::{Instance, WakeUpTarget};
use syncline::model::ids::{ObjectName, TenantId};
use throwaway_postgres::TestDatabase;

/// The password in the database's URL. The server does not ask for it.
pub(crate) const DATABASE_PASSWORD: &str = "local-only-database-password";

/// The external id of the account that a Salesforce user reads and edits.
pub(crate) const ACCOUNT: &str = "C-1042";

/// Most rounds until all work is done.
const ROUNDS_MAX: usize = 20;

const TABLE: &str = "
create table account (
    account_id bigint generated always as identity primary key,
    external_id text not null unique,
    name text not null,
    phone text,
    industry text,
    rating text,
    revenue numeric(18, 2)
)";

/// Both sides and the engine.
pub(crate) struct Scene {
    org: Running,
    database: TestDatabase,
    folder: tempfile::TempDir,
    engine: SyncEngine,
    tenant: TenantId,
}

impl Scene {
    /// Starts both sides, and installs control plane and triggers.
    pub(crate) async fn set() -> Self {
        let scene = Box::pin(Self::migrated()).await;
        scene.syncline(&["install"]).await;
        scene
    }

    /// Starts both sides, and installs the control plane alone.
    pub(crate) async fn migrated() -> Self {
        let scene = Self::prepared().await;
        scene.syncline(&["migrate"]).await;
        scene
    }

    /// Starts both sides, without a control plane.
    pub(crate) async fn prepared() -> Self {
        let database = TestDatabase::empty().await;
        let org = server::start(Org::default(), &Options::default())
            .await
            .expect("the org is served");
        let folder = tempfile::tempdir().expect("a folder");
        let login = format!("postgres:{DATABASE_PASSWORD}@");
        let url = database.url().replacen("postgres@", &login, 1);
        assert!(url.contains(DATABASE_PASSWORD), "{url}");
        write_settings(folder.path(), &org, &url);
        let place = folder.path().join("syncline.toml").display().to_string();
        let tenant = TenantId::parse("acme").expect("a name");
        let engine = Instance::new(&place, Path::new("."), WakeUpTarget::Silent)
            .engine(&tenant)
            .await
            .expect("an engine");
        let scene = Self {
            org,
            database,
            folder,
            engine,
            tenant,
        };
        scene.sql(TABLE).await;
        scene
    }

    /// Returns the addresses of the org and of its event bus.
    pub(crate) fn addresses(&self) -> (String, String) {
        (self.org.http_url(), self.org.grpc_url())
    }

    /// Returns the name of the database, which no other test has.
    pub(crate) fn database_name(&self) -> &str {
        self.database.name()
    }

    /// Returns the URL of the database as this role.
    pub(crate) fn url_as(&self, role: &str) -> String {
        self.database.url_as(role)
    }

    /// Lets the configuration lead to the database as this role.
    pub(crate) fn sign_in_as(&self, role: &str) {
        std::fs::write(self.folder.path().join("database.url"), self.url_as(role))
            .expect("the URL is written");
    }

    /// Returns the place of the secret that the org accepts.
    pub(crate) fn secret(&self) -> String {
        format!("file:{}", self.folder.path().join("secret").display())
    }

    /// Adds tenants of the same database to the configuration, each with a table of its own and this secret.
    pub(crate) fn add_tenants(&self, names: &[String], secret: &str) {
        let path = self.folder.path().join("syncline.toml");
        let acme = std::fs::read_to_string(&path).expect("the configuration");
        let known = self.secret();
        let mut all = acme.clone();
        for name in names {
            let tenant = acme
                .replace("tenant.acme", &format!("tenant.{name}"))
                .replace("\"account\"", &format!("\"account_{name}\""))
                .replace(&known, secret);
            all.push_str(&tenant);
        }
        std::fs::write(&path, all).expect("the configuration is written");
    }

    /// Lets the configuration lead to a copy of the database, and returns it.
    pub(crate) async fn move_to_copy(&self) -> TestDatabase {
        let copy = self.database.copied().await;
        let url = self.folder.path().join("database.url");
        std::fs::write(url, copy.url()).expect("the URL is written");
        copy
    }

    /// Gives a tenant, which must be the last one, another place of the database's URL.
    pub(crate) fn point_tenant_at(&self, tenant: &str, place: &str) {
        let path = self.folder.path().join("syncline.toml");
        let all = std::fs::read_to_string(&path).expect("the configuration");
        let begin = all.find(&format!("[tenant.{tenant}]")).expect("the tenant");
        let url = format!("file:{}", self.folder.path().join("database.url").display());
        let (others, last) = all.split_at(begin);
        let changed = format!("{others}{}", last.replace(&url, place));
        std::fs::write(&path, changed).expect("the configuration is written");
    }

    /// Returns the parts of a new process.
    pub(crate) fn instance(&self) -> Instance {
        let place = self.folder.path().join("syncline.toml");
        Instance::new(
            &place.display().to_string(),
            Path::new("."),
            WakeUpTarget::Silent,
        )
    }

    /// Returns the operator's program with these arguments.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command
            .args(words)
            .env("SYNCLINE_CONFIG", self.folder.path().join("syncline.toml"))
            .env_remove("RUST_LOG");
        command
    }

    async fn output(&self, words: &[&str]) -> Output {
        let mut command = self.command(words);
        tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("the program is waited for")
            .expect("the program runs")
    }

    /// Runs the operator's program, which must succeed, and returns its output.
    pub(crate) async fn syncline(&self, words: &[&str]) -> String {
        let output = self.output(words).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "syncline {words:?}: {error}");
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    }

    /// Runs the operator's program at this log level and returns all that it printed and logged.
    pub(crate) async fn traced(&self, words: &[&str], level: &str) -> String {
        let mut command = self.command(words);
        command.env("RUST_LOG", level);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.expect("the program is waited for");
        let output = output.expect("the program runs");
        let printed = [output.stdout, output.stderr].concat();
        String::from_utf8(printed).expect("it prints UTF-8")
    }

    /// Writes a changed configuration and returns the one before. `change` is given that and its folder.
    pub(crate) fn change_config(&self, change: impl FnOnce(&str, &Path) -> String) -> String {
        let path = self.folder.path().join("syncline.toml");
        let before = std::fs::read_to_string(&path).expect("the configuration");
        std::fs::write(&path, change(&before, self.folder.path()))
            .expect("the configuration is written");
        before
    }

    /// Lets the tenant sign in with the app's key instead of its secret.
    pub(crate) fn sign_in_with_key(&self) {
        let user = format!("auth = \"jwt\", username = {:?}", local::INTEGRATION_USER);
        self.change_config(|config, _| config.replace("auth = \"client_credentials\"", &user));
        std::fs::write(self.folder.path().join("secret"), local::PRIVATE_KEY)
            .expect("the key is written");
    }

    /// Runs the operator's program, which must fail, and returns its exit status and all that it printed.
    pub(crate) async fn failing(&self, words: &[&str]) -> (i32, String) {
        let output = self.output(words).await;
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).expect("it prints UTF-8");
        assert!(!output.status.success(), "syncline {words:?}: {printed}");
        (output.status.code().expect("it ends by itself"), printed)
    }

    /// Reads one number without the engine.
    pub(crate) async fn one(&self, query: &'static str) -> i64 {
        number(&self.database, query).await
    }

    /// Returns the folder of the configuration.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a text of SQL.
    pub(crate) async fn run(&self, statements: &str) {
        let mut connection = self.database.connect().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()))
            .execute(&mut connection)
            .await
            .expect("the statements are valid");
    }

    /// Runs SQL as an application.
    pub(crate) async fn sql(&self, statement: &'static str) {
        execute(&self.database, statement).await;
    }

    /// Returns a field of the account as a Salesforce user reads it.
    pub(crate) fn field(&self, name: &str) -> Json {
        self.org.with_org(|org| read(org, name))
    }

    /// Updates the account as a Salesforce user.
    pub(crate) fn edit(&self, fields: Json) {
        self.org.with_org(|org| {
            let id = read(org, "Id");
            let id = RecordId::parse(id.as_str().expect("an account")).expect("an id");
            org.update_as(local::PERSON, id, &fields)
                .expect("a person's edit");
        });
    }

    /// Creates an account as a Salesforce user.
    pub(crate) fn create(&self, fields: &Json) {
        let created = self
            .org
            .with_org(|org| org.insert_as(local::PERSON, "Account", fields));
        created.expect("a person's account");
    }

    /// Returns how many accounts the org has.
    pub(crate) fn accounts(&self) -> usize {
        self.org.with_org(|org| org.count("Account"))
    }

    /// Hides these fields from our user, and shows all others.
    pub(crate) fn hide(&self, fields: &[&str]) {
        let order = json!({"user": local::INTEGRATION_USER, "hidden_fields": fields});
        let request = Request::new("POST", "/_org/permissions").json(&order);
        let answer = self.org.with_org(|org| org.request(&request));
        assert_eq!(answer.status, 200, "{:?}", answer.to_json());
    }

    /// Makes the org refuse the next write of the account with this error.
    pub(crate) fn refuse_next_write(&self, code: &str, message: &str) {
        let refusal = FaultAction::RejectRow {
            external_id: ACCOUNT.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
        };
        self.org.with_org(|org| org.declare(&refusal.once()));
    }

    /// Makes the org refuse the next write of this account.
    pub(crate) fn refuse_next_write_of(&self, external_id: &str) {
        let refusal = FaultAction::RejectRow {
            external_id: external_id.to_owned(),
            code: "FIELD_CUSTOM_VALIDATION_EXCEPTION".to_owned(),
            message: "no".to_owned(),
        };
        self.org.with_org(|org| org.declare(&refusal.once()));
    }

    /// Sweeps once.
    pub(crate) async fn sweep(&self) {
        self.engine.sweep(&self.tenant).await.expect("a sweep");
    }

    /// Captures Salesforce once with a process whose event bus has a dead address.
    pub(crate) async fn fail_capture_of_salesforce(&self) {
        let path = self.folder.path().join("syncline.toml");
        let config = std::fs::read_to_string(&path).expect("the configuration");
        let dead = config.replace(&self.org.grpc_url(), "http://127.0.0.1:1");
        std::fs::write(&path, dead).expect("the configuration is written");
        let engine = self.instance().engine(&self.tenant).await;
        let engine = engine.expect("an engine");
        std::fs::write(&path, config).expect("the configuration is written");
        let options = CaptureOptions::draining(engine.deadline_in(Duration::from_secs(60)));
        let captured = engine.capture_salesforce(&self.tenant, &options).await;
        captured.expect_err("the event bus cannot be reached");
    }

    /// Captures both sides, and applies nothing.
    pub(crate) async fn capture(&self) {
        let deadline = self.engine.deadline_in(Duration::from_secs(600));
        let options = CaptureOptions::draining(deadline);
        let here = self.engine.capture_postgres(&self.tenant, &options).await;
        here.expect("a capture of Postgres");
        let there = self.engine.capture_salesforce(&self.tenant, &options).await;
        there.expect("a capture of Salesforce");
    }

    /// Runs all jobs until there is no more work.
    pub(crate) async fn drain(&self) {
        self.drain_with(&self.engine).await;
    }

    /// Like `drain`, in the database that the configuration leads to.
    pub(crate) async fn drain_configured(&self) {
        let engine = self.instance().engine(&self.tenant).await;
        self.drain_with(&engine.expect("an engine")).await;
    }

    async fn drain_with(&self, engine: &SyncEngine) {
        let account = ObjectName::parse("Account").expect("a name");
        for _ in 0..ROUNDS_MAX {
            let deadline = engine.deadline_in(Duration::from_secs(600));
            let options = CaptureOptions::draining(deadline);
            let here = engine.capture_postgres(&self.tenant, &options).await;
            let there = engine.capture_salesforce(&self.tenant, &options).await;
            let applied = engine.apply(&self.tenant, &account, 0, deadline).await;
            let seen = here.expect("a capture").counts.seen + there.expect("a capture").counts.seen;
            if seen + applied.expect("an apply").leased == 0 {
                return;
            }
        }
        panic!("the work does not end");
    }
}

/// Reads one number of a database without the engine.
pub(crate) async fn number(database: &TestDatabase, query: &'static str) -> i64 {
    let mut connection = database.connect().await;
    sqlx::query_scalar(query)
        .fetch_one(&mut connection)
        .await
        .expect("a number")
}

/// Runs SQL in a database as an application.
pub(crate) async fn execute(database: &TestDatabase, statement: &'static str) {
    let mut connection = database.connect().await;
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .expect("the application's change");
}

fn read(org: &mut Org, field: &str) -> Json {
    let token = org.open_session(local::PERSON).expect("a session");
    let query = format!(
        "/services/data/v62.0/query?q=select+{field}+from+Account+where+External_Id__c='{ACCOUNT}'"
    );
    let answer = org.request(&Request::new("GET", &query).bearer(&token));
    answer.to_json()["records"][0][field].clone()
}

fn write_settings(folder: &Path, org: &Running, database: &str) {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file is written");
        format!("file:{}", path.display())
    };
    let secret = file("secret", local::CLIENT_SECRET);
    let url = file("database.url", database);
    let config = format!(
        r#"
[tenant.acme]
salesforce = {{ login_url = "{}", pubsub_url = "{}", client_id = "{}", auth = "client_credentials", secret = "{secret}" }}
postgres = {{ url = "{url}" }}

[[tenant.acme.object]]
object = "Account"
table = "account"
external_id = {{ field = "External_Id__c", column = "external_id" }}

[tenant.acme.object.fields]
Name = {{ column = "name" }}
Phone = {{ column = "phone" }}
Industry = {{ column = "industry", owner = "salesforce" }}
Rating = {{ column = "rating", owner = "postgres" }}
AnnualRevenue = {{ column = "revenue" }}
"#,
        org.http_url(),
        org.grpc_url(),
        local::CLIENT_ID,
    );
    file("syncline.toml", &config);
}
