//! Settings: one `tidemart.toml`, overridden by the environment; each crate owns its section.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use toml::{Table, Value};

use crate::{args::Settings, env};

/// The settings file that is read where none is named; `up` writes one of this name, too.
pub const DEFAULT_FILE: &str = "tidemart.toml";
/// The version of the file's layout that this program writes and reads.
pub const VERSION: u32 = 1;

/// All settings. A section that a command needs and that is missing is an error of that command.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    version: Option<u32>,
    postgres: Option<tidemart_postgres::Config>,
    kafka: Option<tidemart_kafka::Config>,
    mysql: Option<tidemart_mysql::Config>,
    spark: Option<tidemart_spark::Config>,
    /// How the consumer works.
    #[serde(default)]
    pub consumer: Consumer,
    /// The shop.
    #[serde(default)]
    pub shop: tidemart_shop::Config,
    /// The marts.
    #[serde(default)]
    pub marts: Marts,
    /// All of it as it was written.
    #[serde(skip)]
    written: Written,
}

/// Settings that are not printed.
#[derive(Default)]
struct Written(Table);

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The consumer's section.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consumer {
    /// How many partitions are applied at once by this process: each lane is a member of the consumer group with a
    /// MySQL connection of its own. No more than a topic has partitions are of use.
    pub lanes: u16,
}

impl Default for Consumer {
    fn default() -> Self {
        Self { lanes: 2 }
    }
}

/// The marts' section.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Marts {
    /// Whether the shop's marts are kept: the consumer then writes marks for them. False for other people's tables.
    pub enabled: bool,
    /// Pause between two refreshes of a mart, in milliseconds.
    pub interval_ms: u64,
    /// A folder of folders, each a mart besides the shop's.
    pub folder: Option<PathBuf>,
    /// Where `folder` was copied from, by `up`: what messages name.
    pub copied_from: Option<PathBuf>,
}

impl Marts {
    /// What the marts want to know of their sources' changes; nothing where they are not kept.
    pub fn rules(&self) -> Vec<tidemart_mysql::MarkRule> {
        if self.enabled { tidemart_marts::mark_rules() } else { Vec::new() }
    }
}

impl Default for Marts {
    fn default() -> Self {
        Self { enabled: false, interval_ms: 250, folder: None, copied_from: None }
    }
}

impl Config {
    /// Reads the file and the environment and checks every value.
    ///
    /// # Errors
    /// A missing or unreadable file, a wrong key, type or value; each names where.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let path = settings.config.clone().or_else(found_file);
        let origin = path.as_deref().map_or("the environment".to_owned(), |path| path.display().to_string());
        let mut table = path.map_or_else(|| Ok(Table::new()), |path| read(&path))?;
        env::apply(&mut table, env::variables())?;
        Self::of_table(table).with_context(|| format!("settings of {origin}"))
    }

    /// Reads a file alone.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn of_file(path: &PathBuf) -> anyhow::Result<Self> {
        Self::of_table(read(path)?).with_context(|| format!("settings of {}", path.display()))
    }

    fn of_table(table: Table) -> anyhow::Result<Self> {
        check_passwords(&table)?;
        let mut config: Self = table.clone().try_into()?;
        config.validate()?;
        if let Some(folder) = &config.marts.folder {
            let named = config.marts.copied_from.as_deref();
            tidemart_marts::use_folder(folder, named).context("marts.folder")?;
        }
        config.written = Written(table);
        if let Some(postgres) = &mut config.postgres {
            postgres.tables.target = tidemart_postgres::Target(tidemart_mysql::fits);
        }
        Ok(config)
    }

    /// All settings as they were written, with what the environment adds; secrets are among them.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.written.0
    }

    fn validate(&self) -> anyhow::Result<()> {
        if let Some(version) = self.version.filter(|version| *version != VERSION) {
            bail!("version is {version}, this program reads version {VERSION}");
        }
        self.postgres.as_ref().map_or(Ok(()), tidemart_postgres::Config::validate)?;
        self.kafka.as_ref().map_or(Ok(()), tidemart_kafka::Config::validate)?;
        self.mysql.as_ref().map_or(Ok(()), tidemart_mysql::Config::validate)?;
        self.spark.as_ref().map_or(Ok(()), tidemart_spark::Config::validate)?;
        self.shop.validate()?;
        if !(1..=64).contains(&self.consumer.lanes) {
            bail!("consumer.lanes is {}, must be 1 to 64", self.consumer.lanes);
        }
        if !(10..=3_600_000).contains(&self.marts.interval_ms) {
            bail!("marts.interval_ms is {}, must be 10 to 3600000", self.marts.interval_ms);
        }
        Ok(())
    }

    /// The source.
    ///
    /// # Errors
    /// When the section is missing.
    pub fn postgres(&self) -> anyhow::Result<&tidemart_postgres::Config> {
        self.postgres.as_ref().with_context(|| missing("postgres", "host"))
    }

    /// The broker.
    ///
    /// # Errors
    /// When the section is missing.
    pub fn kafka(&self) -> anyhow::Result<&tidemart_kafka::Config> {
        self.kafka.as_ref().with_context(|| missing("kafka", "bootstrap"))
    }

    /// The target.
    ///
    /// # Errors
    /// When the section is missing.
    pub fn mysql(&self) -> anyhow::Result<&tidemart_mysql::Config> {
        self.mysql.as_ref().with_context(|| missing("mysql", "host"))
    }

    /// The Spark cluster.
    ///
    /// # Errors
    /// When the section is missing.
    pub fn spark(&self) -> anyhow::Result<&tidemart_spark::Config> {
        self.spark.as_ref().with_context(|| missing("spark", "connect"))
    }
}

/// The file here, or else the one that `tidemart up` wrote to its data folder.
fn found_file() -> Option<PathBuf> {
    let folder = std::env::var_os("TIDEMART_DATA");
    let folder = folder.map_or_else(tidemart_local::DataFolder::default_path, PathBuf::from);
    let places = [PathBuf::from(DEFAULT_FILE), folder.join(DEFAULT_FILE)];
    places.into_iter().find(|path| path.exists())
}

fn missing(section: &str, key: &str) -> String {
    let variable = format!("TIDEMART_{}_{}", section.to_uppercase(), key.to_uppercase());
    format!(
        "no [{section}] in the settings: write it to {DEFAULT_FILE}, name a file by --config, or set {variable}"
    )
}

fn read(path: &PathBuf) -> anyhow::Result<Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(path, &text)
}

/// # Errors
/// Where it is no TOML: which line, but not what stands there.
pub fn parse(path: &Path, text: &str) -> anyhow::Result<Table> {
    // Not the error's own text: it shows the line, which may hold a password.
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        anyhow::anyhow!("{} is not TOML: line {line}: {}", path.display(), error.message())
    })
}

/// An error of the types would show the value.
fn check_passwords(table: &Table) -> anyhow::Result<()> {
    for (name, section) in table {
        check_password(name, section)?;
    }
    Ok(())
}

fn check_password(path: &str, value: &Value) -> anyhow::Result<()> {
    for (key, value) in value.as_table().into_iter().flatten() {
        let path = format!("{path}.{key}");
        if ["password", "token"].contains(&key.as_str()) && !value.is_str() {
            bail!("{path} must be a text in quotes");
        }
        check_password(&path, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> anyhow::Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.validate()?;
        Ok(config)
    }

    #[test]
    fn the_example_holds_the_defaults() {
        let example = settings(include_str!("../../../tidemart.example.toml")).unwrap();
        assert_eq!(example.kafka, Some(tidemart_kafka::Config::default()));
        assert_eq!(example.shop, tidemart_shop::Config::default());
        let (postgres, default) = (example.postgres.unwrap(), tidemart_postgres::Config::default());
        assert_eq!(
            (postgres.port, postgres.slot, postgres.tables),
            (default.port, default.slot, default.tables)
        );
        assert_eq!(postgres.limits, default.limits);
        assert_eq!(
            (example.consumer.lanes, example.marts.interval_ms),
            (Consumer::default().lanes, Marts::default().interval_ms)
        );
    }

    #[test]
    fn a_password_that_is_no_text_is_named_and_not_shown() {
        for (text, named) in [
            ("[mysql]\npassword = 4711", "mysql.password must"),
            ("[kafka.sasl]\npassword = 4711", "kafka.sasl.password must"),
        ] {
            let error = format!("{:#}", Config::of_table(text.parse().unwrap()).unwrap_err());
            assert!(error.contains(named) && !error.contains("4711"), "{error}");
        }
    }

    #[test]
    fn keys_and_types_that_are_wrong_are_named() {
        for (text, named) in [
            ("[postgres]\nhots = 'x'", "hots"),
            ("[kafka]\npartitions = 'two'", "partitions"),
            ("[marts]\ninterval_ms = 1", "marts.interval_ms"),
            ("[consumer]\nlanes = 0", "consumer.lanes"),
            ("[mysql]\nuser = 'u'\npassword = ''\ndatabase = 'd'\ntls = { mode = 'prefer' }", "verify-full"),
            ("[kafka.tls]\nmode = 'verify-full'", "kafka.tls.root_certificate"),
            ("[nonsense]", "nonsense"),
            ("version = 2", "version is 2"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(format!("{error:#}").contains(named), "{error:#}");
        }
    }
}
