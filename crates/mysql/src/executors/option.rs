//! Names of the options by which a query tells executors what they need to know.

/// [`VERSION`](super::VERSION) of the consumer.
pub const VERSION: &str = "version";
/// Prefix of the topics.
pub const PREFIX: &str = "prefix";
/// Name of the [`Run`](super::Run).
pub const RUN: &str = "run";
/// The settings of MySQL without the password, as JSON.
pub const MYSQL: &str = "mysql";
/// Its password. Spark shows no option whose name holds this word.
pub const PASSWORD: &str = "password";
/// The marts' rules, as JSON.
pub const RULES: &str = "rules";
