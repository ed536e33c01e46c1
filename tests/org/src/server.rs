//! The org behind sockets: one HTTP port, one gRPC port, one lock around the model.

mod connection;
mod http;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Org;
use crate::pubsub;

/// Where and how to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address of the REST server; port 0 takes any free port.
    pub http: SocketAddr,
    /// Address of the Pub/Sub server; port 0 takes any free port.
    pub grpc: SocketAddr,
    /// After how long a quiet subscription is told the newest position.
    pub keep_alive: Duration,
    /// How long every REST answer is held back.
    pub latency: Duration,
}

impl Default for Options {
    /// Any free ports of the loopback interface, Salesforce's keep-alive of 270 s, no latency.
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            http: any,
            grpc: any,
            keep_alive: Duration::from_secs(270),
            latency: Duration::ZERO,
        }
    }
}

/// An org that several tasks share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    org: Arc<Mutex<Org>>,
    /// The newest replay number; changes wake the subscriptions.
    head: watch::Sender<u64>,
}

impl Shared {
    /// Locks the org with its clock set to now. The lock is never held over an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Org> {
        // A panic in one request leaves the others a model that is still whole enough to test with.
        let mut org = self.org.lock().unwrap_or_else(PoisonError::into_inner);
        org.set_wall_ms(wall_ms());
        org
    }

    /// Wakes the subscriptions if the log grew.
    pub(crate) fn announce(&self, head: u64) {
        self.head
            .send_if_modified(|known| std::mem::replace(known, head) != head);
    }

    /// Returns a watch on the newest replay number.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A running org. Dropping it stops the servers.
#[derive(Debug)]
pub struct Running {
    http: SocketAddr,
    grpc: SocketAddr,
    shared: Shared,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Returns the address of the REST server, such as `http://127.0.0.1:8180`.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Returns the address of the Pub/Sub server, such as `http://127.0.0.1:8181`.
    #[must_use]
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Does something with the org itself, between requests; subscriptions learn of new events.
    pub fn with_org<T>(&self, act: impl FnOnce(&mut Org) -> T) -> T {
        let (done, head) = {
            let mut org = self.shared.lock();
            (act(&mut org), org.model.log.head())
        };
        self.shared.announce(head);
        done
    }

    /// Stops both servers at once, connections included.
    pub async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // An aborted task ends with a cancellation, which is what was asked for.
            let _ = task.await;
        }
    }

    /// Waits until a server ends by itself.
    pub async fn wait(mut self) {
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Serves an org.
///
/// # Errors
/// When an address cannot be bound.
pub async fn start(mut org: Org, options: &Options) -> std::io::Result<Running> {
    let http_listener = TcpListener::bind(options.http).await?;
    let grpc_listener = TcpListener::bind(options.grpc).await?;
    let (http, grpc) = (http_listener.local_addr()?, grpc_listener.local_addr()?);
    org.set_base_url(&format!("http://{http}"));
    org.start_clock(wall_ms());
    org.latency_ms = u64::try_from(options.latency.as_millis()).unwrap_or(u64::MAX);
    let head = watch::Sender::new(org.model.log.head());
    let shared = Shared {
        org: Arc::new(Mutex::new(org)),
        head,
    };
    let tasks = vec![
        spawn(http::serve(http_listener, shared.clone())),
        spawn(pubsub::rpc::serve(
            grpc_listener,
            shared.clone(),
            options.keep_alive,
        )),
    ];
    Ok(Running {
        http,
        grpc,
        shared,
        tasks,
    })
}

fn spawn(server: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(server)
}
