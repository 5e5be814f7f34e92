//! What a seed is judged by, once it has come to rest.

use std::time::Instant;

use serde_json::Value;
use tokio::task::block_in_place;
use tokio_postgres::Client;

use super::{
    checker::{self, Findings},
    plan::Program,
    rows,
    seed::{RECOVERS_WITHIN, SETTLING, Seed},
    topics,
};
use crate::cycle::text;

const MARTS: [&str; 2] = ["user_sales", "product_sales"];

impl Seed {
    pub(super) async fn judge(&mut self) -> Result<(), String> {
        let client = self.cycle.postgres().await;
        let mut findings = self.judge_rows(&client).await?;
        self.judge_by_verify()?;
        let changes = self.oracle.changes(&client).await.map_err(|error| error.to_string())?;
        let (bootstrap, prefix) = (self.cycle.kafka.bootstrap.clone(), self.cycle.prefix.clone());
        let read = block_in_place(|| topics::records(&bootstrap, &prefix, None));
        let events =
            topics::with_deleted(std::mem::take(&mut self.deleted), read.map_err(|error| error.to_string())?);
        findings.absorb(checker::check(self.oracle.since, &changes, &events, &self.silences));
        self.verdict.events = events.len();
        self.verdict.findings = findings;
        for program in [Program::Capture, Program::Consumer, Program::Marts] {
            for role in std::mem::take(self.roles(program)) {
                let log = role.text();
                let status = role.stop().await;
                if !status.success() {
                    return Err(format!("{program} ended with {status}: {}", last_line(&log)));
                }
            }
        }
        Ok(())
    }

    /// Compares until both sides are equal, or for as long as a recovery may take.
    async fn judge_rows(&mut self, client: &Client) -> Result<Findings, String> {
        let started = Instant::now();
        loop {
            let mut replica = self.cycle.mysql().await;
            let (compared, findings) = rows::compare(client, &mut replica).await?;
            self.verdict.rows = compared;
            if findings.is_empty() || started.elapsed() > RECOVERS_WITHIN {
                return Ok(findings);
            }
            tokio::time::sleep(SETTLING).await;
        }
    }

    fn judge_by_verify(&mut self) -> Result<(), String> {
        if self.plan.shop {
            for mart in MARTS {
                let refreshed = block_in_place(|| self.cycle.run(&["marts", "refresh", mart]));
                if !refreshed.status.success() {
                    return Err(format!("marts refresh {mart}: {}", text(&refreshed)));
                }
            }
        }
        let output = block_in_place(|| self.cycle.run(&["verify", "--json"]));
        let verdict: Value = serde_json::from_slice(&output.stdout).map_err(|_| text(&output))?;
        let marts = verdict["marts"].as_array();
        if self.plan.shop {
            let all = marts.is_some_and(|marts| marts.len() == MARTS.len() && marts.iter().all(is_equal));
            self.verdict.marts_equal = Some(all);
        }
        if verdict["equal"] == true { Ok(()) } else { Err(format!("tidemart verify: {verdict}")) }
    }
}

/// Whether every group of a mart was judged, and found right.
fn is_equal(mart: &Value) -> bool {
    let right = mart["different"].as_array().is_some_and(Vec::is_empty);
    right && mart["compared"].as_u64() > Some(0) && mart["moving"] == 0 && mart["waiting"].is_null()
}

fn last_line(log: &str) -> &str {
    log.lines().last().unwrap_or_default()
}
