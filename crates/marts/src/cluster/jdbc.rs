//! How the cluster reaches the database.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};
use tidemart_mysql::{Config, Dialect};
use tidemart_pipeline::{Error, Result, tls::Mode};

use crate::session::Session;

/// Rows that are fetched at once by MariaDB's driver.
const FETCH: &str = "10000";
/// MySQL's driver takes this number for "as they come", and would keep all rows in memory otherwise
/// (<https://dev.mysql.com/doc/connector-j/en/connector-j-reference-implementation-notes.html>).
const STREAM: &str = "-2147483648";

/// The options of Spark's JDBC source (<https://spark.apache.org/docs/latest/sql-data-sources-jdbc.html>). The password is
/// one of them, which Spark does not show: `spark.redaction.regex`.
pub(super) struct Jdbc {
    url: String,
    driver: &'static str,
    user: String,
    password: SecretString,
    fetch: &'static str,
}

impl Jdbc {
    pub(super) fn of(session: &Session, spark: &tidemart_spark::Config) -> Result<Self> {
        let config = session.config();
        let place = spark.mysql.clone().unwrap_or_else(|| place(config));
        let (driver, parameters, fetch) = match session.dialect {
            // With the scheme `mariadb` Spark would quote names as MariaDB does not.
            Dialect::MariaDb => {
                let own = "permitMysqlScheme=true&useBulkStmts=true";
                ("org.mariadb.jdbc.Driver", format!("{own}&{}", mariadb_tls(config)?), FETCH)
            }
            Dialect::MySql => {
                let own = "allowPublicKeyRetrieval=true&rewriteBatchedStatements=true&connectionTimeZone=UTC";
                ("com.mysql.cj.jdbc.Driver", format!("{own}&{}", mysql_tls(config)?), STREAM)
            }
        };
        let timeout = u64::from(config.connect_timeout_s) * 1000;
        Ok(Self {
            url: format!("jdbc:mysql://{place}/{}?{parameters}&connectTimeout={timeout}", config.database),
            driver,
            user: config.user.clone(),
            password: config.password.clone(),
            fetch,
        })
    }

    /// The options for reading a table.
    pub(super) fn reading(&self) -> HashMap<String, String> {
        self.options(&[("fetchsize", self.fetch)])
    }

    /// The options for writing one.
    pub(super) fn writing(&self) -> HashMap<String, String> {
        self.options(&[("batchsize", "1000"), ("isolationLevel", "READ_COMMITTED")])
    }

    fn options(&self, more: &[(&str, &str)]) -> HashMap<String, String> {
        let own = [
            ("url", self.url.as_str()),
            ("driver", self.driver),
            ("user", &self.user),
            ("password", self.password.expose_secret()),
        ];
        own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}

/// Where the server is; one behind a Unix socket is on this machine, and the cluster speaks TCP.
fn place(config: &Config) -> String {
    let host = if config.host.starts_with('/') { "127.0.0.1" } else { &config.host };
    format!("{host}:{}", config.port)
}

fn mariadb_tls(config: &Config) -> Result<String> {
    let tls = &config.tls;
    let root = tls.root_certificate.as_ref().map(|path| format!("&serverSslCert={}", path.display()));
    Ok(match tls.mode {
        Mode::Disable => "sslMode=disable".to_owned(),
        Mode::Require => "sslMode=trust".to_owned(),
        Mode::VerifyCa | Mode::VerifyFull => format!("sslMode=verify-full{}", root.unwrap_or_default()),
    })
}

fn mysql_tls(config: &Config) -> Result<String> {
    match config.tls.mode {
        Mode::Disable => Ok("sslMode=DISABLED".to_owned()),
        Mode::Require => Ok("sslMode=REQUIRED".to_owned()),
        // Its driver takes a trust store of Java's, which is not ours to make on every node.
        Mode::VerifyCa | Mode::VerifyFull => Err(Error::fatal(
            "mysql.tls.mode = verify-full is not offered to the Spark engine with MySQL (with MariaDB it is): use \
             require, or the engine mysql",
        )),
    }
}
