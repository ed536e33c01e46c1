//! Connections of a port: plaintext or TLS, decided by their first byte, and closed without an
//! answer on request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Maximum duration of a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Maximum number of connections waiting to be served. Others wait in their handshake.
const READY_MAX: usize = 64;

/// Closes the connection it belongs to; nothing more is written to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Closes the connection.
    pub(super) fn now(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) cut: Cut,
    pub(super) secure: bool,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection after its handshake, if any.
pub(crate) struct Connection {
    stream: Box<dyn Duplex>,
    origin: Origin,
}

impl Connection {
    fn new(stream: impl Duplex + 'static, secure: bool) -> Self {
        Self {
            stream: Box::new(stream),
            origin: Origin {
                cut: Cut::default(),
                secure,
            },
        }
    }

    /// Returns what its requests know of it.
    pub(super) fn origin(&self) -> Origin {
        self.origin.clone()
    }

    fn check(&self) -> io::Result<()> {
        if self.origin.cut.0.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

/// The connections of one port, in the order in which they became ready.
pub(crate) struct Connections {
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
}

impl Connections {
    /// Returns the connections of a listener and the loop that accepts them.
    ///
    /// A client with a slow handshake does not delay others.
    pub(super) fn of(
        mut listener: TcpListener,
        tls: TlsAcceptor,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, ready) = mpsc::channel(READY_MAX);
        let accepting = async move {
            loop {
                let (stream, peer) = <TcpListener as Listener>::accept(&mut listener).await;
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    match opened(stream, &tls).await {
                        // The server may have stopped already, so a send error is ignored.
                        Ok(connection) => drop(sender.send((connection, peer)).await),
                        Err(error) => tracing::debug!(%peer, %error, "no connection"),
                    }
                });
            }
        };
        (Self { ready }, accepting)
    }

    /// Waits for the next connection.
    pub(super) async fn next(&mut self) -> Connection {
        match self.ready.recv().await {
            Some((connection, _)) => connection,
            // The accepting loop has stopped, and the server is about to stop too.
            None => std::future::pending().await,
        }
    }
}

/// Detects the protocol of the client and performs the handshake for TLS.
async fn opened(stream: TcpStream, tls: &TlsAcceptor) -> io::Result<Connection> {
    // Otherwise small answers wait for acknowledgements. An error only costs time.
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first[0] != TLS_HANDSHAKE {
        return Ok(Connection::new(stream, false));
    }
    let shaken = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await;
    let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Connection::new(stream, true))
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let ready = self.ready.poll_recv(context);
        ready.map(|ready| ready.map(|(connection, _)| Ok(connection)))
    }
}

impl tonic::transport::server::Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
