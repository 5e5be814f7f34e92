//! Everything about the brokers that would bite later, each with what to do.

use std::collections::HashMap;

use rdkafka::admin::{ConfigResource, ResourceSpecifier};
use tidemart_pipeline::{Finding, Findings, Result};

use crate::{
    Config, client, error,
    topics::{self, RECORD_OVERHEAD, Topics},
    writer::transaction_timeout_ms,
};

/// A consumer that is away over a weekend should find everything.
const LEAST_RETENTION_MS: i64 = 3 * 24 * 60 * 60 * 1000;

/// Looks at the brokers and the topics, and changes nothing. What cannot be asked is a finding too.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::new("kafka");
    let hosts = config
        .bootstrap
        .split(',')
        .map(|broker| broker.trim().rsplit_once(':').map_or(broker, |(host, _)| host));
    findings.encryption(config.tls.is_on(), &hosts.collect::<Vec<_>>());
    if let Err(error) = all(config, &mut findings).await {
        findings.failed("connection", &error);
    }
    findings.into_list()
}

async fn all(config: &Config, findings: &mut Findings) -> Result<()> {
    client::check(config).await?;
    findings.ok("connection", &config.bootstrap);
    let asked = config.clone();
    let topics = client::blocking(move || Topics::list(&asked)).await?;
    let found = match topics.brokers() {
        1 => "1 broker".to_owned(),
        more => format!("{more} brokers"),
    };
    findings.prefer(
        "brokers",
        topics.brokers() >= 3,
        found,
        "have three: with fewer the loss of one machine loses changes",
    );
    if let Some(broker) = topics.first_broker() {
        of_broker(config, &described(config, ResourceSpecifier::Broker(broker)).await?, findings);
    }
    let ours = topics.of_prefix(&config.prefix);
    if ours.is_empty() {
        findings.ok("topics", format!("none of {} yet; the capture will make them", config.prefix));
    }
    for (topic, replicas) in ours {
        let settings = described(config, ResourceSpecifier::Topic(topic)).await?;
        of_topic(config, topic, replicas, &settings, findings);
    }
    Ok(())
}

/// The settings of a broker or a topic.
async fn described(config: &Config, of: ResourceSpecifier<'_>) -> Result<HashMap<String, String>> {
    let doing = "cannot read the settings of a broker or topic (DescribeConfigs)";
    let described = client::admin(config)?.describe_configs([&of], &topics::options(config)).await;
    let described = described.map_err(|cause| error::of(doing, cause))?;
    let resource = described.into_iter().next().transpose();
    let resource = resource.map_err(|code| error::of(doing, rdkafka::error::KafkaError::AdminOp(code)))?;
    let entries = resource.map(|ConfigResource { entries, .. }| entries).unwrap_or_default();
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

fn number(settings: &HashMap<String, String>, name: &str) -> Option<i64> {
    settings.get(name)?.parse().ok()
}

fn of_broker(config: &Config, settings: &HashMap<String, String>, findings: &mut Findings) {
    if let Some(most) = number(settings, "socket.request.max.bytes") {
        let needed = i64::try_from(config.max_record_bytes + RECORD_OVERHEAD).unwrap_or(i64::MAX);
        let remedy = format!("raise it to {needed} on the brokers, or lower kafka.max_record_bytes");
        findings.demand("socket.request.max.bytes", most >= needed, most.to_string(), remedy);
    }
    if let Some(most) = number(settings, "transaction.max.timeout.ms") {
        let needed = i64::try_from(transaction_timeout_ms(config)).unwrap_or(i64::MAX);
        let remedy = format!("raise it to {needed} on the brokers, or lower kafka.producer.timeout_ms");
        findings.demand("transaction.max.timeout.ms", most >= needed, most.to_string(), remedy);
    }
    let pairs = [
        ("transaction.state.log.replication.factor", "transactions"),
        ("offsets.topic.replication.factor", "offsets of groups"),
    ];
    for (name, what) in pairs {
        if let Some(factor) = number(settings, name) {
            let remedy =
                format!("set it to 3 before the first start of the brokers: the {what} are on as many");
            findings.prefer(name, factor >= 3, factor.to_string(), remedy);
        }
    }
}

fn of_topic(
    config: &Config,
    topic: &str,
    replicas: usize,
    settings: &HashMap<String, String>,
    findings: &mut Findings,
) {
    let check = format!("topic {topic}");
    let before = findings.count();
    let policy = settings.get("cleanup.policy").map_or("", String::as_str);
    let is_state =
        [topics::positions(&config.prefix), topics::schemas(&config.prefix)].iter().any(|own| own == topic);
    let wanted = if is_state { "compact" } else { "delete" };
    if policy != wanted {
        let remedy = match wanted {
            "delete" => {
                "kafka-configs --alter --add-config cleanup.policy=delete: compaction loses columns, since a last record may be partial"
            }
            _ => {
                "kafka-configs --alter --add-config cleanup.policy=compact: where the capture stands would be deleted by age"
            }
        };
        findings.fail(&check, format!("cleanup.policy is {policy}"), remedy);
    }
    if !is_state {
        of_table(config, &check, settings, findings);
    }
    let minimum = number(settings, "min.insync.replicas").unwrap_or(1);
    if replicas < 3 || minimum < 2 {
        let found = format!("{replicas} replicas, min.insync.replicas {minimum}");
        findings.warn(
            &check,
            found,
            "three replicas and min.insync.replicas=2 survive the loss of a machine",
        );
    }
    if findings.count() == before {
        findings.ok(check, format!("{policy}, {replicas} replicas"));
    }
}

fn of_table(config: &Config, check: &str, settings: &HashMap<String, String>, findings: &mut Findings) {
    let retention = number(settings, "retention.ms").unwrap_or(-1);
    if retention != -1 && retention < LEAST_RETENTION_MS {
        let found = format!("retention.ms is {retention}");
        findings.warn(check, found, "kafka-configs --alter --add-config retention.ms=604800000: a consumer that is away for longer needs a new snapshot");
    }
    let bytes = number(settings, "retention.bytes").unwrap_or(-1);
    if bytes != -1 {
        let found = format!("retention.bytes is {bytes}");
        findings.warn(
            check,
            found,
            "set it to -1 unless the disk forbids it: a consumer that is further behind needs a new snapshot",
        );
    }
    let needed = i64::try_from(config.max_record_bytes + RECORD_OVERHEAD).unwrap_or(i64::MAX);
    let most = number(settings, "max.message.bytes").unwrap_or(i64::MAX);
    if most < needed {
        let remedy = format!(
            "kafka-configs --alter --add-config max.message.bytes={needed}, or lower kafka.max_record_bytes: a wider row stops its table"
        );
        findings.fail(check, format!("max.message.bytes is {most}"), remedy);
    }
}

#[cfg(test)]
mod tests {
    use tidemart_pipeline::Level;

    use super::*;

    fn judged(topic: &str, replicas: usize, settings: &[(&str, &str)]) -> Vec<(Level, String)> {
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut findings = Findings::new("kafka");
        of_topic(&Config::default(), topic, replicas, &settings, &mut findings);
        findings.into_list().into_iter().map(|finding| (finding.level, finding.found)).collect()
    }

    #[test]
    fn a_topic_is_judged_by_what_it_is_for() {
        let table = "tidemart.public.orders";
        let sound =
            [("cleanup.policy", "delete"), ("retention.ms", "604800000"), ("min.insync.replicas", "2")];
        assert_eq!(judged(table, 3, &sound), [(Level::Ok, "delete, 3 replicas".to_owned())]);
        let weak = judged(table, 1, &sound);
        assert!(weak.len() == 1 && weak[0].0 == Level::Warning, "{weak:?}");
        let compacted = judged(table, 3, &[("cleanup.policy", "compact"), ("min.insync.replicas", "2")]);
        assert_eq!(compacted, [(Level::Error, "cleanup.policy is compact".to_owned())]);
        let positions = [("cleanup.policy", "compact"), ("min.insync.replicas", "2")];
        assert_eq!(judged("tidemart.tidemart-positions", 3, &positions)[0].0, Level::Ok);
        let short = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "60000"),
            ("max.message.bytes", "1048588"),
            ("min.insync.replicas", "2"),
        ];
        let short = judged(table, 3, &short);
        assert_eq!(short.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [Level::Warning, Level::Error]);
    }
}
