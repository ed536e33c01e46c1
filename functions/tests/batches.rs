//! The rules of partial batch responses, for any batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use proptest::prelude::*;
use serde_json::{Value, json};
use syncline::salesforce::RelayedEvent;
use syncline_functions::payload::{self, CaptureCall};
use syncline_functions::sqs::{BatchError, handle_batch, handle_groups};
use syncline_functions::time_limits::TimeLimits;

/// The result of handling a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    Panics,
    PanicsLater,
    NeverEnds,
}

impl Fate {
    fn body(self) -> &'static str {
        match self {
            Self::Succeeds => "succeeds",
            Self::Fails => "fails",
            Self::Panics => "panics",
            Self::PanicsLater => "panics later",
            Self::NeverEnds => "never ends",
        }
    }
}

/// Handles a message as its body says. The first panic comes before the first await, the second after.
fn handle(body: String) -> impl Future<Output = anyhow::Result<()>> {
    assert_ne!(body, "panics", "asked to");
    async move {
        tokio::task::yield_now().await;
        assert_ne!(body, "panics later", "asked to");
        match body.as_str() {
            "succeeds" => Ok(()),
            "never ends" => std::future::pending().await,
            _ => Err(anyhow::anyhow!("asked to")),
        }
    }
}

fn event(messages: &[(&str, &str)]) -> SqsEvent {
    let records: Vec<Value> = messages
        .iter()
        .map(|(id, body)| json!({"messageId": id, "body": body}))
        .collect();
    serde_json::from_value(json!({"Records": records})).expect("a batch as Lambda sends it")
}

fn plenty() -> TimeLimits {
    TimeLimits::with_remaining(Duration::from_secs(60))
}

async fn response(event: SqsEvent, limits: TimeLimits) -> Value {
    let response = handle_batch(event, limits, handle)
        .await
        .expect("the batch has ids");
    serde_json::to_value(response).expect("a response is JSON")
}

fn reported(response: &Value) -> Vec<String> {
    response["batchItemFailures"]
        .as_array()
        .expect("the list is always there")
        .iter()
        .map(|item| item["itemIdentifier"].as_str().expect("a text").to_owned())
        .collect()
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Succeeds),
        2 => Just(Fate::Fails),
        1 => Just(Fate::Panics),
        1 => Just(Fate::PanicsLater),
    ];
    proptest::collection::vec(fate, 0..=10)
}

fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Silences panics that a test causes.
fn quietly() {
    std::panic::set_hook(Box::new(|_| {}));
}

proptest! {
    #[test]
    fn exactly_the_failed_messages_are_reported(fates in fates()) {
        quietly();
        let ids: Vec<String> = (0..fates.len()).map(|place| format!("id-{place}")).collect();
        let messages: Vec<(&str, &str)> = ids
            .iter()
            .zip(&fates)
            .map(|(id, fate)| (id.as_str(), fate.body()))
            .collect();
        let reported = reported(&on_a_runtime(response(event(&messages), plenty())));
        let expected: BTreeSet<&String> = ids
            .iter()
            .zip(&fates)
            .filter(|(_, fate)| **fate != Fate::Succeeds)
            .map(|(id, _)| id)
            .collect();
        prop_assert_eq!(reported.len(), expected.len(), "no id twice, none invented");
        prop_assert_eq!(reported.iter().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn without_time_every_message_is_reported(fates in fates()) {
        let ids: Vec<String> = (0..fates.len()).map(|place| format!("id-{place}")).collect();
        let messages: Vec<(&str, &str)> = ids
            .iter()
            .zip(&fates)
            .map(|(id, fate)| (id.as_str(), fate.body()))
            .collect();
        let over = TimeLimits::with_remaining(Duration::ZERO);
        let reported = reported(&on_a_runtime(response(event(&messages), over)));
        prop_assert_eq!(reported.into_iter().collect::<BTreeSet<_>>(), ids.into_iter().collect());
    }

}

proptest! {
    // Each case waits for its time limit.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn endless_message_fails_no_other(fates in fates(), place in 0_usize..10) {
        quietly();
        let mut fates = fates;
        fates.insert(place.min(fates.len()), Fate::NeverEnds);
        let ids: Vec<String> = (0..fates.len()).map(|place| format!("id-{place}")).collect();
        let bodies: BTreeMap<&str, Fate> =
            ids.iter().map(String::as_str).zip(fates.iter().copied()).collect();
        let messages: Vec<(&str, &str)> =
            bodies.iter().map(|(id, fate)| (*id, fate.body())).collect();
        let soon = TimeLimits::with_remaining(Duration::from_millis(40));
        let reported = reported(&on_a_runtime(response(event(&messages), soon)));
        for id in &ids {
            // With time so short a good message may stay untried; a bad one never counts as done.
            let failed = bodies[id.as_str()] != Fate::Succeeds;
            prop_assert!(!failed || reported.contains(id), "{} was not reported", id);
        }
        prop_assert!(reported.iter().all(|id| ids.contains(id)));
    }
}

proptest! {
    #[test]
    fn any_body_is_passed_to_the_parser_unchanged(bodies in proptest::collection::vec(".{0,40}", 1..10)) {
        let ids: Vec<String> = (0..bodies.len()).map(|place| format!("id-{place}")).collect();
        let messages: Vec<(&str, &str)> =
            ids.iter().map(String::as_str).zip(bodies.iter().map(String::as_str)).collect();
        let parse = |body: String| async move {
            payload::wake_up(&body).map(drop).map_err(anyhow::Error::from)
        };
        let response = on_a_runtime(handle_batch(event(&messages), plenty(), parse))
            .expect("the batch has ids");
        prop_assert_eq!(response.batch_item_failures.len(), bodies.len());
    }
}

#[tokio::test]
async fn only_complete_success_is_an_empty_list() {
    let all_good = event(&[("a", "succeeds"), ("b", "succeeds")]);
    assert_eq!(
        response(all_good, plenty()).await.to_string(),
        r#"{"batchItemFailures":[]}"#
    );
}

#[tokio::test]
async fn failures_are_reported_by_message_id() {
    quietly();
    let mixed = event(&[
        ("059f36b4", "succeeds"),
        ("19dd0b57", "fails"),
        ("2e1424d4", "panics"),
        ("37a9c2c3", "panics later"),
    ]);
    assert_eq!(
        response(mixed, plenty()).await.to_string(),
        concat!(
            r#"{"batchItemFailures":[{"itemIdentifier":"19dd0b57"},"#,
            r#"{"itemIdentifier":"2e1424d4"},{"itemIdentifier":"37a9c2c3"}]}"#
        )
    );
}

#[tokio::test]
async fn empty_batch_succeeds() {
    assert_eq!(
        response(event(&[]), plenty()).await.to_string(),
        r#"{"batchItemFailures":[]}"#
    );
}

#[tokio::test]
async fn message_without_an_id_fails_the_whole_batch() {
    for id in [Value::Null, json!("")] {
        let records = json!({"Records": [
            {"messageId": "a", "body": "succeeds"},
            {"messageId": id, "body": "succeeds"},
        ]});
        let event = serde_json::from_value(records).expect("a batch as Lambda sends it");
        let untouched = |_: String| async { panic!("nothing of such a batch is handled") };
        let error = handle_batch(event, plenty(), untouched)
            .await
            .expect_err("it must fail as a whole");
        assert_eq!(error, BatchError::MissingId(1));
        assert_eq!(
            error.to_string(),
            "message 1 of the batch has no id; the whole batch returns to the queue"
        );
    }
}

// Groups: what is taken together.

/// Parses a body: its group and its fate. A body without a group belongs to no tenant.
async fn parse(body: String) -> anyhow::Result<(u8, String)> {
    let (group, fate) = body
        .split_once(' ')
        .ok_or_else(|| anyhow::anyhow!("no group"))?;
    Ok((group.parse()?, fate.to_owned()))
}

/// Takes a group at once: it comes to the worst that one of its messages comes to.
async fn handle_all(bodies: Vec<String>) -> anyhow::Result<()> {
    for body in bodies {
        handle(body).await?;
    }
    Ok(())
}

async fn group_response(event: SqsEvent, limits: TimeLimits) -> Value {
    let response = handle_groups(event, limits, parse, |_, bodies| handle_all(bodies))
        .await
        .expect("the batch has ids");
    serde_json::to_value(response).expect("a response is JSON")
}

proptest! {
    #[test]
    fn failing_message_fails_no_other_of_its_group(
        fates in fates(),
        groups in proptest::collection::vec(0_u8..3, 10),
    ) {
        quietly();
        let ids: Vec<String> = (0..fates.len()).map(|place| format!("id-{place}")).collect();
        let bodies: Vec<String> = fates
            .iter()
            .zip(&groups)
            .map(|(fate, group)| format!("{group} {}", fate.body()))
            .collect();
        let messages: Vec<(&str, &str)> =
            ids.iter().map(String::as_str).zip(bodies.iter().map(String::as_str)).collect();
        let reported = reported(&on_a_runtime(group_response(event(&messages), plenty())));
        let expected: BTreeSet<&String> = ids
            .iter()
            .zip(&fates)
            .filter(|(_, fate)| **fate != Fate::Succeeds)
            .map(|(id, _)| id)
            .collect();
        prop_assert_eq!(reported.len(), expected.len(), "no id twice, none invented");
        prop_assert_eq!(reported.iter().collect::<BTreeSet<_>>(), expected);
    }
}

#[tokio::test]
async fn group_is_handled_at_once_and_invalid_bodies_fail_alone() {
    let taken = Mutex::new(Vec::new());
    let take = |group: u8, bodies: Vec<String>| {
        taken
            .lock()
            .expect("no holder of this lock panicked")
            .push((group, bodies.len()));
        async { Ok(()) }
    };
    let batch = event(&[("a", "1 x"), ("b", "none"), ("c", "2 x"), ("d", "1 x")]);
    let response = handle_groups(batch, plenty(), parse, take)
        .await
        .expect("the batch has ids");
    let response = serde_json::to_value(response).expect("a response is JSON");
    assert_eq!(reported(&response), ["b"]);
    assert_eq!(
        taken.into_inner().expect("no holder of this lock panicked"),
        [(1, 2), (2, 1)]
    );
}

#[tokio::test]
async fn endless_group_is_reported_and_delays_no_other() {
    let batch = event(&[
        ("a", "1 never ends"),
        ("b", "2 succeeds"),
        ("c", "1 succeeds"),
    ]);
    // Time enough for what ends at once, on a busy machine too.
    let soon = TimeLimits::with_remaining(Duration::from_secs(2));
    assert_eq!(reported(&group_response(batch, soon).await), ["a", "c"]);
}

#[tokio::test]
async fn without_time_no_group_is_started() {
    let batch = event(&[("a", "1 panics"), ("b", "2 succeeds")]);
    let over = TimeLimits::with_remaining(Duration::ZERO);
    assert_eq!(reported(&group_response(batch, over).await), ["a", "b"]);
}

/// The sample batch of the relay's queue: an update, a delete of two records, and no JSON.
const RELAYED: &str = include_str!("../../infra/events/capture-relay.json");

#[tokio::test]
async fn relay_sample_is_one_group_and_one_failed_message() {
    let sample = serde_json::from_str(RELAYED).expect("the sample is JSON");
    let CaptureCall::Relayed(batch) = CaptureCall::parse(sample).expect("it is a batch") else {
        panic!("it is no schedule's payload");
    };
    let taken = Mutex::new(Vec::new());
    let response = handle_groups(
        batch,
        plenty(),
        |body| async move {
            let event = RelayedEvent::parse(&body)?;
            Ok((event.organization_id().clone(), event))
        },
        |organization, events| {
            let batch = (organization.to_string(), events.len());
            taken
                .lock()
                .expect("no holder of this lock panicked")
                .push(batch);
            async { Ok(()) }
        },
    );
    let response = serde_json::to_value(response.await.expect("it has ids")).expect("it is JSON");
    assert_eq!(
        reported(&response),
        ["00000000-0000-4000-8000-000000000003"]
    );
    let taken = taken.into_inner().expect("no holder of this lock panicked");
    assert_eq!(taken, [("00D000000000001EAA".to_owned(), 2)]);
}

#[test]
fn capture_function_distinguishes_schedules_from_batches() {
    let schedule = json!({"job": "capture", "side": "salesforce"});
    assert!(matches!(
        CaptureCall::parse(schedule),
        Ok(CaptureCall::Job(_))
    ));
    let batch = json!({"Records": [{"messageId": "a", "body": "{}"}]});
    assert!(matches!(
        CaptureCall::parse(batch),
        Ok(CaptureCall::Relayed(_))
    ));
    for wrong in [
        json!({"Records": 7}),
        json!({"Records": [7]}),
        json!({"job": "apply"}),
        json!(7),
    ] {
        let error = CaptureCall::parse(wrong)
            .expect_err("it is neither")
            .to_string();
        assert!(error.contains("capture"), "{error}");
    }
}
