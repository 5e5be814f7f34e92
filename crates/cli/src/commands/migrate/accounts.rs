//! Accounts for the roles, each with a settings file that only we can read.
//!
//! The files are where the passwords are kept: what stands in one is what its account has, so that running this again
//! changes nothing.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use tidemart_mysql::accounts as mysql;
use tidemart_postgres::accounts as postgres;
use toml::{Table, Value};
use tracing::info;

use crate::config::Config;

/// Bytes of a password's randomness.
const PASSWORD_BYTES: usize = 24;

/// A role, which accounts it needs, and the sections of its settings.
struct Role {
    name: &'static str,
    postgres: Option<postgres::Right>,
    mysql: Option<mysql::Right>,
    sections: &'static [&'static str],
}

const ROLES: [Role; 4] = [
    Role {
        name: "capture",
        postgres: Some(postgres::Right::Capture),
        mysql: None,
        sections: &["postgres", "kafka"],
    },
    Role {
        name: "consumer",
        postgres: Some(postgres::Right::Ask),
        mysql: Some(mysql::Right::Replicate),
        sections: &["postgres", "kafka", "mysql", "consumer", "marts"],
    },
    Role {
        name: "marts",
        postgres: None,
        mysql: Some(mysql::Right::Marts),
        sections: &["kafka", "mysql", "marts"],
    },
    Role {
        name: "reader",
        postgres: Some(postgres::Right::Read),
        mysql: Some(mysql::Right::Read),
        sections: &["postgres", "kafka", "mysql", "consumer", "marts"],
    },
];

/// Where the files go, how the accounts are called, and whether they get new passwords.
pub(super) struct Plan<'a> {
    pub(super) folder: &'a Path,
    pub(super) prefix: &'a str,
    pub(super) new_passwords: bool,
}

/// Makes what is missing. The settings are an administrator's.
///
/// # Errors
/// Rights that the administrator lacks; an account whose password nobody knows; a folder that cannot be written.
pub(super) async fn make(plan: &Plan<'_>, config: &Config) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for role in &ROLES {
        files.push(plan.file(role)?);
    }
    plan.require_known(config, &files).await?;
    // First the files: a password that was set and lost would lock everybody out.
    for (role, file) in ROLES.iter().zip(&files) {
        plan.write(role, file, config)?;
    }
    let in_postgres = ROLES.iter().zip(&files).filter_map(|(role, file)| {
        let (name, password) = (plan.account(role), Some(file.password.clone()));
        role.postgres.map(|right| postgres::Account { name, password, right })
    });
    postgres::provision(config.postgres()?, &in_postgres.collect::<Vec<_>>()).await?;
    let in_mysql = ROLES.iter().zip(&files).filter_map(|(role, file)| {
        let (name, password) = (plan.account(role), Some(file.password.clone()));
        role.mysql.map(|right| mysql::Account { name, password, right })
    });
    mysql::provision(config.mysql()?, &in_mysql.collect::<Vec<_>>()).await?;
    for (role, file) in ROLES.iter().zip(&files) {
        info!(account = plan.account(role), settings = %file.path.display(), "account is ready");
    }
    Ok(())
}

/// A role's settings file and its password, which it may hold already.
struct File {
    path: PathBuf,
    password: SecretString,
    known: bool,
}

impl Plan<'_> {
    fn account(&self, role: &Role) -> String {
        format!("{}_{}", self.prefix, role.name)
    }

    fn file(&self, role: &Role) -> anyhow::Result<File> {
        let path = self.folder.join(format!("{}.toml", role.name));
        let kept = if self.new_passwords { None } else { password_in(&path)? };
        let known = kept.is_some() || self.new_passwords;
        let made = || tidemart_local::random_hex::<PASSWORD_BYTES>().map(SecretString::from);
        let password = kept.map_or_else(made, Ok)?;
        Ok(File { path, password, known })
    }

    /// Another machine may hold the files that belong to the accounts.
    async fn require_known(&self, config: &Config, files: &[File]) -> anyhow::Result<()> {
        let unknown = ROLES.iter().zip(files).filter(|(_, file)| !file.known);
        let names: Vec<_> = unknown.map(|(role, _)| self.account(role)).collect();
        let mut there = postgres::existing(config.postgres()?, &names).await?;
        there.extend(mysql::existing(config.mysql()?, &names).await?);
        if there.is_empty() {
            return Ok(());
        }
        let names = there.into_iter().collect::<Vec<_>>().join(", ");
        bail!(
            "the accounts {names} are there, but {} does not hold their passwords: name the folder that does, choose \
             another --account-prefix, or give them new ones by --new-passwords",
            self.folder.display()
        )
    }

    /// Writes the file whole or not at all; nobody else can read it.
    fn write(&self, role: &Role, file: &File, config: &Config) -> anyhow::Result<()> {
        let text = format!(
            "# Written by `tidemart migrate --accounts`: use it by --config, or as a secret of your platform.\n{}",
            toml::to_string(&self.settings(role, file, config))?
        );
        let path = &file.path;
        let failed = || format!("cannot write {}", path.display());
        fs::create_dir_all(self.folder).with_context(failed)?;
        let beside = path.with_extension("toml.new");
        drop(fs::remove_file(&beside));
        let mut new =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).with_context(failed)?;
        new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).with_context(failed)?;
        fs::rename(&beside, path).with_context(failed)
    }

    /// The administrator's settings with the account's name and password, as far as the role needs them.
    fn settings(&self, role: &Role, file: &File, config: &Config) -> Table {
        let mut settings = config.table().clone();
        settings.retain(|section, value| !value.is_table() || role.sections.contains(&section));
        for (section, needed) in [("postgres", role.postgres.is_some()), ("mysql", role.mysql.is_some())] {
            if let Some(Value::Table(section)) = settings.get_mut(section).filter(|_| needed) {
                section.insert("user".into(), self.account(role).into());
                section.insert("password".into(), file.password.expose_secret().into());
            }
        }
        settings
    }
}

fn password_in(path: &Path) -> anyhow::Result<Option<SecretString>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let table = text.parse::<Table>().ok();
    let password = ["postgres", "mysql"]
        .iter()
        .find_map(|section| table.as_ref()?.get(*section)?.get("password")?.as_str().map(SecretString::from));
    password.map(Some).with_context(|| {
        format!("{} holds no password of an account: move it away, and use --new-passwords", path.display())
    })
}
