//! The options of the query, as `tidemart consumer --engine spark` sets them.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidemart_mysql::{
    Config, MarkRule,
    executors::{Run, VERSION, option},
};
use tidemart_pipeline::{Error, Result};

/// What an executor needs to know.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) mysql: Config,
    pub(crate) rules: Vec<MarkRule>,
    pub(crate) run: Run,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// Fatal: one that is missing or cannot be read, a wheel that does not fit.
    pub(crate) fn read(options: &HashMap<String, String>) -> Result<Self> {
        let version = text(options, option::VERSION)?;
        if version != VERSION {
            return Err(Error::fatal(format!(
                "the wheel pyspark_tidemart on {} has version {VERSION}, the consumer has {version}: install the wheel \
                 of the consumer's version in the Python environment of the driver and of every worker",
                host()
            )));
        }
        let mut mysql: Value = parse(options, option::MYSQL)?;
        let password = text(options, option::PASSWORD)?;
        if let Some(mysql) = mysql.as_object_mut() {
            mysql.insert("password".to_owned(), password.into());
        }
        let mysql: Config = serde_json::from_value(mysql).map_err(|error| {
            Error::fatal(format!("option {} cannot be read", option::MYSQL)).because(error)
        })?;
        let (prefix, id) =
            (text(options, option::PREFIX)?.to_owned(), text(options, option::RUN)?.to_owned());
        Ok(Self { mysql, rules: parse(options, option::RULES)?, run: Run { prefix, id } })
    }
}

fn parse<T: DeserializeOwned>(options: &HashMap<String, String>, name: &str) -> Result<T> {
    let text = text(options, name)?;
    serde_json::from_str(text)
        .map_err(|error| Error::fatal(format!("option {name} cannot be read")).because(error))
}

fn text<'a>(options: &'a HashMap<String, String>, name: &str) -> Result<&'a str> {
    let missing = || {
        Error::fatal(format!(
            "option {name} is missing: this data source is for `tidemart consumer --engine spark`, which sets all of them"
        ))
    };
    options.get(name).map(String::as_str).ok_or_else(missing)
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}
