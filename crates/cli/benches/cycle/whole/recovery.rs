//! From SIGKILL of a role to the moment when what was committed after it has come through. `up` starts it again.

use std::time::{Duration, Instant};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    probes::{BASE, Probes, in_marts, in_replica},
    up::Up,
};
use crate::{
    figures::{Figures, Who},
    latency::watch,
    measure::Measure,
    process, wait,
};

const LOOK: Duration = Duration::from_millis(10);
/// After it has recovered, until the next one is killed: its supervisor takes a role that lived so long for sound.
const CALM: Duration = Duration::from_secs(12);

/// What to ask the servers for an order of this number.
type Question = fn(i64) -> String;

/// The roles by the arguments that they are recognised by, and where what they do is seen.
const ROLES: [(&str, Measure, Question); 3] = [
    ("capture", Measure::RecoveryCapture, in_replica),
    ("consumer", Measure::RecoveryConsumer, in_replica),
    ("marts", Measure::RecoveryMarts, in_marts),
];

/// Kills each role in turn.
pub async fn run(up: &Up, figures: &mut Figures) -> anyhow::Result<()> {
    let mut probes = Probes::begin(up).await?;
    let mut conn = up.mysql().await?;
    for (role, measure, query) in ROLES {
        tokio::time::sleep(CALM).await;
        let killed = kill_role(up, role)?;
        let (number, _) = probes.place().await?;
        let seen = watch(&mut conn, number, number, LOOK, query).await.context(role)?;
        let seen = seen.get(&number).context("the probe")?;
        figures.add(measure, Who::Ours, (*seen - killed).as_secs_f64());
    }
    // The shop may not find them when it starts again.
    probes.end().await?;
    tokio::time::sleep(CALM).await;
    figures.add(Measure::RecoveryShop, Who::Ours, shop(up).await?);
    Ok(())
}

fn kill_role(up: &Up, role: &str) -> anyhow::Result<Instant> {
    let id = process::descendant_with(up.id(), role).with_context(|| format!("no process of {role}"))?;
    kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGKILL)?;
    Ok(Instant::now())
}

/// Until there is a new order, seconds.
async fn shop(up: &Up) -> anyhow::Result<f64> {
    let client = up.postgres().await?;
    let newest = format!("SELECT max(order_id) FROM orders WHERE order_id < {BASE}");
    let killed = kill_role(up, "producer")?;
    // What the server had in hand may still be committed; the next one begins later.
    tokio::time::sleep(LOOK * 10).await;
    let before: i64 = client.query_one(&newest, &[]).await?.get(0);
    let look = async || {
        let now: i64 = client.query_one(&newest, &[]).await?.get(0);
        Ok((now > before).then_some(()))
    };
    let ((), ended) = wait::until("a new order", LOOK, look).await?;
    Ok((ended - killed).as_secs_f64())
}
