//! The real capture and two real consumers, one for each product of MySQL, within the test's process.

use std::time::Duration;

use tidemart_kafka::{Reader, Writer};
use tidemart_local::testing;
use tidemart_mysql::Applier;
use tidemart_pipeline::{Result, run};
use tidemart_postgres::Source;
use tidemart_verify::{Databases, Options, Report, Step, Verdict, verify};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::postgres_config;

/// How long the replicas may take.
const LIMIT: Duration = Duration::from_secs(180);

pub(crate) struct Cycle {
    pub(crate) postgres: tidemart_postgres::Config,
    pub(crate) client: tokio_postgres::Client,
    /// Each product's name and database.
    pub(crate) targets: Vec<(&'static str, tidemart_mysql::Config)>,
    kafka: tidemart_kafka::Config,
    stop: watch::Sender<bool>,
    roles: JoinSet<(&'static str, Result<()>)>,
}

impl Cycle {
    /// Databases in which these statements were run in Postgres; nothing runs yet.
    pub(crate) async fn new(statements: &str) -> Self {
        let (source, mariadb, mysql, broker) =
            tokio::join!(testing::postgres(), testing::mariadb(), testing::mysql(), testing::kafka());
        let database = source.create_database().await;
        let postgres =
            tidemart_postgres::Config { slot: database.database.clone(), ..postgres_config(&database) };
        let client = tidemart_postgres::connect(&postgres).await.unwrap();
        client.batch_execute("SET search_path = public").await.unwrap();
        let mut targets = Vec::new();
        for (product, server) in [("MariaDB", mariadb), ("MySQL", mysql)] {
            let found = server.create_database().await;
            let config = tidemart_mysql::Config::new(
                found.host,
                found.port,
                found.user,
                found.password,
                found.database,
            );
            tidemart_mysql::migrate(&config).await.unwrap();
            targets.push((product, config));
        }
        let kafka = tidemart_kafka::Config {
            bootstrap: broker.bootstrap.clone(),
            prefix: broker.unique_prefix(),
            ..tidemart_kafka::Config::default()
        };
        let cycle =
            Self { postgres, client, targets, kafka, stop: watch::Sender::new(false), roles: JoinSet::new() };
        cycle.source(statements).await;
        cycle
    }

    pub(crate) async fn source(&self, statements: &str) {
        let shown = || statements.chars().take(2000).collect::<String>();
        self.client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{error:?}: {}", shown()));
    }

    /// Starts the capture and the consumers.
    pub(crate) fn start(&mut self) {
        let mut source = Source::new(self.postgres.clone());
        let mut writer = Writer::new(self.kafka.clone(), &self.postgres.database, &self.postgres.slot);
        let shutdown = until_stopped(&self.stop);
        self.roles
            .spawn(async move { ("capture", run("capture", &mut source, &mut writer, shutdown).await) });
        for (product, mysql) in &self.targets {
            let mut kafka = self.kafka.clone();
            kafka.consumer.group = Some(format!("{}-{product}", kafka.prefix));
            kafka.consumer.refresh_ms = 500;
            let mut reader = Reader::new(kafka).unwrap();
            let mut applier = Applier::new(mysql.clone(), []).unwrap();
            let (shutdown, product) = (until_stopped(&self.stop), *product);
            self.roles
                .spawn(async move { (product, run("consumer", &mut reader, &mut applier, shutdown).await) });
        }
    }

    /// Waits until both replicas have all of these tables, and fails unless `verify` finds every row equal.
    pub(crate) async fn assert_equal(&mut self, tables: usize) {
        for (product, mysql) in self.targets.clone() {
            let mut last = String::new();
            let report = timeout(LIMIT, async {
                loop {
                    if let Some(ended) = self.roles.try_join_next() {
                        panic!("a role ended: {ended:?}");
                    }
                    match self.verify(&mysql).await {
                        Ok(report) if report.tables.len() == tables && is_complete(&report) => return report,
                        Ok(report) => last = report.to_string(),
                        Err(error) => last = tidemart_pipeline::error::chain(&error),
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            });
            let report = report.await.unwrap_or_else(|_| panic!("{product} never had everything: {last}"));
            assert_eq!(report.verdict, Verdict::Equal, "{product}: {report}");
            assert!(report.left_out.is_empty(), "{report}");
        }
    }

    async fn verify(&self, mysql: &tidemart_mysql::Config) -> Result<Report> {
        let databases = Databases { postgres: &self.postgres, mysql };
        let options = Options { page_rows: 50, ..Options::default() };
        verify(databases, &self.kafka, &options, |_: Step<'_>| {}, std::future::pending()).await
    }

    /// Ends the roles in an orderly way, and the slot.
    pub(crate) async fn finish(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = timeout(LIMIT, self.roles.join_next()).await.unwrap() {
            let (role, result) = ended.unwrap();
            result.unwrap_or_else(|error| panic!("{role}: {error}"));
        }
        self.source(&format!("SELECT pg_drop_replication_slot('{}')", self.postgres.slot)).await;
    }
}

/// Whether every table could be compared to its end.
fn is_complete(report: &Report) -> bool {
    report.tables.iter().all(|table| table.reason.is_none())
}

fn until_stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut stop = stop.subscribe();
    async move { drop(stop.wait_for(|stop| *stop).await) }
}
