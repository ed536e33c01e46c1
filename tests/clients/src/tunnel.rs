//! A proxy from Salesforce's login hosts to the local org.
//!
//! Some clients build their login address themselves and accept no other. They do use
//! `HTTPS_PROXY`. This proxy accepts a `CONNECT` for any host and connects it to the org, which has
//! a certificate for that host.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// More than any client sends before the proxy has connected it.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A running proxy. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Tunnel {
    /// Starts a proxy that connects every client to `org`.
    ///
    /// # Errors
    ///
    /// Fails if loopback has no free port.
    pub(crate) async fn to(org: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The client notices a broken connection itself.
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

/// Reads up to the empty line. The client sends nothing more before the proxy has answered.
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
