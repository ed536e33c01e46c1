//! The command line of `syncline`, and its help.

use std::fmt;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use syncline::engine::generate::{Pattern, TablePattern};

/// Keeps Salesforce objects and Postgres tables equal, in both directions.
///
/// Reads syncline.toml, works on its tenants and reports what it found. Exit status: 0 all is well,
/// 1 something was found or failed, 2 the command line is wrong.
#[derive(Debug, Parser)]
#[command(
    name = "syncline",
    version,
    arg_required_else_help = true,
    after_help = FIRST_STEPS
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  syncline generate     write the mapping and the tables of objects
  syncline plan         what would the first load do?
  syncline migrate      create the schema `syncline` in the database
  syncline check        does the mapping fit the database and the org?
  syncline install      capture every change of the mapped tables from now on
  syncline run          keep both sides equal, until Ctrl-C
  syncline status       what is in sync, pending, in conflict, parked?
  syncline compare      are both sides equal, record by record?";

const GENERATE_EXAMPLES: &str = "\
Examples:
  syncline generate --objects Account,Contact
  syncline generate --objects 'Account,*__c' --sql tables.sql >> syncline.toml
  syncline generate --objects Account --external-id Account=Customer_Number__c --picklists check
  syncline generate --tables 'crm.*,kunden=Account' --mapping mapping.toml --sql changes.sql";

/// The options of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The configuration: a path, ssm:/name or s3://bucket/key.
    #[arg(
        long,
        global = true,
        env = "SYNCLINE_CONFIG",
        default_value = "syncline.toml",
        value_name = "PLACE"
    )]
    pub(crate) config: String,
    /// Only this tenant of the configuration; all of them unless given.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// Print JSON instead of text: a list with one element per tenant.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compare the configuration with the database and the org.
    ///
    /// Checks types, lengths, permissions, unique external ids and triggers, and reports what to do about
    /// each mistake. Changes nothing.
    #[command(after_help = "Examples:\n  syncline check\n  syncline check --tenant acme --json")]
    Check,
    /// Write the mapping of objects, and the SQL of tables for them.
    ///
    /// Reads what the org shows of the objects and prints sections for syncline.toml and the SQL of new tables. Where a
    /// table exists, its columns are mapped by their names, and the SQL that would mend it is printed as comments. Fields
    /// that cannot be mapped are listed with the reason. Nothing is changed on either side, and objects that are mapped
    /// already are left alone.
    ///
    /// The external id of an object is the field that --external-id names, or the only one that is marked "External ID"
    /// and "Unique"; an object without one is listed with what to do. Lookups are mapped if the object that they point
    /// to is, too.
    ///
    /// Exit status 1 if an object that was named, or all of them, cannot be mapped, or if a table has to be mended.
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(Generate),
    /// Show what the first load, or a changed configuration, would do. Writes nothing.
    ///
    /// Reads every record and every row, and decides about each as the jobs would: what is created, changed and deleted
    /// on which side, what gets a generated external id, what comes into conflict, what is withheld, what stops, and
    /// what is equal; with a few samples of each, the API calls and the time that it takes. It may be run before
    /// `syncline migrate`, and at any time afterwards. What only a write shows, such as a validation rule, it cannot
    /// foresee.
    ///
    /// Exit status 1 if a person must act: records come into conflict, have fields that are withheld or stop, deletes
    /// would need approval, `syncline install` would refuse, or an object cannot be read.
    #[command(
        after_help = "Examples:\n  syncline plan\n  syncline plan --object Account --json\n  syncline plan --object Account --records account.jsonl   # for the page's batch view"
    )]
    Plan(Plan),
    /// Bring the schema `syncline` in the database up to date.
    ///
    /// It may be run again at any time.
    #[command(
        after_help = "Examples:\n  syncline migrate\n  syncline migrate --config ssm:/syncline/config"
    )]
    Migrate,
    /// Put capture triggers on the mapped tables.
    ///
    /// Existing rows are enqueued once, so that they reach Salesforce. Running it again restores triggers
    /// that were dropped, and enqueues the rows of their tables. An object that is mapped to another table is a
    /// new mapping: no row that the table lacks counts as deleted.
    ///
    /// If both sides have records and most of one side have no external id, nothing is installed: all of them
    /// would be created a second time on the other side.
    #[command(
        after_help = "Examples:\n  syncline install\n  syncline install --new-changes-only\n  syncline install --new-table Account"
    )]
    Install {
        /// Do not enqueue existing rows; each is captured when it changes.
        #[arg(long)]
        new_changes_only: bool,
        /// The object's table was emptied or recreated: create its rows from Salesforce, delete nothing.
        #[arg(long, value_name = "OBJECT")]
        new_table: Vec<String>,
        /// No record of one side is the same as one of the other: create those without an external id.
        #[arg(long)]
        no_match: bool,
        /// Stop capturing tables that the configuration does not map any more.
        #[arg(long)]
        remove_unmapped: bool,
    },
    /// Run capture, apply, sweep and comparisons in this process, until Ctrl-C.
    ///
    /// What changed lately is compared every 15 minutes, everything once a day. For use without AWS. Several may run at
    /// once: leases share the work between them.
    ///
    /// A changed configuration is used within ten seconds. If it has a mistake, that is logged once, and the one before
    /// stays in use.
    #[command(after_help = "Examples:\n  syncline run\n  RUST_LOG=syncline=debug syncline run")]
    Run,
    /// Compare every record of both sides, completely, and report what differs and why.
    ///
    /// Each record and each row is in one class: equal, deleted, pending, appeared, kept_apart, filtered_out;
    /// conflicting, parked, delete_withheld, withheld, unreadable; only_in_salesforce, only_in_postgres, without_id,
    /// unexplained. A difference is unexplained only if a second read shows it too and the record has no open work.
    /// Nothing is written to a record: what is unexplained is enqueued, to be read and planned again.
    ///
    /// A comparison that was interrupted goes on where it stopped, whoever began it.
    ///
    /// Exit status 0 if every record is in one of the first six classes; 1 if any is in another one, or if the
    /// comparison did not come to its end.
    #[command(
        after_help = "Examples:\n  syncline compare\n  syncline compare --object Account\n  syncline compare --tenant acme --json"
    )]
    Compare {
        /// Only this object.
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
    },
    /// Show what is in sync, pending, in conflict and parked.
    ///
    /// Exit status 1 if records are not synchronised at all: capture was never installed or is broken, a capture of
    /// either side or the sweep has not ended well for five minutes, records are due and no apply runs, comparisons fail
    /// or do not run, the last comparison found most records of an object unequal, the delete guard withholds deletes, or
    /// the org, the database or a field cannot be used. Open conflicts and other parked records are counted, and do not
    /// change the exit status; `syncline compare` returns 1 for them.
    #[command(
        after_help = "Examples:\n  syncline status\n  syncline status --json --stale-minutes 40"
    )]
    Status {
        /// How long a job may not have ended well; more where schedules run less often than each minute.
        #[arg(long, default_value_t = 5, value_name = "COUNT")]
        stale_minutes: u32,
    },
    /// Show everything that happened to one record, in order.
    ///
    /// Observed changes of both sides, decisions and their reasons, writes and their results, conflicts and
    /// dead letters. With --json each decision includes its complete input, which the preview page can show
    /// step by step.
    #[command(
        after_help = "Examples:\n  syncline explain A-1042\n  syncline explain 001Ws00003AbCdEIAV --json\n  syncline explain 4711 --object Contact"
    )]
    Explain {
        /// An external id, a Salesforce id or a record id.
        #[arg(value_name = "KEY")]
        key: String,
        /// Only a record of this object.
        #[arg(long, value_name = "NAME")]
        object: Option<String>,
    },
    /// List and resolve conflicts: fields that both sides changed.
    #[command(subcommand)]
    Conflicts(Conflicts),
    /// List and replay dead letters: records and changes that stopped, with the reason.
    #[command(subcommand)]
    Deadletters(Deadletters),
    /// Approve deletes that were withheld because there were too many at once.
    #[command(subcommand)]
    Deletes(Deletes),
    /// List values that lost to the value of the other side, newest first, with the rule that decided.
    #[command(
        after_help = "Examples:\n  syncline discarded\n  syncline discarded --object Account --json"
    )]
    Discarded(Listing),
    /// Write discarded values back: each becomes an ordinary edit of its row.
    #[command(after_help = "Examples:\n  syncline restore 12\n  syncline restore 12 13")]
    Restore {
        /// The numbers that `syncline discarded` shows.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
    },
    /// Go on with another database or another org, or declare this database a copy.
    ///
    /// The records of a tenant belong to one database and one org. While the connection leads to another database
    /// (a restored backup, a copy for tests, a replica that took over, another address) or the login to another
    /// org, nothing is read or written. This command shows what has changed and lets you decide:
    ///
    /// `adopt` goes on with the database and the org that are connected now. After a move, in a promoted replica or in
    /// a restored backup: every record is read again on both sides, writes that were under way are checked, and
    /// nothing is deleted because the copy is older. With another org the ids and agreements of the old one are
    /// forgotten: records are matched by external id, `seed` decides about fields that differ, and what one side lacks is
    /// created there.
    ///
    /// `adopt --copy` declares this database a copy: it never reads from or writes to Salesforce, and its tables are no
    /// longer captured, until a person runs `adopt` in it. The original is not affected.
    #[command(
        after_help = "Examples:\n  syncline adopt --tenant acme\n  syncline adopt --copy --yes\n  syncline adopt --yes --json"
    )]
    Adopt {
        /// This database is a copy: nothing is done in it.
        #[arg(long)]
        copy: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Stop writing to either side. Changes are still captured, and wait.
    #[command(
        after_help = "Examples:\n  syncline pause --tenant acme --reason 'loading last year'"
    )]
    Pause {
        /// The reason that `status` shows.
        #[arg(long, default_value = "paused by an operator", value_name = "TEXT")]
        reason: String,
    },
    /// Write again after a pause.
    #[command(after_help = "Examples:\n  syncline resume --tenant acme")]
    Resume,
    /// Remove triggers and the schema `syncline`. Tables and records stay as they are.
    #[command(after_help = "Examples:\n  syncline uninstall --yes")]
    Uninstall {
        /// Confirm it: history, conflicts and dead letters are removed.
        #[arg(long)]
        yes: bool,
    },
}

/// What `plan` shows.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Only this object.
    #[arg(long, value_name = "NAME")]
    pub(crate) object: Option<String>,
    /// Write each planned record, with its values, to this file, one a line: the page's batch view reads it. For one
    /// object.
    #[arg(long, value_name = "FILE")]
    pub(crate) records: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "records")]
    pub(crate) force: bool,
}

/// What `generate` writes, and where to.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["objects", "tables"]))]
pub(crate) struct Generate {
    /// The objects: names, or patterns with `*` and `?`; case does not count.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = pattern)]
    pub(crate) objects: Vec<Pattern>,
    /// Existing tables, as `table` or `schema.table`, with patterns; `table=Object` if the names differ.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = table_pattern)]
    pub(crate) tables: Vec<TablePattern>,
    /// The external id field of an object; may be repeated.
    #[arg(long = "external-id", value_name = "OBJECT=FIELD", value_parser = object_and_field)]
    pub(crate) external_ids: Vec<(String, String)>,
    /// How new tables hold picklists: as text, or as text with a check constraint where Salesforce restricts them.
    #[arg(long, default_value = "text")]
    pub(crate) picklists: PicklistForm,
    /// Write the mapping to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub(crate) mapping: Option<PathBuf>,
    /// Write the SQL to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub(crate) sql: Option<PathBuf>,
    /// Replace files that exist.
    #[arg(long)]
    pub(crate) force: bool,
}

/// How new tables hold picklists.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PicklistForm {
    /// As text.
    Text,
    /// As text with a check constraint.
    Check,
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).ok_or_else(|| "a name is missing".to_owned())
}

fn table_pattern(text: &str) -> Result<TablePattern, String> {
    let (table, object) = match text.split_once('=') {
        Some((table, object)) => (table, Some(object.trim().to_owned())),
        None => (text, None),
    };
    if object.as_deref() == Some("") {
        return Err("the name of the object is missing".to_owned());
    }
    Ok(TablePattern {
        pattern: pattern(table)?,
        object,
    })
}

fn object_and_field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((object, field)) if !object.is_empty() && !field.is_empty() => {
            Ok((object.trim().to_owned(), field.trim().to_owned()))
        }
        Some(_) | None => Err("write it as OBJECT=FIELD".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Conflicts {
    /// List open conflicts with the value of each side and the last agreed value.
    #[command(
        after_help = "Examples:\n  syncline conflicts list\n  syncline conflicts list --object Account --limit 20"
    )]
    List(Listing),
    /// Resolve conflicts: the value of the winner is then written as an ordinary edit.
    ///
    /// 17@2 is conflict 17 as it was listed, in version 2: if a side has changed since, nothing happens.
    /// 17 alone is the conflict in its current version.
    #[command(
        after_help = "Examples:\n  syncline conflicts resolve 17@2 --winner postgres\n  syncline conflicts resolve 17 18 19 --winner salesforce"
    )]
    Resolve {
        /// The numbers that `list` shows, with or without the version.
        #[arg(required = true, value_name = "ID[@VERSION]")]
        ids: Vec<ConflictNumber>,
        /// The side whose value is kept.
        #[arg(long)]
        winner: Winner,
    },
}

/// A conflict, in its current version or in the version that was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConflictNumber {
    pub(crate) id: i64,
    pub(crate) version: Option<i64>,
}

impl FromStr for ConflictNumber {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (id, version) = match text.split_once('@') {
            Some((id, version)) => (id, Some(version.parse()?)),
            None => (text, None),
        };
        Ok(Self {
            id: id.parse()?,
            version,
        })
    }
}

impl fmt::Display for ConflictNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.id),
            None => self.id.fmt(f),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Winner {
    /// The value in Postgres.
    Postgres,
    /// The value in Salesforce.
    Salesforce,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deadletters {
    /// List dead letters, with the reason and what to do.
    #[command(
        after_help = "Examples:\n  syncline deadletters list\n  syncline deadletters list --object Contact --json"
    )]
    List(Listing),
    /// Retry dead letters, once their cause is fixed.
    #[command(
        after_help = "Examples:\n  syncline deadletters replay 4\n  syncline deadletters replay --all"
    )]
    Replay {
        /// The numbers that `list` shows.
        #[arg(required_unless_present = "all", value_name = "ID")]
        ids: Vec<i64>,
        /// All of them.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deletes {
    /// Approve the deletes of an object: those that are withheld, and all of the next hour.
    ///
    /// The delete guard withholds all deletes that wait when more than `deletes.max_per_hour` of them (100
    /// unless configured) would be made within an hour, `deletes.max_per_day` (three times as many) or more than
    /// half of the records within a day, for example after a truncate or a mistake in `where`. A record that was
    /// restored meanwhile is not deleted. A field that would be cleared on many records at once is withheld and
    /// approved in the same way.
    #[command(
        after_help = "Examples:\n  syncline deletes approve Account\n  syncline deletes approve Contact --tenant acme\n  syncline deletes approve Account --unreadable"
    )]
    Approve {
        /// The object.
        #[arg(value_name = "OBJECT")]
        object: String,
        /// Instead, treat the records that our user cannot read any more as deleted in Salesforce.
        #[arg(long)]
        unreadable: bool,
    },
}

/// Which entries are listed.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// Only this object.
    #[arg(long, value_name = "NAME")]
    pub(crate) object: Option<String>,
    /// The maximum number of entries of a tenant.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub(crate) limit: u32,
}
