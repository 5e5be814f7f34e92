//! Overrides from the environment: `TIDEMART_<SECTION>_<KEY>`, a nested key after two underscores
//! (`TIDEMART_POSTGRES_TABLES__INCLUDE`).

use anyhow::{Context, bail};
use toml::{Table, Value};

const PREFIX: &str = "TIDEMART_";

/// Variables that are options of the command line or belong to the local servers; those of tests begin with `TEST_`, those
/// that Airflow's DAGs read with `DAGS_`.
const NOT_SETTINGS: [&str; 8] =
    ["CONFIG", "LOG", "LOG_FORMAT", "DATA", "CACHE", "FAILPOINT", "FAILPOINT_NTH", "FAILPOINT_REPORT"];

/// Keys whose value is text even where it looks like a number or a truth value.
const TEXTS: [&str; 14] = [
    "connect",
    "token",
    "master",
    "host",
    "user",
    "password",
    "database",
    "slot",
    "publication",
    "bootstrap",
    "prefix",
    "group",
    "instance",
    "retention",
];

/// The variables of this process that can be settings; what is no UTF-8 in a value is replaced.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// Arms the failpoint that a crash test names: `TIDEMART_FAILPOINT`, reached for the `TIDEMART_FAILPOINT_NTH` time,
/// says so in the file `TIDEMART_FAILPOINT_REPORT`.
#[cfg(debug_assertions)]
pub fn arm_failpoint(variables: impl Iterator<Item = (String, String)>) {
    let mut variables = variables.collect::<std::collections::HashMap<_, _>>();
    let mut take = |name: &str| variables.remove(&format!("{PREFIX}{name}"));
    let (point, nth, report) = (take("FAILPOINT"), take("FAILPOINT_NTH"), take("FAILPOINT_REPORT"));
    if let (Some(point), Some(report)) = (point, report) {
        let nth = nth.and_then(|text| text.parse().ok()).unwrap_or(1);
        tidemart_pipeline::failpoint::arm(point, nth, report);
    }
}

/// Puts the variables over the settings of the file.
///
/// # Errors
/// A variable that names no section, or a section that is no table.
pub fn apply(settings: &mut Table, variables: impl Iterator<Item = (String, String)>) -> anyhow::Result<()> {
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        if NOT_SETTINGS.contains(&path) || ["TEST_", "DAGS_"].iter().any(|prefix| path.starts_with(prefix)) {
            continue;
        }
        set(settings, path, &text).with_context(|| format!("environment variable {name}"))?;
    }
    Ok(())
}

fn set(settings: &mut Table, path: &str, text: &str) -> anyhow::Result<()> {
    let path = path.to_lowercase();
    let Some((section, key)) = path.split_once('_') else {
        bail!("names no key: TIDEMART_<SECTION>_<KEY> is expected, such as TIDEMART_POSTGRES_HOST");
    };
    let mut names = key.split("__").collect::<Vec<_>>();
    let last = names.pop().unwrap_or_default();
    let mut table = child(settings, section)?;
    for name in names {
        table = child(table, name)?;
    }
    table.insert(last.to_owned(), value(last, text));
    Ok(())
}

fn child<'a>(table: &'a mut Table, name: &str) -> anyhow::Result<&'a mut Table> {
    let entry = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
    entry.as_table_mut().with_context(|| format!("{name} is not a section"))
}

/// What the text means in TOML where it means something (a number, a list, true); itself otherwise.
fn value(key: &str, text: &str) -> Value {
    let text_value = || Value::String(text.to_owned());
    if TEXTS.contains(&key) {
        return text_value();
    }
    let parsed = format!("value = {text}").parse::<Table>().ok();
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(text_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_one(name: &str, text: &str) -> anyhow::Result<Table> {
        let mut settings = "[postgres]\nhost = 'a'\n".parse().unwrap();
        apply(&mut settings, [(name.to_owned(), text.to_owned())].into_iter())?;
        Ok(settings)
    }

    #[test]
    fn variables_win_over_the_file_and_keep_their_type() {
        let settings = apply_one("TIDEMART_POSTGRES_PORT", "5433").unwrap();
        assert_eq!(settings["postgres"]["port"].as_integer(), Some(5433));
        assert_eq!(settings["postgres"]["host"].as_str(), Some("a"));
        let settings = apply_one("TIDEMART_MYSQL_PASSWORD", "123").unwrap();
        assert_eq!(settings["mysql"]["password"].as_str(), Some("123"));
        let settings = apply_one("TIDEMART_POSTGRES_TABLES__INCLUDE", "['public.*', 'x.y']").unwrap();
        assert_eq!(settings["postgres"]["tables"]["include"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_variable_that_names_nothing_is_an_error_and_foreign_ones_are_left_alone() {
        let error = apply_one("TIDEMART_HOST", "x").unwrap_err();
        assert!(format!("{error:#}").contains("TIDEMART_HOST"), "{error:#}");
        assert!(apply_one("HOME", "x").is_ok() && apply_one("TIDEMART_LOG", "debug").is_ok());
    }
}
