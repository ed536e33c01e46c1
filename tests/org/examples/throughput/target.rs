//! The measured org: its calls, and the resources of its process.

use anyhow::Context as _;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET};
use serde_json::Value as Json;

/// Clock ticks per second in `/proc/PID/stat`, the same on every supported Linux.
const TICKS_PER_S: f64 = 100.0;

const JSON: &str = "application/json";

/// An org in another process, and a session in it.
#[derive(Clone)]
pub(crate) struct Target {
    client: Client,
    pub(crate) http: String,
    pid: String,
    pub(crate) token: String,
    pub(crate) org_id: String,
}

/// The answer to a successful call.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> anyhow::Result<Json> {
        Ok(serde_json::from_str(&self.body)?)
    }
}

impl Target {
    /// Logs in.
    pub(crate) async fn open(http: &str, pid: &str) -> anyhow::Result<Self> {
        // Accepts gzip, as most clients do.
        let client = Client::new();
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
            pid: pid.to_owned(),
            token: token.to_owned(),
            org_id: org_id.to_owned(),
            client,
        })
    }

    /// Calls a path below `/services/data/vXX.X/` with a JSON body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        json: String,
    ) -> anyhow::Result<Answer> {
        self.send(method, path, (JSON, json)).await
    }

    /// Calls a path with any kind of body.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        (content_type, body): (&str, String),
    ) -> anyhow::Result<Answer> {
        let url = format!("{}/services/data/v62.0/{path}", self.http);
        let request = self.client.request(method, url).bearer_auth(&self.token);
        let request = request.header("content-type", content_type).body(body);
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await?;
        anyhow::ensure!(status.is_success(), "{status}: {body}");
        Ok(Answer { headers, body })
    }

    /// Returns how many events the org has published since its start.
    pub(crate) async fn events_published(&self) -> anyhow::Result<usize> {
        let url = format!("{}/_org/stats", self.http);
        let stats: Json = self.client.get(url).send().await?.json().await?;
        let count = stats["events_published"].as_u64();
        Ok(usize::try_from(count.context("no count of events")?)?)
    }

    /// Returns the CPU time of the org, in seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The program's name, in parentheses, may contain spaces. utime and stime are the 12th and
        // 13th fields after it (proc_pid_stat(5)).
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .filter_map(|text| text.parse::<f64>().ok())
            .sum::<f64>()
            / TICKS_PER_S
    }

    /// Returns the org's memory in MiB: `VmRSS:` is the current value, `VmHWM:` the maximum so far.
    pub(crate) fn memory_mib(&self, figure: &str) -> f64 {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(figure));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }
}
