//! Serves the org on sockets: one HTTP port, one gRPC port, one lock around the model.
//!
//! Both ports accept plaintext and TLS. The first byte of a connection decides.

mod certificate;
mod connection;
mod http;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::Org;
use crate::pubsub;
use crate::relay;
use certificate::Certificate;
pub(crate) use connection::Connections;
pub(crate) use http::answer;

/// Addresses and timing of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address of the REST server; port 0 takes any free port.
    pub http: SocketAddr,
    /// Address of the Pub/Sub server; port 0 takes any free port.
    pub grpc: SocketAddr,
    /// After this time a quiet subscription receives the newest position.
    pub keep_alive: Duration,
    /// Delay of every REST answer.
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

/// An org shared by several tasks.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    org: Arc<Mutex<Org>>,
    /// The newest replay number. A change wakes the subscriptions.
    head: watch::Sender<u64>,
    /// How many times held answers were released.
    released: watch::Sender<u64>,
    /// Notified when a bulk job may be waiting for its next step.
    jobs: Arc<Notify>,
    time: Time,
}

/// Who moves the clock of a shared org.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// It goes with the clock of the machine.
    OfTheMachine,
    /// It stands where the caller puts it.
    OfTheCaller,
}

impl Shared {
    pub(crate) fn new(org: Org, time: Time) -> Self {
        Self {
            head: watch::Sender::new(org.model.log.head()),
            released: watch::Sender::new(org.releases),
            org: Arc::new(Mutex::new(org)),
            jobs: Arc::default(),
            time,
        }
    }

    /// Locks the org, with its clock set to now where it follows the machine's. Never held across an
    /// await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Org> {
        // After a panic in one request the model is still usable for tests, so a poisoned lock is
        // accepted.
        let mut org = self.org.lock().unwrap_or_else(PoisonError::into_inner);
        if self.time == Time::OfTheMachine {
            org.set_wall_ms(wall_ms());
        }
        org
    }

    /// Runs `act` on the org between requests, then notifies subscriptions of new events.
    pub(crate) fn with_org<T>(&self, act: impl FnOnce(&mut Org) -> T) -> T {
        let (done, head) = {
            let mut org = self.lock();
            let done = act(&mut org);
            self.release(org.releases);
            (done, org.model.log.head())
        };
        self.announce(head);
        self.wake_jobs();
        done
    }

    /// Wakes the subscriptions if the log has grown.
    pub(crate) fn announce(&self, head: u64) {
        self.head
            .send_if_modified(|known| std::mem::replace(known, head) != head);
    }

    /// Sends the held answers if there was a release since the last call.
    fn release(&self, releases: u64) {
        let newer = |known: &mut u64| std::mem::replace(known, releases) != releases;
        self.released.send_if_modified(newer);
    }

    /// Returns a watch that changes at the next release.
    fn released(&self) -> watch::Receiver<u64> {
        self.released.subscribe()
    }

    /// Signals that a bulk job may be waiting for its next step.
    pub(crate) fn wake_jobs(&self) {
        self.jobs.notify_one();
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
    certificate_pem: String,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Returns the address of the REST server, such as `http://127.0.0.1:8180`.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Returns the socket address of the REST server, for plaintext and TLS.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Returns the address of the Pub/Sub server, such as `http://127.0.0.1:8181`.
    #[must_use]
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Returns the TLS address of the REST server, such as `https://127.0.0.1:8180`.
    #[must_use]
    pub fn https_url(&self) -> String {
        format!("https://{}", self.http)
    }

    /// Returns the TLS address of the Pub/Sub server, such as `https://127.0.0.1:8181`.
    #[must_use]
    pub fn grpcs_url(&self) -> String {
        format!("https://{}", self.grpc)
    }

    /// Returns the certificate authority (PEM) that a TLS client has to trust. It is new at every
    /// start and valid for `localhost`, `127.0.0.1` and `::1`. For clients that a proxy redirects
    /// here it is also valid for `login.salesforce.com`, `test.salesforce.com` and
    /// `*.my.salesforce.com`.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Runs `act` on the org between requests, then notifies subscriptions of new events.
    pub fn with_org<T>(&self, act: impl FnOnce(&mut Org) -> T) -> T {
        self.shared.with_org(act)
    }

    /// Stops both servers at once and closes their connections.
    pub async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // An aborted task ends with a cancellation error, which is expected.
            let _ = task.await;
        }
    }

    /// Waits until a server ends on its own.
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

/// Starts serving an org.
///
/// # Errors
///
/// Fails if an address cannot be bound or no certificate can be created.
pub async fn start(mut org: Org, options: &Options) -> std::io::Result<Running> {
    let http_listener = TcpListener::bind(options.http).await?;
    let grpc_listener = TcpListener::bind(options.grpc).await?;
    let (http, grpc) = (http_listener.local_addr()?, grpc_listener.local_addr()?);
    let certificate = Certificate::generate()?;
    org.set_base_url(&format!("http://{http}"));
    org.set_secure_url(&format!("https://{http}"));
    org.certificate_pem = certificate.authority_pem().to_owned();
    org.start_clock(wall_ms());
    org.latency_ms = u64::try_from(options.latency.as_millis()).unwrap_or(u64::MAX);
    let shared = Shared::new(org, Time::OfTheMachine);
    let tls = |protocols: &[&str]| certificate.config(protocols).map(TlsAcceptor::from);
    let (rest, accept_rest) = Connections::of(http_listener, tls(&["http/1.1"])?);
    let (events, accept_events) = Connections::of(grpc_listener, tls(&["h2"])?);
    let keep_alive = pubsub::KeepAlive::After(options.keep_alive);
    let tasks = vec![
        spawn(accept_rest),
        spawn(accept_events),
        spawn(http::serve(rest, shared.clone())),
        spawn(pubsub::rpc::serve(events, shared.clone(), keep_alive)),
        spawn(run_jobs(shared.clone())),
        spawn(relay::run(shared.clone())),
    ];
    Ok(Running {
        http,
        grpc,
        shared,
        certificate_pem: certificate.authority_pem().to_owned(),
        tasks,
    })
}

/// Advances bulk jobs between calls, one batch at a time so that calls do not wait long.
async fn run_jobs(shared: Shared) {
    loop {
        let (next_ms, head) = {
            let org = shared.lock();
            (org.next_job_in_ms(), org.model.log.head())
        };
        shared.announce(head);
        let woken = shared.jobs.notified();
        match next_ms {
            Some(ms) => {
                // Time passed or a call came; the loop checks the jobs in both cases.
                let _ = tokio::time::timeout(Duration::from_millis(ms), woken).await;
            }
            None => woken.await,
        }
    }
}

fn spawn(server: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(server)
}
