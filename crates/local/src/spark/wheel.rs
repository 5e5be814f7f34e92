//! The wheel with our code, unpacked for Python of the driver and of the executors.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    cache::{open_to_all, remove, unzip},
    error::{Result, at},
};

/// Where the wheel that was built with a program lies: in `wheels` beside it.
#[must_use]
pub fn wheels_of(program: &Path) -> PathBuf {
    program.with_file_name("wheels")
}

/// The wheel there; `None` where there is none.
#[must_use]
pub fn wheel_of(program: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(wheels_of(program)).into_iter().flatten().flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.extension().is_some_and(|end| end == "whl"))
}

/// Unpacks the wheel that was built with a program into a folder, in the place of what was there; `false` where there is
/// none. The account that runs Spark can read it.
///
/// # Errors
/// No room.
pub async fn unpack_wheel_of(program: &Path, folder: &Path) -> Result<bool> {
    let Some(wheel) = wheel_of(program) else { return Ok(false) };
    remove(folder)?;
    fs::create_dir_all(folder).map_err(at("create", folder))?;
    unzip(&wheel, folder, &[], &[]).await?;
    open_to_all(folder).await?;
    Ok(true)
}
