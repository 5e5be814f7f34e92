//! Tests of the whole: the workspace's own rules, and the real binary on real servers.

#![expect(unreachable_pub, reason = "in a binary, pub says what a module offers to the others")]

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod airflow;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod campaign;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod cycle;
#[cfg(test)]
mod ddl;
#[cfg(test)]
mod dead_letters;
#[cfg(test)]
mod debezium;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod encrypted;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod jupyterhub;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod marts;
#[cfg(test)]
mod platform;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod spark;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod up;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod zombie;
