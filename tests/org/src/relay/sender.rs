//! Sends the shipments of relays as HTTP POSTs or as messages to an SQS queue.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Shipment, Target};
use crate::server::Shared;

/// How long a relay waits after a failure before its next attempt.
const RETRY: Duration = Duration::from_millis(200);

/// Timeout of a receiver.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of messages per SQS request.
const QUEUE_BATCH_MAX: usize = 10;

/// Maximum size of an SQS request in bytes: the limit of 256 KiB minus room for the request itself.
const QUEUE_BATCH_BYTES_MAX: usize = 240 * 1024;

/// Runs the relays until the task is aborted.
pub(crate) async fn run(shared: Shared) {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "event relays cannot send");
            return;
        }
    };
    let mut head = shared.head();
    loop {
        head.borrow_and_update();
        let (shipments, bell) = {
            let mut org = shared.lock();
            (org.due_shipments(), Arc::clone(&org.bus.relay_bell))
        };
        let mut failed = false;
        for shipment in &shipments {
            let outcome = send(&client, shipment).await;
            failed |= outcome.is_err();
            shared.lock().finish_shipment(shipment, outcome);
        }
        if !shipments.is_empty() && !failed {
            continue;
        }
        tokio::select! {
            changed = head.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = bell.notified() => {}
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

async fn send(client: &reqwest::Client, shipment: &Shipment) -> Result<(), String> {
    match &shipment.target {
        Target::Url(url) => {
            for envelope in &shipment.envelopes {
                let request = client.post(url).header("content-type", "application/json");
                accepted(request.body(envelope.clone())).await?;
            }
        }
        Target::Queue(queue) => {
            let mut rest = shipment.envelopes.as_slice();
            while !rest.is_empty() {
                let (batch, later) = rest.split_at(batch_len(rest));
                send_batch(client, queue, &shipment.region, batch).await?;
                rest = later;
            }
        }
    }
    Ok(())
}

/// Returns how many envelopes fit into one SQS request, but at least one.
fn batch_len(envelopes: &[String]) -> usize {
    let mut bytes = 0;
    let fitting = envelopes
        .iter()
        .take(QUEUE_BATCH_MAX)
        .take_while(|envelope| {
            bytes += envelope.len();
            bytes <= QUEUE_BATCH_BYTES_MAX
        });
    fitting.count().max(1)
}

/// Sends one `SendMessageBatch` of the AWS JSON protocol.
async fn send_batch(
    client: &reqwest::Client,
    queue: &str,
    region: &str,
    envelopes: &[String],
) -> Result<(), String> {
    let entries: Vec<_> = envelopes
        .iter()
        .enumerate()
        .map(|(number, body)| json!({"Id": number.to_string(), "MessageBody": body}))
        .collect();
    let body = json!({"QueueUrl": queue, "Entries": entries});
    // Emulators read the region from the credentials and do not check the signature.
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=local/20260101/{region}/sqs/aws4_request, \
         SignedHeaders=host, Signature=none"
    );
    let request = client
        .post(queue)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", "AmazonSQS.SendMessageBatch")
        .header("authorization", authorization)
        .body(body.to_string());
    let answer = accepted(request).await?;
    let failed = serde_json::from_str::<serde_json::Value>(&answer)
        .ok()
        .and_then(|json| json.get("Failed")?.as_array().map(Vec::len))
        .unwrap_or(0);
    if failed == 0 {
        Ok(())
    } else {
        Err(format!("the queue refused {failed} messages"))
    }
}

async fn accepted(request: reqwest::RequestBuilder) -> Result<String, String> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.text().await.map_err(|error| error.to_string())?;
    if status.is_success() {
        Ok(body)
    } else {
        Err(format!("the receiver answered {status}"))
    }
}
