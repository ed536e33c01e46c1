//! A client's program as a child process that cannot outstay its time.

use std::io::{Read as _, Seek as _};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// How long a scenario may take. The slowest needs a few seconds on an idle machine; the rest is
/// for a busy one. It ends a client that waits for an answer that never comes.
const TIME_MAX: Duration = Duration::from_secs(240);

/// How a scenario ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if its time was up.
    pub(crate) status: Option<ExitStatus>,
    /// What it said, in the order in which it said it.
    pub(crate) said: String,
}

/// Runs a command to its end or to the end of its time, with all its children.
///
/// # Errors
///
/// When it cannot be started or its output cannot be read.
pub(crate) async fn run(mut command: Command) -> std::io::Result<Ended> {
    // A file, not a pipe: what was said before the end is there even if the end was a kill.
    let mut output = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id();
    let status = match tokio::time::timeout(TIME_MAX, child.wait()).await {
        Ok(status) => Some(status?),
        Err(_elapsed) => {
            end_group(group).await;
            child.wait().await?;
            None
        }
    };
    let mut bytes = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut bytes)?;
    Ok(Ended {
        status,
        said: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// Ends a process and what it started: some clients are programs that a scenario calls.
async fn end_group(leader: Option<u32>) {
    let Some(leader) = leader else { return };
    let group = format!("-{leader}");
    // If it has just ended by itself there is nobody left to end.
    let _ = Command::new("kill")
        .args(["-KILL", "--", &group])
        .status()
        .await;
}
