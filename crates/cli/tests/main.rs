//! Tests of the whole: the workspace's own rules, and the real binary on real servers.

#[cfg(test)]
mod architecture;
