//! Airflow, with accounts of its own for what its tasks do.

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tidemart_local::{
    Address, Keep, Login, Server,
    airflow::{Airflow, Servers, Tasks},
    random_hex,
};
use tidemart_mysql::accounts::{Account, Right, provision};
use tidemart_postgres::accounts::provision_reader;
use tidemart_shop::Timestamp;
use toml::{Table, Value};

use super::{Row, Surroundings};
use crate::config::Config;

/// A day, in microseconds.
const DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// Who computes the marts.
const WRITER: &str = "airflow_marts";
/// Who looks, in Postgres and in MariaDB.
const READER: &str = "airflow_reader";
/// Bytes of a password's randomness.
const PASSWORD_BYTES: usize = 16;

/// Airflow that runs.
#[derive(Debug)]
pub(super) struct Running(Servers);

/// The section `[spark]` is given where there is a cluster, which then computes the marts.
pub(super) async fn launch(
    surroundings: &Surroundings<'_>,
    spark: Option<&Table>,
) -> anyhow::Result<Running> {
    let config = Config::of_file(&surroundings.settings.to_owned())?;
    let servers = surroundings.servers;
    let accounts = Accounts::new()?;
    accounts.make(&config, servers.postgres.address(), servers.mariadb.address()).await?;
    let engine = if spark.is_some() { "spark" } else { "mysql" };
    let tasks = Tasks {
        program: std::env::current_exe().context("cannot find this program's own file")?,
        writer: accounts.settings(&config, surroundings, Side::Writer, spark)?,
        reader: accounts.settings(&config, surroundings, Side::Reader, None)?,
        variables: vec![("TIDEMART_DAGS_ENGINE".to_owned(), engine.to_owned())],
        first_month: first_month(Timestamp::now()),
    };
    let airflow = Airflow { port: None, postgres: servers.postgres.address().clone(), tasks };
    Ok(Running(airflow.launch(surroundings.folder, surroundings.cache, Keep::default()).await?))
}

/// The month of yesterday, `2026-03`: on the first of a month nothing of the present one is over yet, and nothing would run.
fn first_month(now: Timestamp) -> String {
    now.plus(-DAY).month().to_string().chars().take("2026-03".len()).collect()
}

/// The accounts' passwords, new at each start: nobody needs to keep them.
struct Accounts {
    writer: SecretString,
    reader: SecretString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Writer,
    Reader,
}

impl Accounts {
    fn new() -> anyhow::Result<Self> {
        let [writer, reader] = [random_hex::<PASSWORD_BYTES>()?, random_hex::<PASSWORD_BYTES>()?];
        Ok(Self { writer: writer.into(), reader: reader.into() })
    }

    async fn make(&self, config: &Config, postgres: &Address, mariadb: &Address) -> anyhow::Result<()> {
        let mut source = config.postgres()?.clone();
        let Login { user, password } = admin(postgres)?;
        (source.user, source.password) = ((*user).to_owned(), password.clone());
        provision_reader(&source, READER, &self.reader).await?;
        let mut target = config.mysql()?.clone();
        // The first start's database is not there yet; who makes it owns it.
        tidemart_mysql::check(&target).await?;
        let Login { user, password } = admin(mariadb)?;
        (target.user, target.password) = ((*user).to_owned(), password.clone());
        let account = |name: &str, password: &SecretString, right| Account {
            name: name.to_owned(),
            password: Some(password.clone()),
            right,
        };
        let accounts =
            [account(WRITER, &self.writer, Right::Marts), account(READER, &self.reader, Right::Read)];
        Ok(provision(&target, &accounts).await?)
    }

    /// The core's settings, as far as the account needs them, with its name and password.
    fn settings(
        &self,
        config: &Config,
        surroundings: &Surroundings<'_>,
        side: Side,
        spark: Option<&Table>,
    ) -> anyhow::Result<SecretString> {
        let servers = surroundings.servers;
        let (name, password, sections) = match side {
            Side::Writer => (WRITER, &self.writer, &["mysql", "marts"][..]),
            Side::Reader => (READER, &self.reader, &["postgres", "kafka", "mysql", "consumer", "marts"][..]),
        };
        let mut settings = config.table().clone();
        settings.retain(|section, value| !value.is_table() || sections.contains(&section));
        // Its DAGs are about the shop's marts, and its account may not be able to read somebody's folder.
        if let Some(Value::Table(marts)) = settings.get_mut("marts") {
            marts.remove("folder");
        }
        for (section, server) in [("postgres", &servers.postgres), ("mysql", &servers.mariadb)] {
            if let Some(Value::Table(section)) = settings.get_mut(section) {
                section.insert("host".into(), server.address().host.into());
                section.insert("user".into(), name.into());
                section.insert("password".into(), password.expose_secret().into());
            }
        }
        if let Some(spark) = spark {
            settings.insert("spark".into(), spark.clone().into());
        }
        let text = toml::to_string(&settings)?;
        Ok(format!("# Written by `tidemart up` at each start, for Airflow's tasks.\n{text}").into())
    }
}

fn admin(address: &Address) -> anyhow::Result<&Login> {
    address.admin.as_ref().context("a server has no administrator")
}

impl Running {
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        Ok(self.0.ready().await?)
    }

    pub(super) fn servers(&self) -> Vec<&Server> {
        self.0.all().to_vec()
    }

    /// The page with its login; the others only do.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |server: &Server| {
            let (address, login) = match (&server.address().owner, server.name()) {
                (Some(owner), _) => (self.0.url(), owner.user),
                (None, "airflow-scheduler") => ("schedules and runs tasks".to_owned(), "-"),
                (None, _) => ("reads the DAGs".to_owned(), "-"),
            };
            [server.name().to_owned(), address, login.to_owned(), server.state().to_string()]
        };
        self.0.all().into_iter().map(row).collect()
    }

    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn on_the_first_of_a_month_the_first_month_is_the_one_before() {
        let at = |seconds| Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        // 2026-03-01T00:00:00Z, and a day later.
        assert_eq!(first_month(at(1_772_323_200)), "2026-02");
        assert_eq!(first_month(at(1_772_409_600)), "2026-03");
    }
}
