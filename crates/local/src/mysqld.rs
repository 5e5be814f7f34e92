//! What MariaDB and MySQL have in common: the arguments of the server, the accounts, the readiness.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use tokio::process::Command;

use crate::error::{Error, Result};
use crate::folder::Site;
use crate::postgres::OWNER;
use crate::server::{Address, HOST, Login};

/// The superuser.
pub(crate) const ADMIN: &str = "root";
const ADVICE: &str = "name the folder that holds the server's programs";

/// Settings that both take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common<'a> {
    pub(crate) buffer_pool_mb: u32,
    pub(crate) databases: &'a [String],
    pub(crate) durable: bool,
}

/// The server's command: paths, loopback only, UTF-8, UTC, the init file that makes the accounts.
pub(crate) fn command(
    program: &Path,
    site: &Site,
    parent_death: Signal,
    common: Common<'_>,
) -> Result<Command> {
    let accounts = accounts(site, common.databases)?;
    let init_file = site.write_run_file("accounts.sql", &accounts)?;
    let mut command = site.account.command(program, parent_death);
    // First: no file of this machine may change what we start.
    command.arg("--no-defaults");
    command.arg(format!("--datadir={}", site.data.display()));
    // A server deletes temporary tables' files in its tmpdir when it starts, those of other servers too.
    command.arg(format!("--tmpdir={}", site.data.display()));
    command.arg(format!("--init-file={}", init_file.display()));
    // Names with the mark, so that the process is found again; relative to the data folder, since
    // the path of a socket is limited to 107 bytes.
    command.arg(format!("--pid-file={}.pid", site.mark)).arg("--socket=server.sock");
    command.arg(format!("--bind-address={HOST}")).arg(format!("--port={}", site.port()));
    command.args(["--skip-name-resolve", "--local-infile=ON", "--disable-log-bin"]);
    command.args(["--character-set-server=utf8mb4", "--default-time-zone=+00:00"]);
    command.args(["--max-allowed-packet=64M", "--max-connections=300"]);
    command.arg(format!("--innodb-buffer-pool-size={}M", common.buffer_pool_mb));
    command.arg(format!("--innodb-flush-log-at-trx-commit={}", u8::from(common.durable)));
    if !common.durable {
        command.arg("--innodb-flush-method=nosync");
    }
    // An arena for each thread would keep what large statements once needed.
    command.env("MALLOC_ARENA_MAX", "2");
    Ok(command)
}

/// The statements that the server runs at each start before it accepts connections. They bring the
/// accounts to what the data folder's secrets say, whatever was there before.
fn accounts(site: &Site, databases: &[String]) -> Result<String> {
    // The passwords are ours: hexadecimal digits, nothing to quote.
    let (owner, admin) = (site.owner_password.expose_secret(), site.admin_password.expose_secret());
    let mut statements = include_str!("mysqld/accounts.sql")
        .replace("{owner_password}", owner)
        .replace("{admin_password}", admin);
    for pattern in databases {
        let pattern = quoted_pattern(pattern)?;
        statements.push_str(&format!("GRANT ALL PRIVILEGES ON {pattern}.* TO '{OWNER}'@'{HOST}';\n"));
    }
    Ok(statements)
}

/// A database name or pattern (`%`, `_`) for GRANT.
fn quoted_pattern(pattern: &str) -> Result<String> {
    let harmless = |character: char| character.is_ascii_alphanumeric() || "_%\\".contains(character);
    if !pattern.is_empty() && pattern.chars().all(harmless) {
        return Ok(format!("`{pattern}`"));
    }
    Err(Error::Setting {
        name: "databases",
        reason: format!("\"{pattern}\" is no database name or pattern; use letters, digits, _ and %"),
    })
}

/// Logs in as the application does and asks something.
pub(crate) async fn probe(site: &Site) -> Result<(), String> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(HOST)
        .tcp_port(site.port())
        .user(Some(OWNER))
        .pass(Some(site.owner_password.expose_secret()))
        .prefer_socket(false);
    let ask = async {
        let mut connection = mysql_async::Conn::new(options).await?;
        mysql_async::prelude::Queryable::query_drop(&mut connection, "SELECT 1").await?;
        connection.disconnect().await
    };
    ask.await.map_err(|error| error.to_string())
}

pub(crate) fn address(site: &Site) -> Address {
    Address {
        host: HOST,
        port: site.port(),
        socket: None,
        owner: Some(Login { user: OWNER, password: site.owner_password.clone() }),
        admin: Some(Login { user: ADMIN, password: site.admin_password.clone() }),
    }
}

/// The first of some places where a program is.
pub(crate) fn first_file(places: &[PathBuf]) -> Result<PathBuf> {
    let found = places.iter().find(|place| place.is_file());
    found.cloned().ok_or_else(|| Error::MissingProgram {
        program: places.first().map(|place| place.display().to_string()).unwrap_or_default(),
        advice: ADVICE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_quoted_or_refused() {
        assert_eq!(quoted_pattern("shop\\_%").unwrap(), "`shop\\_%`");
        for bad in ["", "a`b", "a.b", "a'b", "a b"] {
            assert!(quoted_pattern(bad).is_err(), "{bad}");
        }
    }
}
