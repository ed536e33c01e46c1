//! What to do about an error of Postgres, by its SQLSTATE, and about an invalid URL.

use std::fmt;

use crate::store::quote;

/// Where and as whom we connect; empty where an error does not need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    /// The address of the URL, such as `env:NAME`; empty if that is not known.
    pub(crate) url_place: String,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_str() {
            "" => f.write_str("the server"),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// Returns what to do about an error with this SQLSTATE, if the code shows that. `message` is Postgres's.
pub(crate) fn fix(code: &str, message: &str, server: &Server) -> Option<String> {
    let Server { user, database, .. } = server;
    let is_control_plane = message.contains("syncline");
    Some(match code {
        "42P01" | "42883" | "3F000" if is_control_plane => "run `syncline migrate`".to_owned(),
        "42703" | "42P01" => {
            "run `syncline migrate` after an update, and `syncline check`, which names missing tables and columns"
                .to_owned()
        }
        "42501" => privilege_fix(message, user),
        "28P01" | "28000" => {
            let place = match server.url_place.as_str() {
                "" => "the URL that `postgres.url` names".to_owned(),
                place => format!("the URL at {place}, which `postgres.url` names"),
            };
            format!(
                "correct the user, which is {user}, and its password in {place} (without a password there, it is taken from \
                 PGPASSWORD or .pgpass), or allow the user in pg_hba.conf"
            )
        }
        "3D000" => format!(
            "create database {database}, or correct its name in the URL that `postgres.url` names"
        ),
        "53300" => "raise max_connections of the server, or lower `postgres.connections_max`".to_owned(),
        "57P03" => "try again: the server is starting or ending".to_owned(),
        "25006" => "let the URL that `postgres.url` names point to the primary server".to_owned(),
        _ => return None,
    })
}

/// Returns the grant that Postgres's message calls for. Other languages get the general advice.
fn privilege_fix(message: &str, user: &str) -> String {
    let role = quote::identifier(user);
    if message.starts_with("must be owner of") {
        return "run this command with the URL of the role that owns it: only `install` and `uninstall` need that"
            .to_owned();
    }
    let denied = message.strip_prefix("permission denied for ");
    let Some((kind, name)) = denied.and_then(|denied| denied.split_once(' ')) else {
        return format!("run `syncline check`: it names the privileges that {user} lacks");
    };
    match kind {
        "database" => format!(
            "run: grant create on database {} to {role}",
            quote::identifier(name)
        ),
        // Everyone may use it since it was migrated, so what is missing is most often the right to create in it.
        "schema" if name == "syncline" => format!(
            "run `migrate` and `install` with the URL of the role that owns the schema; for the jobs, run: {}",
            control_plane_grants(&role)
        ),
        "schema" => format!(
            "run: grant usage on schema {} to {role}",
            quote::identifier(name)
        ),
        "sequence" => format!(
            "run: grant usage on sequence {} to {role}",
            quote::identifier(name)
        ),
        "table" | "view" if name.starts_with("sync_") || name == "record_status" => {
            format!("run: {}", control_plane_grants(&role))
        }
        "function" => format!("run: grant execute on all functions in schema syncline to {role}"),
        _ => format!("run `syncline check`: it names the grant on {kind} {name} that {user} lacks"),
    }
}

/// Returns what a role needs that runs jobs and did not create the schema.
fn control_plane_grants(role: &str) -> String {
    format!(
        "grant usage on schema syncline to {role}; grant select, insert, update, delete on all tables in schema \
         syncline to {role}; grant usage on all sequences in schema syncline to {role}; grant execute on all functions \
         in schema syncline to {role}"
    )
}

/// Fails unless the URL is one of Postgres.
pub(crate) fn check_scheme(url: &str) -> Result<(), String> {
    let form = "it must have the form postgres://user:password@host:5432/database";
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Ok(()),
        Some((scheme, _))
            if scheme.len() < 12 && scheme.chars().all(|one| one.is_ascii_alphabetic()) =>
        {
            Err(format!("it begins with {scheme}://; {form}"))
        }
        Some(_) | None => Err(format!("it does not begin with postgres://; {form}")),
    }
}

/// Returns what is wrong with a URL, without any part of it.
pub(crate) fn url_problem(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Configuration(source) => source.to_string(),
        _ => String::new(),
    };
    // An error that quotes something may quote the password.
    let text = match text.is_empty() || text.contains(['"', '\'', '`']) {
        true => "a part of it is not understood",
        false => text.as_str(),
    };
    format!(
        "{text}; in user and password write @ as %40, # as %23, / as %2F, : as %3A, ? as %3F and % as %25"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            host: "db".to_owned(),
            port: 5432,
            user: "Eng".to_owned(),
            database: "crm".to_owned(),
            url_place: "env:DATABASE_URL".to_owned(),
        }
    }

    #[test]
    fn each_refusal_has_its_own_fix() {
        for (code, message, expected) in [
            (
                "42P01",
                "relation \"syncline.sync_control\" does not exist",
                "run `syncline migrate`",
            ),
            (
                "3F000",
                "schema \"syncline\" does not exist",
                "run `syncline migrate`",
            ),
            (
                "42501",
                "permission denied for database crm",
                "run: grant create on database \"crm\" to \"Eng\"",
            ),
            (
                "42501",
                "permission denied for schema sales",
                "run: grant usage on schema \"sales\" to \"Eng\"",
            ),
            (
                "42501",
                "permission denied for sequence a_id",
                "run: grant usage on sequence \"a_id\" to \"Eng\"",
            ),
            (
                "28P01",
                "password authentication failed for user \"Eng\"",
                "which is Eng, and its password in the URL at env:DATABASE_URL",
            ),
            (
                "3D000",
                "database \"crm\" does not exist",
                "create database crm",
            ),
            (
                "53300",
                "sorry, too many clients already",
                "max_connections",
            ),
            ("25006", "cannot execute", "primary"),
        ] {
            let fix = fix(code, message, &server()).unwrap();
            assert!(fix.contains(expected), "{code}: {fix}");
        }
        let tables = fix("42501", "permission denied for table sync_task", &server()).unwrap();
        assert!(tables.contains("delete on all tables in schema syncline to \"Eng\""));
        let owner = fix("42501", "must be owner of table account", &server()).unwrap();
        assert!(owner.contains("the role that owns it"));
        assert_eq!(fix("23505", "duplicate key", &server()), None);
    }

    #[test]
    fn invalid_url_is_explained_without_its_secret() {
        let problem = |url: &str| match check_scheme(url) {
            Err(problem) => problem,
            Ok(()) => {
                let options: Result<sqlx::postgres::PgConnectOptions, _> = url.parse();
                url_problem(&options.unwrap_err())
            }
        };
        assert!(problem("mysql://u:hush@h/d").contains("it begins with mysql://"));
        assert!(problem("u:hush@h/d").contains("does not begin with postgres://"));
        for url in ["postgres://u:hush#1@h/d", "postgres://u:hush/1@h/d"] {
            let problem = problem(url);
            assert!(problem.contains("# as %23"), "{problem}");
            assert!(!problem.contains("hush"), "{problem}");
        }
    }
}
