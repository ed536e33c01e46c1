//! One subscriber to all change events.

use anyhow::Context as _;
use salesforce_org::pubsub::proto::pub_sub_client::PubSubClient;
use salesforce_org::pubsub::proto::{FetchRequest, FetchResponse, ReplayPreset};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::target::Target;

/// Maximum number of events that a subscriber can request.
const GRANT: i32 = 100;

/// A subscription that starts at the oldest event.
pub(crate) struct Subscriber {
    grants: mpsc::Sender<FetchRequest>,
    responses: tonic::Streaming<FetchResponse>,
    owed: i32,
}

impl Subscriber {
    /// Subscribes.
    pub(crate) async fn open(org: &Target, grpc: &str) -> anyhow::Result<Self> {
        let (grants, granted) = mpsc::channel(4);
        grants.send(grant()).await?;
        let mut request = tonic::Request::new(ReceiverStream::new(granted));
        let metadata = request.metadata_mut();
        metadata.insert("accesstoken", org.token.parse()?);
        metadata.insert("instanceurl", org.http.parse()?);
        metadata.insert("tenantid", org.org_id.parse()?);
        let mut client = PubSubClient::connect(grpc.to_owned()).await?;
        let responses = client.subscribe(request).await?.into_inner();
        Ok(Self {
            grants,
            responses,
            owed: GRANT,
        })
    }

    /// Reads this many events.
    pub(crate) async fn read(&mut self, events: usize) -> anyhow::Result<()> {
        let mut read = 0;
        while read < events {
            if self.owed == 0 {
                self.grants.send(grant()).await?;
            }
            let response = self.responses.message().await?;
            let response = response.context("the stream ended")?;
            read += response.events.len();
            self.owed = response.pending_num_requested;
        }
        anyhow::ensure!(read == events, "{read} events instead of {events}");
        Ok(())
    }
}

fn grant() -> FetchRequest {
    FetchRequest {
        topic_name: "/data/ChangeEvents".to_owned(),
        replay_preset: ReplayPreset::Earliest.into(),
        num_requested: GRANT,
        ..FetchRequest::default()
    }
}
