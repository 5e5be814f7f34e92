//! What it means when a streaming query does not start, or ends by itself.

use tidemart_pipeline::{Error, Kind};

/// What the wheel's own errors begin with, in Python's traceback; with the second one a person is needed.
const OURS: &str = "RuntimeError: tidemart: ";
const FATAL: &str = "RuntimeError: tidemart, fatal: ";

const WHEEL: &str = "the wheel pyspark_tidemart is not installed in the Python environment of";
const INSTALL: &str = "install the wheel of the consumer's version there (`make wheel`, then pip install), and start the \
                       Connect server anew";

/// The error of a start; `message` is all that Spark said.
pub(crate) fn starting(error: Error, message: &str) -> Error {
    match known(message) {
        Some(error) => error,
        None if error.kind() == Kind::Fatal => error,
        None => Error::transient("the query cannot be started").because(error),
    }
}

/// Why a query ended, without stacks; fatal where a new start does not help.
pub(crate) fn ended(message: &str) -> Error {
    if let Some(error) = known(message) {
        return error;
    }
    // Python's own errors stand in the last line of the traceback.
    let traceback = message.rsplit_once("Traceback (most recent call last)").map(|(_, lines)| lines);
    let raised = traceback.and_then(|lines| {
        lines.lines().skip(1).find(|line| !line.starts_with(' ') && line.contains(": ")).map(str::to_owned)
    });
    Error::transient(raised.unwrap_or_else(|| crate::error::shorten(message)))
}

/// What is not installed, and what our own code says in executors.
fn known(message: &str) -> Option<Error> {
    if let Some(what) = missing(message) {
        return Some(Error::fatal(what));
    }
    let said = |mark| message.rsplit_once(mark).and_then(|(_, ours)| ours.lines().next());
    let fatal = said(FATAL).map(|ours| Error::fatal(ours.to_owned()));
    fatal.or_else(|| said(OURS).map(|ours| Error::transient(ours.to_owned())))
}

/// What is not installed.
fn missing(message: &str) -> Option<String> {
    if message.contains("No module named 'pyspark_tidemart'") {
        return Some(format!("{WHEEL} a worker: {INSTALL}"));
    }
    if message.contains("DATA_SOURCE_NOT_FOUND") && message.contains("tidemart") {
        return Some(format!("{WHEEL} the Connect server: {INSTALL}"));
    }
    if message.contains("No module named 'pyarrow'") {
        return Some(
            "pyarrow is not installed in the Python environment of a worker: pip install pyarrow".to_owned(),
        );
    }
    let connector =
        ["Failed to find data source: kafka", "KafkaSourceProvider", "name `kafka`", "source: `kafka`"];
    (connector.iter().any(|words| message.contains(words))).then(|| {
        "Spark has no Kafka connector: start the Connect server with the jars of spark-sql-kafka-0-10 of its own version \
         (spark/pom.xml) on its class path"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "[STREAM_FAILED] Query [id = 1] terminated with exception: Job aborted\n\
        Traceback (most recent call last):\n  File \"/x/worker.py\", line 1, in main\n    process()\n";

    #[test]
    fn our_own_errors_are_told_alone() {
        let text =
            format!("{TRACE}RuntimeError: tidemart: cannot reach MySQL: refused\n\n\tat org.x(Y.scala)");
        assert_eq!(ended(&text).to_string(), "cannot reach MySQL: refused");
        assert_eq!(ended(&text).kind(), Kind::Transient);
        let fatal = ended(&text.replace("tidemart:", "tidemart, fatal:"));
        assert_eq!(
            (fatal.to_string(), fatal.kind()),
            ("cannot reach MySQL: refused".to_owned(), Kind::Fatal)
        );
    }

    #[test]
    fn what_python_says_is_told_without_its_stack() {
        assert_eq!(ended(&format!("{TRACE}ValueError: no\n\n\tat org.x")).to_string(), "ValueError: no");
        assert_eq!(ended("[A] lost an executor\n\tat org.x").to_string(), "[A] lost an executor");
    }

    #[test]
    fn what_is_not_installed_is_named() {
        let worker = format!("{TRACE}ModuleNotFoundError: No module named 'pyspark_tidemart'\n");
        assert!(ended(&worker).to_string().contains("environment of a worker: install the wheel"));
        let driver = "[DATA_SOURCE_NOT_FOUND] Failed to find the data source: tidemart.";
        assert!(ended(driver).to_string().contains("of the Connect server: install the wheel"));
        let kafka = Error::fatal("[DATA_SOURCE_NOT_FOUND] Failed to find data source: kafka.");
        let message = kafka.to_string();
        assert!(starting(kafka, &message).to_string().contains("no Kafka connector"));
    }
}
