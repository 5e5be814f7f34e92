//! What commands print: their results, on stdout.

use std::{
    fmt::{self, Display},
    io::{self, ErrorKind, Write},
};

use anyhow::Context;

/// Whoever read our output has left (`| head`): nothing more is to be said.
#[derive(Debug)]
pub struct ReaderGone;

impl Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for ReaderGone {}

/// Prints a line, or several.
///
/// # Errors
/// [`ReaderGone`]; an output that takes no more.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    write(format_args!("{text}\n"))
}

/// Prints a text as it is.
///
/// # Errors
/// As [`print()`].
pub fn write(text: impl Display) -> anyhow::Result<()> {
    write_to(&mut io::stdout().lock(), text)
}

fn write_to(out: &mut impl Write, text: impl Display) -> anyhow::Result<()> {
    let written = write!(out, "{text}").and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        written => written.context("cannot write the output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Out(io::Error);

    impl Write for Out {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(self.0.raw_os_error().unwrap_or(0)))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_left_is_told_from_a_full_disk() {
        let told = |errno: nix::errno::Errno| write_to(&mut Out(errno.into()), "text").unwrap_err();
        assert!(told(nix::errno::Errno::EPIPE).is::<ReaderGone>());
        let full = told(nix::errno::Errno::ENOSPC);
        assert!(!full.is::<ReaderGone>() && format!("{full:#}").contains("cannot write the output: "));
    }
}
