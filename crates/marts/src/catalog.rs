//! Which marts there are: those compiled in, and the user's own.

use std::{path::PathBuf, sync::OnceLock};

use serde::Serialize;
use tidemart_mysql::MarkRule;
use tidemart_pipeline::{Error, Result};

use crate::definition::{Folder, Mart};

static FOLDERS: &[Folder] = include!(concat!(env!("OUT_DIR"), "/folders.rs"));

static MARTS: OnceLock<Vec<Mart>> = OnceLock::new();

#[expect(clippy::expect_used, reason = "the folders are part of the program, a test reads them all")]
fn own() -> Vec<Mart> {
    FOLDERS.iter().map(Mart::read).collect::<std::result::Result<_, _>>().expect("marts/")
}

/// More marts besides our own; each must have a name of its own.
pub(crate) fn joined(more: Vec<Mart>) -> Result<Vec<Mart>> {
    let mut marts = own();
    for mart in more {
        if marts.iter().any(|other| other.name == mart.name) {
            return Err(Error::fatal(format!("there is a mart {} already; rename the folder", mart.name)));
        }
        marts.push(mart);
    }
    for mart in marts.iter().filter(|mart| mart.path.is_some()) {
        if let Some(reason) = mart.is_called_like_a_replica_of(&marts) {
            return Err(Error::fatal(format!("{}: {reason}", mart.place())));
        }
    }
    marts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(marts)
}

/// Takes more marts besides our own, before anybody asks for any.
pub(crate) fn add(more: Vec<Mart>) -> Result<()> {
    let marts = joined(more)?;
    MARTS
        .set(marts)
        .map_err(|_| Error::fatal("more marts come too late: those that there are were asked for"))
}

/// A mart's name and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MartInfo {
    /// Its name, which is also its table's.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Its folder, where it is one of the user's own and not compiled in.
    pub folder: Option<PathBuf>,
}

/// Every mart, by name.
#[must_use]
pub fn list() -> Vec<MartInfo> {
    let info = |mart: &Mart| MartInfo {
        name: mart.name.clone(),
        description: mart.toml.description.clone(),
        folder: mart.path.clone(),
    };
    all().iter().map(info).collect()
}

/// What the consumer is to mark, for all marts.
#[must_use]
pub fn mark_rules() -> Vec<MarkRule> {
    all().iter().flat_map(|mart| mart.sources.iter().map(|source| source.rule.clone())).collect()
}

/// All marts.
pub(crate) fn all() -> &'static [Mart] {
    MARTS.get_or_init(own)
}

/// The mart of this name.
pub(crate) fn find(name: &str) -> Result<&'static Mart> {
    all().iter().find(|mart| mart.name == name).ok_or_else(|| {
        let names: Vec<_> = all().iter().map(|mart| mart.name.as_str()).collect();
        Error::fatal(format!("there is no mart {name}; there are {}", names.join(", ")))
    })
}
