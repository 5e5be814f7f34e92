//! Apache Spark: a standalone cluster on this machine.

use std::path::PathBuf;

use crate::{account::Account, cache::Cache, error::Result, python::Lock};

/// Spark itself comes from PyPI, with what its Python processes need.
const LOCK: Lock = Lock { name: "spark", text: include_str!("../../../../spark/requirements.lock") };

/// The cluster's Python environment, fetched where it is missing.
///
/// # Errors
/// No Python, one that is too old or that the account cannot use; packages that cannot be fetched or have other hashes.
pub async fn environment(cache: &Cache, account: &Account) -> Result<PathBuf> {
    cache.environment(&LOCK, account).await
}
