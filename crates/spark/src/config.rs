//! Where the cluster is.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tidemart_pipeline::{Error, Result};

/// The oldest Spark that has all that is used: what a Connect client asks of a session, and Python's data sources over Unix sockets.
pub const OLDEST: (u32, u32) = (4, 1);

const SCHEME: &str = "sc://";
const PORT: u16 = 15002;

/// Where the cluster is, and who may use it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The Spark Connect server: `sc://host:port`, with `/;use_ssl=true` where it is reached through TLS.
    pub connect: String,
    /// What it wants to hear (`spark.connect.authenticate.token`); only said over TLS or on this machine.
    pub token: Option<SecretString>,
    /// The master, for people: `spark://host:port`.
    pub master: Option<String>,
    /// MySQL's `host:port` as the cluster reaches it, where that is another one than ours.
    pub mysql: Option<String>,
    /// Kafka's brokers as the cluster reaches them, where those are others than `kafka.bootstrap`.
    pub kafka: Option<String>,
    /// Folder of the consumer's checkpoints, as the driver names it; each start makes a new one in it. By default one in
    /// Spark's warehouse.
    pub checkpoints: Option<String>,
    /// Rows in a batch of the consumer, at most.
    pub batch_rows: u32,
    /// How many tasks share a batch of the consumer. Each costs its calls of Python, so one is best for few changes and on
    /// few cores.
    pub tasks: u16,
    /// The same while many changes wait.
    pub backlog_tasks: u16,
}

/// Rows in a batch of the consumer.
const DEFAULT_BATCH_ROWS: u32 = 50_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            connect: String::new(),
            token: None,
            master: None,
            mysql: None,
            kafka: None,
            checkpoints: None,
            batch_rows: DEFAULT_BATCH_ROWS,
            tasks: 1,
            backlog_tasks: 2,
        }
    }
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// Fatal, naming the value.
    pub fn validate(&self) -> Result<()> {
        let (host, _) = self.address()?;
        let token = self.token.as_ref().map(ExposeSecret::expose_secret);
        if token.is_some_and(|token| token.is_empty() || token.contains([';', '=', ' ', '/'])) {
            return Err(Error::fatal("spark.token is empty or has one of ; = / and blanks"));
        }
        if let Some(place) = &self.mysql {
            let host_and_port = self.mysql_address().filter(|(host, port)| !host.is_empty() && *port > 0);
            if place.contains(['/', '?', ' ']) || host_and_port.is_none() {
                let say = "must be host:port, with a port from 1 to 65535";
                return Err(Error::fatal(format!("spark.mysql is {place:?}, {say}")));
            }
        }
        if !(1..=10_000_000).contains(&self.batch_rows) {
            return Err(Error::fatal("spark.batch_rows must be 1 to 10000000"));
        }
        for (name, tasks) in [("tasks", self.tasks), ("backlog_tasks", self.backlog_tasks)] {
            if !(1..=64).contains(&tasks) {
                return Err(Error::fatal(format!("spark.{name} is {tasks}, must be 1 to 64")));
            }
        }
        let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
        if token.is_some() && !here && !self.parameters().contains("use_ssl=true") {
            let say = "spark.token is only said over TLS: add /;use_ssl=true to spark.connect";
            return Err(Error::fatal(format!("{say} ({})", self.connect)));
        }
        Ok(())
    }

    /// MySQL's host and port as the cluster reaches it, where they are named.
    #[must_use]
    pub fn mysql_address(&self) -> Option<(&str, u16)> {
        let (host, port) = self.mysql.as_deref()?.rsplit_once(':')?;
        Some((host, port.parse().ok()?))
    }

    /// Host and port.
    pub(crate) fn address(&self) -> Result<(String, u16)> {
        let wrong = || {
            Error::fatal(format!(
                "spark.connect is {:?}, must be sc://host:port[/;use_ssl=true]",
                self.connect
            ))
        };
        let rest = self.connect.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let place = rest.split_once('/').map_or(rest, |(place, _)| place);
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !place.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (place, PORT),
        };
        let parameters = self.parameters();
        let reserved = ["token=", "session_id=", "user_id="].iter().any(|name| parameters.contains(name));
        if host.is_empty() || reserved || !(parameters.is_empty() || parameters.starts_with(';')) {
            return Err(wrong());
        }
        Ok((host.to_owned(), port))
    }

    fn parameters(&self) -> &str {
        let rest = self.connect.strip_prefix(SCHEME).unwrap_or_default();
        rest.split_once('/').map_or("", |(_, parameters)| parameters)
    }

    /// What the client wants: with the session and the token.
    pub(crate) fn url(&self, session: &str) -> Result<SecretString> {
        let (host, port) = self.address()?;
        let token = self.token.as_ref().map(|token| format!(";token={}", token.expose_secret()));
        let more = self.parameters();
        Ok(format!("{SCHEME}{host}:{port}/{more};session_id={session}{}", token.unwrap_or_default()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(connect: &str, token: Option<&str>) -> Config {
        Config { connect: connect.to_owned(), token: token.map(Into::into), ..Config::default() }
    }

    #[test]
    fn an_address_is_read() {
        let cases = [
            ("sc://localhost", ("localhost", 15002)),
            ("sc://10.0.0.1:77/;use_ssl=true", ("10.0.0.1", 77)),
            ("sc://[::1]:9", ("[::1]", 9)),
        ];
        for (connect, (host, port)) in cases {
            assert_eq!(config(connect, None).address().unwrap(), (host.to_owned(), port));
            config(connect, None).validate().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            ("", None, "spark.connect is \"\""),
            ("spark://localhost:7077", None, "must be sc://host:port"),
            ("sc://localhost:x", None, "must be sc://host:port"),
            ("sc://localhost/;token=a", None, "must be sc://host:port"),
            ("sc://elsewhere:1", Some("abc"), "only said over TLS"),
            ("sc://localhost:1", Some(""), "spark.token is empty"),
        ];
        for (connect, token, expected) in cases {
            let error = config(connect, token).validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{connect}: {error}");
        }
    }

    #[test]
    fn mysqls_place_has_a_port() {
        let with = |place: &str| Config { mysql: Some(place.to_owned()), ..config("sc://localhost", None) };
        for place in ["db:3306", "10.0.0.1:1", "[::1]:65535"] {
            with(place).validate().unwrap();
            assert!(with(place).mysql_address().is_some());
        }
        for place in ["db", "db:", ":3306", "db:33o6", "db:0", "db:65536", "db:3306/shop", "a b:3306"] {
            let error = with(place).validate().unwrap_err().to_string();
            assert!(error.contains(&format!("spark.mysql is {place:?}, must be host:port")), "{error}");
        }
    }

    #[test]
    fn the_token_is_said_and_not_shown() {
        let config = config("sc://elsewhere:1/;use_ssl=true", Some("abc"));
        config.validate().unwrap();
        let url = config.url("17").unwrap();
        assert_eq!(url.expose_secret(), "sc://elsewhere:1/;use_ssl=true;session_id=17;token=abc");
        assert!(!format!("{config:?}").contains("abc"));
    }
}
