//! Gates: where a process of the simulation stands still until it is told what happens to its next call.
//!
//! Every call to Salesforce and every statement to Postgres waits at a gate of its process. So the schedule decides
//! which process takes the next step, and what becomes of the call: it passes, it never arrives, or its answer is lost.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is made and answered.
    Pass,
    /// The connection ends before the call arrives.
    LoseCall,
    /// The call is made, and the connection ends before its answer arrives.
    LoseAnswer,
}

/// The gates of one process.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    state: Mutex<State>,
    /// Something has changed.
    changed: Notify,
    /// Held while a connection is opened.
    opening: AsyncMutex<()>,
    /// The process has ended.
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// Calls pass without waiting.
    is_open: bool,
    waiting: Vec<Waiting>,
    /// Calls that passed and have no answer yet.
    in_flight: usize,
    /// Server processes of connections.
    connections: BTreeSet<i32>,
    /// Server processes of connections that were cut.
    cut: Vec<i32>,
}

#[derive(Debug)]
struct Waiting {
    label: String,
    release: oneshot::Sender<Fate>,
}

impl Gates {
    /// Lets every call pass, now and later, or stops the later ones.
    pub(crate) fn set_open(&self, is_open: bool) {
        let mut state = self.state();
        state.is_open = is_open;
        if is_open {
            for waiting in state.waiting.drain(..) {
                // A call that was given up needs no answer.
                let _ = waiting.release.send(Fate::Pass);
            }
        }
    }

    /// Waits until the schedule decides what becomes of this call.
    pub(crate) async fn pass(&self, label: impl FnOnce() -> String) -> Fate {
        let released = {
            let mut state = self.state();
            if state.is_open {
                return Fate::Pass;
            }
            let (release, released) = oneshot::channel();
            state.waiting.push(Waiting {
                label: label(),
                release,
            });
            released
        };
        self.changed.notify_one();
        released.await.unwrap_or(Fate::LoseCall)
    }

    /// Decides what becomes of one of the waiting calls. Returns which it was.
    pub(crate) fn release(&self, pick: u64, fate: Fate) -> Option<String> {
        let mut state = self.state();
        state.forget_given_up();
        let count = u64::try_from(state.waiting.len())
            .ok()
            .filter(|count| *count > 0)?;
        let place = usize::try_from(pick % count).ok()?;
        let waiting = state.waiting.remove(place);
        let _ = waiting.release.send(fate);
        Some(waiting.label)
    }

    /// Returns how many calls wait.
    pub(crate) fn waiting(&self) -> usize {
        let mut state = self.state();
        state.forget_given_up();
        state.waiting.len()
    }

    /// Returns true while a call has passed and is not answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.state().in_flight > 0
    }

    /// Waits until the connections that were asked for before are open: of two that open at once, the machine would
    /// decide which is first.
    pub(crate) async fn open_in_turn(&self) -> AsyncMutexGuard<'_, ()> {
        self.opening.lock().await
    }

    /// Counts a call as in flight until the guard is dropped.
    pub(crate) fn fly(&self) -> InFlight<'_> {
        self.state().in_flight += 1;
        InFlight(self)
    }

    /// Notes the server process of a new connection.
    pub(crate) fn note_connection(&self, server_process: i32) {
        self.state().connections.insert(server_process);
    }

    /// Returns the server processes of the connections that there are.
    pub(crate) fn connections(&self) -> Vec<i32> {
        self.state().connections.iter().copied().collect()
    }

    /// Notes the server process of a connection that was cut.
    pub(crate) fn note_cut(&self, server_process: i32) {
        let mut state = self.state();
        state.connections.remove(&server_process);
        state.cut.push(server_process);
        self.changed.notify_one();
    }

    /// Returns the server processes of connections that were cut since the last call.
    pub(crate) fn take_cut(&self) -> Vec<i32> {
        std::mem::take(&mut self.state().cut)
    }

    /// Ends the process: its connections are cut.
    pub(crate) fn kill(&self) {
        self.end.cancel();
    }

    /// Waits until the process has ended.
    pub(crate) async fn killed(&self) {
        self.end.cancelled().await;
    }

    /// Waits for a change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A job that was dropped gives its calls up. Those of a connection are still made: they were sent.
    fn forget_given_up(&mut self) {
        self.waiting.retain(|waiting| !waiting.release.is_closed());
    }
}

/// One call in flight.
pub(crate) struct InFlight<'a>(&'a Gates);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
        self.0.changed.notify_one();
    }
}
