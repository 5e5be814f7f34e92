//! The servers, started for real.

// The attribute tells clippy that the helpers of the tests are tests too.
#[cfg(test)]
mod airflow;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod orphans;
#[cfg(test)]
mod private;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod secrecy;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod spark;
