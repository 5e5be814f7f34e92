//! Private servers without root rights and without a container engine, for `tidemart up` and for tests.
//!
//! Postgres, MariaDB, MySQL and Kafka are fetched by Maven (pinned, checksums checked), unpacked into a
//! [`Cache`] shared by all checkouts, and run on 127.0.0.1 as an unprivileged [`Account`] with their
//! data in a [`DataFolder`]. A keeper thread per server starts it, watches it, starts it again when it
//! dies and stops it; when our process is killed, the kernel tells the servers to end.
//!
//! ```no_run
//! # async fn example() -> tidemart_local::Result<()> {
//! use tidemart_local::{Account, Cache, DataFolder, Keep, Postgres};
//!
//! let folder = DataFolder::open(DataFolder::default_path(), Account::choose("nobody")?).await?;
//! let postgres = Postgres::default().launch(&folder, &Cache::of_this_machine(), Keep::default()).await?;
//! postgres.ready().await?;
//! println!("postgres listens on {}", postgres.address());
//! postgres.stop().await;
//! # Ok(())
//! # }
//! ```

mod account;
pub mod airflow;
mod cache;
mod embedded;
mod error;
mod folder;
mod http;
mod java;
mod jupyterhub;
mod kafka;
mod keeper;
mod log;
mod mariadb;
mod mysql;
mod mysqld;
mod node;
mod ports;
mod postgres;
mod processes;
mod program;
mod python;
mod random;
mod role;
mod server;
pub mod spark;
#[cfg(feature = "testing")]
pub mod testing;
mod walls;

pub use account::{Account, DEFAULT_ACCOUNT};
pub use cache::{CACHE_VARIABLE, Cache};
pub use error::{Error, Result};
pub use folder::{DataFolder, claim, holder, make_folder};
pub use jupyterhub::{JupyterHub, Replica, SparkConnect};
pub use kafka::{Behind, Kafka};
pub use log::bound as bound_log;
pub use mariadb::MariaDb;
pub use mysql::MySql;
pub use postgres::{ADMIN as POSTGRES_ADMIN, OWNER, Postgres, create_database};
pub use random::hex as random_hex;
pub use role::{KeptRole, Role, RoleState};
pub use server::{Address, HOST, Keep, Login, Server, State};
pub use spark::{Cluster, Spark};
