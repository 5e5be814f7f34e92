//! JupyterHub, its notebooks' account in MariaDB, and their way to the cluster where there is one.

use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;
use tidemart_local::{Cluster, JupyterHub, Keep, Replica, Server, SparkConnect, random_hex};
use tidemart_mysql::{
    Config,
    accounts::{Account, Right, provision},
};

use super::{Row, Surroundings};
use crate::commands::up::servers::NAME;

/// On few cores, while a shop is being filled beside, it takes its time.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// It ends every user's server first.
const STOP_WITHIN: Duration = Duration::from_secs(12);
/// The account of all notebooks.
const READER: &str = "analyst";
/// Bytes of its password's randomness.
const PASSWORD_BYTES: usize = 16;

/// The hub that runs.
#[derive(Debug)]
pub(super) struct Running(Server);

pub(super) async fn launch(
    surroundings: &Surroundings<'_>,
    cluster: Option<&Cluster>,
) -> anyhow::Result<Running> {
    let keep = Keep { ready_within: READY_WITHIN, stop_within: STOP_WITHIN, ..Keep::default() };
    let spark = cluster.map(|cluster| SparkConnect {
        port: cluster.connect().address().port,
        token: Some(cluster.token().clone()),
    });
    let hub = JupyterHub {
        replica: Some(reader(surroundings).await.context("an account for the notebooks")?),
        spark,
        tidemart: Some(std::env::current_exe().context("cannot find this program's own file")?),
        ..JupyterHub::default()
    };
    Ok(Running(hub.launch(surroundings.folder, surroundings.cache, keep).await?))
}

/// An account that may only read, with a new password at each start: nobody needs to keep it.
async fn reader(surroundings: &Surroundings<'_>) -> anyhow::Result<Replica> {
    let address = surroundings.servers.mariadb.address();
    let admin = address.admin.as_ref().context("MariaDB has no administrator")?;
    let password = SecretString::from(random_hex::<PASSWORD_BYTES>()?);
    let config = Config::new(address.host, address.port, admin.user, admin.password.clone(), NAME);
    // The first start's database is not there yet.
    tidemart_mysql::check(&config).await?;
    let account = Account { name: READER.to_owned(), password: Some(password.clone()), right: Right::Select };
    provision(&config, &[account]).await?;
    Ok(Replica { port: address.port, database: NAME.to_owned(), user: READER.to_owned(), password })
}

impl Running {
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        Ok(self.0.ready().await?)
    }

    pub(super) fn servers(&self) -> Vec<&Server> {
        vec![&self.0]
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        let address = self.0.address();
        let logins = [&address.owner, &address.admin].into_iter().flatten().map(|login| login.user);
        let logins = logins.collect::<Vec<_>>().join(", ");
        let page = format!("http://{address}");
        vec![[self.0.name().to_owned(), page, logins, self.0.state().to_string()]]
    }

    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}
