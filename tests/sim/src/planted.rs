//! Planted bugs: rules of the engine that are removed one at a time, to see whether the worlds show it.
//!
//! `planted.toml` lists them. Where a rule stands in Rust, it is switched off in a tree that [`tree`] makes of the
//! workspace. Where it stands in a function of the database, the simulator replaces the function.

mod page;
mod played;
mod player;
mod reached;
mod rewrite;
mod search;
mod tree;

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::Context as _;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgConnection};

pub use page::page;
pub use played::{Ending, Played, play_in_time};
pub use rewrite::{Removal, rewrite};
pub use search::{Found, Results, Search};
pub use tree::write_tree;

/// The variable that names the bug which is switched on.
pub const VARIABLE: &str = "SYNCLINE_PLANTED";

/// Bugs whose rules were reached before any world: while the database was prepared that all worlds begin with.
static EVERYWHERE: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// A bug that can be switched on.
#[derive(Debug, Clone, Deserialize)]
pub struct Bug {
    /// Its name: words in lower case with `-` between them.
    pub name: String,
    /// What a user would see.
    pub why: String,
    /// The rule that is removed.
    #[serde(flatten)]
    pub place: Place,
    /// Rules that are removed with it.
    #[serde(default)]
    pub also: Vec<Place>,
    /// Why no world can show it, if none can.
    pub unseen: Option<String>,
}

/// A rule of the engine, and what replaces it.
#[derive(Debug, Clone, Deserialize)]
pub struct Place {
    /// The path of its file in the workspace.
    pub file: String,
    /// The name of its function, if it stands in one of the database.
    pub function: Option<String>,
    /// The text, which stands once in the file.
    pub rule: String,
    /// The text that replaces it.
    pub instead: String,
    /// What the text is.
    pub kind: Kind,
}

/// What the text of a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A complete expression.
    Expression,
    /// A complete expression that only computes a value, as does what replaces it. Both are computed, and the rule counts
    /// as reached only where they differ.
    Value,
    /// A part of one string literal.
    Sql,
    /// A part of the body of a function of the database.
    Function,
}

impl Bug {
    /// Returns all rules that are removed.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.place).chain(&self.also)
    }
}

#[derive(Deserialize)]
struct List {
    bug: Vec<Bug>,
}

/// Returns every bug that can be switched on, in the order of the list.
pub fn bugs() -> &'static [Bug] {
    static BUGS: LazyLock<Vec<Bug>> = LazyLock::new(|| {
        let list: List = toml::from_str(include_str!("../planted.toml"))
            .expect("planted.toml lists bugs with all their fields");
        list.bug
    });
    &BUGS
}

/// Returns the bug that is switched on. Fails if the list has no bug of that name.
pub fn switched_on() -> anyhow::Result<Option<&'static Bug>> {
    name().map(|name| bug(&name)).transpose()
}

/// Returns the bug of this name. Fails if the list has none.
pub fn bug(name: &str) -> anyhow::Result<&'static Bug> {
    let bug = bugs().iter().find(|bug| bug.name == name);
    bug.with_context(|| format!("planted.toml has no bug {name}"))
}

/// Returns the bugs whose rules were reached since the last call, or before every world.
pub fn take_reached() -> BTreeSet<&'static str> {
    let everywhere = EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner);
    &reached::take() | &everywhere
}

/// Notes that what was reached since the last world is reached before every world.
pub(crate) fn note_reached_everywhere() {
    let mut everywhere = EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner);
    everywhere.extend(reached::take());
}

fn name() -> Option<String> {
    let name = std::env::var(VARIABLE).ok();
    name.filter(|name| !name.is_empty())
}

/// Returns the name of databases of this kind: with a bug in a function of theirs they are databases of another kind.
pub(crate) fn kind_of_database(kind: &str) -> String {
    let Some(name) = name() else {
        return kind.to_owned();
    };
    // Names of databases are short, and cut where they are not.
    let short = &blake3::hash(name.as_bytes()).to_hex()[..8];
    format!("{kind}_{short}")
}

/// Removes the rule of the bug that is switched on, where it stands in functions of the database.
pub(crate) async fn plant(connection: &mut PgConnection) -> anyhow::Result<()> {
    let Some(bug) = switched_on()? else {
        return Ok(());
    };
    for place in bug.places() {
        let Some(function) = &place.function else {
            continue;
        };
        let defined: String = sqlx::query_scalar("select pg_get_functiondef($1::regproc)")
            .bind(function)
            .fetch_one(&mut *connection)
            .await?;
        let removal = Removal {
            bug: &bug.name,
            place,
        };
        let defined = removal.once(&defined).context(function.as_str())?;
        sqlx::raw_sql(AssertSqlSafe(defined))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
