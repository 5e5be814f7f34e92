use super::marker::Marker;
use super::session::connect;
use crate::config::{Config, Connection, Preset, Size};
use crate::error::{Error, Result};
use crate::time::Timestamp;

const APPLICATION: &str = "tidemart shop control";

/// With what a shop was filled, or began to be: settings that cannot change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The seed.
    pub seed: u64,
    /// The size.
    pub size: Size,
    /// Length of the history in days.
    pub history_days: u32,
    /// End of the history.
    pub end: Timestamp,
    /// Whether the history stands completely in the tables; else [`fill`](super::fill) has to go on with it.
    pub complete: bool,
}

/// Reads the record of the load. Changes nothing, takes no lock; None if this database was never filled.
///
/// # Errors
/// [`Error::Postgres`], [`Error::Marker`].
pub async fn stored(pg: &Connection) -> Result<Option<Stored>> {
    let client = connect(pg, APPLICATION).await?;
    Ok(Marker::read(&client).await?.map(Stored::from))
}

impl Stored {
    /// Whether a start with these settings is possible. Those that may change (rate, speed, connections,
    /// parallelism) are not looked at.
    ///
    /// # Errors
    /// [`Error::OtherShop`] names every difference.
    pub fn check(&self, config: &Config) -> Result<()> {
        self.check_against(&Marker::new(config, self.end))
    }

    /// Puts what is stored into a configuration: for whoever starts again without saying what the shop is like.
    pub fn adopt(&self, config: &mut Config) {
        (config.seed, config.history_days) = (self.seed, self.history_days);
        match Preset::ALL.into_iter().find(|preset| preset.size() == self.size) {
            Some(preset) => config.choose(preset),
            None => {
                let Size { users, products, orders } = self.size;
                (config.users, config.products, config.orders) = (Some(users), Some(products), Some(orders));
            }
        }
    }

    pub(super) fn check_against(&self, wanted: &Marker) -> Result<()> {
        let settings = [
            ("seed", self.seed, wanted.seed),
            ("users", self.size.users, wanted.size.users),
            ("products", self.size.products, wanted.size.products),
            ("orders", self.size.orders, wanted.size.orders),
            ("history_days", self.history_days.into(), wanted.days.into()),
        ];
        let differences: Vec<_> = settings
            .into_iter()
            .filter(|(_, stored, wanted)| stored != wanted)
            .map(|(name, stored, wanted)| format!("shop.{name} is {stored} there, {wanted} is asked for"))
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::OtherShop { differences: differences.join(", ") })
    }
}

impl From<Marker> for Stored {
    fn from(marker: Marker) -> Self {
        let Marker { seed, size, days, end, complete, .. } = marker;
        Self { seed, size, history_days: days, end, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(config: &Config) -> Stored {
        Marker::new(config, Timestamp(0)).into()
    }

    #[test]
    fn what_is_adopted_fits_whatever_was_configured() {
        let own =
            Config { size: Preset::Small, users: Some(77), seed: 5, history_days: 9, ..Config::default() };
        for filled in [own, Config { size: Preset::Tiny, ..Config::default() }] {
            let mut config = Config { users: Some(1_234), rate: 7.0, ..Config::default() };
            stored(&filled).adopt(&mut config);
            assert!(stored(&filled).check(&config).is_ok(), "{config:?}");
            assert!((config.rate - 7.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn another_preset_is_seen_after_adopting() {
        let own = Config { size: Preset::Small, users: Some(77), ..Config::default() };
        for filled in [own, Config { size: Preset::Small, ..Config::default() }] {
            let mut config = Config::default();
            stored(&filled).adopt(&mut config);
            config.choose(Preset::Tiny);
            assert!(stored(&filled).check(&config).is_err(), "{filled:?}");
        }
    }

    #[test]
    fn a_refusal_names_each_difference_and_only_those() {
        let filled = stored(&Config { seed: 1, ..Config::default() });
        let message = filled.check(&Config { seed: 2, history_days: 3, ..Config::default() });
        let message = message.unwrap_err().to_string();
        assert!(message.contains("shop.seed is 1 there, 2 is asked for"), "{message}");
        assert!(message.contains("shop.history_days is 730 there, 3 is asked for"), "{message}");
        assert!(!message.contains("orders"), "{message}");
    }

    #[test]
    fn rate_and_speed_may_change() {
        let filled = stored(&Config::default());
        assert!(filled.check(&Config { rate: 1.0, speed: 9.0, ..Config::default() }).is_ok());
    }
}
