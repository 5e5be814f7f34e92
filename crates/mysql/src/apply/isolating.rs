//! Finds the records that are refused among those that are not.

use tidemart_pipeline::Result;
use tracing::warn;

use super::{Applier, Plan, unprepared};
use crate::{
    cut::{Part, Stop},
    dead_letters::Changes,
    fault::{Fault, Refusal},
};

impl Applier {
    /// Applies parts together; where their data is refused, each alone.
    pub(super) async fn apply_or_isolate(&mut self, parts: &[Part<'_>]) -> Result<()> {
        match self.apply(parts).await {
            Ok(()) => Ok(()),
            Err(Fault::Rows(_)) => {
                for part in parts {
                    // Another lane may have changed the table meanwhile, so that it was to be looked at again.
                    let (parts, stops) = self.prepare(vec![*part]).await?;
                    for part in parts {
                        self.isolate(part).await?;
                    }
                    self.hold_all(stops).await?;
                }
                Ok(())
            }
            Err(fault) => Err(self.forget_tables(fault)),
        }
    }

    /// Applies the records of a part but those whose data is refused, which are parked; holds its partition before one
    /// that is refused for another reason.
    async fn isolate(&mut self, mut part: Part<'_>) -> Result<()> {
        let mut count = part.records.len();
        while !part.records.is_empty() {
            let (head, tail) = part.records.split_at(count.clamp(1, part.records.len()));
            let head = Part { records: head, ..part };
            match self.apply(&[head]).await {
                Ok(()) => {
                    part.records = tail;
                    count = head.records.len() * 2;
                }
                Err(Fault::Rows(refusal)) if head.records.len() == 1 => {
                    if !self.park(head, refusal).await? {
                        return Ok(());
                    }
                    part.records = tail;
                }
                Err(Fault::Rows(_)) => count = head.records.len() / 2,
                Err(fault) => return Err(self.forget_tables(fault)),
            }
        }
        Ok(())
    }

    /// Parks a single record; `false` where its partition is held instead.
    async fn park(&mut self, part: Part<'_>, refusal: Refusal) -> Result<bool> {
        let refused = match self.parking(part, &refusal) {
            Ok(plan) => match self.transact(&[part], &plan).await {
                Ok(()) => {
                    self.say_parked(part, &plan);
                    return Ok(true);
                }
                Err(Fault::Rows(refused)) => refused,
                Err(fault) => return Err(self.forget_tables(fault)),
            },
            Err(refused) => refused,
        };
        let stop = Stop { partition: part.partition, record: &part.records[0], refusal: refused };
        self.hold(stop).await?;
        Ok(false)
    }

    /// The transaction that parks a single record.
    fn parking<'a>(&self, part: Part<'a>, refusal: &Refusal) -> std::result::Result<Plan<'a>, Refusal> {
        let record = &part.records[0];
        let table = &record.schema.table;
        let replica = self.known.of(table).ok_or_else(|| unprepared(table))?;
        let mut changes = Changes::new(part.partition);
        let parked = &self.lanes[part.partition].parked;
        changes.refuse(parked, replica, record, self.config.dead_letters_per_partition, refusal)?;
        Ok(Plan { tables: Vec::new(), letters: vec![changes] })
    }

    fn say_parked(&self, part: Part<'_>, plan: &Plan<'_>) {
        for letter in plan.letters.iter().flat_map(|changes| &changes.letters) {
            let (table, sequence) = (&letter.record.schema.table, letter.record.stamp.sequence);
            let (partition, parked) = (part.partition, self.parked(part.partition));
            let (kind, reason) = (letter.kind, &letter.reason);
            warn!(%table, %partition, sequence, %kind, reason, parked, "dead letter");
        }
    }
}
