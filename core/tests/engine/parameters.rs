//! A Parameter Store with one parameter, as far as a fence uses it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::Credentials;
use serde_json::{Value as Json, json};
use syncline::host::aws::Aws;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Refused,
    Throttled,
    /// It is carried out, and the connection ends before the answer.
    AnswerLost,
    /// Just before it, another copy of the database puts this value.
    OvertakenBy(&'static str),
}

/// A server on a free port.
pub(crate) struct Parameters {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The value and its version.
    parameter: Option<(String, i64)>,
    /// The next calls of this name have these fates.
    fates: Vec<(&'static str, Fate)>,
    /// Every connection ends without an answer.
    down: bool,
}

impl Parameters {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { endpoint, state }
    }

    /// Returns the clients of an AWS that is here.
    pub(crate) async fn aws(&self) -> Arc<Aws> {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)));
        Arc::new(Aws::at(config.load().await))
    }

    /// Gives the next calls of this name, `GetParameter` or `PutParameter`, a fate.
    pub(crate) fn next(&self, call: &'static str, times: usize, fate: Fate) {
        let fates = std::iter::repeat_n((call, fate), times);
        self.state.lock().unwrap().fates.extend(fates);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// Returns the version of the parameter; 0 if it does not exist.
    pub(crate) fn version(&self) -> i64 {
        let state = self.state.lock().unwrap();
        state.parameter.as_ref().map_or(0, |(_, version)| *version)
    }

    /// Returns how many fates are still to come.
    pub(crate) fn fates_left(&self) -> usize {
        self.state.lock().unwrap().fates.len()
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(answer(connection, Arc::clone(&state)));
    }
}

/// Answers one call and ends the connection.
async fn answer(connection: TcpStream, state: Arc<Mutex<State>>) {
    let mut connection = BufReader::new(connection);
    let Some((call, request)) = read_call(&mut connection).await else {
        return;
    };
    let answer = state.lock().unwrap().answer(&call, &request);
    if let Some((status, body)) = answer {
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = connection.write_all(answer.as_bytes()).await;
    }
}

/// Returns the name of the call and its body.
async fn read_call(connection: &mut BufReader<TcpStream>) -> Option<(String, Json)> {
    let mut call = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "x-amz-target" => call = value.trim().replace("AmazonSSM.", ""),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    Some((call, serde_json::from_slice(&body).ok()?))
}

impl State {
    /// Carries out a call, and returns the status and body of its answer; `None` if none is sent.
    fn answer(&mut self, call: &str, request: &Json) -> Option<(&'static str, Json)> {
        if self.down {
            return None;
        }
        let fated = self.fates.iter().position(|(of, _)| *of == call);
        let fate = fated.map(|place| self.fates.remove(place).1);
        match fate {
            Some(Fate::Refused) => return Some(refusal("AccessDeniedException", "not authorized")),
            Some(Fate::Throttled) => return Some(refusal("ThrottlingException", "Rate exceeded")),
            Some(Fate::OvertakenBy(value)) => drop(self.put(value)),
            Some(Fate::AnswerLost) | None => {}
        }
        let answer = match (call, &self.parameter) {
            ("GetParameter", Some((value, version))) => {
                let parameter =
                    json!({"Name": request["Name"], "Value": value, "Version": version});
                ("200 OK", json!({"Parameter": parameter}))
            }
            ("GetParameter", None) => refusal("ParameterNotFound", "no parameter has this name"),
            ("PutParameter", Some(_)) if request["Overwrite"] != json!(true) => {
                refusal("ParameterAlreadyExists", "there is one")
            }
            ("PutParameter", _) => {
                let version = self.put(request["Value"].as_str().unwrap_or_default());
                ("200 OK", json!({"Version": version, "Tier": "Standard"}))
            }
            (_, _) => refusal("UnknownOperationException", call),
        };
        (fate != Some(Fate::AnswerLost)).then_some(answer)
    }

    fn put(&mut self, value: &str) -> i64 {
        let version = self
            .parameter
            .as_ref()
            .map_or(1, |(_, version)| version + 1);
        self.parameter = Some((value.to_owned(), version));
        version
    }
}

fn refusal(kind: &str, message: &str) -> (&'static str, Json) {
    (
        "400 Bad Request",
        json!({"__type": kind, "message": message}),
    )
}
