//! The settings file of the private cycle, and the shop's settings against what its database already holds.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use secrecy::ExposeSecret;
use tidemart_local::{Address, Login};
use tidemart_shop::{Connection, writer::stored};
use toml::{Table, Value};
use tracing::warn;

use super::{
    Args, OwnMarts,
    platform::Platform,
    servers::{NAME, Servers},
};
use crate::config::{VERSION, parse};

/// Milliseconds between two looks for new tables: everything is on this machine.
const REFRESH_MS: i64 = 1_000;
/// Milliseconds that the private broker keeps changes; what it keeps of a partition is bounded in bytes, too.
const RETENTION_MS: i64 = 24 * 60 * 60 * 1_000;
/// Milliseconds of silence after which a member of the group is given up; the broker's least.
const SESSION_MS: i64 = 6_000;
/// Name of the consumer in its group: when it is started again it takes its partitions at once.
const INSTANCE: &str = "up";

/// Writes the file whole or not at all; nobody else can read it.
pub(super) fn write(
    path: &Path,
    servers: &Servers,
    platform: Option<&Platform>,
    shop: &tidemart_shop::Config,
    marts: Option<&OwnMarts>,
) -> anyhow::Result<()> {
    let mut table = table(servers, shop, marts)?;
    table.extend(platform.map(Platform::settings).unwrap_or_default());
    let text = format!(
        "# Written by `tidemart up` at each start. Use it from anywhere: tidemart verify --config {}\n{}",
        path.display(),
        toml::to_string(&table)?
    );
    let beside = path.with_extension("toml.new");
    drop(fs::remove_file(&beside));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).context("settings file")?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).context("settings file")?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

/// The folder of marts that a file of these settings names; none where there is no file, or one that is damaged and about
/// to be written anew.
pub(super) fn marts(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let table = match parse(path, &String::from_utf8_lossy(&bytes)) {
        Ok(table) => table,
        Err(error) => {
            warn!(error = %error, "the settings are written anew; a folder of marts that they kept must be named again");
            return Ok(None);
        }
    };
    let marts = table.get("marts");
    let named = |key: &str| marts.and_then(|marts| marts.get(key)).and_then(Value::as_str);
    Ok(named("copied_from").or_else(|| named("folder")).map(PathBuf::from))
}

fn table(
    servers: &Servers,
    shop: &tidemart_shop::Config,
    own_marts: Option<&OwnMarts>,
) -> anyhow::Result<Table> {
    let mut kafka = Table::new();
    kafka.insert("bootstrap".into(), servers.kafka.address().to_string().into());
    kafka.insert("prefix".into(), NAME.into());
    kafka.insert("retention_ms".into(), RETENTION_MS.into());
    let mut consumer = Table::new();
    consumer.insert("refresh_ms".into(), REFRESH_MS.into());
    consumer.insert("session_timeout_ms".into(), SESSION_MS.into());
    consumer.insert("instance".into(), INSTANCE.into());
    kafka.insert("consumer".into(), consumer.into());
    let mut marts = Table::new();
    marts.insert("enabled".into(), true.into());
    if let Some(OwnMarts { copy, origin }) = own_marts {
        for (key, path) in [("folder", copy), ("copied_from", origin)] {
            let path = path.to_str().context("--marts: the path is no UTF-8")?;
            marts.insert(key.into(), path.into());
        }
    }
    let mut table = Table::new();
    table.insert("version".into(), Value::Integer(VERSION.into()));
    table.insert("postgres".into(), database(servers.postgres.address())?.into());
    table.insert("kafka".into(), kafka.into());
    table.insert("mysql".into(), database(servers.mariadb.address())?.into());
    table.insert("shop".into(), Value::try_from(shop)?);
    table.insert("marts".into(), marts.into());
    Ok(table)
}

fn database(address: &Address) -> anyhow::Result<Table> {
    let Login { user, password } = owner(address)?;
    let mut table = Table::new();
    table.insert("host".into(), address.nearest_host().into());
    table.insert("port".into(), Value::Integer(address.port.into()));
    table.insert("user".into(), (*user).into());
    table.insert("password".into(), password.expose_secret().into());
    table.insert("database".into(), NAME.into());
    Ok(table)
}

fn owner(address: &Address) -> anyhow::Result<&Login> {
    address.owner.as_ref().context("a server has no account for the application")
}

/// Where the shop's database is.
pub(super) fn connection(servers: &Servers) -> anyhow::Result<Connection> {
    let address = servers.postgres.address();
    let Login { user, password } = owner(address)?;
    Ok(Connection {
        host: address.nearest_host(),
        port: address.port,
        user: (*user).to_owned(),
        password: password.clone(),
        database: NAME.to_owned(),
        tls: None,
    })
}

/// What the options ask for, on top of the shop that is there. Says whether one is.
///
/// # Errors
/// Options that a shop that is there cannot follow any more.
pub(super) async fn shop(
    shop: &mut tidemart_shop::Config,
    args: &Args,
    connection: &Connection,
) -> anyhow::Result<bool> {
    let found = stored(connection).await?;
    if let Some(found) = &found {
        found.adopt(shop);
    }
    shop.seed = args.seed.unwrap_or(shop.seed);
    shop.history_days = args.history_days.unwrap_or(shop.history_days);
    shop.rate = args.rate.unwrap_or(shop.rate);
    shop.speed = args.speed.unwrap_or(shop.speed);
    if let Some(size) = args.size {
        shop.choose(size.into());
    }
    shop.validate()?;
    let complete = found.filter(|found| found.complete);
    if let Some(found) = complete {
        found.check(shop).context("another --data folder holds another shop")?;
    }
    Ok(complete.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_folder_of_marts_is_the_users() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tidemart.toml");
        assert_eq!(marts(&file).unwrap(), None);
        for (text, kept) in [
            ("[marts]\nenabled = true\n", None),
            ("[marts]\nfolder = '/mine'\n", Some("/mine")),
            ("[marts]\nfolder = '/data/run/marts'\ncopied_from = '/mine'\n", Some("/mine")),
            // It is written anew.
            ("[mysql]\npassword = \"x\n[marts]\nfolder = '/mine'\n", None),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(marts(&file).unwrap(), kept.map(PathBuf::from), "{text}");
        }
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert_eq!(marts(&file).unwrap(), None);
    }
}
