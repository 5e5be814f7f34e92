//! Which errors of Kafka pass by themselves and which need a person.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};
use tidemart_pipeline::Error;

/// An error of the client, with what was being done.
pub(crate) fn of(doing: impl Into<String>, error: KafkaError) -> Error {
    let doing = doing.into();
    // Its own text would show the value, which may be a secret.
    if let KafkaError::ClientConfig(_, reason, key, _) = &error {
        return Error::fatal(format!("{doing}: {key}: {reason}"));
    }
    let fatal = match &error {
        KafkaError::AdminOp(code) => needs_a_person(*code),
        _ => error.rdkafka_error_code().is_some_and(needs_a_person),
    };
    let result = if fatal { Error::fatal(doing) } else { Error::transient(doing) };
    result.because(error)
}

/// Whether another producer with the same transactional id, or the broker's own time-out, may have shut this one out.
/// librdkafka then purges what is still queued, and the first that is seen of it may be such a message.
pub(crate) fn is_fenced(error: &KafkaError) -> bool {
    let fenced =
        [Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch, Code::PurgeQueue, Code::Fatal];
    error.rdkafka_error_code().is_some_and(|code| fenced.contains(&code))
}

/// Missing rights, wrong set-up, a broker that is too old: trying again changes nothing.
pub(crate) fn needs_a_person(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::SecurityDisabled
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions
            | Code::InvalidTopic
            | Code::InvalidConfig
            | Code::PolicyViolation
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::MessageSizeTooLarge
    )
}
