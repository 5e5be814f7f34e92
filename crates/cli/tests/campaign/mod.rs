//! The fault campaign: random workloads on the real programs and servers, random faults, and an oracle of its own.
//!
//! `make campaign SEEDS=200` runs the seeds 1 to 200, `make campaign SEED=17` that one alone, and `cargo test` a few.
//! What was found stands in `verdict.json` and `verdict.md`; a finding fails the test. A seed that failed leaves the logs
//! of its programs beside them.

mod checker;
mod fault;
mod judge;
mod losses;
mod plan;
mod rows;
mod seed;
mod tables;
mod topics;
mod verdict;
mod yard;

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use tokio::task::JoinHandle;

use plan::{Fault, Plan, WAVE};
use seed::Seed;
use verdict::{Campaign, Verdict};
use yard::Yard;

/// Seeds where nothing else is asked for: one wave.
const SEEDS: u64 = WAVE;

/// The seeds that the environment names: `CAMPAIGN_SEED`, or as many as `CAMPAIGN_SEEDS` says, or from one to another
/// as in `71-200`.
fn wanted() -> Vec<u64> {
    let named = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let number = |text: &str| {
        text.parse::<u64>()
            .unwrap_or_else(|_| panic!("{text} is no number of a seed, nor a range as in 71-200"))
    };
    if let Some(seed) = named("CAMPAIGN_SEED") {
        return vec![number(&seed)];
    }
    let seeds = named("CAMPAIGN_SEEDS").unwrap_or_else(|| SEEDS.to_string());
    let (first, last) = seeds.split_once('-').unwrap_or(("1", &seeds));
    (number(first)..=number(last)).collect()
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
    // A range goes on with what the verdict says of other seeds.
    let earlier = Campaign::read(&folder()).filter(|_| !waves.contains_key(&0)).unwrap_or_default();
    let mut verdicts: Vec<_> =
        earlier.seeds.into_iter().filter(|seed| !wanted().contains(&seed.seed)).collect();
    let elapsed = || earlier.elapsed_s + started.elapsed().as_secs_f64();
    let mut yard = Yard::open().await;
    for (wave, seeds) in waves {
        verdicts.extend(run(&mut yard, plan::of_servers(wave), &seeds).await);
        // What there is so far can be read while the rest runs.
        Campaign::new(verdicts.clone(), elapsed()).write(&folder()).unwrap();
    }
    let campaign = Campaign::new(verdicts, elapsed());
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
    let mut met = all(running, &mut verdicts).await;
    match of_servers {
        Some(Fault::Server(way)) => yard.kill_and_start(way).await,
        Some(Fault::PutBack) => {
            let passing = met.into_iter().map(|seed| (seed.number(), tokio::spawn(seed.pass(true))));
            met = all(passing.collect(), &mut verdicts).await;
            let saved = yard.save_kafka().await;
            // Something of each seed is in the tail that is lost.
            let passing = met.into_iter().map(|seed| (seed.number(), tokio::spawn(seed.pass(false))));
            met = all(passing.collect(), &mut verdicts).await;
            yard.put_back_kafka(saved).await;
        }
        _ => {}
    }
    let last = met.into_iter().map(|seed| (seed.number(), tokio::spawn(seed.finish(of_servers))));
    for (number, seed) in last.collect::<Vec<_>>() {
        verdicts.push(ended(number, seed).await.unwrap_or_else(|verdict| verdict));
    }
    verdicts.sort_by_key(|verdict| verdict.seed);
    verdicts
}

/// Waits for all; those that broke leave a verdict.
async fn all(running: Vec<(u64, JoinHandle<Seed>)>, verdicts: &mut Vec<Verdict>) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (number, seed) in running {
        match ended(number, seed).await {
            Ok(seed) => seeds.push(seed),
            Err(verdict) => verdicts.push(verdict),
        }
    }
    seeds
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
