//! Tests of the whole: the workspace's own rules, and the real binary on real servers.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod cycle;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod zombie;
