//! Errors at the seam between stages: as many kinds as there are reactions.

use std::fmt;

/// The result of a stage.
pub type Result<T> = std::result::Result<T, Error>;

/// What the loop does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Try again from the destination's position, with back-off, for ever: a lost connection, a deadlock, a broker
    /// that is away, another writer that was faster.
    Transient,
    /// Stop and tell a person what to do: wrong password, missing right, a proven loss.
    Fatal,
}

/// An error with its reaction. `Display` prints only its own message; the chain is printed by the binary.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error that will pass.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: Kind::Transient, message: message.into(), source: None }
    }

    /// An error that needs a person; the message says what to do.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { kind: Kind::Fatal, message: message.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the loop does about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

/// Prints an error and its causes on one line, `a: b: c`; a cause that the text before it ends with is not repeated.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let inner = Error::transient("refused");
        let wrapper = Error::transient("i/o error: refused").because(inner);
        assert_eq!(
            chain(&Error::fatal("cannot reach it").because(wrapper)),
            "cannot reach it: i/o error: refused"
        );
    }
}
