use std::sync::Arc;

use rustls::ClientConfig;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Seed that is used when none is configured.
pub const DEFAULT_SEED: u64 = 2024;
/// Days of history before the shop goes live: two years.
pub const DEFAULT_HISTORY_DAYS: u32 = 730;
/// Business transactions a second when live.
pub const DEFAULT_RATE: f64 = 50.0;
/// Simulated seconds per real second when live.
pub const DEFAULT_SPEED: f64 = 1.0;
/// Connections that live transactions are spread over.
pub const DEFAULT_CONNECTIONS: u16 = 8;
/// Threads that generate history.
pub const DEFAULT_PARALLELISM: u16 = 2;

const MAX_CONNECTIONS: u16 = 64;
const MAX_HISTORY_DAYS: u32 = 3660;
const MAX_RATE: f64 = 100_000.0;
const MAX_SPEED: f64 = 1_000_000.0;

/// How the shop is generated; the `[shop]` table of the configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Everything that is drawn follows from this number.
    pub seed: u64,
    /// How big the shop is; the next three fields change single numbers of it.
    pub size: Preset,
    /// Users at the end of history, instead of the preset's.
    pub users: Option<u64>,
    /// Products at the end of history, instead of the preset's.
    pub products: Option<u64>,
    /// Orders placed during history, instead of the preset's.
    pub orders: Option<u64>,
    /// Length of the history in days.
    pub history_days: u32,
    /// Live business transactions a second.
    pub rate: f64,
    /// Simulated seconds per real second.
    pub speed: f64,
    /// Connections for live transactions.
    pub connections: u16,
    /// Threads that generate history; the rows are the same for any number.
    pub parallelism: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: DEFAULT_SEED,
            size: Preset::Medium,
            users: None,
            products: None,
            orders: None,
            history_days: DEFAULT_HISTORY_DAYS,
            rate: DEFAULT_RATE,
            speed: DEFAULT_SPEED,
            connections: DEFAULT_CONNECTIONS,
            parallelism: DEFAULT_PARALLELISM,
        }
    }
}

impl Config {
    /// The preset with the single numbers put over it.
    #[must_use]
    pub fn shop_size(&self) -> Size {
        let preset = self.size.size();
        Size {
            users: self.users.unwrap_or(preset.users),
            products: self.products.unwrap_or(preset.products),
            orders: self.orders.unwrap_or(preset.orders),
        }
    }

    /// Takes a preset with none of its numbers changed.
    pub fn choose(&mut self, preset: Preset) {
        (self.size, self.users, self.products, self.orders) = (preset, None, None, None);
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that is out of its range.
    pub fn validate(&self) -> Result<()> {
        self.shop_size().validate()?;
        let positive = |value: f64, most: f64| value.is_finite() && value > 0.0 && value <= most;
        check(
            "history_days",
            self.history_days,
            (1..=MAX_HISTORY_DAYS).contains(&self.history_days),
            "must be 1 to 3660",
        )?;
        check(
            "rate",
            self.rate,
            positive(self.rate, MAX_RATE),
            "must be above 0 and at most 100000 transactions a second",
        )?;
        check("speed", self.speed, positive(self.speed, MAX_SPEED), "must be above 0 and at most 1000000")?;
        check(
            "connections",
            self.connections,
            (1..=MAX_CONNECTIONS).contains(&self.connections),
            "must be 1 to 64",
        )?;
        check("parallelism", self.parallelism, (1..=64).contains(&self.parallelism), "must be 1 to 64")
    }
}

fn check(field: &'static str, value: impl ToString, holds: bool, reason: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { field, value: value.to_string(), reason }) }
}

/// Ready-made sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// About 2,000 rows, for tests.
    Tiny,
    /// About 100,000 rows.
    Small,
    /// About 1.2 million rows: a laptop's default.
    Medium,
    /// About 12 million rows.
    Large,
}

impl Preset {
    /// Every preset, smallest first.
    pub const ALL: [Self; 4] = [Self::Tiny, Self::Small, Self::Medium, Self::Large];

    /// The numbers behind the name.
    #[must_use]
    pub fn size(self) -> Size {
        let (users, products, orders) = match self {
            Self::Tiny => (100, 60, 450),
            Self::Small => (5_000, 400, 25_000),
            Self::Medium => (50_000, 2_000, 280_000),
            Self::Large => (500_000, 20_000, 2_900_000),
        };
        Size { users, products, orders }
    }
}

/// How many things happen in the history. The tables end up a little smaller: some users are erased, some
/// orders abandoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Registrations.
    pub users: u64,
    /// Products ever listed.
    pub products: u64,
    /// Orders ever placed.
    pub orders: u64,
}

impl Size {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field that is out of its range.
    pub fn validate(&self) -> Result<()> {
        check("users", self.users, (10..=10_000_000).contains(&self.users), "must be 10 to 10000000")?;
        check("products", self.products, (20..=1_000_000).contains(&self.products), "must be 20 to 1000000")?;
        check("orders", self.orders, (10..=100_000_000).contains(&self.orders), "must be 10 to 100000000")
    }
}

/// Where the shop's Postgres is.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Host name, address, or the folder of a Unix socket.
    pub host: String,
    /// TCP port (also names the Unix socket).
    pub port: u16,
    /// Role to connect as; it must own the shop's tables or be able to make them.
    pub user: String,
    /// The role's password; never printed.
    pub password: SecretString,
    /// Database name.
    pub database: String,
    /// How connections are encrypted; `None`: they are not.
    pub tls: Option<Arc<ClientConfig>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_and_the_default_are_valid() {
        assert!(Config::default().validate().is_ok());
        for size in Preset::ALL {
            assert!(Config { size, ..Config::default() }.validate().is_ok(), "{size:?}");
        }
    }

    #[test]
    fn an_error_names_the_field() {
        let cases = [
            ("users", Config { users: Some(1), ..Config::default() }),
            ("products", Config { products: Some(0), ..Config::default() }),
            ("orders", Config { orders: Some(1), ..Config::default() }),
            ("history_days", Config { history_days: 0, ..Config::default() }),
            ("rate", Config { rate: f64::NAN, ..Config::default() }),
            ("speed", Config { speed: -1.0, ..Config::default() }),
            ("connections", Config { connections: 0, ..Config::default() }),
            ("parallelism", Config { parallelism: 0, ..Config::default() }),
        ];
        for (field, config) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("shop.{field} is ")), "{message}");
        }
    }

    #[test]
    fn a_toml_table_is_read_and_an_unknown_key_refused() {
        let config: Config = toml::from_str("seed = 7\nsize = \"small\"\norders = 300").unwrap();
        assert_eq!((config.seed, config.shop_size().orders, config.shop_size().users), (7, 300, 5_000));
        assert!(toml::from_str::<Config>("sede = 7").is_err());
    }
}
