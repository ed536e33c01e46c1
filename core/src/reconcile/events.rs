//! Notices objects whose change events do not arrive: else no one would miss the edits.

use crate::config::CaptureMode;
use crate::job::Job;
use crate::job::error::Error;
use crate::model::ids::ObjectName;
use crate::ports::MappedObject;

/// Returns why of which objects no change events arrive. Asks the org every few minutes, while it can be used.
pub(super) async fn missing(job: &Job<'_>) -> Result<Vec<String>, Error> {
    let control = job.store().control(job.id()).await?;
    if control.outage.is_none() && job.tenant.asks_for_events(job.now_ms()) {
        let mut found = Vec::new();
        for mapped in job.mapped_objects() {
            found.extend(ask(job, mapped).await);
        }
        job.store().note_events(job.id(), &found).await?;
    }
    let missing = job.store().missing_events(job.id()).await?;
    for problem in &missing {
        tracing::error!(tenant = %job.id(), problem, "change events of an object do not arrive");
    }
    Ok(missing)
}

/// Asks the org for the change events of an object. Returns `None` if it cannot tell: what was known stays.
async fn ask(job: &Job<'_>, mapped: &MappedObject) -> Option<(ObjectName, Option<String>)> {
    let object = &mapped.sync.object;
    let answer = match job.tenant.config.capture {
        CaptureMode::Pubsub => job.salesforce().change_events(object).await,
        CaptureMode::Poll => return Some((object.clone(), None)),
        // A relay is seen from here by what it delivers alone: the comparison and the next event say it.
        CaptureMode::Relay => return None,
    };
    match answer {
        Ok(events) => {
            let problem = events.problem(object).map(|(what, _)| what);
            Some((object.clone(), problem))
        }
        Err(error) => {
            tracing::warn!(tenant = %job.id(), %object, %error, "the org cannot be asked for change events");
            None
        }
    }
}
