//! Valid gRPC frames that were damaged: each is answered, and the service keeps working.

use std::sync::LazyLock;

use proptest::prelude::*;
use salesforce_org::Org;
use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::pubsub::proto::{
    FetchRequest, ProducerEvent, PublishRequest, SchemaRequest, TopicRequest,
};
use salesforce_org::server::{Options, Running, start};
use tokio::runtime::Runtime;

const TOPIC: &str = "/data/AccountChangeEvent";

/// A running org, and a client that sends raw bytes.
struct Service {
    runtime: Runtime,
    running: Running,
    client: reqwest::Client,
    token: String,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let options = Options::default();
    let running = runtime.block_on(start(Org::default(), &options)).unwrap();
    let token = running.with_org(|org| org.open_session(INTEGRATION_USER).unwrap());
    let client = reqwest::Client::builder().http2_prior_knowledge();
    Service {
        runtime,
        running,
        client: client.build().unwrap(),
        token,
    }
});

impl Service {
    /// Sends a body and returns the gRPC status, or 0 if an answer has started.
    fn call(&self, rpc: &str, body: Vec<u8>) -> Result<u32, String> {
        let tenant = self.running.with_org(|org| org.org_id());
        let url = format!("{}/eventbus.v1.PubSub/{rpc}", self.running.grpc_url());
        let request = self
            .client
            .post(url)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("accesstoken", &self.token)
            .header("instanceurl", self.running.http_url())
            .header("tenantid", tenant)
            .body(body);
        let answer = self.runtime.block_on(request.send());
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        if answer.status() != 200 {
            return Err(format!("HTTP {}", answer.status()));
        }
        let status = answer.headers().get("grpc-status");
        let Some(status) = status else {
            return Ok(0);
        };
        let number = status.to_str().unwrap_or_default().parse::<u32>();
        number.map_err(|error| error.to_string())
    }
}

/// Returns a message in its wire form: an uncompressed flag, its length, its bytes.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], &bytes].concat()
}

fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let topic_name = TOPIC.to_owned();
    let event = ProducerEvent {
        id: "e".to_owned(),
        schema_id: "s".to_owned(),
        payload: vec![2, 4].into(),
        headers: Vec::new(),
    };
    let fetch = FetchRequest {
        topic_name: topic_name.clone(),
        replay_preset: 2,
        replay_id: vec![0, 0, 0, 0, 0, 0, 3, 232, 0, 0],
        num_requested: 5,
        auth_refresh: String::new(),
    };
    let publish = PublishRequest {
        topic_name: topic_name.clone(),
        events: vec![event],
        auth_refresh: String::new(),
    };
    let schema = SchemaRequest {
        schema_id: "s".to_owned(),
    };
    vec![
        ("GetTopic", framed(&TopicRequest { topic_name })),
        ("GetSchema", framed(&schema)),
        ("Publish", framed(&publish)),
        ("Subscribe", framed(&fetch)),
        ("ManagedSubscribe", framed(&fetch)),
        ("PublishStream", framed(&publish)),
    ]
}

proptest! {
    // `PROPTEST_CASES=100000` searches longer.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(300)))]

    #[test]
    fn damaged_frames_do_not_affect_other_calls(
        (rpc, frame) in prop::sample::select(corpus()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut frame = frame;
        for (place, byte) in &changes {
            let place = place.index(frame.len());
            frame[place] = *byte;
        }
        if let Some(end) = cut {
            frame.truncate(end.index(frame.len()));
        }
        let status = SERVICE.call(rpc, frame);
        prop_assert!(matches!(status, Ok(0..=16)), "{rpc}: {status:?}");
        let topic_name = TOPIC.to_owned();
        let right = SERVICE.call("GetTopic", framed(&TopicRequest { topic_name }));
        prop_assert_eq!(right, Ok(0));
    }
}
