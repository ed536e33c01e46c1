//! Names this process so that another one on the same machine can tell whether it has ended.
//!
//! A process that is killed cannot release its leases, and its successor would wait until they expire. The name
//! holds what identifies a process on Linux: the boot of the machine, the process-id namespace, the id, and the
//! time it started. On other systems nothing can be proven, so leases expire.

use std::fs;

const PREFIX: &str = "process:";

/// Returns the name of this process; `None` where the system does not identify it.
pub fn name() -> Option<String> {
    let id = std::process::id();
    Some(format!("{PREFIX}{}:{id}:{}", machine()?, started(id)?))
}

/// Returns whether the process of this name ran on this machine and has ended. `owner` may go on after the name
/// with `/`.
pub fn has_ended(owner: &str) -> bool {
    ended(owner).unwrap_or(false)
}

fn ended(owner: &str) -> Option<bool> {
    let name = owner.strip_prefix(PREFIX)?.split('/').next()?;
    let (rest, its_start) = name.rsplit_once(':')?;
    let (its_machine, id) = rest.rsplit_once(':')?;
    // Where other users' processes are hidden, absence proves nothing.
    if its_machine != machine()? || started(1).is_none() {
        return None;
    }
    Some(started(id.parse().ok()?).as_deref() != Some(its_start))
}

/// Returns this boot of the machine and our namespace of process ids.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let namespace = namespace.to_str()?.trim_start_matches("pid:");
    Some(format!("{}:{namespace}", boot.trim()))
}

/// Returns when a process started, in ticks since the boot; `None` if there is no such process (proc(5): the
/// 22nd field of `stat`, after a name in parentheses that may contain anything).
fn started(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_an_ended_process_of_this_machine_has_ended() {
        let mine = name().expect("Linux identifies processes");
        assert!(!has_ended(&mine));
        assert!(!has_ended(&format!("{mine}/worker")));
        let sleeper = Command::new("cat").stdin(Stdio::piped()).spawn();
        let mut sleeper = sleeper.expect("a process");
        let start = started(sleeper.id()).expect("it runs");
        let machine = machine().expect("a machine");
        let theirs = format!("{PREFIX}{machine}:{}:{start}/x", sleeper.id());
        assert!(!has_ended(&theirs), "{theirs}");
        sleeper.kill().expect("it is killed");
        sleeper.wait().expect("it is reaped");
        assert!(has_ended(&theirs), "{theirs}");
        let elsewhere = theirs.replace(&machine, "another-machine:[1]");
        for unknown in [elsewhere.as_str(), "worker-1/2", "process:x", ""] {
            assert!(!has_ended(unknown), "{unknown}");
        }
    }

    #[test]
    fn another_process_with_the_same_id_is_another() {
        let mine = name().expect("Linux identifies processes");
        let (rest, start) = mine.rsplit_once(':').expect("a start");
        let start: u64 = start.parse().expect("a number");
        assert!(has_ended(&format!("{rest}:{}", start - 1)));
    }
}
