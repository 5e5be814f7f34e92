//! A standby is promoted, and the capture goes on with the slot that it has kept.

use tidemart_local::testing::{self, PostgresServer, Private};

use crate::{
    kept::{Kept, name},
    support::{Capture, Fixture, assert_says, value},
};

struct Pair {
    primary: Private<PostgresServer>,
    standby: Private<PostgresServer>,
    fixture: Fixture,
    kept: Kept,
    capture: Capture,
}

/// A primary whose capture runs, and a standby that has kept its slot. None before version 17, in which no standby keeps
/// one: asking for it is refused.
async fn pair() -> Option<Pair> {
    let mut primary = testing::private_postgres().await;
    let database = primary.create_database().await;
    let old = Fixture::of(&database, "").await;
    if !old.is_at_least(17).await {
        old.execute("CREATE TABLE t (id int PRIMARY KEY)").await;
        let config = tidemart_postgres::Config { failover: true, ..old.config };
        let error = Capture::start(&config, &Kept::new()).fails().await;
        assert_says(&error, &["postgres.failover", "takes Postgres 17"]);
        return None;
    }
    let standby = primary.standby().await;
    let mut fixture =
        Fixture::of(&database, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    fixture.config.failover = true;
    let kept = Kept::new();
    let capture = Capture::start(&fixture.config, &kept);
    kept.until_done("t").await;
    let admin = Fixture::of(&standby_database(&standby, &fixture), "").await;
    admin.until("SELECT count(*) = 1 FROM pg_replication_slots WHERE synced AND NOT temporary").await;
    Some(Pair { primary, standby, fixture, kept, capture })
}

fn standby_database(standby: &Private<PostgresServer>, fixture: &Fixture) -> testing::TestDatabase {
    standby.admin(&fixture.config.database)
}

impl Pair {
    /// The primary is gone, the standby takes over.
    async fn promote(mut self) -> (Private<PostgresServer>, Fixture, Kept) {
        self.primary.kill().await;
        let database = standby_database(&self.standby, &self.fixture);
        let config = tidemart_postgres::Config {
            port: database.port,
            user: database.user.clone(),
            password: database.password.as_str().into(),
            ..self.fixture.config.clone()
        };
        let admin = tidemart_postgres::connect(&config).await.unwrap();
        assert_eq!(value(&admin, "SELECT pg_promote()").await.as_deref(), Some("t"));
        self.fixture.config.port = database.port;
        let client = self.fixture.connect().await;
        (self.standby, Fixture { client, ..self.fixture }, self.kept)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_goes_on_where_the_primary_was() {
    let Some(mut pair) = pair().await else { return };
    pair.fixture.execute("INSERT INTO t VALUES (2)").await;
    pair.fixture.caught_up(&pair.kept).await;
    let (kept, sent) = (pair.kept.clone(), pair.fixture.now().await);
    pair.capture.stop().await.unwrap();
    pair.capture = Capture::start(&pair.fixture.config, &kept);
    let admin = Fixture::of(&standby_database(&pair.standby, &pair.fixture), "").await;
    admin.until(&format!("SELECT pg_last_wal_replay_lsn() >= '{sent}'")).await;
    let position = kept.lock().position();
    // The standby's slot is behind the position, never before it.
    admin.until(&format!("SELECT pg_last_wal_replay_lsn() > '{}'", position.confirmed_lsn)).await;
    pair.primary.kill().await;
    let (_standby, fixture, kept) = pair.promote().await;
    fixture.execute("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3)").await;
    for _ in 0..2 {
        let capture = Capture::start(&fixture.config, &kept);
        fixture.execute("INSERT INTO t SELECT max(id) + 1 FROM t").await;
        fixture.caught_up(&kept).await;
        capture.stop().await.unwrap();
    }
    fixture.assert_equal(&kept, &name("t")).await;
    assert_eq!(kept.lock().position().timeline, 2);
    assert_eq!(kept.lock().state.as_ref().unwrap().identity.epoch.timeline, 1, "the epoch goes on");
}

/// What the former primary had published and the promoted one never got is a proven loss of the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_that_lacks_what_was_published() {
    let Some(mut pair) = pair().await else { return };
    pair.fixture.caught_up(&pair.kept).await;
    pair.standby.kill().await;
    pair.fixture.execute("INSERT INTO t VALUES (2)").await;
    pair.fixture.caught_up(&pair.kept).await;
    pair.primary.kill().await;
    pair.standby.start_again().await;
    let (_standby, fixture, kept) = pair.promote().await;
    let error = Capture::start(&fixture.config, &kept).fails().await;
    assert_says(&error, &["of timeline 1", "left it at", "never got", "tidemart capture --start-over "]);
}
