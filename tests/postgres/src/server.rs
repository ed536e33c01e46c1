//! A server of this process alone: where its binaries are, how it starts and ends.
//!
//! The binaries are those of `SYNCLINE_PG_BIN`, else the newest under `/usr/lib/postgresql`, else
//! those on the path. The first process initializes a data directory; every later one copies it, which
//! takes a tenth of the time. A server listens on a socket of its own and on no port. It ends when the
//! test process ends, however that happens: a watcher waits for the end of a pipe that only the test
//! process holds.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

/// Where Debian and its kin put server binaries, one folder per major version.
const INSTALLED: &str = "/usr/lib/postgresql";

/// A file system in memory, where Linux has one.
const MEMORY: &str = "/dev/shm";

/// 2 GB, as several test processes may each have a server.
const MEMORY_KB_MIN: u64 = 2 * 1024 * 1024;

/// Runs the server until the pipe on its input ends, then stops it and removes its folder.
const WATCHER: &str = r#"
folder=$1
shift
"$@" &
server=$!
read -r _
kill -INT $server
wait $server
rm -rf "$folder"
"#;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    /// Holds the watcher's input, which is closed when this process ends.
    _watcher: Child,
}

impl Server {
    /// Starts a server on a copy of the initialized data directory.
    pub(crate) fn start() -> Self {
        let binaries = binaries();
        let template = template(&binaries);
        let folder = own_folder(&fast_folder());
        let copied = as_server_user("cp")
            .args(["-a", "--reflink=auto"])
            .arg(&template)
            .arg(folder.join("data"))
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "copying {} failed",
            template.display()
        );
        let mut watcher = launch(&binaries, &folder);
        let log = watcher.stderr.take().expect("the error output is piped");
        wait_until_ready(log);
        Self {
            folder,
            _watcher: watcher,
        }
    }

    /// Starts a server on a physical copy of this one: same system identifier, same databases.
    pub(crate) fn copied(&self) -> Self {
        let binaries = binaries();
        let folder = own_folder(&fast_folder());
        let copied = as_server_user(binaries.join("pg_basebackup"))
            .arg("-D")
            .arg(folder.join("data"))
            .arg("-h")
            .arg(&self.folder)
            .args(["-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync"])
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "the base backup failed"
        );
        let mut watcher = launch(&binaries, &folder);
        let log = watcher.stderr.take().expect("the error output is piped");
        wait_until_ready(log);
        Self {
            folder,
            _watcher: watcher,
        }
    }

    /// Returns the folder of its socket.
    pub(crate) fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the URL of a database of this server, as the superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.folder.display()
        )
    }
}

fn launch(binaries: &Path, folder: &Path) -> Child {
    as_server_user("sh")
        .args(["-c", WATCHER, "watcher"])
        .arg(folder)
        .arg(binaries.join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .arg("-k")
        .arg(folder)
        // Nothing of a test outlives its server, so nothing need reach the disk.
        .args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "shared_buffers=32MB",
            "-c",
            "max_connections=100",
            "-c",
            "autovacuum=off",
            // Any database may be the origin of a replica.
            "-c",
            "wal_level=logical",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A signal to this process's group must not end the watcher before it has cleaned up.
        .process_group(0)
        .spawn()
        .expect("a shell can be started")
}

/// Reads the server's log until it is ready; then goes on reading in the background, so that the
/// server never waits for a reader.
fn wait_until_ready(log: ChildStderr) {
    let mut lines = BufReader::new(log).lines();
    let mut seen = Vec::new();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| {
        let ready = line.contains("ready to accept connections");
        seen.push(line);
        ready
    });
    assert!(ready, "Postgres did not start:\n{}", seen.join("\n"));
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
}

/// Finds the server binaries.
fn binaries() -> PathBuf {
    if let Some(given) = std::env::var_os("SYNCLINE_PG_BIN") {
        return PathBuf::from(given);
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(INSTALLED)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let binaries = entry.path().join("bin");
            binaries
                .join("postgres")
                .exists()
                .then_some((version, binaries))
        })
        .collect();
    versions.sort();
    if let Some((_, newest)) = versions.pop() {
        return newest;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("postgres").exists() && folder.join("initdb").exists())
        .expect("no Postgres server found: install one, or name its folder in SYNCLINE_PG_BIN")
}

/// Returns an initialized data directory; the first process that needs it makes it.
fn template(binaries: &Path) -> PathBuf {
    let version = Command::new(binaries.join("postgres"))
        .arg("--version")
        .output()
        .expect("the server prints its version");
    let version: String = String::from_utf8_lossy(&version.stdout)
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let user = if is_root() { "postgres" } else { "own" };
    let template =
        std::env::temp_dir().join(format!("throwaway-postgres-{version}-{user}-{}", uid()));
    if template.exists() {
        return template;
    }
    let folder = own_folder(&std::env::temp_dir());
    let fresh = folder.join("template");
    let made = as_server_user(binaries.join("initdb"))
        .arg("-D")
        .arg(&fresh)
        .args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ])
        .stdout(Stdio::null())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "initdb failed");
    // Renaming is all or nothing: of two processes that made one, the second keeps the first one's.
    let _ = fs::rename(&fresh, &template);
    let _ = fs::remove_dir_all(&folder);
    template
}

/// Returns where a server's files are fastest: in memory, if there is room for them.
fn fast_folder() -> PathBuf {
    let free_kb = Command::new("df")
        .args(["-Pk", MEMORY])
        .stderr(Stdio::null())
        .output()
        .ok()
        .and_then(|table| {
            let table = String::from_utf8(table.stdout).ok()?;
            let free = table.lines().nth(1)?.split_whitespace().nth(3)?;
            free.parse::<u64>().ok()
        });
    let roomy = free_kb.is_some_and(|free| free >= MEMORY_KB_MIN);
    let writable = || tempfile::tempdir_in(MEMORY).is_ok();
    if roomy && writable() {
        PathBuf::from(MEMORY)
    } else {
        std::env::temp_dir()
    }
}

/// Makes a folder that the server's user owns. Its path is short: a socket's name has 107 bytes.
fn own_folder(parent: &Path) -> PathBuf {
    let folder = tempfile::Builder::new()
        .prefix("pg-")
        .tempdir_in(parent)
        .expect("the temporary folder is writable")
        .keep();
    if is_root() {
        let owned = Command::new("chown").arg("postgres:").arg(&folder).status();
        assert!(
            owned.is_ok_and(|status| status.success()),
            "no user postgres to run the server as"
        );
    }
    folder
}

/// Postgres refuses to run as root: there it runs as the user that its package made.
fn as_server_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program)
        .current_dir("/");
    command
}

fn is_root() -> bool {
    uid() == 0
}

/// Returns the user this process writes files as.
fn uid() -> u32 {
    tempfile::tempdir()
        .and_then(|own| fs::metadata(own.path()))
        .map_or(u32::MAX, |own| own.uid())
}
