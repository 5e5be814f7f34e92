//! The only part that knows Postgres: the schema, the load of the history, the live transactions.

mod copy_in;
mod fill;
mod live;
mod locks;
mod marker;
mod opening;
mod schedule;
mod schema;
mod session;
mod statements;
mod stats;
mod stored;
mod types;
mod worker;

pub use fill::{FillReport, Outcome, Progress, fill};
pub use live::run_live;
pub use schema::{apply_schema, table_sum};
pub use stats::{LiveStats, Snapshot};
pub use stored::{Stored, stored};
