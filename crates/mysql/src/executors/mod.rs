//! For appliers in processes that come and go and share partitions with each other, as Spark's executors do: nobody
//! gives them partitions, and they have no client of Kafka.
//!
//! Whoever runs the query begins a [`Run`] with the checkpoints that reading starts at and stores the tables' schemas
//! ([`schemas`]); an executor gives each batch to a [`SharedApplier`]. The checkpoints' compare-and-set keeps a batch
//! that is repeated, or comes from a query that was given up, from doing anything.

mod applier;
pub mod option;
mod run;
pub mod schemas;

/// An executor's code must be the consumer's.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use crate::lane::Attempts;
pub use applier::SharedApplier;
pub use run::{Run, Standing, Start, lose, run_status, starts};
