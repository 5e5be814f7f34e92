//! Certificates for tests of TLS: an authority, and what it signs, as files that the servers' account can read.

use std::{
    fmt::Display,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::or_fail;
use crate::account::{Account, DEFAULT_ACCOUNT};

/// An authority that nobody knows but who reads its file. Its files go with it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// Files of a certificate that an authority has signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM, readable by its owner alone.
    pub key: PathBuf,
    /// Both in one, as Kafka's PEM stores want them.
    pub store: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("root", &self.root()).finish_non_exhaustive()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let folder = or_fail(tempfile::Builder::new().prefix("tidemart-certificates-").tempdir());
        or_fail(fs::set_permissions(folder.path(), Permissions::from_mode(0o755)));
        let key = or_fail(KeyPair::generate());
        let mut params = or_fail(CertificateParams::new(Vec::new()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let certificate = or_fail(params.self_signed(&key));
        write(&folder.path().join("root.pem"), &certificate.pem(), 0o644);
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// The file of its own certificate.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Another file that the servers can read.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        write(&path, text, 0o644);
        path
    }

    /// A certificate for these host names and addresses, owned by the account of the servers.
    pub fn server(&self, names: &[&str]) -> Signed {
        let signed = self.sign("server", names);
        let account = or_fail(Account::choose(DEFAULT_ACCOUNT));
        for file in [&signed.certificate, &signed.key, &signed.store] {
            or_fail(account.own(file));
        }
        signed
    }

    /// A certificate for a client of this name, owned by us.
    pub fn client(&self, name: &str) -> Signed {
        self.sign(name, &[])
    }

    fn sign(&self, name: &str, alternatives: &[&str]) -> Signed {
        let alternatives: Vec<String> = alternatives.iter().map(|&name| name.to_owned()).collect();
        let mut params = or_fail(CertificateParams::new(alternatives));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = or_fail(KeyPair::generate());
        let certificate = or_fail(params.signed_by(&key, &self.issuer)).pem();
        let path = |end: &str| self.folder.path().join(format!("{name}-{}.{end}", key_id(&key)));
        let signed = Signed { certificate: path("pem"), key: path("key"), store: path("store") };
        write(&signed.certificate, &certificate, 0o644);
        write(&signed.key, &key.serialize_pem(), 0o600);
        write(&signed.store, &format!("{}{certificate}", key.serialize_pem()), 0o600);
        signed
    }
}

/// Tells the files of two certificates with one name apart.
fn key_id(key: &KeyPair) -> String {
    key.public_key_raw().iter().rev().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, text: &str, mode: u32) {
    let named =
        |error: std::io::Error| -> Box<dyn Display> { Box::new(format!("{}: {error}", path.display())) };
    or_fail(fs::write(path, text).map_err(named));
    or_fail(fs::set_permissions(path, Permissions::from_mode(mode)).map_err(named));
}
