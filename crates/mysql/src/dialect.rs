//! What differs between MySQL and MariaDB, and how names and texts are quoted in both.

use std::fmt;

/// Which server we talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// MariaDB, 10.11 or newer.
    MariaDb,
    /// MySQL, 8.0.17 or newer.
    MySql,
}

impl Dialect {
    /// The collation of every text: binary and without padding, or 'a', 'A' and 'a ' would be one key.
    #[must_use]
    pub fn collation(self) -> &'static str {
        match self {
            Self::MariaDb => "utf8mb4_nopad_bin",
            Self::MySql => "utf8mb4_0900_bin",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        })
    }
}

/// A name, quoted. Both servers quote alike and without regard to sql_mode: backticks, doubled inside.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as a literal, for the sql_mode that [`connect`](crate::connect) sets (backslashes escape).
#[must_use]
pub fn quote_string(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends a text as a literal; see [`quote_string`].
pub(crate) fn write_string(out: &mut Vec<u8>, mut text: &[u8]) {
    out.push(b'\'');
    while let Some(at) = memchr::memchr3(b'\'', b'\\', 0, text) {
        out.extend_from_slice(&text[..at]);
        out.push(b'\\');
        out.push(if text[at] == 0 { b'0' } else { text[at] });
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_closes_nothing_early() {
        assert_eq!(quote_identifier("a`b"), "`a``b`");
        assert_eq!(quote_string("it's a \\ and \0 é"), r"'it\'s a \\ and \0 é'");
        assert_eq!(quote_string(""), "''");
    }
}
