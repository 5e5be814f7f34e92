//! How fast everything moves and how far behind it is, read from the servers' own truth: the replication slot, the
//! published positions in Kafka, the checkpoints and the marts' state in MySQL. Nothing is asked of the roles.

mod print;
mod query;
mod rates;
mod sample;
mod sampler;

pub use query::QueryStatus;
pub use sample::{Capture, Consumer, Mart, Part, Source, Status, Table};
pub use sampler::Sampler;
