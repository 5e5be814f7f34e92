//! The one loop that both hops run: ask the destination where it stands, start the source there, move batches,
//! acknowledge upstream only what the destination has made durable.
//!
//! ```text
//! scope ──▶ resume ──▶ start ──▶ ┌ next ──▶ write ──▶ acknowledge ┐ ──▶ (another scope, a transient fault: again)
//!                                └────────────────◀───────────────┘
//! ```

pub mod error;
pub mod failpoint;
pub mod findings;
pub mod retry;
pub mod run;
pub mod tls;

#[cfg(any(test, feature = "doubles"))]
pub mod doubles;

pub use error::{Error, Kind, Result};
pub use findings::{Finding, Findings, Level};
pub use retry::Backoff;
pub use run::{Destination, Next, Source, run};
pub use tls::Tls;
