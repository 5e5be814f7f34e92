use std::path::PathBuf;

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
    name: "mysql",
    version: "8.0.33.1",
    pom: include_str!("../servers/mysql/pom.xml"),
    unpack: Unpack::Zip {
        folder: "",
        take: &["bin/mysqld", "lib/private/*", "share/*"],
        leave: &["*.a", "share/mysql-test/*"],
    },
};
const LIBRARIES: &str = "if a library is missing, `apt-get install libaio1 libnuma1`";

/// A private MySQL 8.0, to test against beside MariaDB.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MySql {
    /// The folder of `mysqld` where it is on the machine already; fetched otherwise.
    pub bin: Option<PathBuf>,
    /// The port; a free one is chosen and kept otherwise.
    pub port: Option<u16>,
    /// `innodb_buffer_pool_size`, in MiB.
    pub buffer_pool_mb: u32,
    /// The databases, or patterns of their names as GRANT takes them, that the application may use and create.
    pub databases: Vec<String>,
    /// Whether a commit is on the disk when it is acknowledged. Only tests may do without.
    #[serde(skip)]
    pub durable: bool,
    /// More options of the server, `name=value`, over ours.
    #[serde(skip)]
    pub options: Vec<String>,
}

impl Default for MySql {
    fn default() -> Self {
        Self {
            bin: None,
            port: None,
            buffer_pool_mb: 256,
            databases: vec!["shop".to_owned(), "tidemart%".to_owned()],
            durable: true,
            options: Vec::new(),
        }
    }
}

impl MySql {
    /// Starts it; [`Server::ready`] waits for it.
    pub async fn launch(self, folder: &DataFolder, cache: &Cache, keep: Keep) -> Result<Server> {
        Server::launch(self, folder, cache, keep).await
    }
}

impl Kind for MySql {
    type Programs = PathBuf;

    const NAME: &'static str = "mysql";
    const PORTS: usize = 1;
    const STOP: Signal = Signal::SIGTERM;
    const ABORT: Signal = Signal::SIGKILL;

    fn port(&self) -> Option<u16> {
        self.port
    }

    async fn install(&self, cache: &Cache, site: &Site) -> Result<PathBuf> {
        let bin = match &self.bin {
            Some(bin) => bin.clone(),
            None => cache.install(&DISTRIBUTION).await?.join("bin"),
        };
        let server = mysqld::first_file(&[bin.join("mysqld"), bin.join("../sbin/mysqld")])?;
        site.account.check_reach(&bin).await?;
        Ok(server)
    }

    async fn initialize(&self, server: &PathBuf, site: &Site) -> Result<()> {
        let mut initialize = site.filling_command(server);
        // The superuser has no password only until the first start, whose init file gives it one
        // before the server accepts connections.
        initialize.args(["--no-defaults", "--initialize-insecure", "--default-time-zone=+00:00"]);
        initialize.arg(format!("--datadir={}", site.data.display())).current_dir(&site.data);
        initialize.env("TMPDIR", &site.data);
        program::run("mysqld --initialize", LIBRARIES, &mut initialize).await.map(drop)
    }

    fn command(&self, server: &PathBuf, site: &Site, parent_death: Signal) -> Result<Command> {
        let common =
            Common { buffer_pool_mb: self.buffer_pool_mb, databases: &self.databases, durable: self.durable };
        let mut command = mysqld::command(server, site, parent_death, common)?;
        // The X protocol would listen on a port of its own.
        command.args(["--mysqlx=OFF", "--innodb-redo-log-capacity=512M"]);
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
