//! How much one org takes: single upserts, collections, change events, memory. Over real sockets.
//!
//! `scripts/bench` starts the org and this client; by hand:
//! `throughput HTTP_URL GRPC_URL PID [MILLION_RECORDS]`. It prints what the org did in a second and
//! what one item cost it in CPU time; the second figure holds on a busy machine, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use reqwest::Client;
use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET};
use salesforce_org::pubsub::proto::pub_sub_client::PubSubClient;
use salesforce_org::pubsub::proto::{FetchRequest, ReplayPreset};
use serde_json::Value as Json;

/// Calls of one record each.
const SINGLES: usize = 20_000;

/// Calls of `RECORDS` records each.
const COLLECTIONS: usize = 500;

/// Most records that one collections call may have.
const RECORDS: usize = 200;

/// Connections that call at the same time.
const CALLERS: usize = 8;

/// Clock ticks of `/proc/PID/stat` in a second, on every Linux that this runs on.
const TICKS_PER_S: f64 = 100.0;

/// The org under measurement.
#[derive(Clone)]
struct Bench {
    client: Client,
    http: String,
    grpc: String,
    pid: String,
    token: String,
    org_id: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [http, grpc, pid, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: throughput HTTP_URL GRPC_URL PID [MILLION_RECORDS]");
    };
    let bench = Bench::open(http, grpc, pid).await?;
    println!("{:<44}{:>12}{:>18}", "", "per second", "CPU of the org");
    for (pass, what) in [("new", "created"), ("again", "updated")] {
        let title = format!("single upserts, records {what}");
        bench.measure(&title, SINGLES, 1, pass).await?;
    }
    for (pass, what) in [("new", "created"), ("again", "updated")] {
        let title = format!("collections of {RECORDS}, records {what}");
        bench.measure(&title, COLLECTIONS, RECORDS, pass).await?;
    }
    bench.events().await?;
    let millions: usize = rest.first().map_or(Ok(1), |text| text.parse())?;
    bench.memory(millions).await
}

impl Bench {
    async fn open(http: &str, grpc: &str, pid: &str) -> anyhow::Result<Self> {
        let client = Client::builder().no_gzip().build()?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
        ];
        let url = format!("{http}/services/oauth2/token");
        let answer: Json = client.post(url).form(&form).send().await?.json().await?;
        let token = answer["access_token"].as_str().context("no token")?;
        let identity = answer["id"].as_str().context("no identity")?;
        let org_id = identity.rsplit('/').nth(1).context("no org id")?;
        Ok(Self {
            http: http.to_owned(),
            grpc: grpc.to_owned(),
            pid: pid.to_owned(),
            token: token.to_owned(),
            org_id: org_id.to_owned(),
            client,
        })
    }

    /// Makes `calls` calls of `records` records each.
    async fn measure(
        &self,
        title: &str,
        calls: usize,
        records: usize,
        pass: &str,
    ) -> anyhow::Result<()> {
        let (start, cpu) = (Instant::now(), self.cpu_s());
        self.write(calls, records, pass, "p").await?;
        self.report(title, (calls * records) as f64, start, cpu);
        Ok(())
    }

    async fn write(
        &self,
        calls: usize,
        records: usize,
        pass: &str,
        prefix: &str,
    ) -> anyhow::Result<()> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let (bench, next) = (self.clone(), Arc::clone(&next));
            let (pass, prefix) = (pass.to_owned(), format!("{prefix}{records}"));
            callers.push(tokio::spawn(async move {
                loop {
                    let call = next.fetch_add(1, Ordering::Relaxed);
                    if call >= calls {
                        return anyhow::Ok(());
                    }
                    bench.call(call, records, &pass, &prefix).await?;
                }
            }));
        }
        for caller in callers {
            caller.await??;
        }
        Ok(())
    }

    async fn call(
        &self,
        call: usize,
        records: usize,
        pass: &str,
        prefix: &str,
    ) -> anyhow::Result<()> {
        let (path, body) = if records == 1 {
            let path = format!("sobjects/Account/External_Id__c/{prefix}-{call}");
            (path, format!("{{{}}}", members(call, pass)))
        } else {
            let path = "composite/sobjects/Account/External_Id__c".to_owned();
            (path, collection(call, records, pass, prefix))
        };
        let url = format!("{}/services/data/v62.0/{path}", self.http);
        let request = self.client.patch(url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/json");
        let response = request.body(body).send().await?;
        let status = response.status();
        let text = response.text().await?;
        anyhow::ensure!(
            status.is_success() && !text.contains("\"success\":false"),
            "{status}: {text}"
        );
        Ok(())
    }

    /// Reads every event that is there through one subscription.
    async fn events(&self) -> anyhow::Result<()> {
        let published = self.stats().await?["events_published"]
            .as_u64()
            .context("no count of events")?;
        let (start, cpu) = (Instant::now(), self.cpu_s());
        let (grants, granted) = tokio::sync::mpsc::channel(4);
        let fetch = |preset: ReplayPreset| FetchRequest {
            topic_name: "/data/ChangeEvents".to_owned(),
            replay_preset: preset.into(),
            num_requested: 100,
            ..FetchRequest::default()
        };
        grants.send(fetch(ReplayPreset::Earliest)).await?;
        let stream = tokio_stream::wrappers::ReceiverStream::new(granted);
        let mut request = tonic::Request::new(stream);
        let metadata = request.metadata_mut();
        metadata.insert("accesstoken", self.token.parse()?);
        metadata.insert("instanceurl", self.http.parse()?);
        metadata.insert("tenantid", self.org_id.parse()?);
        let mut client = PubSubClient::connect(self.grpc.clone()).await?;
        let mut responses = client.subscribe(request).await?.into_inner();
        let mut read = 0;
        while read < published {
            let response = responses.message().await?.context("the stream ended")?;
            read += response.events.len() as u64;
            if response.pending_num_requested == 0 {
                grants.send(fetch(ReplayPreset::Latest)).await?;
            }
        }
        self.report("change events delivered", read as f64, start, cpu);
        Ok(())
    }

    /// Fills the org up to so many million records and says what they take.
    async fn memory(&self, millions: usize) -> anyhow::Result<()> {
        let calls = millions * 1_000_000 / RECORDS;
        let before_mib = self.memory_mib();
        if calls > 0 {
            let (start, cpu) = (Instant::now(), self.cpu_s());
            self.write(calls, RECORDS, "new", "m").await?;
            let title = format!("{millions} million records, created");
            self.report(&title, (calls * RECORDS) as f64, start, cpu);
        }
        let (records, mib) = (
            self.stats().await?["records"]["Account"].clone(),
            self.memory_mib(),
        );
        println!(
            "memory with {records} records and their events: {mib:.0} MiB (before: {before_mib:.0})"
        );
        Ok(())
    }

    async fn stats(&self) -> anyhow::Result<Json> {
        let url = format!("{}/_org/stats", self.http);
        Ok(self.client.get(url).send().await?.json().await?)
    }

    /// Prints what was done in a second, and what one item cost.
    fn report(&self, title: &str, items: f64, start: Instant, cpu_before: f64) {
        let rate = items / start.elapsed().as_secs_f64();
        let cost = (self.cpu_s() - cpu_before) * 1e6 / items;
        let alone = if cost > 0.0 { 1e6 / cost } else { 0.0 };
        println!("{title:<44}{rate:>12.0}{cost:>9.1} µs each = {alone:.0}/s of one core");
    }

    /// Returns the CPU time that the org has used, in seconds.
    fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The name of the program, in parentheses, may hold blanks; utime and stime are the 12th
        // and 13th fields behind it (proc_pid_stat(5)).
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .filter_map(|text| text.parse::<f64>().ok())
            .sum::<f64>()
            / TICKS_PER_S
    }

    /// Returns the memory that the org takes, in MiB.
    fn memory_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }
}

fn collection(call: usize, records: usize, pass: &str, prefix: &str) -> String {
    let record = |place: usize| {
        let number = call * records + place;
        format!(
            r#"{{"attributes":{{"type":"Account"}},"External_Id__c":"{prefix}-{number}",{}}}"#,
            members(number, pass)
        )
    };
    let records: Vec<String> = (0..records).map(record).collect();
    format!(r#"{{"allOrNone":false,"records":[{}]}}"#, records.join(","))
}

/// An airport, as an account.
fn members(n: usize, pass: &str) -> String {
    format!(
        r#""Name":"Airport {n} {pass}","Type":"Customer","Phone":"+1 555 {n}","BillingCity":"Leoti","BillingState":"Kansas","BillingCountry":"US","BillingLatitude":38.704022,"BillingLongitude":-101.473911,"Elevation__c":{n},"IATA__c":"LEO","Timezone__c":"America/Chicago""#
    )
}
