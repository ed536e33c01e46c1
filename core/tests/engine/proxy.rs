//! A proxy before Postgres that can lose answers, and refuse connections for a while.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// A proxy on a free port, for one database.
pub(crate) struct Proxy {
    url: String,
    /// Connections that are not opened: the next so many are closed at once.
    refusals: Arc<AtomicUsize>,
    /// What happens to connections that are open when it changes.
    fate: watch::Sender<Fate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Forwarded,
    /// Both ends stay open, and nothing arrives any more.
    Swallowed,
    Closed,
}

impl Proxy {
    /// Opens a proxy before the database of this URL, which names a socket's folder.
    pub(crate) async fn before(database: &str) -> Self {
        let (rest, folder) = database.split_once("?host=").unwrap();
        let (address, name) = rest.rsplit_once('/').unwrap();
        let port = address.strip_prefix("postgres://postgres@localhost:");
        let socket = format!(".s.PGSQL.{}", port.unwrap_or("5432"));
        let socket = PathBuf::from(folder).join(socket);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refusals = Arc::new(AtomicUsize::new(0));
        let (fate, fates) = watch::channel(Fate::Forwarded);
        tokio::spawn(accept(listener, socket, Arc::clone(&refusals), fates));
        Self {
            url: format!("postgres://postgres@127.0.0.1:{port}/{name}?sslmode=disable"),
            refusals,
            fate,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Swallows every byte of the connections that are open now, as a frozen host does.
    pub(crate) fn freeze(&self) {
        self.fate.send_replace(Fate::Swallowed);
    }

    /// Closes the connections that are open now, and refuses the next ones, as a server that starts again.
    pub(crate) fn restart(&self, refusals: usize) {
        self.refusals.store(refusals, Ordering::SeqCst);
        self.fate.send_replace(Fate::Closed);
    }

    /// Returns how many connections are still refused.
    pub(crate) fn refusals_left(&self) -> usize {
        self.refusals.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    socket: PathBuf,
    refusals: Arc<AtomicUsize>,
    fates: watch::Receiver<Fate>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let left = |left: usize| left.checked_sub(1);
        if refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .is_ok()
        {
            continue;
        }
        let server = UnixStream::connect(&socket).await.unwrap();
        let mut fates = fates.clone();
        fates.mark_unchanged();
        tokio::spawn(forward(client, server, fates));
    }
}

async fn forward(client: TcpStream, server: UnixStream, mut fates: watch::Receiver<Fate>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let both = async {
        tokio::join!(
            copy(&mut from_client, &mut to_server),
            copy(&mut from_server, &mut to_client)
        )
    };
    tokio::select! {
        _ = both => return,
        _ = fates.changed() => {}
    }
    if *fates.borrow() == Fate::Swallowed {
        // Keeps both ends open until the test ends.
        std::future::pending::<()>().await;
    }
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    // The other end sees the end, too.
    to.shutdown().await.ok();
}
