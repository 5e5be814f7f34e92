//! A mart's sources as the cluster reads them.

use tidemart_mysql::{quote_identifier, quote_string};
use tidemart_pipeline::Result;
use tidemart_spark::client::{SparkError, SparkSession};

use super::{PARTS, jdbc::Jdbc};
use crate::{
    definition::{Mart, MartSource, Part},
    session::{Session, number},
};

/// A table with fewer keys between its least and its greatest is read by one connection.
const WORTH_PARTING: i64 = 20_000;
/// A table with more keys than these is not sent whole to every task: an executor's memory is small.
const MOST_BROADCAST: i64 = 200_000;

/// A source as the cluster reads it.
pub(super) struct View {
    name: String,
    /// Only what the mart reads.
    query: String,
    /// What Spark makes of the query's columns.
    columns: Vec<String>,
    /// The key's column and its least and greatest value, where it is worth reading in parts.
    range: Option<(String, i64, i64)>,
    /// So many keys it may have.
    keys: i64,
    broadcast: bool,
}

/// All sources of a mart. Those that are best sent whole to every task, instead of both sides of a join being sorted, are:
/// all but the largest, while they are small. Spark does not know how large a table of a database is.
pub(super) async fn of(snapshot: &mut Session, mart: &Mart, part: &Part) -> Result<Vec<View>> {
    let mut views = Vec::new();
    for source in &mart.sources {
        views.push(View::of(snapshot, mart, source, part).await?);
    }
    let largest = views.iter().map(|view| view.keys).max().unwrap_or_default();
    for view in &mut views {
        view.broadcast = view.keys < largest && view.keys <= MOST_BROADCAST;
    }
    Ok(views)
}

impl View {
    async fn of(snapshot: &mut Session, mart: &Mart, source: &MartSource, part: &Part) -> Result<Self> {
        let replica = quote_identifier(&source.replica);
        let condition = mart.month_of(source, part).map_or(String::new(), |month| format!(" WHERE {month}"));
        let times = times(snapshot, source).await?;
        let columns: Vec<_> =
            source.rule.columns.iter().map(|column| Column::of(column, times.contains(column))).collect();
        let read: Vec<_> = columns.iter().map(|column| column.read.as_str()).collect();
        let query = format!("(SELECT {} FROM {replica}{condition}) t", read.join(", "));
        let range = match &source.key[..] {
            [key] => {
                let column = quote_identifier(key);
                let sql = format!("SELECT MIN({column}), MAX({column}) FROM {replica}{condition}");
                let row = snapshot.rows(&sql).await?.into_iter().next().unwrap_or_default();
                // Keys that are no integers are not parted.
                let bound = |index: usize| row.get(index).and_then(|bound| number::<i64>(bound.as_ref()));
                bound(0).zip(bound(1)).map(|(least, greatest)| (key.clone(), least, greatest))
            }
            _ => None,
        };
        let span = |(_, least, greatest): &(String, i64, i64)| greatest.saturating_sub(*least);
        let keys = range.as_ref().map_or(i64::MAX, span);
        let range = range.filter(|range| span(range) >= WORTH_PARTING);
        let columns = columns.into_iter().map(|column| column.made).collect();
        Ok(Self { name: source.replica.clone(), query, columns, range, keys, broadcast: false })
    }

    pub(super) fn make(&self, spark: &SparkSession, jdbc: &Jdbc) -> std::result::Result<(), SparkError> {
        let mut reader = spark.read().format("jdbc").options(jdbc.reading());
        reader = reader.option("dbtable", &self.query);
        if let Some((column, least, greatest)) = &self.range {
            reader = reader
                .option("partitionColumn", column)
                .option("lowerBound", &least.to_string())
                .option("upperBound", &greatest.to_string())
                .option("numPartitions", PARTS);
        }
        let rows = reader.load(None).select_expr(self.columns.iter().map(String::as_str).collect());
        let rows = if self.broadcast { rows.hint("broadcast", Vec::<String>::new()) } else { rows };
        rows.create_or_replace_temp_view(&self.name)
    }
}

/// Which of a source's columns are DATETIMEs.
async fn times(snapshot: &mut Session, source: &MartSource) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT column_name FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = {} AND data_type = 'datetime'",
        quote_string(&source.replica)
    );
    snapshot.column(&sql).await
}

/// A column in the database's SQL, and in Spark's over that.
struct Column {
    read: String,
    made: String,
}

impl Column {
    /// A DATETIME comes as a number: what the drivers make of one, calendars and time zones, takes longer than all else
    /// that is done with a row.
    fn of(name: &str, time: bool) -> Self {
        let name = quote_identifier(name);
        if !time {
            return Self { read: name.clone(), made: name };
        }
        Self {
            read: format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {name}) AS {name}"),
            made: format!("CAST(TIMESTAMP_MICROS({name}) AS TIMESTAMP_NTZ) AS {name}"),
        }
    }
}
