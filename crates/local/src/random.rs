//! Random values from the operating system, for passwords and names.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Result, at};

/// Random lower-case hexadecimal digits, two for each of the `BYTES`, as passwords are made of.
///
/// # Errors
/// Where there is no `/dev/urandom`.
pub fn hex<const BYTES: usize>() -> Result<String> {
    let mut text = String::with_capacity(2 * BYTES);
    for byte in bytes::<BYTES>()? {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// A number of 16 bits.
pub(crate) fn number() -> Result<u16> {
    Ok(u16::from_ne_bytes(bytes()?))
}

pub(crate) fn bytes<const BYTES: usize>() -> Result<[u8; BYTES]> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; BYTES];
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).map_err(at("read", source))?;
    Ok(bytes)
}
