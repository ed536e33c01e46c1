//! The engine as it goes to AWS: the template and the real function zips, in the emulator.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::json;

use crate::aws::{self, Aws};
use crate::mapping::Capture;
use crate::world::World;

/// Where the private key of the engine's Salesforce user is kept.
const SECRET: &str = "acme/salesforce";

/// The event bus of the relay. It stays unused: the org sends events to the queue behind it.
const RELAY_BUS: &str = "aws.partner/salesforce.com/of-the-local-org";

/// The template's functions, deployed and driven by its own schedules and queue.
#[derive(Debug)]
pub struct Deployed {
    /// The emulator.
    pub aws: Aws,
    zips: PathBuf,
    parameters: Vec<(&'static str, String)>,
}

impl Deployed {
    /// Starts the emulator and deploys the template for both sides of `world`.
    ///
    /// # Errors
    ///
    /// When the zips cannot be built, or the template is refused.
    pub async fn start(world: &World) -> anyhow::Result<Self> {
        let zips = aws::function_zips().await?;
        let mut aws = Aws::start(&[]).await?;
        aws.keep_secret(SECRET, salesforce_org::local::PRIVATE_KEY)
            .await?;
        let parameters = vec![
            ("Config", config(world, Capture::Pubsub)?),
            ("DatabaseUrl", world.postgres().url().to_owned()),
            ("RelayEventBus", RELAY_BUS.to_owned()),
        ];
        deploy(&mut aws, &zips, &parameters).await?;
        Ok(Self {
            aws,
            zips,
            parameters,
        })
    }

    /// Wakes capture of both sides as the schedules do, without waiting for their first tick.
    ///
    /// # Errors
    ///
    /// When the emulator does not take the invocations.
    pub async fn wake_capture(&self) -> anyhow::Result<()> {
        let capture = self.aws.output("CaptureFunctionName")?;
        for side in ["postgres", "salesforce"] {
            let payload = json!({"job": "capture", "side": side, "keep_polling_seconds": 50});
            self.aws.wake(capture, &payload).await?;
        }
        Ok(())
    }

    /// Wakes the sweep, which wakes apply for whatever is due.
    ///
    /// # Errors
    ///
    /// When the emulator does not take the invocation.
    pub async fn wake_sweep(&self) -> anyhow::Result<()> {
        let reconcile = self.aws.output("ReconcileFunctionName")?;
        self.aws.wake(reconcile, &json!({"job": "sweep"})).await
    }

    /// Switches the org's change events to Event Relay, some of them doubled and all shuffled, without a
    /// subscription.
    ///
    /// # Errors
    ///
    /// When the org or the emulator refuses.
    pub async fn switch_to_relay(&mut self, world: &World) -> anyhow::Result<()> {
        // The relay starts first: an event that comes both ways does no harm, one that comes neither way is lost.
        let relay = json!({
            "name": "Relay", "channel": "ChangeEvents", "state": "RUN",
            "queue_url": self.aws.output("RelayQueueUrl")?,
            "region": self.aws.environment()["AWS_REGION"],
        });
        let disorder = json!({"duplicate_every": 3, "shuffle_within": 20});
        for (path, order) in [("relays", relay), ("relays/Relay", disorder)] {
            world
                .person
                .control(Method::POST, path, Some(order))
                .await?;
        }
        let config = config(world, Capture::Relay)?;
        self.parameters.retain(|(name, _)| *name != "Config");
        self.parameters.push(("Config", config));
        deploy(&mut self.aws, &self.zips, &self.parameters).await
    }

    /// Builds the functions again and deploys those that changed.
    ///
    /// # Errors
    ///
    /// If they do not build; the stack keeps the deployed ones.
    pub async fn redeploy(&mut self) -> anyhow::Result<()> {
        self.zips = aws::build_function_zips("dev").await?;
        deploy(&mut self.aws, &self.zips, &self.parameters).await
    }
}

fn config(world: &World, capture: Capture) -> anyhow::Result<String> {
    let path = world.config_of_functions(&format!("secretsmanager:{SECRET}"), capture)?;
    Ok(path.display().to_string())
}

async fn deploy(
    aws: &mut Aws,
    zips: &std::path::Path,
    parameters: &[(&'static str, String)],
) -> anyhow::Result<()> {
    let parameters: Vec<(&str, &str)> = parameters
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    aws.deploy(zips, &parameters).await
}
