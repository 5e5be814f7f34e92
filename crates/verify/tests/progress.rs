//! How far the replica is, as Kafka and MySQL say it.

use std::{sync::Arc, time::Duration};

use tidemart_change::{
    CaptureBatch, Change, Column, ColumnType, Identity, Item, Lsn, Op, RowBuilder, SnapshotProgress,
    TableName, TableSchema, TableState, Value, WalPosition,
};
use tidemart_kafka::{Config, Watch, Writer, topics};
use tidemart_local::testing;
use tidemart_pipeline::Destination;
use tidemart_verify::{Applied, KafkaProgress, Progress};

use crate::support::{EPOCH, Pair};

/// Long enough for a question to the broker.
const PATIENCE: Duration = Duration::from_millis(300);

/// A capture that has published what it was told, and nothing that consumes it.
struct Capture {
    kafka: Config,
    mysql: tidemart_mysql::Config,
    writer: Writer,
    schema: Arc<TableSchema>,
}

impl Capture {
    async fn new() -> Self {
        let (server, pair) = (testing::kafka().await, Pair::empty(testing::mariadb().await, "").await);
        let kafka = Config {
            bootstrap: server.bootstrap.clone(),
            prefix: server.unique_prefix(),
            ..Config::default()
        };
        let mut writer = Writer::new(kafka.clone(), "shop", "tidemart");
        assert_eq!(writer.resume(&()).await.unwrap(), None);
        let column = Column { name: "id".to_owned(), column_type: ColumnType::Integer, nullable: false };
        let table = TableName::new("public", "t");
        let schema = TableSchema { table, version: 1, columns: vec![column], key: vec![0] };
        Self { kafka, mysql: pair.mysql, writer, schema: Arc::new(schema) }
    }

    /// Inserts rows at this place, and says how far the snapshot is.
    async fn publish(&mut self, ids: std::ops::Range<u64>, lsn: u64, progress: SnapshotProgress) {
        let change = |(ordinal, id)| Item::Change(insert(&self.schema, id, ordinal, Lsn(lsn)));
        let position = WalPosition {
            commit_lsn: Lsn(lsn),
            ordinal: WalPosition::WHOLE,
            confirmed_lsn: Lsn(lsn),
            ..WalPosition::default()
        };
        let identity = Identity { epoch: EPOCH, database: "shop".to_owned(), slot: "tidemart".to_owned() };
        let batch = CaptureBatch {
            identity: Arc::new(identity),
            items: (1..).zip(ids).map(change).collect(),
            tables: vec![TableState::new(Arc::clone(&self.schema), progress)],
            position: Some(position),
        };
        self.writer.write(&batch).await.unwrap();
    }

    /// Writes checkpoints as if everything that is published were applied, less so many records of each partition.
    async fn consume(&self, less: u64) {
        let positions = Watch::new(self.kafka.clone()).positions().await.unwrap();
        let topic = topics::table(&self.kafka.prefix, &self.schema.table);
        let row = |(part, seq): (usize, &u64)| {
            format!(
                "REPLACE INTO tidemart_checkpoints (topic, part, epoch, seq) VALUES ('{topic}', {part}, '{EPOCH}', {})",
                seq.saturating_sub(less)
            )
        };
        let rows: Vec<_> =
            positions.tables[&self.schema.table].sequences.iter().enumerate().map(row).collect();
        self.mysql(&rows).await;
    }

    async fn mysql(&self, statements: &[String]) {
        use mysql_async::prelude::Queryable;
        let mut conn = tidemart_mysql::connect(&self.mysql).await.unwrap();
        for statement in statements {
            conn.query_drop(statement).await.unwrap();
        }
        conn.disconnect().await.unwrap();
    }

    fn progress(&self, patience: Duration) -> KafkaProgress {
        KafkaProgress::new(&self.kafka, &self.mysql, patience)
    }

    async fn obstacle(&self) -> String {
        let obstacle = self.progress(PATIENCE).obstacle(&self.schema.table).await;
        obstacle.unwrap().unwrap_or_default()
    }

    /// The answer, or the error.
    async fn applied(&self, lsn: u64) -> Result<Applied, String> {
        let applied = self.progress(PATIENCE).applied(&self.schema.table, Lsn(lsn)).await;
        applied.map_err(|error| error.to_string())
    }
}

fn insert(schema: &Arc<TableSchema>, id: u64, ordinal: u64, lsn: Lsn) -> Change {
    let mut row = RowBuilder::default();
    row.push(Value::Text(id.to_string().as_bytes()));
    Change {
        schema: Arc::clone(schema),
        op: Op::Create,
        before: None,
        after: Some(row.finish()),
        commit_lsn: lsn,
        ordinal,
        lsn,
        xid: 1,
        commit_time_us: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hop_that_stands_still_is_named() {
    let mut capture = Capture::new().await;
    let nobody = capture.progress(PATIENCE).obstacle(&capture.schema.table).await.unwrap_err().to_string();
    assert!(nobody.contains("no capture has published anything under"), "{nobody}");
    capture.publish(0..20, 100, SnapshotProgress::Done).await;
    let beyond = capture.applied(101).await.unwrap_err();
    assert!(beyond.contains("the capture stands still: it has published 0/64"), "{beyond}");
    assert!(beyond.contains("`tidemart capture`"), "{beyond}");
    let consumer = capture.applied(100).await.unwrap_err();
    assert!(consumer.contains("the consumer stands still: it has applied 0 of 20 records"), "{consumer}");
    assert!(consumer.contains("`tidemart consumer`"), "{consumer}");
    capture.consume(1).await;
    assert!(capture.applied(100).await.unwrap_err().contains("has applied 18 of 20"));
    capture.consume(0).await;
    assert_eq!(capture.applied(100).await.unwrap(), Applied::Everything { version: 20 });
    assert_eq!(capture.obstacle().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_when_both_hops_have_come_there() {
    let mut capture = Capture::new().await;
    capture.publish(0..20, 100, SnapshotProgress::Done).await;
    let mut progress = capture.progress(Duration::from_secs(60));
    let table = capture.schema.table.clone();
    let wait = tokio::spawn(async move { progress.applied(&table, Lsn(300)).await });
    capture.publish(20..40, 200, SnapshotProgress::Done).await;
    capture.consume(0).await;
    capture.publish(40..60, 300, SnapshotProgress::Done).await;
    capture.consume(0).await;
    assert_eq!(wait.await.unwrap().unwrap(), Applied::Everything { version: 60 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_ended_meanwhile_is_made_anew() {
    use mysql_async::prelude::Queryable;
    let mut capture = Capture::new().await;
    capture.publish(0..20, 100, SnapshotProgress::Done).await;
    capture.consume(0).await;
    let (mut progress, table) = (capture.progress(PATIENCE), &capture.schema.table);
    assert_eq!(progress.obstacle(table).await.unwrap(), None);
    let mut other = tidemart_mysql::connect(&capture.mysql).await.unwrap();
    let own: u64 = other.query_first("SELECT CONNECTION_ID()").await.unwrap().unwrap();
    let database = &capture.mysql.database;
    let query =
        format!("SELECT id FROM information_schema.processlist WHERE db = '{database}' AND id <> {own}");
    let kept: Vec<u64> = other.query(query).await.unwrap();
    assert_eq!(kept.len(), 1);
    other.query_drop(format!("KILL {}", kept[0])).await.unwrap();
    assert_eq!(progress.obstacle(table).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_flow_is_said_at_once() {
    let mut capture = Capture::new().await;
    capture.publish(0..20, 100, SnapshotProgress::After(vec!["7".to_owned()])).await;
    assert!(capture.obstacle().await.starts_with("its snapshot is not finished"));
    capture.publish(20..40, 200, SnapshotProgress::Done).await;
    capture.consume(1).await;
    let hold = "UPDATE tidemart_checkpoints SET held_reason = 'no room', held_at = NOW(6) WHERE part = 1";
    capture.mysql(&[hold.to_owned()]).await;
    let held = capture.obstacle().await;
    assert!(held.ends_with("public.t[1]: no room"), "{held}");
    assert_eq!(capture.applied(200).await.unwrap(), Applied::Never(held));
    let reason = "it was truncated".to_owned();
    capture.publish(40..41, 300, SnapshotProgress::Stopped(reason)).await;
    assert_eq!(capture.obstacle().await, "the capture stopped it: it was truncated");
    assert!(
        matches!(capture.applied(300).await.unwrap(), Applied::Never(reason) if reason.contains("truncated"))
    );
}
