//! Kafka, in the middle of both hops: the topics, the transactional [`Writer`] at the end of the capture and the
//! [`Reader`] at the beginning of the consumer.
//!
//! | topic | key | value | cleanup |
//! |---|---|---|---|
//! | `<prefix>.<schema>.<table>` | the row's key as canonical JSON | Debezium's envelope | by age |
//! | `<prefix>.tidemart-schemas` | table and version | the table's shape | compacted |
//! | `<prefix>.tidemart-positions` | see [`state`] | where the capture stands | compacted |
//!
//! Each data record carries a [`Stamp`](tidemart_change::Stamp) in the header `tidemart.stamp`. Offsets have gaps
//! where transaction markers stand; sequence numbers have none.
//!
//! Nobody but this crate names rdkafka.

mod client;
pub mod config;
mod doctor;
mod error;
mod ranges;
pub mod reader;
mod replay;
mod schemas;
pub mod security;
pub mod state;
pub mod status;
pub mod topics;
pub mod writer;

pub use client::check;
pub use config::{Config, ConsumerConfig, ProducerConfig};
pub use doctor::examine;
pub use ranges::{Range, partitions, ranges};
pub use reader::Reader;
pub use schemas::SchemaWatch;
pub use security::{Mechanism, Sasl, java};
pub use status::{Status, Watch, status};
pub use writer::Writer;
