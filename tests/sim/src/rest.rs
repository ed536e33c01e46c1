//! The end of a world: faults end, every job runs until there is no more work, and that must come.

use salesforce_org::Request;
use serde_json::json;

use crate::faults;
use crate::oracle::{self, Finding};
use crate::process::Progress;
use crate::run::Stage;
use crate::script::{JobName, Operation, OrgFault, World};
use crate::transport::Leads;
use crate::users::Letting;

/// Rounds until a world without faults must be quiet.
const ROUNDS_MAX: usize = 40;

/// Time of one of these rounds: longer than every lease, and than most waits of records.
const ROUND_MS: i64 = 20 * 60 * 1_000;

/// Ends all faults, and lets every job run until there is no more work.
///
/// Before the comparison of everything, the sides must be equal already, unless something happened that no event
/// tells: what a capture or an apply has lost must not be found by the comparison alone.
pub(crate) async fn come_to_rest(stage: &mut Stage, world: &World) -> anyhow::Result<()> {
    end_faults(stage).await?;
    let mut quiet_rounds = 0;
    let mut decides = world.decides;
    for round in 0..ROUNDS_MAX {
        stage.pass(ROUND_MS).await?;
        let before = stage.users.fingerprint().await?;
        let mut jobs = vec![
            JobName::Sweep,
            JobName::CapturePostgres,
            JobName::CaptureSalesforce,
            JobName::Apply(0),
            JobName::Apply(1),
        ];
        if quiet_rounds == 1 && decides {
            decides = false;
            quiet_rounds = 0;
            decide(stage, world).await?;
        } else if quiet_rounds == 1 {
            if !stage.users.log.untold {
                let early = oracle::early_findings(world, &mut stage.users).await?;
                stage.findings.extend(early);
            }
            jobs.push(JobName::Compare);
        }
        let mut failed = false;
        for job in jobs {
            if let Progress::Ended(job, Some(error)) = stage.run(0, job).await? {
                failed = true;
                let told = format!("at rest, {job:?} failed: {error}");
                // At first it may meet what faults have left.
                if round > 0 {
                    stage.findings.push(Finding::of("I12", told.clone()));
                }
                stage.story.push(told);
            }
        }
        let is_same = stage.users.fingerprint().await? == before;
        let is_quiet = is_same && !failed && due(stage).await? == 0;
        let open = open_work(stage).await?;
        stage
            .story
            .push(format!("round {round} is quiet: {is_quiet}{open}"));
        quiet_rounds = if is_quiet { quiet_rounds + 1 } else { 0 };
        if quiet_rounds == 2 {
            return Ok(());
        }
    }
    let what = format!("not quiet after {ROUNDS_MAX} rounds");
    stage.findings.push(Finding::of("I3", what));
    Ok(())
}

/// Lets the operator decide every conflict and approve every delete.
async fn decide(stage: &mut Stage, world: &World) -> anyhow::Result<()> {
    let unguarded = oracle::unguarded(world, &mut stage.users).await?;
    stage.findings.extend(unguarded);
    let (line, decided) = stage.operator.resolve_all().await?;
    stage.story.push(line);
    let (line, approved) = stage.operator.approve().await?;
    stage.story.push(line);
    stage.users.log.approved = true;
    for (operation, done) in [
        (Operation::Resolve, decided),
        (Operation::Approve, approved),
    ] {
        if done {
            stage.meet(&operation);
        }
    }
    Ok(())
}

/// Ends all faults and open transactions, and lets an operator try again what has stopped.
async fn end_faults(stage: &mut Stage) -> anyhow::Result<()> {
    let (line, _) = stage.users.let_go(Letting::Commit).await?;
    stage.story.push(line);
    if stage.users.is_read_only {
        let (line, _) = stage.users.set_read_only(false).await?;
        stage.story.push(line);
    }
    stage.correct_mappings().await?;
    stage.route.lead(Leads::ToOurOrg);
    for what in ["faults", "pubsub/refusals", "locks"] {
        let request = Request::new("DELETE", &format!("/_org/{what}")).json(&json!({}));
        stage.org.with_org(|org| org.request(&request));
    }
    let lacks = stage.lacks;
    stage
        .org
        .with_org(|org| faults::declare(org, OrgFault::RightsBack, lacks))?;
    for place in 0..stage.processes.len() {
        // The rest of what it is at, or nothing.
        let _ = stage.finish(place).await?;
    }
    if stage.users.is_away {
        let (line, is_back) = stage.users.exchange_table().await?;
        anyhow::ensure!(is_back, "the former table cannot come back");
        stage.story.push(line);
    }
    if stage.replays {
        let (line, replayed) = stage.operator.replay().await?;
        stage.story.push(line);
        if replayed {
            stage.meet(&Operation::Replay);
        }
    }
    Ok(())
}

/// Returns the open work, for the story.
async fn open_work(stage: &mut Stage) -> anyhow::Result<String> {
    let open = "select string_agg(concat_ws(' ', ', ', link.object, link.external_id, task.state, task.code, task.attempts), ''
            order by link.object, link.external_id, task.code)
        from syncline.sync_task as task join syncline.sync_link as link using (record_id)";
    let open: Option<String> = sqlx::query_scalar(open)
        .persistent(false)
        .fetch_one(&mut stage.users.postgres)
        .await?;
    Ok(open.unwrap_or_default())
}

/// Counts open work that is neither parked nor waits for a parent: only that may wait for ever.
async fn due(stage: &mut Stage) -> anyhow::Result<i64> {
    let open = "select count(*) from syncline.sync_task where state <> 'parked' and coalesce(code, '') <> 'missing_parent'";
    Ok(sqlx::query_scalar(open)
        .persistent(false)
        .fetch_one(&mut stage.users.postgres)
        .await?)
}
