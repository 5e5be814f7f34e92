//! On real servers: every body runs on MariaDB and on MySQL.

#[cfg(test)]
mod away;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod deltas;
#[cfg(test)]
mod fill;
#[cfg(test)]
mod folders;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod marks;
#[cfg(test)]
mod model;
#[cfg(test)]
mod names;
#[cfg(test)]
mod rebuilds;
#[cfg(test)]
mod shops;
#[cfg(test)]
mod support;
