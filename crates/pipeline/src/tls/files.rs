//! The files that the settings name, read anew for each connection: certificates are renewed while we run.

use std::{fmt, fs, os::unix::fs::PermissionsExt, path::Path};

use super::Tls;
use crate::{Error, Result};

/// Their contents, in PEM.
#[derive(Debug, Default)]
pub struct Files {
    /// The authorities that may have signed the server's certificate.
    pub roots: Option<String>,
    /// Who we are.
    pub identity: Option<Identity>,
}

/// A certificate and its key. The key is never printed.
pub struct Identity {
    /// The certificate, with those between it and its authority.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate.len()).finish_non_exhaustive()
    }
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// Fatal, naming the setting and the file: not there, not PEM, a key that others can read.
    pub fn read(tls: &Tls, section: &str) -> Result<Self> {
        let pem = |key: &str, path: &Path| read(&format!("{section}.tls.{key}"), path);
        let roots = tls.root_certificate.as_deref().map(|path| pem("root_certificate", path)).transpose()?;
        let identity = match (&tls.client_certificate, &tls.client_key) {
            (Some(certificate), Some(key)) => {
                require_closed(&format!("{section}.tls.client_key"), key)?;
                let certificate = pem("client_certificate", certificate)?;
                Some(Identity { certificate, key: pem("client_key", key)? })
            }
            _ => None,
        };
        Ok(Self { roots, identity })
    }
}

fn read(setting: &str, path: &Path) -> Result<String> {
    let wrong = |reason: &str| Error::fatal(format!("{setting}: the file {} {reason}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong("cannot be read").because(error))?;
    if text.contains("-----BEGIN ") { Ok(text) } else { Err(wrong("holds nothing in PEM")) }
}

/// As libpq demands it: the owner and the group may read a key, nobody else.
fn require_closed(setting: &str, path: &Path) -> Result<()> {
    let others = fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o007 != 0);
    if !others {
        return Ok(());
    }
    let path = path.display();
    Err(Error::fatal(format!("{setting}: every account can use the key {path}: run chmod 600 {path}")))
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, path::PathBuf};

    use super::*;
    use crate::tls::Mode;

    /// A file of this mode, and the settings that name it for everything.
    fn named(text: &str, mode: u32) -> (tempfile::NamedTempFile, Tls) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        let path: Option<PathBuf> = Some(file.path().to_owned());
        let tls = Tls {
            mode: Mode::VerifyFull,
            root_certificate: path.clone(),
            client_certificate: path.clone(),
            client_key: path,
        };
        (file, tls)
    }

    #[test]
    fn files_are_read_and_keys_are_not_printed() {
        let (_file, tls) = named("-----BEGIN SECRET-----", 0o600);
        let files = Files::read(&tls, "mysql").unwrap();
        assert!(files.roots.is_some());
        assert!(!format!("{:?}", files.identity).contains("SECRET"));
    }

    #[test]
    fn each_flaw_names_the_setting_and_the_file() {
        let refused = |text: &str, mode: u32| {
            let (file, tls) = named(text, mode);
            let error = Files::read(&tls, "mysql").unwrap_err().to_string();
            assert!(error.contains(file.path().to_str().unwrap()), "{error}");
            error
        };
        assert!(refused("nothing", 0o600).starts_with("mysql.tls.root_certificate: "));
        let open = refused("-----BEGIN X-----", 0o644);
        assert!(open.starts_with("mysql.tls.client_key: ") && open.contains("chmod 600"), "{open}");
        let (file, tls) = named("-----BEGIN X-----", 0o600);
        drop(file);
        assert!(Files::read(&tls, "mysql").unwrap_err().to_string().contains("cannot be read"));
    }
}
