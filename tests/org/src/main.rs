//! `salesforce-org`: a local Salesforce org on two ports.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Parser;
use mimalloc::MiMalloc;
use salesforce_org::Org;
use salesforce_org::server::{self, Options};

/// The org keeps millions of small records and events and allocates short-lived request data
/// between them. The glibc allocator spent half of the org's CPU time searching for free memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Number of seeded records between two progress lines.
const PROGRESS_EVERY: usize = 100_000;

const EXAMPLES: &str = "\
Examples:
  salesforce-org
      The built-in org on 127.0.0.1:8180 (REST) and 127.0.0.1:8181 (Pub/Sub)
  salesforce-org --http 127.0.0.1:0 --grpc 127.0.0.1:0 --certificate org.pem
      Any free ports, and a certificate file for TLS clients
  salesforce-org --org invoices.toml --seed Account.csv --seed Invoice__c=2026.csv
      More objects, and records for two of them: parents first
  salesforce-org --restore state.jsonl --dump state.jsonl
      Continues where the last run stopped

Log in with client id local-only-client-id and secret local-only-client-secret, or use the
control endpoints below /_org/ (GET /_org/stats and others), which need no session.";

/// A local Salesforce org: REST and OAuth on one port, the Pub/Sub API on another.
///
/// Everything is in memory. Both ports accept plaintext and TLS. The first line of output is a JSON
/// object with the addresses: http, grpc, https, grpcs.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Address of the REST server; port 0 takes any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8180")]
    http: SocketAddr,
    /// Address of the Pub/Sub server; port 0 takes any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8181")]
    grpc: SocketAddr,
    /// Org file (TOML) with more objects, fields, users and apps.
    #[arg(long, value_name = "FILE")]
    org: Option<PathBuf>,
    /// CSV file with initial records. The object is the file's name unless given. The header names
    /// fields, or a parent by its external id (Account.External_Id__c).
    #[arg(long, value_name = "[OBJECT=]FILE")]
    seed: Vec<String>,
    /// Dump file to restore at start.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    restore: Option<PathBuf>,
    /// Dump file to write when the program is stopped.
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// File to write the certificate authority (PEM) to, which TLS clients have to trust. It is new
    /// at every start.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Milliseconds after which a quiet subscription receives the newest position.
    #[arg(long, value_name = "MS", default_value_t = 270_000)]
    keep_alive_ms: u64,
    /// Milliseconds by which every REST answer is delayed.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let org = prepared(&arguments)?;
    let options = Options {
        http: arguments.http,
        grpc: arguments.grpc,
        keep_alive: Duration::from_millis(arguments.keep_alive_ms),
        latency: Duration::from_millis(arguments.latency_ms),
    };
    let running = server::start(org, &options)
        .await
        .context("an address cannot be bound")?;
    if let Some(path) = &arguments.certificate {
        std::fs::write(path, running.certificate_pem())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    // Set up before the addresses are printed, because their reader may stop the program at once.
    let stopped = stop_signal()?;
    let mut out = std::io::stdout();
    let (http, grpc) = (running.http_url(), running.grpc_url());
    let (https, grpcs) = (running.https_url(), running.grpcs_url());
    writeln!(
        out,
        r#"{{"http":"{http}","grpc":"{grpc}","https":"{https}","grpcs":"{grpcs}"}}"#
    )?;
    out.flush()?;
    stopped.await;
    if let Some(path) = &arguments.dump {
        running
            .with_org(|org| dump(org, path))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    running.stop().await;
    Ok(())
}

/// Returns the org that the arguments describe, with its records.
fn prepared(arguments: &Arguments) -> anyhow::Result<Org> {
    let mut org = match &arguments.org {
        None => Org::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            Org::from_toml(&text).with_context(|| path.display().to_string())?
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    org.set_wall_ms(i64::try_from(now.as_millis())?);
    for seed in &arguments.seed {
        create_records(&mut org, seed)?;
    }
    if let Some(path) = &arguments.restore {
        let mut input = BufReader::new(open(path)?);
        org.restore(&mut input)
            .with_context(|| path.display().to_string())?;
    }
    Ok(org)
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Creates the records of one file and logs progress to stderr.
fn create_records(org: &mut Org, seed: &str) -> anyhow::Result<()> {
    let (object, path) = match seed.split_once('=') {
        Some((object, path)) => (object.to_owned(), Path::new(path)),
        None => {
            let path = Path::new(seed);
            let stem = path.file_stem().unwrap_or_default();
            (stem.to_string_lossy().into_owned(), path)
        }
    };
    let file = BufReader::new(open(path)?);
    let log = |count: usize| eprintln!("{}: {count} records of {object}", path.display());
    let progress = |count: usize| {
        if count.is_multiple_of(PROGRESS_EVERY) {
            log(count);
        }
    };
    let created = org
        .seed(&object, file, progress)
        .with_context(|| path.display().to_string())?;
    log(created);
    Ok(())
}

/// Writes to a second file and renames it, so that a failed dump keeps the old one.
fn dump(org: &Org, path: &Path) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut out = BufWriter::new(File::create(&beside)?);
    org.dump(&mut out)?;
    out.into_inner()?.sync_all()?;
    std::fs::rename(beside, path)
}

/// Starts listening for signals and returns a future that completes when the program is stopped.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // If the signal handler fails, the program cannot be stopped this way, so the error is
        // ignored.
        let _ = tokio::signal::ctrl_c().await;
    })
}
