//! The way to Postgres: a socket of each process, whose statements wait at the gates.
//!
//! It forwards the frontend/backend protocol 3.0 (PostgreSQL manual, "Message Formats") in whole exchanges: what the
//! client sends up to `Query` or `Sync`, then what the server answers up to `ReadyForQuery`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, BytesMut};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::gate::{Fate, Gates};

/// The code of a first message that asks for TLS.
const WANTS_TLS: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// Characters of a statement that the story tells.
const LABEL_CHARS: usize = 60;

/// The way of all processes of a world: one address, as in production.
pub(crate) struct Wire {
    /// Holds the socket.
    folder: TempDir,
    url: String,
    processes: Processes,
    accepting: tokio::task::JoinHandle<()>,
}

/// The gates of each process, by its number.
type Processes = Arc<Mutex<BTreeMap<u64, Arc<Gates>>>>;

impl Wire {
    /// Opens a socket before the database of this URL, which names the folder of the server's socket.
    pub(crate) fn before(database: &str) -> anyhow::Result<Self> {
        let (rest, folder) = database
            .split_once("?host=")
            .ok_or_else(|| anyhow::anyhow!("{database} names no socket"))?;
        let (address, name) = rest
            .rsplit_once('/')
            .ok_or_else(|| anyhow::anyhow!("{database} names no database"))?;
        let port = address
            .strip_prefix("postgres://postgres@localhost:")
            .unwrap_or("5432");
        let file = format!(".s.PGSQL.{port}");
        let own = TempDir::new()?;
        let listener = UnixListener::bind(own.path().join(&file))?;
        let url = format!("{address}/{name}?host={}", own.path().display());
        let server = PathBuf::from(folder).join(file);
        let processes = Processes::default();
        Ok(Self {
            folder: own,
            url,
            processes: Arc::clone(&processes),
            accepting: tokio::spawn(accept(listener, server, processes)),
        })
    }

    /// Returns the folder of the socket.
    pub(crate) fn address(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Returns the URL of one process, whose statements wait at these gates.
    pub(crate) fn url(&self, process: u64, gates: &Arc<Gates>) -> String {
        let mut processes = self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        processes.insert(process, Arc::clone(gates));
        // The worlds' statements are short: planning each of them every time would take longer than running it.
        format!(
            "{}&options=-c%20{PROCESS}={process}%20-c%20plan_cache_mode=force_generic_plan",
            self.url
        )
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The setting by which a connection says of which process it is.
const PROCESS: &str = "sim.process";

async fn accept(listener: UnixListener, server: PathBuf, processes: Processes) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, processes) = (server.clone(), Arc::clone(&processes));
        connections.spawn(async move {
            // An end of either side ends the connection.
            let _ = connect(client, &server, &processes).await;
        });
    }
}

async fn connect(
    mut client: UnixStream,
    server: &Path,
    processes: &Processes,
) -> std::io::Result<()> {
    let mut asked = BytesMut::new();
    let startup = startup(&mut client, &mut asked).await?;
    let gates = {
        let processes = processes.lock().unwrap_or_else(PoisonError::into_inner);
        process_of(&startup).and_then(|process| processes.get(&process).cloned())
    };
    let gates = gates.ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut connection = Connection {
        client,
        server: UnixStream::connect(server).await?,
        gates: Arc::clone(&gates),
        server_process: 0,
        statements: BTreeMap::new(),
        asked,
        answered: BytesMut::new(),
    };
    tokio::select! {
        ended = connection.forward(&startup) => ended,
        () = gates.killed() => Ok(()),
    }
}

/// Reads the first message, which has no type. TLS is refused.
async fn startup(client: &mut UnixStream, asked: &mut BytesMut) -> std::io::Result<BytesMut> {
    loop {
        if let Some(length) = asked.get(..4).map(|mut length| length.get_u32()) {
            let length = usize::try_from(length).map_err(std::io::Error::other)?;
            if asked.len() >= length {
                let message = asked.split_to(length);
                if message.get(4..8) != Some(&WANTS_TLS) {
                    return Ok(message);
                }
                client.write_all(b"N").await?;
            }
        }
        fill(client, asked).await?;
    }
}

/// Returns the number of the process in a first message.
fn process_of(startup: &[u8]) -> Option<u64> {
    let texts = String::from_utf8_lossy(startup);
    let (_, rest) = texts.split_once(&format!("{PROCESS}="))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

struct Connection {
    client: UnixStream,
    server: UnixStream,
    gates: Arc<Gates>,
    /// The server process of this connection.
    server_process: i32,
    /// The text of each prepared statement.
    statements: BTreeMap<String, String>,
    asked: BytesMut,
    answered: BytesMut,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.gates.note_cut(self.server_process);
    }
}

/// What a client sent: the bytes, and the statement that they run.
struct Exchange {
    bytes: BytesMut,
    runs: Option<String>,
}

impl Connection {
    async fn forward(&mut self, startup: &[u8]) -> std::io::Result<()> {
        let gates = Arc::clone(&self.gates);
        {
            let _flying = gates.fly();
            let _opening = gates.open_in_turn().await;
            self.server.write_all(startup).await?;
            let (answer, has_ended) = self.answer().await?;
            self.client.write_all(&answer).await?;
            if has_ended {
                return Ok(());
            }
        }
        loop {
            let exchange = self.exchange().await?;
            let fate = match exchange.runs {
                Some(label) => gates.pass(|| label).await,
                None => Fate::Pass,
            };
            if fate == Fate::LoseCall {
                return Ok(());
            }
            let _flying = gates.fly();
            // A server that has ended the connection takes no more, and has said why.
            let _ = self.server.write_all(&exchange.bytes).await;
            let (answer, has_ended) = self.answer().await?;
            if fate == Fate::LoseAnswer {
                return Ok(());
            }
            self.client.write_all(&answer).await?;
            if has_ended {
                return Ok(());
            }
        }
    }

    /// Reads what the client asks until it waits for an answer.
    async fn exchange(&mut self) -> std::io::Result<Exchange> {
        let mut exchange = Exchange {
            bytes: BytesMut::new(),
            runs: None,
        };
        let mut statement = String::new();
        loop {
            let message = message(&mut self.client, &mut self.asked).await?;
            let body = &message[5..];
            match message[0] {
                b'Q' => exchange.runs = Some(label(body)),
                b'P' => {
                    let (name, rest) = text(body);
                    self.statements.insert(name, label(rest));
                }
                b'B' => {
                    let (_portal, rest) = text(body);
                    statement = text(rest).0;
                }
                b'E' => {
                    let label = self.statements.get(&statement).cloned();
                    exchange.runs = Some(label.unwrap_or_default());
                }
                _ => {}
            }
            let is_whole = matches!(message[0], b'Q' | b'S' | b'X');
            exchange.bytes.extend_from_slice(&message);
            if is_whole {
                return Ok(exchange);
            }
        }
    }

    /// Reads the server's answer until it is ready for the next exchange, or has ended the connection.
    async fn answer(&mut self) -> std::io::Result<(BytesMut, bool)> {
        let mut answer = BytesMut::new();
        loop {
            let Ok(message) = message(&mut self.server, &mut self.answered).await else {
                // The answer may say why.
                return Ok((answer, true));
            };
            if message[0] == b'K' {
                self.server_process = (&message[5..]).get_i32();
                self.gates.note_connection(self.server_process);
            }
            let is_ready = message[0] == b'Z';
            answer.extend_from_slice(&message);
            if is_ready {
                return Ok((answer, false));
            }
        }
    }
}

/// Reads one message: its type, its length and its body.
async fn message(from: &mut UnixStream, buffer: &mut BytesMut) -> std::io::Result<BytesMut> {
    loop {
        if let Some(length) = buffer.get(1..5).map(|mut length| length.get_u32()) {
            let length = usize::try_from(length).map_err(std::io::Error::other)? + 1;
            if buffer.len() >= length {
                return Ok(buffer.split_to(length));
            }
        }
        fill(from, buffer).await?;
    }
}

async fn fill(from: &mut UnixStream, buffer: &mut BytesMut) -> std::io::Result<()> {
    match from.read_buf(buffer).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Splits a text that ends with a zero from the rest.
fn text(body: &[u8]) -> (String, &[u8]) {
    let end = body
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(body.len());
    let rest = body.get(end + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&body[..end]).into_owned(), rest)
}

/// Returns the beginning of a statement, in one line.
fn label(body: &[u8]) -> String {
    let statement = text(body).0;
    let words: Vec<&str> = statement.split_whitespace().collect();
    words.join(" ").chars().take(LABEL_CHARS).collect()
}
