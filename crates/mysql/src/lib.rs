//! MySQL and MariaDB as the consumer's destination: replica tables, type mapping, apply and checkpoints.
//!
//! [`Applier`] takes batches of records and writes each in one transaction whose first statements move the
//! checkpoints, by compare-and-set, of the partitions that the records come from. Whatever a crash, a second consumer
//! or a repeated delivery does, a record is applied once and in its turn.
//!
//! Other crates that read or write the target database do so through [`connect`] and the modules here.

pub mod accounts;
pub mod apply;
pub mod checkpoints;
pub mod config;
pub mod connection;
mod cut;
pub mod dead_letters;
pub mod dialect;
mod doctor;
mod evolve;
pub mod executors;
mod fault;
mod fits;
mod follow;
mod inspect;
mod known;
mod lane;
mod literal;
pub mod marking;
pub mod marks;
pub mod meta;
pub mod names;
mod place;
mod preflight;
mod projection;
mod pulse;
pub mod read;
mod recorded;
mod reduce;
mod replica;
mod session;
mod statement;
pub mod tables;
pub mod types;
mod written;

pub use apply::Applier;
pub use checkpoints::{CheckpointStatus, checkpoints};
pub use config::Config;
pub use connection::{Server, connect, open};
pub use dialect::{Dialect, quote_identifier, quote_string};
pub use doctor::examine;
pub use marking::mark_by;
pub use marks::MarkRule;
pub use meta::{META_VERSION, migrate, migrate_with};
pub use mysql_async::Conn;
pub use names::replica_name;
pub use preflight::check;
pub use pulse::answered;
pub use read::TableReader;
pub use recorded::replicas;
pub use tables::{ensure_table, fits};
