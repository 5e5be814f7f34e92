//! One table, from its first page to its report.

use std::collections::{HashMap, HashSet};

use tidemart_change::Lsn;
use tidemart_mysql::{TableReader, read::Key};
use tidemart_pipeline::{Error, Kind as ErrorKind, Result};
use tidemart_postgres::catalog::CatalogTable;
use tokio_postgres::Client;

use crate::{
    cells::Cells,
    judge::{Sides, SourceRow, judge},
    key::KeyPrinter,
    merge::Merge,
    options::{Options, Step},
    pages::{PageSize, SourcePages},
    progress::Progress,
    replica::{ReplicaPages, ReplicaSession},
    report::{Difference, TableReport, Verdict},
    source,
};

/// Suspected keys that are judged together, about.
const SUSPECTS: usize = 20_000;

/// Keys in one statement.
const KEYS: usize = 500;

/// The sessions of a comparison.
pub(crate) struct Sessions {
    /// Reads pages; a page's statement may be open while keys are judged.
    pub(crate) pages: Client,
    /// Reads single rows.
    pub(crate) rows: Client,
    pub(crate) replica: ReplicaSession,
}

/// Compares one table.
pub(crate) async fn compare(
    table: &CatalogTable,
    sessions: &mut Sessions,
    progress: &mut impl Progress,
    options: &Options,
    notify: &mut (impl FnMut(Step<'_>) + Send),
) -> Result<TableReport> {
    let name = table.schema.table.clone();
    if let Some(reason) = progress.obstacle(&name).await? {
        return Ok(TableReport::not_compared(name, reason));
    }
    if let Some(reason) = sessions.replica.obstacle(&table.schema).await? {
        return Ok(TableReport::not_compared(name, reason));
    }
    let mut report = TableReport { reason: None, ..TableReport::not_compared(name, String::new()) };
    match pages(table, sessions, progress, options, notify, &mut report).await {
        Ok(()) => {}
        // A table that is dropped or forbidden meanwhile is no reason to leave the others.
        Err(error) if error.kind() == ErrorKind::Fatal => {
            report.reason = Some(tidemart_pipeline::error::chain(&error));
        }
        Err(error) => return Err(error),
    }
    debug_assert!(report.verdict == Verdict::Different, "until it is settled");
    Ok(report.settle())
}

async fn pages(
    table: &CatalogTable,
    sessions: &mut Sessions,
    progress: &mut impl Progress,
    options: &Options,
    notify: &mut (impl FnMut(Step<'_>) + Send),
    report: &mut TableReport,
) -> Result<()> {
    let Sessions { pages, rows, replica } = sessions;
    let reader = TableReader::new(replica.dialect, &table.schema)?;
    let size = PageSize::new(options.page_rows, options.page_bytes, table.row_bytes);
    let (mut source, mut copy) = (SourcePages::new(pages, table, size), ReplicaPages::new(&reader, size));
    let (mut merge, mut suspects) = (Merge::default(), HashSet::new());
    while !merge.is_done() {
        report.pages += u64::from(merge.source.is_hungry());
        feed(&mut merge, &mut source, &mut copy, replica).await?;
        let order = |one: &Key, other: &Key| reader.compare(one, other);
        merge.compare(
            |row| reader.key(row),
            order,
            |key| {
                suspects.insert(key);
            },
        );
        report.rows = merge.rows;
        notify(Step::Compared {
            table: &table.schema.table,
            rows: merge.rows,
            estimated_rows: table.estimated_rows,
        });
        if suspects.len() < SUSPECTS && !merge.is_done() {
            continue;
        }
        let mut sides = Servers { table, reader: &reader, rows, replica, size };
        let keys = suspects.drain().collect();
        verdicts(table, keys, &mut sides, progress, options, notify, report).await?;
        if report.reason.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads the next page of each side that has none left, both at once.
async fn feed(
    merge: &mut Merge,
    source: &mut SourcePages<'_>,
    copy: &mut ReplicaPages<'_>,
    replica: &mut ReplicaSession,
) -> Result<()> {
    match (merge.source.is_hungry(), merge.replica.is_hungry()) {
        (true, true) => {
            let (left, right) = tokio::try_join!(source.next(), copy.next(replica))?;
            merge.source.feed(left);
            merge.replica.feed(right);
        }
        (true, false) => merge.source.feed(source.next().await?),
        (false, true) => merge.replica.feed(copy.next(replica).await?),
        (false, false) => {}
    }
    Ok(())
}

/// Judges suspected keys and writes them into the report.
async fn verdicts(
    table: &CatalogTable,
    keys: Vec<Key>,
    sides: &mut Servers<'_>,
    progress: &mut impl Progress,
    options: &Options,
    notify: &mut (impl FnMut(Step<'_>) + Send),
    report: &mut TableReport,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let name = &table.schema.table;
    let notify = |keys| notify(Step::Judging { table: name, keys });
    // Before and after: what differs may be corrected meanwhile, or parked.
    let mut parked = sides.replica.parked(name).await?;
    let judgement = judge(&table.schema, keys, sides, progress, options.deadline, notify).await?;
    if !judgement.different.is_empty() {
        parked.extend(sides.replica.parked(name).await?);
    }
    let printer = KeyPrinter::new(&table.schema);
    let (waiting, different): (Vec<_>, Vec<_>) =
        judgement.different.into_iter().partition(|(key, _)| parked.contains(key));
    report.parked.extend(waiting.iter().map(|(key, _)| printer.print(key)));
    let room = options.max_differences.saturating_sub(report.different.len());
    let too_many = different.len() > room;
    let different = different.into_iter().take(room);
    report.different.extend(different.map(|(key, kind)| Difference { key: printer.print(&key), kind }));
    report.undecided.extend(judgement.undecided.iter().map(|key| printer.print(key)));
    report.reason = judgement.reason.or_else(|| {
        too_many.then(|| {
            format!(
                "more than {} keys differ; the rest of the table was not compared",
                options.max_differences
            )
        })
    });
    Ok(())
}

/// Both databases, for the judge.
struct Servers<'a> {
    table: &'a CatalogTable,
    reader: &'a TableReader,
    rows: &'a Client,
    replica: &'a mut ReplicaSession,
    size: PageSize,
}

impl Servers<'_> {
    /// Wide rows are read in smaller groups.
    fn group(&self) -> usize {
        self.size.limit().min(KEYS)
    }
}

impl Sides for Servers<'_> {
    async fn source(&mut self, keys: &[Key]) -> Result<HashMap<Key, SourceRow>> {
        let mut found = HashMap::with_capacity(keys.len());
        for keys in keys.chunks(self.group()) {
            found.extend(source::rows(self.rows, self.table, keys).await?);
        }
        Ok(found)
    }

    async fn replica(&mut self, keys: &[Key]) -> Result<HashMap<Key, Cells>> {
        let mut found = HashMap::with_capacity(keys.len());
        for keys in keys.chunks(self.group()) {
            let rows = self.replica.rows(self.reader, keys).await?;
            found.extend(rows.iter().map(|row| (self.reader.key(row), Cells::of(row))));
        }
        Ok(found)
    }

    async fn fence(&mut self) -> Result<Lsn> {
        source::fence(self.rows).await
    }

    async fn own_xid(&mut self) -> Result<i64> {
        source::own_xid(self.rows).await
    }

    async fn oldest_xid(&mut self) -> Result<i64> {
        source::oldest_xid(self.rows).await
    }
}

/// The error of a comparison that was told to stop.
pub(crate) fn stopped() -> Error {
    Error::fatal("verify was stopped before it had a verdict")
}
