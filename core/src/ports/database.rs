//! Which database a tenant's records belong to, and why nothing may be done in another one.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What tells one database from another. It names no user and contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseIdentity {
    /// The cluster's system identifier, which physical copies share; absent if our role may not ask for it.
    pub system_identifier: Option<String>,
    /// The database's oid in its cluster.
    pub database_oid: i64,
    /// Its name.
    pub database_name: String,
    /// Host or socket, port and name of the connection URL.
    pub endpoint: String,
}

impl DatabaseIdentity {
    /// Returns what differs, in words; empty if both are the same database at the same endpoint. A system identifier
    /// that is not known on one side counts as the same.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let systems = self
            .system_identifier
            .as_ref()
            .zip(other.system_identifier.as_ref());
        let mut differences = Vec::new();
        if systems.is_some_and(|(one, other)| one != other) {
            differences.push("system identifier");
        }
        if self.database_oid != other.database_oid {
            differences.push("oid");
        }
        if self.database_name != other.database_name {
            differences.push("name");
        }
        if self.endpoint != other.endpoint {
            differences.push("endpoint");
        }
        differences
    }
}

impl fmt::Display for DatabaseIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = self.system_identifier.as_deref().unwrap_or("unknown");
        write!(
            f,
            "{} (system identifier {system}, oid {}, name {})",
            self.endpoint, self.database_oid, self.database_name
        )
    }
}

/// What is known of the connected database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDatabase {
    /// How it stands to the tenant's.
    pub state: DatabaseState,
    /// Which one it is.
    pub identity: DatabaseIdentity,
    /// Why the fence cannot be used, if it cannot.
    pub fence_problem: Option<String>,
    /// Subscriptions that replicate the outbox of another database into it.
    pub subscriptions: Vec<String>,
}

/// How the connected database stands to the tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DatabaseState {
    /// No job ran yet: the first one makes it the tenant's.
    New,
    /// It is the tenant's.
    Known,
    /// A person declared it a copy: nothing of the tenant is ever done in it.
    Copy {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// Another copy of this database has moved the fence: a person must decide.
    Fenced {
        /// Since when this is known.
        since: DateTime<Utc>,
        /// What the fence says of the other one.
        by: Option<String>,
    },
    /// The fence cannot be reached for too long; it ends by itself.
    FenceUnreachable,
    /// It is another one than the tenant's, or is reached by another endpoint: a person must decide.
    Changed {
        /// The tenant's.
        known: DatabaseIdentity,
        /// The connected one.
        found: DatabaseIdentity,
    },
}

impl DatabaseState {
    /// Returns why nothing of the tenant may be done, in words; `None` if it may.
    pub fn hold(&self) -> Option<String> {
        match self {
            Self::New | Self::Known => None,
            Self::Copy { since } => Some(format!(
                "this database was declared a copy at {}: nothing is read or written. To make it the tenant's database \
                 after all, run `syncline adopt`",
                since.format("%F %T")
            )),
            Self::Fenced { since, by } => Some(format!(
                "another copy of this database is at work: the fence was moved by {}, not by this one (since {}). \
                 Nothing is read or written. If this database goes on instead of the other one, run `syncline adopt`, and \
                 the other one is held; if it is a copy, run `syncline adopt --copy`",
                by.as_deref().unwrap_or("another one"),
                since.format("%F %T")
            )),
            Self::FenceUnreachable => Some(
                "the fence could not be reached for 15 minutes, so whether another copy of this database is at work is \
                 not known. Nothing is read or written until it can be reached: check the address `fence`, and that \
                 it may be read and written"
                    .to_owned(),
            ),
            Self::Changed { known, found } => Some(format!(
                "another database ({}): the records belong to {known}, this one is {found}. Nothing is read or written. \
                 If this database goes on instead (a move, a promoted replica, a restored backup), run `syncline \
                 adopt`; if it is a copy, run `syncline adopt --copy`, and it never writes to Salesforce",
                known.differences(found).join(", ")
            )),
        }
    }

    /// Returns whether a person must decide.
    pub fn needs_decision(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Fenced { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> DatabaseIdentity {
        DatabaseIdentity {
            system_identifier: Some("7".to_owned()),
            database_oid: 1,
            database_name: "app".to_owned(),
            endpoint: "db:5432/app".to_owned(),
        }
    }

    #[test]
    fn unknown_system_identifier_is_no_difference() {
        let hidden = DatabaseIdentity {
            system_identifier: None,
            ..identity()
        };
        assert!(identity().differences(&hidden).is_empty());
        let other = DatabaseIdentity {
            system_identifier: Some("8".to_owned()),
            endpoint: "other:5432/app".to_owned(),
            ..identity()
        };
        assert_eq!(
            identity().differences(&other),
            ["system identifier", "endpoint"]
        );
    }

    #[test]
    fn reason_names_both_databases_and_both_ways_on() {
        let found = DatabaseIdentity {
            database_oid: 2,
            ..identity()
        };
        let changed = DatabaseState::Changed {
            known: identity(),
            found,
        };
        let reason = changed.hold().unwrap_or_default();
        for part in [
            "oid 1",
            "oid 2",
            "`syncline adopt`",
            "`syncline adopt --copy`",
        ] {
            assert!(reason.contains(part), "{reason}");
        }
    }
}
