//! Runs a client's program as a child process with a time limit.

use std::io::{Read as _, Seek as _};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Maximum duration of a scenario. The slowest needs a few seconds on an idle machine; the rest is
/// reserve for a busy one. It ends a client that waits for an answer that never comes.
const TIME_MAX: Duration = Duration::from_secs(240);

/// The result of a scenario.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if the time limit was reached.
    pub(crate) status: Option<ExitStatus>,
    /// Its output, in order.
    pub(crate) output: String,
}

/// Runs a command and all its children to the end, or to the time limit.
///
/// # Errors
///
/// Fails if it cannot be started or its output cannot be read.
pub(crate) async fn run(mut command: Command) -> std::io::Result<Ended> {
    // A file, not a pipe, so that earlier output is kept even after a kill.
    let mut file = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file.try_clone()?)
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
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(Ended {
        status,
        output: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// Kills a process group, because some clients start further programs.
async fn end_group(leader: Option<u32>) {
    let Some(leader) = leader else { return };
    let group = format!("-{leader}");
    // The group may have ended already, so an error is ignored.
    let _ = Command::new("kill")
        .args(["-KILL", "--", &group])
        .status()
        .await;
}
