//! One running subscription, plain or managed: receives grants, sends events and keep-alives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use super::proto::{
    CommitReplayRequest, CommitReplayResponse, ConsumerEvent, Error, ErrorCode, FetchRequest,
    FetchResponse, ManagedFetchRequest, ManagedFetchResponse, ProducerEvent, ReplayPreset,
};
use super::refusal::{
    BAD_REFRESH, BAD_REQUEST_COUNT, DELIVERIES_SPENT, EMPTY_TOPIC, IDLE, MANAGED_COMMIT_FIRST,
    MANAGED_COUNT, MANAGED_REQUEST, NO_REQUEST, REPLAY_REPEATED, Refusal, TOPIC_MISMATCH,
};
use super::rpc::Caller;
use crate::Org;
use crate::faults::Delivered;
use crate::model::delivery::{Cursor, Reading, Topic};
use crate::model::id::RecordId;
use crate::model::log::{ChangeEvent, Position, StreamError, replay_bytes};
use crate::model::permission::Permissions;
use crate::server::Shared;
use crate::unconfirmed::{IDLE_SUBSCRIPTION_MS, REPEATED_REPLAY_ID_IS_REFUSED};

/// Maximum number of requested events that are still to be delivered.
const PENDING_MAX: usize = 100;

/// A client request, the same for both rpcs.
#[derive(Clone, Debug)]
pub(super) struct StreamRequest {
    kind: Kind,
    num_requested: i32,
    auth_refresh: String,
}

#[derive(Clone, Debug)]
enum Kind {
    Fetch {
        topic_name: String,
        preset: ReplayPreset,
        replay_id: Vec<u8>,
    },
    Managed {
        id: String,
        developer_name: String,
        commit: Option<CommitReplayRequest>,
    },
}

/// A reply to the client, the same for both rpcs.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    events: Vec<ConsumerEvent>,
    latest_replay_id: Vec<u8>,
    pending: i32,
    commit: Option<CommitReplayResponse>,
}

impl From<FetchRequest> for StreamRequest {
    fn from(request: FetchRequest) -> Self {
        Self {
            num_requested: request.num_requested,
            kind: Kind::Fetch {
                preset: request.replay_preset(),
                topic_name: request.topic_name,
                replay_id: request.replay_id,
            },
            auth_refresh: request.auth_refresh,
        }
    }
}

impl From<ManagedFetchRequest> for StreamRequest {
    fn from(request: ManagedFetchRequest) -> Self {
        Self {
            num_requested: request.num_requested,
            kind: Kind::Managed {
                id: request.subscription_id,
                developer_name: request.developer_name,
                commit: request.commit_replay_id_request,
            },
            auth_refresh: request.auth_refresh,
        }
    }
}

impl Reply {
    /// Returns the reply of `Subscribe`.
    pub(super) fn fetch(self, rpc_id: Uuid) -> FetchResponse {
        FetchResponse {
            events: self.events,
            latest_replay_id: self.latest_replay_id,
            rpc_id: rpc_id.to_string(),
            pending_num_requested: self.pending,
        }
    }

    /// Returns the reply of `ManagedSubscribe`.
    pub(super) fn managed(self, rpc_id: Uuid) -> ManagedFetchResponse {
        ManagedFetchResponse {
            events: self.events,
            latest_replay_id: self.latest_replay_id,
            rpc_id: rpc_id.to_string(),
            pending_num_requested: self.pending,
            commit_response: self.commit,
        }
    }
}

/// When a quiet subscription receives the newest position.
#[derive(Clone, Debug)]
pub(crate) enum KeepAlive {
    /// After so long.
    After(Duration),
    /// Whenever this number changes.
    WhenTold(watch::Receiver<u64>),
}

impl KeepAlive {
    /// Returns the same for a subscription that begins: what was told before does not concern it.
    pub(super) fn of_a_new_subscription(&self) -> Self {
        let mut own = self.clone();
        if let Self::WhenTold(told) = &mut own {
            told.mark_unchanged();
        }
        own
    }

    /// Waits until a subscription that has been quiet since then is to receive the newest position.
    async fn is_due(&mut self, quiet_since: Instant) {
        match self {
            Self::After(quiet) => tokio::time::sleep_until(quiet_since + *quiet).await,
            Self::WhenTold(told) => {
                if told.changed().await.is_err() {
                    // Whoever could tell is gone.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// A subscription and the connection to its subscriber.
pub(super) struct Subscription {
    pub(super) rpc: &'static str,
    pub(super) shared: Shared,
    pub(super) head: watch::Receiver<u64>,
    pub(super) caller: Caller,
    pub(super) permissions: Arc<Permissions>,
    pub(super) keep_alive: KeepAlive,
    pub(super) replies: mpsc::Sender<Result<Reply, Status>>,
    /// Keeps the subscription counted as open while it exists.
    pub(super) _place: Arc<()>,
}

/// The progress of a running subscription.
struct Progress {
    topic: Topic,
    topic_name: String,
    cursor: Cursor,
    pending: usize,
    /// Kept while the stream runs.
    managed: Option<ManagedGuard>,
}

/// Disconnects the client of a managed subscription when dropped.
struct ManagedGuard {
    shared: Shared,
    id: RecordId,
}

impl Drop for ManagedGuard {
    fn drop(&mut self) {
        self.shared.lock().close_managed(self.id);
    }
}

/// What to do after a request.
enum Next {
    GoOn,
    End(Option<Status>),
}

impl Subscription {
    pub(super) async fn run(
        mut self,
        mut requests: impl Stream<Item = Result<StreamRequest, Status>> + Send + Unpin,
    ) {
        let end = match requests.next().await {
            Some(Ok(first)) => match self.start(&first) {
                Ok(progress) => self.deliver(progress, &mut requests).await,
                Err(refusal) => Some(refusal.status(self.caller.rpc_id)),
            },
            None => Some(NO_REQUEST.status(self.caller.rpc_id)),
            Some(Err(_)) => None,
        };
        if let Some(status) = end {
            // The subscriber may be gone already, so a send error is ignored.
            let _ = self.replies.send(Err(status)).await;
        }
    }

    /// Handles the first request.
    fn start(&self, first: &StreamRequest) -> Result<Progress, Refusal> {
        let mut org = self.shared.lock();
        check_refresh(&mut org, first)?;
        match &first.kind {
            Kind::Fetch {
                topic_name,
                preset,
                replay_id,
            } => {
                if topic_name.is_empty() {
                    return Err(EMPTY_TOPIC);
                }
                let topic = org.topic_for(self.caller.user, topic_name)?;
                let position = match preset {
                    ReplayPreset::Latest => Position::Latest,
                    ReplayPreset::Earliest => Position::Earliest,
                    ReplayPreset::Custom => Position::After(replay_id.clone()),
                };
                let now_ms = org.now_ms();
                let stored = matches!(position, Position::After(_));
                if stored && org.faults.fire_subscription(topic_name, now_ms) {
                    return Err(StreamError::ReplayIdCorrupted.into());
                }
                let after = org.model.log.resolve(&position)?;
                Ok(Progress {
                    topic,
                    topic_name: topic_name.clone(),
                    cursor: Cursor::after(after),
                    pending: granted(0, first).ok_or(BAD_REQUEST_COUNT)?,
                    managed: None,
                })
            }
            Kind::Managed {
                id,
                developer_name,
                commit,
            } => {
                if commit.is_some() {
                    return Err(MANAGED_COMMIT_FIRST);
                }
                let pending = granted(0, first).ok_or(MANAGED_COUNT)?;
                let (id, topic, cursor) = org.open_managed(self.caller.user, id, developer_name)?;
                let name = org.managed_mut(id).map(|managed| managed.topic.clone());
                Ok(Progress {
                    topic,
                    topic_name: name.unwrap_or_default(),
                    cursor,
                    pending,
                    managed: Some(ManagedGuard {
                        shared: self.shared.clone(),
                        id,
                    }),
                })
            }
        }
    }

    /// Delivers requested events until either side ends, and returns the final status.
    async fn deliver(
        &mut self,
        mut progress: Progress,
        requests: &mut (impl Stream<Item = Result<StreamRequest, Status>> + Send + Unpin),
    ) -> Option<Status> {
        let mut quiet_since = Instant::now();
        let mut open = true;
        loop {
            self.head.borrow_and_update();
            if progress.pending > 0 {
                match self.send_events(&mut progress).await {
                    Ok(true) => {
                        quiet_since = Instant::now();
                        continue;
                    }
                    Ok(false) => {}
                    Err(end) => return end,
                }
            }
            let idle_at = quiet_since + Duration::from_millis(IDLE_SUBSCRIPTION_MS);
            // In this order: what has happened is told before that nothing has.
            tokio::select! { biased;
                request = requests.next(), if open => match request {
                    Some(Ok(request)) => {
                        let had_nothing = progress.pending == 0;
                        if let Next::End(status) = self.handle(&mut progress, request).await {
                            return status;
                        }
                        if had_nothing {
                            quiet_since = Instant::now();
                        }
                    }
                    None if progress.pending == 0 => return None,
                    None => open = false,
                    Some(Err(_)) => return None,
                },
                changed = self.head.changed(), if progress.pending > 0 => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(idle_at), if progress.pending == 0 => {
                    return Some(IDLE.status(self.caller.rpc_id));
                }
                () = self.keep_alive.is_due(quiet_since), if progress.pending > 0 => {
                    quiet_since = Instant::now();
                    if self.send_keep_alive(&mut progress).await.is_err() {
                        return None;
                    }
                }
                () = self.replies.closed() => return None,
            }
        }
    }

    /// Handles a later request: a grant, a commit, or both.
    async fn handle(&self, progress: &mut Progress, request: StreamRequest) -> Next {
        let refused = |refusal: Refusal| Next::End(Some(refusal.status(self.caller.rpc_id)));
        if let Err(refusal) = check_refresh(&mut self.shared.lock(), &request) {
            return refused(refusal);
        }
        match &request.kind {
            Kind::Fetch {
                topic_name,
                replay_id,
                ..
            } => {
                if !topic_name.is_empty() && *topic_name != progress.topic_name {
                    return refused(TOPIC_MISMATCH);
                }
                if REPEATED_REPLAY_ID_IS_REFUSED && !replay_id.is_empty() {
                    return refused(REPLAY_REPEATED);
                }
                match granted(progress.pending, &request) {
                    Some(pending) => progress.pending = pending,
                    None => return refused(BAD_REQUEST_COUNT),
                }
                Next::GoOn
            }
            Kind::Managed { commit, .. } => {
                if request.num_requested != 0 {
                    match granted(progress.pending, &request) {
                        Some(pending) => progress.pending = pending,
                        None => return refused(MANAGED_COUNT),
                    }
                } else if commit.is_none() {
                    return refused(MANAGED_REQUEST);
                }
                let Some(commit) = commit else {
                    return Next::GoOn;
                };
                let outcome = self.commit(progress, commit);
                match self.reply(Vec::new(), progress, Some(outcome)).await {
                    Ok(()) => Next::GoOn,
                    Err(()) => Next::End(None),
                }
            }
        }
    }

    fn commit(&self, progress: &Progress, request: &CommitReplayRequest) -> CommitReplayResponse {
        let mut org = self.shared.lock();
        let failed = progress
            .managed
            .as_ref()
            .and_then(|managed| org.commit_managed(managed.id, &request.replay_id).err());
        CommitReplayResponse {
            commit_request_id: request.commit_request_id.clone(),
            replay_id: request.replay_id.clone(),
            error: failed.map(|error| Error {
                code: ErrorCode::Commit.into(),
                msg: Refusal::from(error).message().to_owned(),
            }),
            process_time: org.now_ms(),
        }
    }

    /// Sends one response with events. `Ok(false)` means that there are none; `Err` ends the
    /// stream.
    async fn send_events(&mut self, progress: &mut Progress) -> Result<bool, Option<Status>> {
        let shared = self.shared.clone();
        let taken = self.take_events(&mut shared.lock(), progress);
        let taken = taken.map_err(|refusal| Some(refusal.status(self.caller.rpc_id)))?;
        let Some((due, delivered)) = taken else {
            return Ok(false);
        };
        let Delivered::Events(events) = delivered else {
            return Err(Some(Status::unavailable("Received RST_STREAM with code 0")));
        };
        progress.pending -= due;
        let events = events.into_iter().map(consumer_event).collect();
        let sent = self.reply(events, progress, None).await;
        sent.map(|()| true).map_err(|()| None)
    }

    /// Reads the requested events from the log, within the daily limit and with faults applied.
    /// Returns `None` if there are none.
    fn take_events(
        &mut self,
        org: &mut Org,
        progress: &mut Progress,
    ) -> Result<Option<(usize, Delivered)>, Refusal> {
        if let Some(managed) = &progress.managed
            && let Some(refusal) = org
                .managed_mut(managed.id)
                .and_then(|managed| managed.refusal())
        {
            return Err(refusal);
        }
        let now_ms = org.now_ms();
        self.permissions = org.model.permissions_of(self.caller.user);
        let left = usize::try_from(org.bus.deliveries.left(now_ms)).unwrap_or(usize::MAX);
        let reading = Reading {
            topic: progress.topic,
            permissions: &self.permissions,
            // Without remaining deliveries, one event is still read to detect that the limit blocks
            // it.
            events_max: progress.pending.min(left.max(1)),
        };
        let (events, cursor) = org.model.read(&reading, progress.cursor);
        if events.is_empty() {
            progress.cursor = cursor;
            return Ok(None);
        }
        if left == 0 {
            return Err(DELIVERIES_SPENT);
        }
        if let Some(refusal) = org.bus.take_refusal(self.rpc, true) {
            return Err(refusal);
        }
        let due = events.len();
        let delivered = org.with_event_faults(&progress.topic_name, events);
        if matches!(delivered, Delivered::Events(_)) {
            progress.cursor = cursor;
            org.stats.events_delivered += due as u64;
            org.bus.deliveries.count(now_ms, due);
        }
        Ok(Some((due, delivered)))
    }

    /// Sends the newest position to a subscriber without new events.
    async fn send_keep_alive(&mut self, progress: &mut Progress) -> Result<(), ()> {
        {
            // Taking the lock advances the clock of the log, and with it the position to store.
            let org = self.shared.lock();
            let reading = Reading {
                topic: progress.topic,
                permissions: &self.permissions,
                events_max: progress.pending,
            };
            let (events, cursor) = org.model.read(&reading, progress.cursor);
            if !events.is_empty() {
                return Ok(());
            }
            progress.cursor = cursor;
        }
        self.reply(Vec::new(), progress, None).await
    }

    async fn reply(
        &self,
        events: Vec<ConsumerEvent>,
        progress: &Progress,
        commit: Option<CommitReplayResponse>,
    ) -> Result<(), ()> {
        let reply = Reply {
            events,
            latest_replay_id: replay_bytes(progress.cursor.after),
            pending: i32::try_from(progress.pending).unwrap_or(i32::MAX),
            commit,
        };
        self.replies.send(Ok(reply)).await.map_err(|_| ())
    }
}

/// A new token in a stream must be valid.
fn check_refresh(org: &mut Org, request: &StreamRequest) -> Result<(), Refusal> {
    if request.auth_refresh.is_empty() || org.user_of_token(&request.auth_refresh).is_some() {
        Ok(())
    } else {
        Err(BAD_REFRESH)
    }
}

/// Adds a grant to the requested events, up to the maximum.
fn granted(pending: usize, request: &StreamRequest) -> Option<usize> {
    match usize::try_from(request.num_requested) {
        Ok(0) | Err(_) => None,
        Ok(more) => Some(PENDING_MAX.min(pending + more)),
    }
}

fn consumer_event(event: ChangeEvent) -> ConsumerEvent {
    ConsumerEvent {
        event: Some(ProducerEvent {
            id: event.id.to_string(),
            schema_id: event.schema_id,
            payload: event.payload,
            headers: Vec::new(),
        }),
        replay_id: event.replay_id,
    }
}
