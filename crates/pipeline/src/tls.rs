//! TLS to a server: the settings that Postgres, Kafka and MySQL have in common, the files that they name, and what to
//! do when the two ends do not agree.
//!
//! The modes are those of libpq's `sslmode`
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-SSLMODE-STATEMENTS>). `prefer` and `allow` are not
//! offered: nobody could say of such a connection whether it is encrypted.

mod client;
mod explain;
mod files;

use std::path::PathBuf;

use serde::Deserialize;

pub use self::{
    client::client_config,
    explain::explain,
    files::{Files, Identity},
};
use crate::{Error, Result};

/// How much a connection proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing is encrypted.
    #[default]
    Disable,
    /// Encrypted, with whoever answers.
    Require,
    /// The server has a certificate of the given authority, for whatever name.
    VerifyCa,
    /// The server has a certificate of the given authority for the name it was called by.
    VerifyFull,
}

/// The `tls` table of a server's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// How much the connection proves.
    pub mode: Mode,
    /// File of the authorities that may have signed the server's certificate (PEM); with `verify-ca` and `verify-full`.
    pub root_certificate: Option<PathBuf>,
    /// File of our own certificate with those between it and its authority (PEM), where the server asks for one.
    pub client_certificate: Option<PathBuf>,
    /// File of its private key (PEM), closed to other accounts.
    pub client_key: Option<PathBuf>,
}

impl Mode {
    /// Its name in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl Tls {
    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.mode != Mode::Disable
    }

    /// Refuses settings that contradict each other. The section is the server's, such as `postgres`.
    ///
    /// # Errors
    /// Fatal, naming the key.
    pub fn validate(&self, section: &str) -> Result<()> {
        let refuse = |key: &str, rule: &str| Err(Error::fatal(format!("{section}.tls.{key} {rule}")));
        let named = self.root_certificate.is_some();
        match self.mode {
            Mode::Disable if named || self.client_certificate.is_some() || self.client_key.is_some() => {
                refuse("mode", "is disable, but files for TLS are named: set it to verify-full")
            }
            Mode::Require if named => {
                refuse("mode", "is require, which checks no certificate: set it to verify-full or verify-ca")
            }
            Mode::VerifyCa | Mode::VerifyFull if !named => refuse(
                "root_certificate",
                "is missing: name the file of the authority that signed the server's certificate, or of all that this \
                 machine trusts (/etc/ssl/certs/ca-certificates.crt)",
            ),
            _ if self.client_certificate.is_some() != self.client_key.is_some() => {
                refuse("client_certificate", "and client_key belong together: name both or neither")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<Tls> {
        let tls: Tls = serde_json::from_str(json).unwrap();
        tls.validate("postgres").map(|()| tls)
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for good in [
            "{}",
            r#"{"mode":"require"}"#,
            r#"{"mode":"verify-ca","root_certificate":"/r"}"#,
            r#"{"mode":"verify-full","root_certificate":"/r","client_certificate":"/c","client_key":"/k"}"#,
        ] {
            parsed(good).unwrap();
        }
        for (bad, named) in [
            (r#"{"root_certificate":"/r"}"#, "postgres.tls.mode is disable"),
            (r#"{"mode":"require","root_certificate":"/r"}"#, "postgres.tls.mode is require"),
            (r#"{"mode":"verify-full"}"#, "postgres.tls.root_certificate is missing"),
            (r#"{"mode":"require","client_key":"/k"}"#, "postgres.tls.client_certificate and client_key"),
        ] {
            let text = parsed(bad).unwrap_err().to_string();
            assert!(text.starts_with(named), "{text}");
        }
        for unknown in [r#"{"mode":"prefer"}"#, r#"{"sslmode":"require"}"#] {
            assert!(serde_json::from_str::<Tls>(unknown).is_err());
        }
    }

    #[test]
    fn the_names_are_those_of_the_settings() {
        for mode in [Mode::Disable, Mode::Require, Mode::VerifyCa, Mode::VerifyFull] {
            let read: Mode = serde_json::from_str(&format!("{:?}", mode.name())).unwrap();
            assert_eq!(read, mode);
        }
    }
}
