//! The positions topic: where the capture stands, as records under keys.
//!
//! One record that says everything would grow with the number of tables and be written with every batch. So the
//! state is cut into pieces, each under its own key in a compacted topic of one partition, and a batch writes only
//! the pieces that it changes, all in the batch's own Kafka transaction:
//!
//! | key | value | written |
//! |---|---|---|
//! | `capture` | [`CaptureRecord`] | with every batch |
//! | `table/["schema","name"]` | [`TableRecord`] | with every batch that touches the table |
//! | `writer` | [`WriterRecord`] | once, when a writer takes over |
//!
//! The last record under each key, read up to the high watermark after `init_transactions`, is the state.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tidemart_change::{Epoch, Identity, Origin, SnapshotProgress, TableName, WalPosition};

/// Key of the [`CaptureRecord`].
pub const CAPTURE_KEY: &str = "capture";

/// Key of the [`WriterRecord`].
pub const WRITER_KEY: &str = "writer";

/// Where the capture stands in the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRecord {
    /// Who publishes under this prefix.
    pub identity: Identity,
    /// How far.
    pub position: Option<WalPosition>,
    /// When this was published, milliseconds since 1970 UTC.
    pub published_at_ms: i64,
}

/// What was published of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// The table.
    pub table: TableName,
    /// What `sequences` count in.
    pub epoch: Epoch,
    /// The last sequence number of each partition; 0 before the first record. Its length is the topic's number of
    /// partitions.
    pub sequences: Vec<u64>,
    /// Version of the table's schema that was published last.
    pub schema_version: u32,
    /// The snapshot's progress.
    pub progress: SnapshotProgress,
    /// What the table was in the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Keys whose rows have still to be read again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<Vec<String>>,
    /// The record for which the table was stopped, where it was too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversize: Option<Oversize>,
}

/// A record that is larger than Kafka may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oversize {
    /// Bytes of its key and its value, before compression.
    pub bytes: usize,
    /// What they exceeded.
    pub limit: usize,
    /// Whose limit that was.
    pub of: LimitOf,
}

/// Who sets a limit on the size of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// `kafka.max_record_bytes`.
    Settings,
    /// The topic's `max.message.bytes`, which counts compressed bytes.
    Topic,
}

/// Which process writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterRecord {
    /// A number that no two writers share.
    pub instance: u64,
    /// Its process id, for people.
    pub process: u32,
    /// When it took over, milliseconds since 1970 UTC.
    pub since_ms: i64,
}

/// Everything that the positions topic says.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// `None` before the first batch.
    pub capture: Option<CaptureRecord>,
    /// By table.
    pub tables: BTreeMap<TableName, TableRecord>,
    /// The last writer that took over.
    pub writer: Option<WriterRecord>,
}

impl Positions {
    /// Takes a record in. Keys that are not known are passed over: a later version may write more.
    ///
    /// # Errors
    /// A value that is no record of the kind that its key tells.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> serde_json::Result<()> {
        if key == CAPTURE_KEY.as_bytes() {
            self.capture = Some(serde_json::from_slice(value)?);
        } else if key == WRITER_KEY.as_bytes() {
            self.writer = Some(serde_json::from_slice(value)?);
        } else if key.starts_with(b"table/") {
            let record: TableRecord = serde_json::from_slice(value)?;
            self.tables.insert(record.table.clone(), record);
        }
        Ok(())
    }
}

/// Key of a [`TableRecord`].
pub(crate) fn table_key(table: &TableName) -> serde_json::Result<String> {
    Ok(format!("table/{}", serde_json::to_string(&[&table.schema, &table.name])?))
}

/// Key of a schema in the schemas topic.
#[derive(Serialize)]
pub(crate) struct SchemaKey<'a> {
    pub(crate) schema: &'a str,
    pub(crate) table: &'a str,
    pub(crate) version: u32,
}

/// Schemas by table and version.
pub(crate) type SchemaVersions =
    HashMap<TableName, BTreeMap<u32, std::sync::Arc<tidemart_change::TableSchema>>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_whose_names_run_together_have_different_keys() {
        let keys = [("a.b", "c"), ("a", "b.c"), ("a\",\"b", "c")]
            .map(|(schema, name)| table_key(&TableName::new(schema, name)).unwrap());
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        assert_eq!(keys[0], "table/[\"a.b\",\"c\"]");
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_unknown_keys_are_passed_over() {
        let mut positions = Positions::default();
        for process in [1, 2] {
            let record = WriterRecord { instance: u64::MAX, process, since_ms: 0 };
            positions.take(WRITER_KEY.as_bytes(), &serde_json::to_vec(&record).unwrap()).unwrap();
        }
        positions.take(b"later", b"?").unwrap();
        assert_eq!(positions.writer.unwrap().process, 2);
        assert!(Positions::default().take(CAPTURE_KEY.as_bytes(), b"{}").is_err());
    }

    /// A whole record, to be damaged.
    fn record() -> String {
        r#"{"table":{"schema":"s","name":"t"},"epoch":{"system_identifier":7,"timeline":1,"generation":1},"sequences":[1,2],"schema_version":1,"progress":{"after":["7"]},"origin":{"oid":1,"filenode":2},"repairs":[["1"]]}"#.to_owned()
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_record_is_an_error_and_changes_nothing(at in 0..200usize, byte in 0..128u8) {
            let mut value = record().into_bytes();
            value[at] = byte;
            let mut positions = Positions::default();
            let taken = positions.take(b"table/[\"s\",\"t\"]", &value).is_ok();
            proptest::prop_assert_eq!(positions.tables.len(), usize::from(taken));
        }
    }
}
