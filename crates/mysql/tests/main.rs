//! On real servers: every body runs on MariaDB and on MySQL.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod support;
