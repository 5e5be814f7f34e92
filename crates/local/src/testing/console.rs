//! Kafka's own command line tools: a client that is not ours.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{ChildStdout, Command},
    time::timeout,
};

use super::{KafkaServer, cache, or_fail};
use crate::{
    error::{Error, Result, at},
    kafka::{Kafka, find_java},
    program,
};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const BROKERS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";
const ADVICE: &str = "install Java";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
/// How long it may take until the consumer prints its first record: a busy machine starts Java slowly.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
/// Nothing more comes when nothing has come for so long.
const QUIET: Duration = Duration::from_secs(5);

impl KafkaServer {
    /// The topics whose names begin so, as `kafka-topics --list` prints them.
    pub async fn topics(&self, starts_with: &str) -> Vec<String> {
        let listed = or_fail(self.tool(TOPICS, &["--list"]).await);
        listed.lines().filter(|topic| topic.starts_with(starts_with)).map(str::to_owned).collect()
    }

    /// The brokers' addresses as clients are told them, `host:port`.
    pub async fn advertised(&self) -> Vec<String> {
        let printed = or_fail(self.tool(BROKERS, &[]).await);
        let address = |line: &str| line.split_once(" (").map(|(address, _)| address.to_owned());
        printed.lines().filter_map(address).collect()
    }

    /// Makes a topic with the broker's own settings, as somebody else would.
    pub async fn create_topic(&self, topic: &str, partitions: u32) {
        let partitions = partitions.to_string();
        or_fail(self.tool(TOPICS, &["--create", "--topic", topic, "--partitions", &partitions]).await);
    }

    /// Changes a setting of a topic, as an administrator would: `name=value`.
    pub async fn alter_topic(&self, topic: &str, setting: &str) {
        let arguments =
            ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", setting];
        or_fail(self.tool(CONFIGS, &arguments).await);
    }

    /// A topic from its beginning, as `kafka-console-consumer` prints it with isolation level `read_committed`: a record a
    /// line, `Partition:0`, headers, key and value, with tabs between. A topic without records takes a minute.
    pub async fn print(&self, topic: &str) -> String {
        or_fail(self.consume(topic).await)
    }

    async fn consume(&self, topic: &str) -> Result<String> {
        let mut command = self.command(CONSUMER).await?;
        command.args(["--topic", topic, "--from-beginning", "--isolation-level", "read_committed"]);
        for property in [
            "print.partition=true",
            "print.headers=true",
            "print.key=true",
            "print.offset=false",
            "print.timestamp=false",
            "key.separator=\t",
            "headers.separator=,",
        ] {
            command.args(["--formatter-property", property]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| program::not_started(CONSUMER, ADVICE, source))?;
        let text = match child.stdout.take() {
            Some(output) => {
                until_quiet(output).await.map_err(at("read the output of", Path::new(CONSUMER)))?
            }
            None => String::new(),
        };
        // It would wait for more for ever.
        drop(child.kill().await);
        Ok(text)
    }

    /// What a tool prints on its standard output; the other one is seen in the error.
    async fn tool(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(class).await?.args(arguments).kill_on_drop(true).output().await;
        let output = output.map_err(|source| program::not_started(class, ADVICE, source))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            let tail = program::tail(&text(&output.stderr));
            return Err(Error::Program {
                program: class.to_owned(),
                status: output.status.to_string(),
                tail,
            });
        }
        Ok(text(&output.stdout))
    }

    async fn command(&self, class: &str) -> Result<Command> {
        let java = find_java().await?;
        let jars = Kafka::default().jars(&cache()).await?;
        let mut command = Command::new(&java);
        // Their log would go to the standard output too.
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-Dlog4j2.level=OFF", "-cp"]);
        command.arg(jars.join("*")).arg(class).args(["--bootstrap-server", &self.bootstrap]);
        Ok(command)
    }
}

/// Reads lines until none has come for some time.
async fn until_quiet(output: ChildStdout) -> std::io::Result<String> {
    let (mut lines, mut text, mut patience) = (BufReader::new(output).lines(), String::new(), FIRST_WITHIN);
    while let Ok(line) = timeout(patience, lines.next_line()).await {
        let Some(line) = line? else { break };
        text.push_str(&line);
        text.push('\n');
        patience = QUIET;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::AsyncWriteExt;

    const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
    const RECORDS: &str = "color:red,size:1\tk1\t{\"a\":1}\nNIL\tk2\tNIL\n";

    #[tokio::test]
    async fn a_topic_is_printed_a_record_a_line_and_nothing_else() {
        let kafka = crate::testing::kafka().await;
        let topic = format!("{}.printed", kafka.unique_prefix());
        let create = ["--create", "--topic", &topic, "--partitions", "1"];
        kafka.tool(super::TOPICS, &create).await.unwrap();
        assert_eq!(kafka.topics(&topic).await, [topic.as_str()]);
        let mut producer = kafka.command(PRODUCER).await.unwrap();
        producer.args(["--topic", &topic]);
        for property in ["parse.key=true", "parse.headers=true", "null.marker=NIL"] {
            producer.args(["--reader-property", property]);
        }
        let mut producer = producer.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        producer.stdin.take().unwrap().write_all(RECORDS.as_bytes()).await.unwrap();
        assert!(producer.wait().await.unwrap().success());
        let printed = kafka.print(&topic).await;
        let expected = "Partition:0\tcolor:red,size:1\tk1\t{\"a\":1}\nPartition:0\tNO_HEADERS\tk2\tnull\n";
        assert_eq!(printed, expected);
    }
}
