//! Compares Postgres and MySQL while both are being written.
//!
//! ```text
//! Postgres ──pages in the order of the key──▶ ┌───────┐  keys that differ   ┌───────┐
//!                                             │ merge │ ──────────────────▶ │ judge │ ──▶ Report
//! MySQL ─────pages in the order of the key──▶ └───────┘                     └───────┘
//! ```
//!
//! Two databases are never read at the same moment, so a key that differs is only suspected. The judge reads its row
//! in Postgres, waits until MySQL has applied everything that was committed until then, reads it in MySQL and again
//! in Postgres: only a row that rested all the while can be a difference; one that moved is looked at again. A key that
//! never rests is *undecided* and no difference; one that differs and has dead letters is *parked*, and named apart.
//!
//! Memory is bounded by two pages and the suspected keys of one round. Values never leave this crate: the report
//! holds keys and names of columns.

mod cells;
mod judge;
mod key;
mod merge;
mod options;
mod pages;
mod progress;
mod replica;
mod report;
mod source;
mod table;
mod verify;

pub use options::{Options, Step};
pub use progress::{Applied, KafkaProgress, Progress};
pub use report::{Difference, Kind, LeftOut, Report, TableReport, Verdict};
pub use verify::{Databases, verify, verify_with};
