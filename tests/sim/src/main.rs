//! Searches for worlds that break an invariant, and plays one again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use syncline_sim::planted::{self, Played, play_in_time};
use syncline_sim::{Script, Verdict, play, shrink};

/// Plays simulated worlds, each decided by its seed, and prints those that break an invariant.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Ends after so many minutes, even if seeds are left.
    #[arg(long)]
    minutes: Option<u64>,
    /// Plays only the steps at these places.
    #[arg(long, value_delimiter = ',')]
    keep: Option<Vec<usize>>,
    /// Prints the story of every world.
    #[arg(long)]
    story: bool,
    /// Prints every call of the engine.
    #[arg(long)]
    calls: bool,
    /// Does not make failing worlds short.
    #[arg(long)]
    whole: bool,
    /// Reads seeds from the input, a line each, and answers each with a line: how its world ended.
    #[arg(long)]
    from_stdin: bool,
    /// Plays each world twice and compares.
    #[arg(long)]
    twice: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    planted::switched_on()?;
    if options.from_stdin {
        answer_seeds().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let began = Instant::now();
    let time = options
        .minutes
        .map(|minutes| Duration::from_secs(60 * minutes));
    let (mut played, mut failed) = (0, 0);
    for seed in options.seed..options.seed.saturating_add(options.count) {
        if time.is_some_and(|time| began.elapsed() > time) {
            break;
        }
        played += 1;
        let is_well = search(&options, seed).await.unwrap_or_else(|error| {
            println!("seed {seed} cannot be played: {error:#}");
            false
        });
        failed += u64::from(!is_well);
    }
    let per_minute = f64::from(u32::try_from(played)?) / began.elapsed().as_secs_f64() * 60.0;
    println!(
        "{played} worlds from seed {}, {per_minute:.0} a minute, {failed} break an invariant",
        options.seed
    );
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Plays worlds as long as there are seeds in the input.
async fn answer_seeds() -> anyhow::Result<()> {
    for seed in std::io::stdin().lines() {
        let played = Played::of(seed?.parse()?).await;
        println!("{}", serde_json::to_string(&played)?);
    }
    Ok(())
}

/// Plays one seed. Returns true if all is well.
async fn search(options: &Options, seed: u64) -> anyhow::Result<bool> {
    let whole = Script::of(seed);
    let script = options
        .keep
        .as_ref()
        .map_or_else(|| whole.clone(), |keep| whole.keep(keep));
    let began = Instant::now();
    let verdict = play_in_time(&script).await?;
    let (calls, time) = (verdict.calls.len(), began.elapsed().as_millis());
    eprintln!(
        "seed {seed}: {} steps, {calls} calls, {time} ms",
        script.steps.len()
    );
    if let Some(bug) = planted::switched_on()? {
        let is_reached = planted::take_reached().contains(bug.name.as_str());
        eprintln!("the removed rule is reached: {is_reached}");
    }
    if options.twice {
        let again = play(&script).await?;
        if again.hash() != verdict.hash() {
            println!(
                "seed {seed} ends in two ways: {:#?}",
                verdict.differs_at(&again)
            );
            return Ok(false);
        }
    }
    if options.story {
        println!("{}", verdict.story.join("\n"));
    }
    if options.calls {
        println!("{}", verdict.calls.join("\n"));
    }
    let Some(first) = verdict.findings.first() else {
        return Ok(true);
    };
    if options.whole || options.keep.is_some() {
        report(&verdict, seed, None);
        return Ok(false);
    }
    let kept = shrink(&script, first.invariant).await;
    report(&play(&script.keep(&kept)).await?, seed, Some(&kept));
    Ok(false)
}

fn report(verdict: &Verdict, seed: u64, kept: Option<&[usize]>) {
    println!("{}", verdict.story.join("\n"));
    for finding in &verdict.findings {
        println!(
            "{}: {}\n{}",
            finding.invariant, finding.what, finding.evidence
        );
    }
    let keep = kept.map_or_else(String::new, |kept| {
        let places: Vec<String> = kept.iter().map(usize::to_string).collect();
        format!(" --keep {}", places.join(","))
    });
    println!("again: scripts/sim --seed {seed}{keep} --story");
}
