//! A server that all test processes of one run share: the test runner starts and ends it.

use std::thread;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime;

/// Holds the URL of the shared server: that of its database `postgres`, as the superuser.
pub(crate) const VARIABLE: &str = "SYNCLINE_TEST_POSTGRES";

/// A running server that outlives this process.
#[derive(Debug)]
pub(crate) struct SharedServer {
    /// What stands before the name of a database in a URL, and after it.
    before: String,
    after: String,
}

impl SharedServer {
    /// Reads the URL of the server.
    pub(crate) fn at(url: &str) -> Self {
        let (address, options) = url.split_once('?').unwrap_or((url, ""));
        let (before, _) = address
            .rsplit_once('/')
            .filter(|(before, _)| before.contains("postgres@"))
            .unwrap_or_else(|| panic!("{VARIABLE} is not postgres://postgres@HOST/postgres"));
        let after = match options {
            "" => String::new(),
            options => format!("?{options}"),
        };
        Self {
            before: before.to_owned(),
            after,
        }
    }

    /// Returns the URL of a database, as the superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.before, self.after)
    }

    /// Returns a guard whose drop drops this database.
    pub(crate) fn drop_on_exit(&self, database: &str) -> DropOnExit {
        DropOnExit {
            admin_url: self.url("postgres"),
            database: database.to_owned(),
        }
    }
}

/// Drops a database when it is dropped: hundreds of them would fill the disk before the run ends.
#[derive(Debug)]
pub(crate) struct DropOnExit {
    admin_url: String,
    database: String,
}

impl Drop for DropOnExit {
    fn drop(&mut self) {
        let admin_url = self.admin_url.clone();
        // Sessions that the test left open end with it.
        let statement = format!("drop database if exists {} with (force)", self.database);
        // A thread of its own: inside the test's runtime nothing may block.
        let dropped = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(sqlx::Error::Io)?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&admin_url).await?;
                sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(&mut admin)
                    .await?;
                admin.close().await
            })
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!(
                "the database {} remains until its server ends: {error}",
                self.database
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_replaces_the_one_of_the_url() {
        for (url, expected) in [
            (
                "postgres://postgres@127.0.0.1:5433/postgres",
                "postgres://postgres@127.0.0.1:5433/mine",
            ),
            (
                "postgres://postgres@localhost:5433/postgres?host=/tmp/pg",
                "postgres://postgres@localhost:5433/mine?host=/tmp/pg",
            ),
        ] {
            assert_eq!(SharedServer::at(url).url("mine"), expected);
        }
    }
}
