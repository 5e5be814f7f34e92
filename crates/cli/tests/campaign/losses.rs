//! What is lost for good: a slot, a topic, records. The programs must say so and name the command that a person then
//! runs.

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use tidemart_change::Lsn;
use tokio::task::block_in_place;

use super::{
    checker::Silence,
    plan::Program,
    seed::{Seed, until},
    topics,
};
use crate::cycle::{connect, text};

/// What a capture that cannot go on names.
const START_OVER: &str = "tidemart capture --start-over ";
/// What a consumer that misses records names.
const RESYNC: &str = "tidemart resync";
/// A table whose topic can be lost.
const TABLE: &str = "accounts";

impl Seed {
    /// Waits until the capture has stopped and named the way on, and goes it.
    pub(super) async fn start_over(&mut self) -> Result<(), String> {
        let roles = self.roles(Program::Capture);
        until!("the capture to stop", !roles[0].is_running())?;
        let mut capture = roles.remove(0);
        let (status, said) = (capture.ended().await, capture.text());
        let last = said.lines().last().unwrap_or_default();
        if status.success() {
            return Err(format!("the capture ended without an error: {last}"));
        }
        let number = last.split_once(START_OVER).map(|(_, rest)| rest);
        let number = number.and_then(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next());
        let number = number.ok_or_else(|| format!("the capture names no way on: {last}"))?;
        self.start_capture(&format!("capture --start-over {number}"));
        self.renews = true;
        Ok(())
    }

    /// The slot is dropped under the capture; and made anew under its name.
    pub(super) async fn lose_slot(&mut self, anew: bool) -> Result<(), String> {
        let (slot, admin) = (self.cycle.slot(), self.admin().await?);
        let drop_slot = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}';
             SELECT pg_drop_replication_slot('{slot}')"
        );
        until!("the slot to be dropped", admin.batch_execute(&drop_slot).await.is_ok())?;
        if anew {
            let make = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
            admin.batch_execute(&make).await.map_err(|error| format!("{make}: {error}"))?;
        }
        self.start_over().await
    }

    pub(super) async fn lose_topic(&mut self) -> Result<(), String> {
        let (topic, kafka) = (self.topic(TABLE), self.kafka()?);
        let deleted = kafka.delete_topics(&[&topic], &AdminOptions::new()).await;
        deleted.map_err(|error| format!("{topic} cannot be deleted: {error}"))?;
        self.silences.push(Silence { table: TABLE.to_owned(), from: Lsn(0) });
        self.start_over().await
    }

    /// The consumer is away, and what comes meanwhile is deleted before it is back.
    pub(super) async fn lose_unread(&mut self) -> Result<(), String> {
        self.roles(Program::Consumer).remove(0).kill();
        let source = self.source().await?;
        let before = self.of_table()?.len();
        source
            .batch_execute(&format!("UPDATE {TABLE} SET balance = 1; INSERT INTO {TABLE} SELECT g, 'x', 'y', 0, now() FROM generate_series(5000, 5031) g ON CONFLICT DO NOTHING; DELETE FROM {TABLE} WHERE id BETWEEN 5000 AND 5031"))
            .await
            .map_err(|error| format!("{error:?}"))?;
        until!("changes that nobody reads", {
            self.of_table().is_ok_and(|events| events.len() >= before + 96)
        })?;
        self.delete_records().await?;
        self.relaunch(Program::Consumer);
        let held = format!(
            "SELECT COUNT(*) FROM tidemart_checkpoints WHERE topic = '{}' AND held_reason LIKE '%{RESYNC}%'",
            self.topic(TABLE)
        );
        until!("the consumer to name the way on", {
            self.cycle.replica_value(&held).await.is_some_and(|held| held > 0)
        })?;
        self.resync(&source).await
    }

    fn of_table(&self) -> Result<Vec<topics::Read>, String> {
        let topic = self.topic(TABLE);
        let read =
            block_in_place(|| topics::records(&self.cycle.kafka.bootstrap, &self.cycle.prefix, Some(&topic)));
        read.map_err(|error| error.to_string())
    }

    /// Deletes what stands in the topic now; the judge keeps it.
    async fn delete_records(&mut self) -> Result<(), String> {
        let (topic, mut ends) = (self.topic(TABLE), TopicPartitionList::new());
        let records = self.of_table()?;
        for partition in 0..i32::try_from(topics::PARTITIONS).unwrap() {
            let of_it = records.iter().filter(|record| record.event.partition == partition);
            let end = of_it.map(|record| record.offset + 1).max().ok_or("a partition without records")?;
            ends.add_partition_offset(&topic, partition, Offset::Offset(end))
                .map_err(|error| error.to_string())?;
        }
        let deleted = self.kafka()?.delete_records(&ends, &AdminOptions::new()).await;
        deleted.map_err(|error| format!("records of {topic} cannot be deleted: {error}"))?;
        self.deleted.extend(records);
        Ok(())
    }

    /// All tables may be silent from now on, until they are emptied.
    pub(super) async fn fall_silent(&mut self) -> Result<(), String> {
        let source = self.source().await?;
        let from = now(&source).await?;
        let tables = source.query("SELECT relname::text FROM pg_class WHERE relkind = 'r'", &[]).await;
        let tables = tables.map_err(|error| error.to_string())?;
        self.silences.extend(tables.iter().map(|row| Silence { table: row.get(0), from }));
        Ok(())
    }

    async fn resync(&mut self, source: &tokio_postgres::Client) -> Result<(), String> {
        let from = now(source).await?;
        let resync = block_in_place(|| self.cycle.run(&["resync", TABLE]));
        if !resync.status.success() {
            return Err(format!("resync: {}", text(&resync)));
        }
        self.silences.push(Silence { table: TABLE.to_owned(), from });
        self.renews = true;
        Ok(())
    }

    fn kafka(&self) -> Result<AdminClient<DefaultClientContext>, String> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.cycle.kafka.bootstrap);
        client.create().map_err(|error| error.to_string())
    }

    async fn admin(&self) -> Result<tokio_postgres::Client, String> {
        connect(&self.source_admin()).await.map_err(|error| error.to_string())
    }
}

/// The end of Postgres' log.
async fn now(source: &tokio_postgres::Client) -> Result<Lsn, String> {
    let now = source.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await;
    let now: String = now.map_err(|error| error.to_string())?.get(0);
    Ok(now.parse().unwrap())
}
