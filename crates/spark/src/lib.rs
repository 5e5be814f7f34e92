//! A Spark cluster, asked through Spark Connect.
//!
//! The client of Apache Spark blocks and has a runtime of its own; here each call runs in a thread of its own, so that
//! it can be awaited, and be given up when the server is gone (the client itself would try again for an hour).
//!
//! ```no_run
//! # async fn example(config: tidemart_spark::Config) -> tidemart_pipeline::Result<()> {
//! let session = tidemart_spark::Session::open(&config).await?;
//! let rows = session.rows("SELECT count(*) FROM range(1000)").await?;
//! assert_eq!(rows, [[Some("1000".to_owned())]]);
//! session.close().await;
//! # Ok(())
//! # }
//! ```

mod config;
mod error;
mod explain;
mod function;
mod session;
mod shared;
mod stream;

pub use config::{Config, OLDEST};
pub use error::fault;
pub use session::{Row, Session};
/// The client itself, for what is not wrapped here.
pub use spark_connect as client;
pub use stream::{Look, Progress, Query, Stream};
