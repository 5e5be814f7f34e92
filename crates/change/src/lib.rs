//! The words that every other crate speaks: tables and their schemas, rows, change events, positions, batches,
//! and the Debezium envelope in which changes travel through Kafka.
//!
//! This crate does no I/O and knows nobody: no Postgres client, no Kafka client, no MySQL client.

pub mod batch;
pub mod envelope;
mod json;
pub mod message;
pub mod pending;
pub mod position;
pub mod request;
pub mod row;
pub mod schema;
pub mod stamp;

pub use batch::{ApplyBatch, CaptureBatch, Change, Item, Op, PartitionBatch, Payload, Record};
pub use pending::Pending;
pub use position::{
    CaptureState, Checkpoint, Epoch, Identity, Lsn, Origin, SnapshotProgress, TableState, TopicPartition,
    WalPosition, next_generation,
};
pub use request::Request;
pub use row::{Row, RowBuilder, Value};
pub use schema::{Column, ColumnType, TableName, TableSchema};
pub use stamp::{Mark, Stamp};
