//! The capture against real servers, with a destination in memory.

#[cfg(test)]
mod anew;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod following;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod preflight;
#[cfg(test)]
mod publication;
#[cfg(test)]
mod replica;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod stall;
#[cfg(test)]
mod stopped;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod visibility;
#[cfg(test)]
mod wal;
