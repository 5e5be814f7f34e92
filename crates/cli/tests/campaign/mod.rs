//! The fault campaign: random workloads on the real programs and servers, random faults, and an oracle of its own.
//!
//! `make campaign SEEDS=200` runs the seeds 1 to 200, `make campaign SEED=17` that one alone, and `cargo test` a few.
//! What was found stands in `verdict.json` and `verdict.md`; a finding fails the test. A seed that failed leaves the logs
//! of its programs beside them.

mod checker;
mod plan;
mod rows;
mod seed;
mod topics;
mod verdict;
mod yard;

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use tokio::task::JoinHandle;

use plan::{Fault, Plan, WAVE};
use seed::Seed;
use verdict::{Campaign, Verdict};
use yard::Yard;

/// Seeds where nothing else is asked for.
const SEEDS: u64 = 20;

/// The seeds that the environment names: `CAMPAIGN_SEED`, or as many as `CAMPAIGN_SEEDS` says.
fn wanted() -> Vec<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
    };
    match number("CAMPAIGN_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("CAMPAIGN_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

fn folder() -> PathBuf {
    std::env::var_os("CAMPAIGN_OUT")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("campaign"), PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds() {
    let started = Instant::now();
    let mut waves: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for seed in wanted() {
        waves.entry(seed.saturating_sub(1) / WAVE).or_default().push(seed);
    }
    let (mut yard, mut verdicts) = (Yard::open().await, Vec::new());
    for (wave, seeds) in waves {
        verdicts.extend(run(&mut yard, plan::of_servers(wave), &seeds).await);
        // What there is so far can be read while the rest runs.
        Campaign::new(verdicts.clone(), started.elapsed().as_secs_f64()).write(&folder()).unwrap();
    }
    let campaign = Campaign::new(verdicts, started.elapsed().as_secs_f64());
    println!("{}", campaign.markdown());
    println!("verdict: {}", folder().join("verdict.json").display());
    let failed: Vec<_> = campaign.seeds.iter().filter(|seed| !seed.passed()).collect();
    assert!(campaign.passed, "{}", serde_json::to_string_pretty(&failed).unwrap());
}

/// Seeds side by side: each with its own faults first, then all with that of the servers.
async fn run(yard: &mut Yard, of_servers: Option<Fault>, seeds: &[u64]) -> Vec<Verdict> {
    let mut running = Vec::new();
    for number in seeds {
        let (plan, seat) = (Plan::of(*number), yard.seat(*number));
        running.push((*number, tokio::spawn(async move { Seed::run(plan, seat).await })));
    }
    let mut verdicts = Vec::new();
    let mut met = Vec::new();
    for (number, seed) in running {
        match ended(number, seed).await {
            Ok(seed) => met.push(seed),
            Err(verdict) => verdicts.push(verdict),
        }
    }
    if let Some(Fault::Server(way)) = of_servers {
        yard.kill_and_start(way).await;
    }
    let last = met.into_iter().map(|seed| (seed.number(), tokio::spawn(seed.finish(of_servers))));
    for (number, seed) in last.collect::<Vec<_>>() {
        verdicts.push(ended(number, seed).await.unwrap_or_else(|verdict| verdict));
    }
    verdicts.sort_by_key(|verdict| verdict.seed);
    verdicts
}

/// A task that broke is a finding, too.
async fn ended<T>(seed: u64, task: JoinHandle<T>) -> Result<T, Verdict> {
    task.await.map_err(|error| {
        let error = Some(match error.try_into_panic() {
            Ok(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned()),
            Err(error) => error.to_string(),
        });
        Verdict { seed, error, ..Verdict::default() }
    })
}
