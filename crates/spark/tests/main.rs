//! The client, with a real cluster.

#[cfg(test)]
mod sessions;
