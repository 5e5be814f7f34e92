//! The wheel with our code, unpacked for Python of the driver and of the executors.

use std::path::Path;

use crate::{
    cache::{open_to_all, unzip},
    error::{Result, at},
};

/// Unpacks a wheel into a folder, in the place of what was there. The account that runs Spark can read it.
///
/// # Errors
/// No such wheel, no room.
pub async fn unpack_wheel(wheel: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(at("remove", folder))?;
    }
    std::fs::create_dir_all(folder).map_err(at("create", folder))?;
    std::fs::metadata(wheel).map_err(at("read", wheel))?;
    unzip(wheel, folder, &[], &[]).await?;
    open_to_all(folder).await
}
