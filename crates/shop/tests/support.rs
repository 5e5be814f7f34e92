//! Databases, generators and waiting.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tidemart_local::testing::{self, TestDatabase};
use tidemart_shop::oracle::Oracle;
use tidemart_shop::writer::{FillReport, LiveStats, Snapshot, fill, run_live};
use tidemart_shop::{Config, Connection, Error, History, Preset, Timestamp};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Row};

/// 2026-11-23 13:27:31.000042 UTC: no test depends on the wall clock.
pub(crate) const END: Timestamp = Timestamp(1_795_440_451_000_042);

const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);

/// A database of one test.
pub(crate) struct Shop {
    pub(crate) pg: Connection,
    pub(crate) sql: Client,
}

impl Shop {
    /// An empty database on the shared server.
    pub(crate) async fn empty() -> Self {
        Self::of(&testing::postgres().await.create_database().await).await
    }

    /// A tiny shop on the shared server.
    pub(crate) async fn tiny(seed: u64) -> Self {
        let shop = Self::empty().await;
        shop.fill(&tiny(seed)).await.unwrap();
        shop
    }

    pub(crate) async fn of(database: &TestDatabase) -> Self {
        let pg = Connection {
            host: database.host.clone(),
            port: database.port,
            user: database.user.clone(),
            password: database.password.clone().into(),
            database: database.database.clone(),
            tls: None,
        };
        Self { sql: connect(database).await, pg }
    }

    /// The superuser's session in the same database of the shared server.
    pub(crate) async fn superuser(&self) -> Client {
        connect(&testing::postgres().await.admin(&self.pg.database)).await
    }

    pub(crate) async fn fill(&self, config: &Config) -> Result<FillReport, Error> {
        fill(&self.pg, config, END, |_| {}).await
    }

    pub(crate) async fn row(&self, sql: &str) -> Row {
        self.sql.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.row(sql).await.get(0)
    }

    /// Waits until a query that gives one boolean gives true.
    pub(crate) async fn wait_for(&self, sql: &str) {
        let begun = Instant::now();
        while !self.row(sql).await.get::<_, bool>(0) {
            assert!(begun.elapsed() < LIMIT, "never came true: {sql}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn connect(database: &TestDatabase) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host(&database.host).port(database.port).user(&database.user);
    config.password(&database.password).dbname(&database.database).application_name("shop test");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn tiny(seed: u64) -> Config {
    Config { seed, size: Preset::Tiny, ..Config::default() }
}

pub(crate) fn oracle(config: &Config) -> Oracle {
    let history = History::new(config.seed, config.shop_size(), config.history_days, END).unwrap();
    Oracle::of(&history, NonZeroUsize::MIN)
}

/// A generator in a task of its own.
pub(crate) struct Generator {
    pub(crate) stats: Arc<LiveStats>,
    shutdown: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<Result<(), Error>>,
}

impl Generator {
    pub(crate) fn start(shop: &Shop, config: Config) -> Self {
        let (stats, pg) = (Arc::new(LiveStats::default()), shop.pg.clone());
        let (shutdown, asked) = oneshot::channel();
        // Not a future that may be polled after its end, on purpose: callers give such.
        let asked = async move { drop(asked.await) };
        let shown = Arc::clone(&stats);
        let task = tokio::spawn(async move { run_live(&pg, &config, asked, shown).await });
        Self { stats, shutdown: Some(shutdown), task }
    }

    /// Waits until the figures are as wanted; ends the test if the generator ends.
    pub(crate) async fn wait_for(&mut self, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let begun = Instant::now();
        loop {
            let now = self.stats.snapshot();
            if wanted(&now) {
                return now;
            }
            assert!(begun.elapsed() < LIMIT, "not reached: {now:?}");
            if self.task.is_finished() {
                panic!("the generator ended: {:?}", (&mut self.task).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.shutdown.take());
    }

    pub(crate) async fn stop(mut self) -> Snapshot {
        self.ask_to_stop();
        self.task.await.unwrap().unwrap();
        self.stats.snapshot()
    }

    /// Ends it without any farewell, as a kill does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Looks at a future once.
pub(crate) async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
}
