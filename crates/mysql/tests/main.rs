//! On real servers: every body runs on MariaDB and on MySQL.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod dead_letter_histories;
#[cfg(test)]
mod dead_letters;
#[cfg(test)]
mod evolve;
#[cfg(test)]
mod executors;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gaps;
#[cfg(test)]
mod history;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod marks;
#[cfg(test)]
mod migrate;
#[cfg(test)]
mod preflight;
#[cfg(test)]
mod read;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod truncate;
#[cfg(test)]
mod zombie;
