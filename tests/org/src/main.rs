//! `salesforce-org`: a local Salesforce org on two ports.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use salesforce_org::Org;
use salesforce_org::server::{self, Options};

/// A local Salesforce org: REST and OAuth on one port, the Pub/Sub API on another.
///
/// The first line of output is a JSON object with both addresses.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of the REST server; port 0 takes any free port.
    #[arg(long, default_value = "127.0.0.1:8180")]
    http: SocketAddr,
    /// Address of the Pub/Sub server; port 0 takes any free port.
    #[arg(long, default_value = "127.0.0.1:8181")]
    grpc: SocketAddr,
    /// Org file with more objects, fields, users and apps.
    #[arg(long)]
    org: Option<PathBuf>,
    /// After how many milliseconds a quiet subscription is told the newest position.
    #[arg(long, default_value_t = 270_000)]
    keep_alive_ms: u64,
    /// File to write the certificate (PEM) to that clients by TLS have to trust. Both ports speak
    /// TLS beside plaintext; the certificate is new at every start.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// How many milliseconds every REST answer is held back.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let org = match &arguments.org {
        None => Org::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            Org::from_toml(&text).with_context(|| path.display().to_string())?
        }
    };
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
    let mut out = std::io::stdout();
    let (http, grpc) = (running.http_url(), running.grpc_url());
    let (https, grpcs) = (running.https_url(), running.grpcs_url());
    writeln!(
        out,
        r#"{{"http":"{http}","grpc":"{grpc}","https":"{https}","grpcs":"{grpcs}"}}"#
    )?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    running.stop().await;
    Ok(())
}
