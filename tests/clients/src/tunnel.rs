//! A road to Salesforce's login hosts that ends at the local org.
//!
//! Some clients build their login address themselves and take no other. They do follow the
//! `HTTPS_PROXY` of their surroundings: this proxy takes a `CONNECT` for any host and connects it
//! to the org, which shows a certificate for that host.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// More than any client sends before the connection is its own.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A running proxy. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Tunnel {
    /// Starts a proxy whose every connection ends at `org`.
    ///
    /// # Errors
    ///
    /// When loopback has no free port.
    pub(crate) async fn to(org: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks is its client's to notice.
                tokio::spawn(connect(stream, org));
            }
        });
        Ok(Self { address, accepting })
    }

    /// Returns the value of `HTTPS_PROXY`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(mut client: TcpStream, org: SocketAddr) -> io::Result<()> {
    let head = head(&mut client).await?;
    if !head.starts_with(b"CONNECT ") {
        let refusal = b"HTTP/1.1 405 Method Not Allowed\r\nconnection: close\r\n\r\n";
        return client.write_all(refusal).await;
    }
    let mut org = TcpStream::connect(org).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut org).await?;
    Ok(())
}

/// Reads up to the empty line. Nothing comes behind it before the proxy has answered.
async fn head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let count = client.read(&mut piece).await?;
        if count == 0 || head.len() + count > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&piece[..count]);
    }
    Ok(head)
}
