//! Change capture from Postgres: a [`Source`] of batches that begins with a snapshot of every table, taken by chunks
//! inside the replication stream, and goes on with each committed change.
//!
//! Only this crate speaks SQL to Postgres and knows its replication protocol. It knows nothing of Kafka: what a batch
//! becomes, and where its position is kept, is the destination's affair.
//!
//! ```text
//! walsender ──▶ connection (reading task) ──▶ stream (pgoutput to changes) ──▶ batch ──▶ Source::next
//!                                               ▲ marks in the WAL     ▲ rows of chunks
//!                                               └────── snapshot task ─┘
//! ```

pub mod accounts;
pub mod catalog;
pub mod client;
pub mod config;
pub mod copy;
pub mod pgoutput;
pub mod quote;

mod connection;
mod doctor;
mod error;
mod lag;
mod preflight;
mod publication;
mod request;
mod slot;
mod snapshot;
mod source;
mod stream;

pub use client::connect;
pub use config::{Config, Limits, Tables, Target};
pub use doctor::examine;
pub use lag::{Lag, Monitor, SlotState};
pub use preflight::check;
pub use quote::{quote_identifier, quote_literal, quote_table};
pub use request::request;
pub use source::Source;
