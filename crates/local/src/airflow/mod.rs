//! Apache Airflow: web server, scheduler with its workers, and DAG processor, with a database of their own in a Postgres
//! that is there.
//!
//! Its programs come from a lock file; its DAGs, a plugin and what every Python process of it does first are compiled in
//! and written at each start. All keys and passwords are made at the first start and kept; they reach Airflow in files
//! that only its account can read.

mod database;
mod part;
mod settings;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use self::{
    database::Database,
    part::{DagProcessor, Part, Piece, Scheduler, Web},
};
use crate::{
    account::Account,
    cache::Cache,
    embedded::{AIRFLOW_DAGS, AIRFLOW_PLUGINS, AIRFLOW_PYTHON},
    error::{Error, Result, at},
    folder::{DataFolder, Site},
    python::Lock,
    server::{Address, HOST, Keep, Server},
};

const LOCK: Lock = Lock { name: "airflow", text: include_str!("../../../../airflow/requirements.lock") };
/// The one that may log in to the web page.
pub const USER: &str = "admin";
/// Python imports everything before anything happens, on a machine that starts everything else at the same time.
const READY_WITHIN: Duration = Duration::from_secs(240);

/// How much of a file that holds something else an error shows.
const SHOWN: usize = 40;

/// What is written below `run/airflow`: folder, and its files.
const FOLDERS: [(&str, &[(&str, &str)]); 3] =
    [("dags", AIRFLOW_DAGS), ("plugins", AIRFLOW_PLUGINS), ("python", AIRFLOW_PYTHON)];

/// The Python environment, fetched where it is missing.
///
/// # Errors
/// No Python, one that is too old or that the account cannot use; packages that cannot be fetched or have other hashes.
pub async fn environment(cache: &Cache, account: &Account) -> Result<PathBuf> {
    cache.environment(&LOCK, account).await
}

/// What runs and with what.
#[derive(Debug, Clone)]
pub struct Airflow {
    /// The port of the web page; a free one is chosen and kept otherwise.
    pub port: Option<u16>,
    /// The server that gets Airflow's database; its superuser makes it.
    pub postgres: Address,
    /// What the DAGs need.
    pub tasks: Tasks,
}

/// What the DAGs need to call tidemart.
#[derive(Debug, Clone)]
pub struct Tasks {
    /// The program.
    pub program: PathBuf,
    /// A settings file's text: of an account that may write marts.
    pub writer: SecretString,
    /// The same of an account that may only read.
    pub reader: SecretString,
    /// More variables of the environment, without secrets: `TIDEMART_DAGS_…`.
    pub variables: Vec<(String, String)>,
    /// The first month that is caught up, `2026-03`, where this is the first start.
    pub first_month: String,
}

/// The three servers that Airflow consists of.
#[derive(Debug)]
pub struct Servers {
    /// The web page and the API.
    pub web: Server,
    /// The scheduler, which runs the tasks too.
    pub scheduler: Server,
    /// What reads the DAGs.
    pub dag_processor: Server,
}

/// What the parts have in common.
#[derive(Debug)]
struct Shared {
    database: Database,
    keys: Keys,
    /// `run/airflow`, with the files of all.
    run: PathBuf,
    /// Where the web page reads the logs of tasks.
    logs: PathBuf,
    variables: Vec<(String, String)>,
    /// The Python of an environment whose database is ready; the first part that needs it makes it.
    python: OnceCell<PathBuf>,
}

/// Made at the first start.
#[derive(Debug)]
struct Keys {
    web_password: SecretString,
    fernet: SecretString,
    jwt: SecretString,
    api: SecretString,
}

impl Airflow {
    /// Starts all three; [`Servers::ready`] waits for them. Postgres must be ready.
    ///
    /// # Errors
    /// A folder that cannot be written, a program that the account cannot run, processes of an earlier run that do not end.
    pub async fn launch(self, folder: &DataFolder, cache: &Cache, keep: Keep) -> Result<Servers> {
        // Orphans end at once: the scheduler would wait for its tasks, which have lost their servers.
        let keep = Keep { ready_within: READY_WITHIN, graceful_orphan: false, ..keep };
        let shared = Arc::new(self.prepare(folder).await?);
        let web = Part::<Web>::new(&shared, self.port, None);
        let web = Server::launch(web, folder, cache, keep).await?;
        let port = web.address().port;
        let (scheduler, dag_processor) = (
            Part::<Scheduler>::new(&shared, None, Some(port)),
            Part::<DagProcessor>::new(&shared, None, Some(port)),
        );
        let (scheduler, dag_processor) = tokio::try_join!(
            Server::launch(scheduler, folder, cache, keep),
            Server::launch(dag_processor, folder, cache, keep),
        )?;
        Ok(Servers { web, scheduler, dag_processor })
    }

    /// Writes what all parts read.
    async fn prepare(&self, folder: &DataFolder) -> Result<Shared> {
        let site = folder.site(Web::NAME, Web::PORTS, self.port)?;
        let scheduler = folder.site(Scheduler::NAME, Scheduler::PORTS, None)?;
        let dag_processor = folder.site(DagProcessor::NAME, DagProcessor::PORTS, None)?;
        for (below, files) in FOLDERS {
            write(&site, below, files)?;
        }
        let variables = self.tasks.write(&site, &scheduler).await?;
        Ok(Shared {
            database: Database { server: self.postgres.clone(), password: site.admin_password.clone() },
            keys: Keys::of(&site, &scheduler, &dag_processor),
            logs: logs(&site),
            run: site.run,
            variables,
            python: OnceCell::new(),
        })
    }
}

impl Tasks {
    /// Writes the settings and says how the DAGs find them. The scheduler's mark is in the files' names, and so in the
    /// command lines of the tasks, which belong to the scheduler.
    async fn write(&self, site: &Site, scheduler: &Site) -> Result<Vec<(String, String)>> {
        let mut variables = self.variables.clone();
        let mut add = |name: &str, value: &Path| {
            variables.push((format!("TIDEMART_DAGS_{name}"), value.display().to_string()));
        };
        for (name, text) in [("WRITER", &self.writer), ("READER", &self.reader)] {
            let file = format!("{}-{}.toml", scheduler.mark, name.to_lowercase());
            add(name, &scheduler.write_run_file(&file, text.expose_secret())?);
        }
        add("BIN", &site.reachable(&self.program).await?);
        add("LOGS", &logs(site));
        let first = site.run.join("first-month");
        if !first.exists() {
            site.write_run_file("first-month", &self.first_month)?;
        }
        let text = std::fs::read_to_string(&first).map_err(at("read", &first))?;
        variables.push(("TIDEMART_DAGS_FIRST_MONTH".to_owned(), month(&first, &text)?.to_owned()));
        Ok(variables)
    }
}

/// The month that a file holds, such as `2026-03`: with anything else there the DAG would be broken, and say so nowhere but
/// on the page.
fn month<'a>(file: &Path, text: &'a str) -> Result<&'a str> {
    let month = text.trim();
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let holds = month.split_once('-').is_some_and(|(year, month)| {
        digits(year, 4) && year != "0000" && digits(month, 2) && ("01"..="12").contains(&month)
    });
    if holds {
        return Ok(month);
    }
    let shown: String = month.chars().take(SHOWN).collect();
    let reason =
        format!("{} holds {shown:?}; write a month there, such as 2026-03, or remove it", file.display());
    Err(Error::Setting { name: "airflow", reason })
}

/// Where the logs of tasks are.
fn logs(site: &Site) -> PathBuf {
    site.data.join("logs")
}

impl Keys {
    /// The data folder keeps two secrets for each server. Airflow's three have six: the page's and the database's
    /// passwords, and what its keys are made of.
    fn of(site: &Site, scheduler: &Site, dag_processor: &Site) -> Self {
        let jwt = [&scheduler.owner_password, &scheduler.admin_password]
            .map(|secret| secret.expose_secret())
            .concat();
        Self {
            web_password: site.owner_password.clone(),
            fernet: settings::fernet_key(&dag_processor.owner_password),
            jwt: jwt.into(),
            api: dag_processor.admin_password.clone(),
        }
    }
}

impl Servers {
    /// All of them.
    pub fn all(&self) -> [&Server; 3] {
        [&self.web, &self.scheduler, &self.dag_processor]
    }

    /// Where the web page is.
    pub fn url(&self) -> String {
        format!("http://{HOST}:{}", self.web.address().port)
    }

    /// Waits until all work: the page answers, the scheduler schedules, the DAGs are read.
    ///
    /// # Errors
    /// The first one that failed or was stopped.
    pub async fn ready(&self) -> Result<()> {
        tokio::try_join!(self.web.ready(), self.scheduler.ready(), self.dag_processor.ready()).map(drop)
    }

    /// Stops all at once.
    pub async fn stop(self) {
        tokio::join!(self.scheduler.stop(), self.dag_processor.stop(), self.web.stop());
    }
}

/// Writes a folder of Airflow's below the site's; what an earlier version had there goes.
fn write(site: &Site, below: &str, files: &[(&str, &str)]) -> Result<()> {
    site.empty_run_folder(below)?;
    files.iter().try_for_each(|(name, text)| site.write_run_file(&format!("{below}/{name}"), text).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_month_is_one_or_its_file_is_named() {
        let file = Path::new("/data/run/airflow/first-month");
        assert_eq!(month(file, "2026-03\n").unwrap(), "2026-03");
        for wrong in
            ["", "2026", "2026-3", "2026-13", "2026-00", "0000-01", "2026-03-01", "26-03", "März 2026"]
        {
            let error = month(file, wrong).unwrap_err().to_string();
            assert!(error.contains("/data/run/airflow/first-month") && error.contains("2026-03"), "{error}");
        }
        assert!(month(file, &"x".repeat(1000)).unwrap_err().to_string().len() < 200);
    }
}
