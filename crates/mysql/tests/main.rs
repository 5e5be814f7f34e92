//! On real servers: every body runs on MariaDB and on MySQL.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod preflight;
#[cfg(test)]
mod read;
#[cfg(test)]
mod support;
