//! What Spark's errors mean.

use spark_connect::SparkError;
use tidemart_pipeline::Error;

/// Spark's messages can be pages long, of plans and stacks.
const LONGEST: usize = 900;
/// gRPC's codes (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
const UNAVAILABLE: i32 = 14;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// Classes of errors that come again with the same statement.
const FATAL: [&str; 14] = [
    "AMBIGUOUS_",
    "CANNOT_PARSE",
    "COLUMN_",
    "DATATYPE_MISMATCH",
    "DATA_SOURCE_NOT_FOUND",
    "INVALID_SQL",
    "INVALID_SQLSTATE",
    "MISSING_",
    "PARSE_",
    "TABLE_OR_VIEW_",
    "UNRESOLVED_",
    "UNSUPPORTED_",
    "WRONG_NUM_ARGS",
    "REQUIRED_",
];

/// An error of Spark's with its reaction, in one message of readable length.
#[must_use]
pub fn fault(error: &SparkError) -> Error {
    let told = once(&shorten(&error.message())).to_owned();
    match error.grpc_code {
        Some(UNAVAILABLE) => Error::transient("Spark is not reachable; is it still running?"),
        Some(UNAUTHENTICATED | PERMISSION_DENIED) => {
            Error::fatal("the Spark Connect server does not take the token; correct spark.token")
        }
        _ if told.contains("INVALID_HANDLE") || told.contains("SESSION_CLOSED") => {
            Error::transient("the session at Spark has ended; a new one is needed")
        }
        _ if told.contains("transport error") || told.contains("h2 protocol error") => Error::transient(
            "the connection to the Spark Connect server broke off, or spark.connect names something else; look at the \
             server's log",
        ),
        _ if told.contains("ClassNotFoundException") || told.contains("Failed to find the data source") => {
            Error::fatal(format!("Spark lacks a jar (the Kafka connector, a JDBC driver?): {told}"))
        }
        _ if is_fatal(error, &told) => Error::fatal(told),
        _ => Error::transient(format!("Spark: {told}")),
    }
}

fn is_fatal(error: &SparkError, told: &str) -> bool {
    let class = error.error_class.as_str();
    let in_text = told.strip_prefix('[').unwrap_or_default();
    FATAL.iter().any(|fatal| class.starts_with(fatal) || in_text.starts_with(fatal))
}

/// Without the class in front of a message that begins with it.
fn once(told: &str) -> &str {
    match told.split_once("] ") {
        Some((class, rest)) if class.starts_with('[') && rest.starts_with(class) => rest,
        _ => told,
    }
}

/// Without the stacks, the plan and what follows the limit.
pub(crate) fn shorten(message: &str) -> String {
    let ends = ["\n\tat ", "\nDriver stacktrace", "\n\nJVM stacktrace", "\n'Project", "\n'Aggregate", ";\n'"];
    let end = ends.iter().filter_map(|end| message.find(end)).min().unwrap_or(message.len());
    let message = message[..end].trim();
    let cut = (0..=LONGEST.min(message.len())).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    let more = if cut < message.len() { "…" } else { "" };
    format!("{}{more}", &message[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_told_once() {
        assert_eq!(once("[A.B] [A.B] no"), "[A.B] no");
        assert_eq!(once("[A] [B] no"), "[A] [B] no");
        assert_eq!(once("no [A] no"), "no [A] no");
    }

    #[test]
    fn a_message_is_cut_at_its_stack_and_at_the_limit() {
        assert_eq!(shorten("[A] no\n\tat org.x\n\tat org.y"), "[A] no");
        let long = "ü".repeat(LONGEST);
        assert!(shorten(&long).len() <= LONGEST + "…".len());
    }
}
