//! The template with the real function zips in the emulator: queue, mapping and schedules do the work.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};
use syncline_e2e::aws::{Aws, function_zips};
use syncline_e2e::converge::{Goal, Standing, converge};
use syncline_e2e::deployed::Deployed;
use syncline_e2e::load::Births;
use syncline_e2e::world::World;

/// Airports created on each side.
const OF_EACH_SIDE: usize = 250;

/// A write whose outcome could not be stored keeps its record leased for three minutes, and the sweep runs
/// once a minute: a longer wait means that something is lost.
const PATIENCE: Duration = Duration::from_secs(270);

fn silent(_: &Standing) {}

#[tokio::test(flavor = "multi_thread")]
async fn deployed_functions_keep_both_sides_equal() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let births = Births::real_records(OF_EACH_SIDE)?;
    births.into_postgres(&world.pool).await?;
    births.into_salesforce(&world.person).await?;
    world.install().await?;
    let mut deployed = Deployed::start(&world).await?;
    let queue = Queue::of(&deployed.aws).await?;

    // Only schedules, queue and mapping invoke the functions. A message of another program stays on the
    // queue the whole time.
    queue.make_due().await?;
    queue.send("not a wake-up").await?;
    let goal = Goal {
        records: births.accounts() + births.contacts(),
        conflicts: 0,
    };
    converge(&world, goal, PATIENCE, silent).await?;

    // From here on Salesforce's changes are relayed, doubled and shuffled.
    deployed.switch_to_relay(&world).await?;
    sqlx::query("update account set description = 'edited' where iata is not null")
        .execute(&world.pool)
        .await?;
    let records = world
        .person
        .query("select Id from Account where BillingCountry = 'US'")
        .await?;
    let renamed: Vec<_> = records
        .into_iter()
        .map(|mut record| {
            record.insert("Phone".to_owned(), json!("+1 555 0123"));
            record
        })
        .collect();
    anyhow::ensure!(!renamed.is_empty(), "there are airports of the US");
    world.person.update("Account", &renamed).await?;
    world
        .person
        .control(reqwest::Method::POST, "sessions/expire", None)
        .await?;
    world.person = World::sign_in(&world.org).await?;
    world.postgres().restart().await?;
    converge(&world, goal, PATIENCE, silent).await?;

    events_came_relayed(&world, &deployed.aws).await?;

    queue.until_dead_letters(1).await?;
    one_panic_takes_one_message(&deployed.aws).await
}

/// The deployed wake-up queue, and that of the relay beside it.
struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
    dead_letters: String,
    relayed: String,
}

impl Queue {
    async fn of(aws: &Aws) -> anyhow::Result<Self> {
        Ok(Self {
            client: aws_sdk_sqs::Client::new(&aws.client_config().await),
            url: aws.output("WakeUpQueueUrl")?.to_owned(),
            dead_letters: aws.output("WakeUpDeadLetterQueueUrl")?.to_owned(),
            relayed: aws.output("RelayQueueUrl")?.to_owned(),
        })
    }

    /// Makes failed messages visible again soon: the template's six minutes are too long for a test.
    async fn make_due(&self) -> anyhow::Result<()> {
        for url in [&self.url, &self.relayed] {
            self.client
                .set_queue_attributes()
                .queue_url(url)
                .attributes(QueueAttributeName::VisibilityTimeout, "5")
                .send()
                .await?;
        }
        Ok(())
    }

    async fn send(&self, body: &str) -> anyhow::Result<()> {
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .send()
            .await?;
        Ok(())
    }

    async fn until_dead_letters(&self, wanted: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let answer = self
                .client
                .get_queue_attributes()
                .queue_url(&self.dead_letters)
                .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
                .send()
                .await?;
            let count = answer
                .attributes()
                .and_then(|all| all.get(&QueueAttributeName::ApproximateNumberOfMessages))
                .and_then(|text| text.parse::<usize>().ok())
                .unwrap_or_default();
            if count == wanted {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                bail!("{count} messages are in the dead-letter queue, not {wanted}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// The org sent its events to the queue, and capture received all of them, the doubled ones included.
/// The last echoes of our own writes may still be on their way.
async fn events_came_relayed(world: &World, aws: &Aws) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let relays = world
            .person
            .control(reqwest::Method::GET, "relays", None)
            .await?;
        let relayed = relays[0]["relayed"].as_u64().unwrap_or_default();
        let log = std::fs::read_to_string(aws.functions_log()).context("the functions' log")?;
        let taken: u64 = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["message"] == "captured relayed events")
            .filter_map(|line| line["events"].as_u64())
            .sum();
        if relayed > 0 && taken > relayed {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("{taken} events were taken, some of them twice: {relays}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A panic in the real build, on the real runtime: one message fails, and the process answers the next
/// batch.
async fn one_panic_takes_one_message(aws: &Aws) -> anyhow::Result<()> {
    let zip = function_zips().await?.join("one_panic/bootstrap.zip");
    aws.create_function("one-panic", &zip).await?;
    let batch = |bodies: &[&str]| -> Value {
        let records: Vec<Value> = bodies
            .iter()
            .map(|body| json!({"messageId": format!("id of {body}"), "body": body}))
            .collect();
        json!({ "Records": records })
    };
    let answer = aws
        .invoke("one-panic", &batch(&["one", "panic", "two"]))
        .await?;
    let reported = json!([{"itemIdentifier": "id of panic"}]);
    assert_eq!(answer, json!({ "batchItemFailures": reported }));
    let answer = aws.invoke("one-panic", &batch(&["three"])).await?;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let log = std::fs::read_to_string(aws.functions_log()).context("the functions' log")?;
    assert!(log.contains("a panic at functions/examples/one_panic.rs"));
    assert!(
        !log.contains("a message asked for it"),
        "a panic's text may quote values"
    );
    Ok(())
}
