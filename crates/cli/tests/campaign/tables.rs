//! What owners do to their tables, and what a restored backup does to all of them.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use super::{
    plan::{Alter, Program},
    seed::{Seed, until},
};
use crate::restore::{copy, put_back};

/// One partition is held up for so long: less than its consumer waits for a lock.
const HELD_UP: Duration = Duration::from_secs(2);
/// Between a backup and its return.
const OLD: Duration = Duration::from_secs(2);
/// Tables that writers change all the time.
const BUSY: [&str; 3] = ["accounts", "entries", "\"Mixed Case\""];

impl Seed {
    /// A number that no fault of this seed has had, for names.
    fn fresh(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub(super) async fn truncate(&mut self) -> Result<(), String> {
        let table = ["accounts", "entries"][usize::try_from(self.fresh() + self.number()).unwrap() % 2];
        let (topic, source) = (self.topic(table), self.source().await?);
        let mut replica = self.replica().await?;
        let lock = format!(
            "BEGIN; SELECT seq FROM tidemart_checkpoints WHERE topic = '{topic}' AND part = 0 FOR UPDATE"
        );
        // Refused while the consumer has it: then the partition is not held up, which is as good.
        let locked = replica.query_drop(lock).await;
        let emptied = source.batch_execute(&format!("TRUNCATE {table}")).await;
        sleep(HELD_UP).await;
        let released = replica.query_drop("ROLLBACK").await;
        drop((locked, released));
        emptied.map_err(|error| format!("TRUNCATE: {error}"))
    }

    /// Each leaves the tables so that the workload's statements still fit.
    pub(super) async fn alter(&mut self, alter: Alter) -> Result<(), String> {
        let number = self.fresh();
        let table = BUSY[usize::try_from(number + self.number()).unwrap() % BUSY.len()];
        let (column, source) = (format!("extra_{number}"), self.source().await?);
        let add =
            format!("ALTER TABLE {table} ADD COLUMN {column} int; UPDATE {table} SET {column} = {number}");
        let statements = match alter {
            Alter::Add => vec![add],
            Alter::Drop => vec![add, format!("ALTER TABLE {table} DROP COLUMN {column}")],
            Alter::Rename => vec![
                add,
                format!("ALTER TABLE {table} RENAME COLUMN {column} TO renamed_{number}"),
                format!("UPDATE {table} SET renamed_{number} = 0"),
            ],
            Alter::Widen => vec![
                format!("ALTER TABLE accounts ALTER COLUMN name TYPE varchar({})", 80 + 10 * number),
                format!("UPDATE accounts SET name = rpad(name, {}, '.') WHERE id % 7 = 0", 80 + 10 * number),
            ],
            Alter::Default => vec![format!("ALTER TABLE {table} ADD COLUMN {column} int NOT NULL DEFAULT 7")],
            Alter::Rewrite => vec![
                "ALTER TABLE accounts ALTER COLUMN balance TYPE numeric(12,2) USING balance + 1".to_owned(),
            ],
        };
        for statement in statements {
            let done = source.batch_execute(&statement).await;
            done.map_err(|error| format!("{statement}: {error:?}"))?;
        }
        Ok(())
    }

    /// A backup is taken, the replica goes on, the backup is put back.
    pub(super) async fn restore(&mut self, running: bool) -> Result<(), String> {
        let database = self.cycle.target.database.clone();
        let saved = format!("{database}_saved_{}", self.fresh());
        let mut replica = self.replica().await?;
        let tables = copy(&mut replica, &saved).await;
        self.left.push(saved.clone());
        let applied = self.applied().await?;
        sleep(OLD).await;
        until!("something to be applied", self.applied().await.is_ok_and(|now| now > applied))?;
        if !running {
            self.roles(Program::Consumer).remove(0).kill();
        }
        self.left.push(put_back(&mut replica, &saved, &tables).await);
        if !running {
            self.relaunch(Program::Consumer);
        }
        Ok(())
    }

    async fn applied(&self) -> Result<i64, String> {
        let sum = "SELECT CAST(SUM(seq) AS SIGNED) FROM tidemart_checkpoints";
        self.cycle.replica_value(sum).await.ok_or_else(|| "the checkpoints cannot be read".to_owned())
    }
}
