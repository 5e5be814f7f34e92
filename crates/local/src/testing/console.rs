//! Kafka's own command line tools: a client that is not ours.

use tokio::process::Command;

use super::{KafkaServer, cache, or_fail};
use crate::{
    error::Result,
    kafka::{Kafka, find_java},
    program,
};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
/// The consumer ends when nothing has come for so many milliseconds.
const QUIET_MS: &str = "6000";

impl KafkaServer {
    /// The topics whose names begin so, as `kafka-topics --list` prints them.
    pub async fn topics(&self, starts_with: &str) -> Vec<String> {
        let listed = or_fail(self.tool(TOPICS, &["--list"]).await);
        listed.lines().filter(|topic| topic.starts_with(starts_with)).map(str::to_owned).collect()
    }

    /// A topic from its beginning, as `kafka-console-consumer` prints it with isolation level `read_committed`: a record a
    /// line, `Partition:0`, headers, key and value, with tabs between.
    pub async fn print(&self, topic: &str) -> String {
        let mut arguments = vec!["--topic", topic, "--from-beginning", "--timeout-ms", QUIET_MS];
        arguments.extend(["--isolation-level", "read_committed"]);
        for property in [
            "print.partition=true",
            "print.headers=true",
            "print.key=true",
            "print.offset=false",
            "print.timestamp=false",
            "key.separator=\t",
            "headers.separator=,",
        ] {
            arguments.extend(["--formatter-property", property]);
        }
        let printed = or_fail(self.tool(CONSUMER, &arguments).await);
        // The time limit that ends it is logged to the same output.
        printed
            .lines()
            .filter(|line| line.starts_with("Partition:"))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// What a tool prints; messages of its own go to its standard error.
    async fn tool(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let java = find_java().await?;
        let jars = Kafka::default().jars(&cache()).await?;
        let mut command = Command::new(&java);
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-cp"]).arg(jars.join("*")).arg(class);
        command.args(["--bootstrap-server", &self.bootstrap]).args(arguments);
        command.kill_on_drop(true);
        let output =
            command.output().await.map_err(|source| program::not_started(class, "install Java", source))?;
        // The consumer ends by its time limit, which is no success to it.
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
