//! On real servers: Postgres against MariaDB and against MySQL.

#[cfg(test)]
mod differences;
#[cfg(test)]
mod equal;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod obstacles;
#[cfg(test)]
mod progress;
#[cfg(test)]
mod support;
#[cfg(test)]
mod types;
