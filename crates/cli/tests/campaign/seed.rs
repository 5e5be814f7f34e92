//! One seed from its start to its verdict.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rdkafka::{ClientConfig, admin::AdminClient, client::DefaultClientContext};
use serde_json::Value;
use tidemart_local::testing::Link;
use tokio::task::block_in_place;
use tokio_postgres::Client;

use super::{
    checker::{self, Findings},
    folder,
    plan::{Fault, Plan, Program, Way},
    rows,
    topics::{self, Oracle},
    verdict::{Met, Verdict},
    yard::Seat,
};
use crate::{
    cycle::{Cycle, Role, wait_for, workload::Workload},
    faults::{load::Load, probes::Probes},
};

const SHOP: &str = "[marts]\nenabled = true\n[shop]\nsize = \"tiny\"\nrate = 20.0\n";
const MARTS: [&str; 2] = ["user_sales", "product_sales"];
/// Ten seconds, and what a machine takes longer on which many seeds run at once.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);
/// The snapshot, too, beside that of all others.
const STARTS_WITHIN: Duration = Duration::from_secs(180);
/// Two of a kind run together for so long before one is ended.
const TOGETHER: Duration = Duration::from_secs(1);
/// Between two comparisons while something is still on its way.
const SETTLING: Duration = Duration::from_millis(500);

pub struct Seed {
    plan: Plan,
    seat: Seat,
    cycle: Cycle,
    captures: Vec<Role>,
    consumers: Vec<Role>,
    marts: Vec<Role>,
    shop: Option<Role>,
    loads: Vec<Load>,
    probes: Probes,
    oracle: Oracle,
    verdict: Verdict,
}

impl Seed {
    /// Starts everything and meets the seed's own faults.
    pub async fn run(plan: Plan, seat: Seat) -> Self {
        let mut seed = Self::start(plan, seat).await;
        tokio::time::timeout(STARTS_WITHIN, seed.probes.pass(&seed.cycle))
            .await
            .expect("a first change in the replica");
        for fault in seed.plan.faults.clone() {
            seed.bring_about(fault).await;
            seed.recover(&fault.kind()).await;
        }
        seed
    }

    pub fn number(&self) -> u64 {
        self.plan.seed
    }

    async fn start(plan: Plan, seat: Seat) -> Self {
        let (source, target) =
            tokio::join!(seat.postgres.create_database(), seat.target(plan.target).create_database());
        let cycle = Cycle::on(source, target, seat.kafka.clone());
        let probes = Probes::new(&cycle).await;
        let mut writers =
            vec![Workload::new(cycle.postgres().await, plan.seed, plan.rows).await.with_large()];
        if plan.shop {
            cycle.write_settings(&format!("{SHOP}seed = {}\n", plan.seed));
            let filled = block_in_place(|| cycle.run(&["producer", "--fill-only"]));
            assert!(filled.status.success(), "{}", text(&filled));
        }
        for number in 1..plan.writers {
            writers.push(Workload::beside(cycle.postgres().await, plan.seed << 8 | number));
        }
        let loads = writers.into_iter().map(|writer| Load::start(writer, cycle.source.clone())).collect();
        let capture = launch(&cycle, &seat, &plan, Program::Capture);
        let oracle = oracle(&cycle).await;
        let consumers = vec![launch(&cycle, &seat, &plan, Program::Consumer)];
        let marts = plan.shop.then(|| launch(&cycle, &seat, &plan, Program::Marts)).into_iter().collect();
        let shop = plan.shop.then(|| cycle.start("producer --shop-only", None));
        let verdict = Verdict {
            seed: plan.seed,
            target: format!("{:?}", plan.target),
            shop: plan.shop,
            ..Verdict::default()
        };
        Self {
            plan,
            seat,
            cycle,
            captures: vec![capture],
            consumers,
            marts,
            shop,
            loads,
            probes,
            oracle,
            verdict,
        }
    }

    /// Does what the fault says; returns when it is over.
    async fn bring_about(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(program) => {
                self.roles(program).remove(0).kill();
                let again = self.launch(program);
                self.roles(program).push(again);
            }
            Fault::Pause(program, lasts) => {
                self.roles(program)[0].signal(Signal::SIGSTOP);
                tokio::time::sleep(lasts).await;
                self.roles(program)[0].signal(Signal::SIGCONT);
            }
            Fault::Double(program) => self.double(program).await,
            Fault::Link(way, link, lasts) => {
                self.seat.proxy(way, self.plan.target).set(link);
                tokio::time::sleep(lasts).await;
                self.seat.proxy(way, self.plan.target).set(Link::Open);
            }
            Fault::Reset(way) => self.seat.proxy(way, self.plan.target).reset(),
            Fault::Lose(way, side) => self.seat.proxy(way, self.plan.target).lose(side),
            Fault::Server(_) => {}
        }
    }

    /// Two consumers share the work until one is killed; of two captures the newer one shuts out the other.
    async fn double(&mut self, program: Program) {
        let second = self.launch(program);
        self.roles(program).push(second);
        tokio::time::sleep(TOGETHER).await;
        if program == Program::Capture {
            let roles = self.roles(program);
            wait_for("one of two captures to end", || roles.iter_mut().any(|role| !role.is_running())).await;
            roles.retain_mut(Role::is_running);
        } else {
            self.roles(program).remove(0).kill();
        }
    }

    fn roles(&mut self, program: Program) -> &mut Vec<Role> {
        match program {
            Program::Capture => &mut self.captures,
            Program::Consumer => &mut self.consumers,
            Program::Marts => &mut self.marts,
        }
    }

    fn launch(&self, program: Program) -> Role {
        launch(&self.cycle, &self.seat, &self.plan, program)
    }

    /// Measures how long a change takes that is committed now.
    async fn recover(&mut self, fault: &str) {
        let started = Instant::now();
        let passed = tokio::time::timeout(RECOVERS_WITHIN, self.probes.pass(&self.cycle)).await;
        let recovered_s = passed.ok().map(|()| started.elapsed().as_secs_f64());
        self.verdict.faults.push(Met { fault: fault.to_owned(), recovered_s });
    }

    /// Meets what happened to the servers, comes to rest and is judged.
    pub async fn finish(mut self, of_servers: Option<Fault>) -> Verdict {
        if let Some(fault) = of_servers {
            self.recover(&fault.kind()).await;
        }
        for load in std::mem::take(&mut self.loads) {
            load.stop().await;
        }
        if let Some(shop) = self.shop.take() {
            shop.stop().await;
        }
        self.recover("end").await;
        self.verdict.faults.retain(|met| met.fault != "end" || met.recovered_s.is_none());
        if let Err(error) = self.judge().await {
            self.verdict.error = Some(error);
        }
        if !self.verdict.passed() {
            self.keep_logs();
        }
        let verdict = self.verdict.clone();
        self.clean_up().await;
        verdict
    }

    async fn judge(&mut self) -> Result<(), String> {
        let client = self.cycle.postgres().await;
        let mut findings = self.judge_rows(&client).await?;
        self.judge_by_verify()?;
        let changes = self.oracle.changes(&client).await.map_err(|error| error.to_string())?;
        let (bootstrap, prefix) = (self.cycle.kafka.bootstrap.clone(), self.cycle.prefix.clone());
        let events = block_in_place(|| topics::events(&bootstrap, &prefix));
        let events = events.map_err(|error| error.to_string())?;
        findings.absorb(checker::check(self.oracle.since, &changes, &events));
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

    /// Copies the logs of the programs to the verdict's folder.
    fn keep_logs(&self) {
        let kept = folder().join(format!("seed-{}", self.plan.seed));
        std::fs::create_dir_all(&kept).unwrap();
        for entry in std::fs::read_dir(self.cycle.folder()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, kept.join(path.file_name().unwrap())).unwrap();
        }
    }

    /// Leaves the servers as they were: slots hold back WAL, topics cost the broker memory.
    async fn clean_up(self) {
        let Self { plan, seat, cycle, captures, consumers, marts, .. } = self;
        drop((captures, consumers, marts));
        let admin = crate::cycle::connect(&seat.postgres.admin("postgres")).await.unwrap();
        let database = &cycle.source.database;
        let end = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '{database}' AND active;"
        );
        let drop_all = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{database}';"
        );
        let started = Instant::now();
        while admin.batch_execute(&format!("{end}{drop_all}")).await.is_err() {
            assert!(started.elapsed() < RECOVERS_WITHIN, "the slots of {database} stay in use");
            tokio::time::sleep(SETTLING).await;
        }
        admin.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
        let mut replica = cycle.mysql().await;
        let drop_replica = format!("DROP DATABASE {}", cycle.target.database);
        mysql_async::prelude::Queryable::query_drop(&mut replica, drop_replica).await.unwrap();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &cycle.kafka.bootstrap);
        let kafka: AdminClient<DefaultClientContext> = client.create().unwrap();
        let topics = block_in_place(|| topics::all(&cycle.kafka.bootstrap, &cycle.prefix)).unwrap();
        let names: Vec<_> = topics.iter().map(String::as_str).collect();
        kafka.delete_topics(&names, &rdkafka::admin::AdminOptions::new()).await.unwrap();
        println!("seed {}: {} faults", plan.seed, plan.faults.len());
    }
}

fn launch(cycle: &Cycle, seat: &Seat, plan: &Plan, program: Program) -> Role {
    let port = |way| seat.proxy(way, plan.target).port().to_string();
    let kafka = ("TIDEMART_KAFKA_BOOTSTRAP", format!("127.0.0.1:{}", port(Way::Kafka)));
    let mysql = ("TIDEMART_MYSQL_PORT", port(Way::Target));
    match program {
        Program::Capture => {
            cycle.start_with("capture", &[kafka, ("TIDEMART_POSTGRES_PORT", port(Way::Postgres))])
        }
        Program::Consumer => cycle.start_with("consumer", &[kafka, mysql]),
        Program::Marts => cycle.start_with("marts watch", &[mysql]),
    }
}

/// A slot of our own as soon as the capture has made its publication.
async fn oracle(cycle: &Cycle) -> Oracle {
    let client = cycle.postgres().await;
    let started = Instant::now();
    while client.query("SELECT FROM pg_publication", &[]).await.unwrap().is_empty() {
        assert!(started.elapsed() < RECOVERS_WITHIN, "the capture makes no publication: {}", cycle.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Oracle::new(&client, &format!("{}_oracle", cycle.slot())).await.unwrap()
}

/// Whether every group of a mart was judged, and found right.
fn is_equal(mart: &Value) -> bool {
    let right = mart["different"].as_array().is_some_and(Vec::is_empty);
    right && mart["compared"].as_u64() > Some(0) && mart["moving"] == 0 && mart["waiting"].is_null()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn last_line(log: &str) -> &str {
    log.lines().last().unwrap_or_default()
}
