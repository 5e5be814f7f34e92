//! A server's log file: what it writes to its standard output and error, bounded in size.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, at};
use crate::program;

/// At this size a log file is copied to `<name>.1` and emptied.
pub(crate) const MAXIMUM_BYTES: u64 = 16 * 1024 * 1024;
const TAIL_BYTES: u64 = 8 * 1024;

/// Opens the log for appending: with O_APPEND a server goes on writing at the start of an emptied file.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path).map_err(at("open", path))
}

/// The length of the log now; what comes later belongs to the next start.
pub(crate) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Empties a log that has grown to `maximum` bytes; its content is kept beside until the next time.
pub(crate) fn rotate(path: &Path, maximum: u64) -> Result<()> {
    if length(path) < maximum {
        return Ok(());
    }
    fs::copy(path, old(path)).map_err(at("copy", path))?;
    let file = File::options().write(true).open(path).map_err(at("open", path))?;
    file.set_len(0).map_err(at("empty", path))
}

/// Keeps a log that is written by appending within its bounds: 16 MiB, and as much beside it.
///
/// # Errors
/// When it cannot be copied or emptied.
pub fn bound(path: &Path) -> Result<()> {
    rotate(path, MAXIMUM_BYTES)
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The last lines written after the byte `from`.
pub(crate) fn tail(path: &Path, from: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let start = from.max(file.metadata()?.len().saturating_sub(TAIL_BYTES));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) if text.trim().is_empty() => "(nothing was logged)".to_owned(),
        Ok(text) => program::tail(&text),
        Err(error) => format!("(the log cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_full_log_is_emptied_and_its_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        let mut writer = open(&path).unwrap();
        writer.write_all(b"0123456789").unwrap();
        rotate(&path, 11).unwrap();
        assert_eq!(length(&path), 10);
        rotate(&path, 10).unwrap();
        writer.write_all(b"next").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"next");
        assert_eq!(fs::read(folder.path().join("server.log.1")).unwrap(), b"0123456789");
    }

    #[test]
    fn a_tail_starts_at_this_start_of_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        fs::write(&path, "earlier\n").unwrap();
        let from = length(&path);
        assert_eq!(tail(&path, from), "(nothing was logged)");
        open(&path).unwrap().write_all(b"now\n").unwrap();
        assert_eq!(tail(&path, from), "now");
    }
}
