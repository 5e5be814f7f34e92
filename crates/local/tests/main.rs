//! The servers, started for real.

// The attribute tells clippy that the helpers of the tests are tests too.
#[cfg(test)]
mod shared;
