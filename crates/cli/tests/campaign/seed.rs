//! One seed from its start to its verdict.

use std::time::{Duration, Instant};

use rdkafka::{ClientConfig, admin::AdminClient, client::DefaultClientContext};
use tidemart_local::testing::{Proxy, TestDatabase};
use tokio::task::block_in_place;
use tokio_postgres::Client;

use super::{
    checker::Silence,
    folder,
    plan::{Fault, Plan, Program, Way},
    topics::{self, Oracle, Read},
    verdict::{Met, Verdict},
    yard::Seat,
};
use crate::{
    cycle::{Cycle, Role, connect, text, workload::Workload},
    faults::{load::Load, probes::Probes},
};

const SHOP: &str = "[marts]\nenabled = true\n[shop]\nsize = \"tiny\"\nrate = 20.0\n";
/// Ten seconds, and what a machine takes longer that is busy with other things, too.
pub(super) const RECOVERS_WITHIN: Duration = Duration::from_secs(120);
/// The same where tables are read again.
pub(super) const RENEWED_WITHIN: Duration = Duration::from_secs(240);
/// The snapshot, too, beside that of all others.
const STARTS_WITHIN: Duration = Duration::from_secs(180);
/// Between two comparisons while something is still on its way.
pub(super) const SETTLING: Duration = Duration::from_millis(500);
/// Between two looks at something.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// Partitions of which something is missing, and tables that are being read.
const UNSETTLED: &str =
    "SELECT COUNT(*) FROM tidemart_checkpoints WHERE held_reason IS NOT NULL OR NOT snapshot_done";

/// Waits for a condition, which may wait itself, with a limit.
macro_rules! until {
    ($what:literal, $holds:expr) => {{
        use super::seed::{LOOK, RENEWED_WITHIN};
        let waiting = async {
            while !$holds {
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(RENEWED_WITHIN, waiting).await;
        waited.map_err(|_| format!("waited {RENEWED_WITHIN:?} for {}", $what))
    }};
}
pub(super) use until;

pub struct Seed {
    pub(super) plan: Plan,
    seat: Seat,
    pub(super) cycle: Cycle,
    captures: Vec<Role>,
    consumers: Vec<Role>,
    marts: Vec<Role>,
    shop: Option<Role>,
    loads: Vec<Load>,
    probes: Probes,
    pub(super) oracle: Oracle,
    pub(super) verdict: Verdict,
    /// What a loss has taken with it.
    pub(super) silences: Vec<Silence>,
    /// Records that stood in topics before they were deleted.
    pub(super) deleted: Vec<Read>,
    /// Whether tables are being filled anew.
    pub(super) renews: bool,
    /// Databases that restored backups have left.
    pub(super) left: Vec<String>,
    /// Names that were made.
    pub(super) made: u64,
}

impl Seed {
    /// Starts everything and meets the seed's own faults.
    pub async fn run(plan: Plan, seat: Seat) -> Self {
        let mut seed = Self::start(plan, seat).await;
        tokio::time::timeout(STARTS_WITHIN, seed.probes.pass(&seed.cycle))
            .await
            .expect("a first change in the replica");
        for fault in seed.plan.faults.clone() {
            seed.meet(fault).await;
        }
        seed
    }

    /// A fault and its end.
    async fn meet(&mut self, fault: Fault) {
        if self.verdict.error.is_some() {
            return;
        }
        match self.bring_about(fault).await {
            Ok(()) => self.recover(&fault.kind()).await,
            Err(error) => self.verdict.error = Some(format!("{}: {error}", fault.kind())),
        }
    }

    /// Has something committed that is in Kafka and the replica by then. What comes after may be lost: of a broker's copy
    /// the last transaction may be torn.
    pub async fn pass(mut self, is_last: bool) -> Self {
        if is_last && let Err(error) = self.fall_silent().await {
            self.verdict.error.get_or_insert(error);
        }
        let passed = tokio::time::timeout(RENEWED_WITHIN, self.probes.pass(&self.cycle)).await;
        if passed.is_err() {
            self.verdict.error.get_or_insert_with(|| "nothing arrives".to_owned());
        }
        self
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
            silences: Vec::new(),
            deleted: Vec::new(),
            renews: false,
            left: Vec::new(),
            made: 0,
        }
    }

    pub(super) fn roles(&mut self, program: Program) -> &mut Vec<Role> {
        match program {
            Program::Capture => &mut self.captures,
            Program::Consumer => &mut self.consumers,
            Program::Marts => &mut self.marts,
        }
    }

    /// Starts another one.
    pub(super) fn relaunch(&mut self, program: Program) {
        let role = launch(&self.cycle, &self.seat, &self.plan, program);
        self.roles(program).push(role);
    }

    /// Starts a capture by this command.
    pub(super) fn start_capture(&mut self, command: &str) {
        let capture = launch_capture(&self.cycle, &self.seat, &self.plan, command);
        self.captures.push(capture);
    }

    pub(super) fn proxy(&self, way: Way) -> &Proxy {
        self.seat.proxy(way, self.plan.target)
    }

    /// The topic of a table with a plain name.
    pub(super) fn topic(&self, table: &str) -> String {
        format!("{}.public.{table}", self.cycle.prefix)
    }

    /// The superuser's way to the source.
    pub(super) fn source_admin(&self) -> TestDatabase {
        self.seat.postgres.admin(&self.cycle.source.database)
    }

    pub(super) async fn source(&self) -> Result<Client, String> {
        connect(&self.cycle.source).await.map_err(|error| error.to_string())
    }

    pub(super) async fn replica(&self) -> Result<mysql_async::Conn, String> {
        self.cycle.try_mysql().await.map_err(|error| error.to_string())
    }

    /// Measures how long a change takes that is committed now; where tables are filled anew, how long that takes.
    async fn recover(&mut self, fault: &str) {
        let (started, renews) = (Instant::now(), std::mem::take(&mut self.renews));
        let limit = if renews { RENEWED_WITHIN } else { RECOVERS_WITHIN };
        let passed = tokio::time::timeout(limit, async {
            self.probes.pass(&self.cycle).await;
            while renews && self.cycle.replica_value(UNSETTLED).await != Some(0) {
                tokio::time::sleep(LOOK).await;
            }
        });
        let passed = passed.await;
        let recovered_s = passed.ok().map(|()| started.elapsed().as_secs_f64());
        self.verdict.faults.push(Met { fault: fault.to_owned(), recovered_s });
    }

    /// Meets what happened to the servers, comes to rest and is judged.
    pub async fn finish(mut self, of_servers: Option<Fault>) -> Verdict {
        if let Some(fault) = of_servers {
            self.meet(fault).await;
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
            self.verdict.error.get_or_insert(error);
        }
        if !self.verdict.passed() {
            self.keep_logs();
        }
        let verdict = self.verdict.clone();
        self.clean_up().await;
        verdict
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
        let Self { plan, seat, cycle, captures, consumers, marts, left, .. } = self;
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
        for database in left.iter().chain([&cycle.target.database]) {
            let drop_replica = format!("DROP DATABASE {database}");
            mysql_async::prelude::Queryable::query_drop(&mut replica, drop_replica).await.unwrap();
        }
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
        Program::Capture => launch_capture(cycle, seat, plan, "capture"),
        Program::Consumer => cycle.start_with("consumer", &[kafka, mysql]),
        Program::Marts => cycle.start_with("marts watch", &[mysql]),
    }
}

fn launch_capture(cycle: &Cycle, seat: &Seat, plan: &Plan, command: &str) -> Role {
    let port = |way| seat.proxy(way, plan.target).port().to_string();
    let variables = [
        ("TIDEMART_KAFKA_BOOTSTRAP", format!("127.0.0.1:{}", port(Way::Kafka))),
        ("TIDEMART_POSTGRES_PORT", port(Way::Postgres)),
    ];
    cycle.start_with(command, &variables)
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
