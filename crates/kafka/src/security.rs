//! TLS and SASL: the two settings that Kafka folds into `security.protocol`.
//!
//! | `kafka.tls.mode` | without `kafka.sasl` | with it |
//! |---|---|---|
//! | `disable` | `PLAINTEXT` | `SASL_PLAINTEXT` |
//! | any other | `SSL` | `SASL_SSL` |

use rdkafka::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tidemart_pipeline::{
    Error, Result,
    tls::{Files, Mode},
};

use crate::Config;

/// How we say who we are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How the password is proven.
    pub mechanism: Mechanism,
    /// The name of the account.
    pub user: String,
    /// Its password.
    pub password: SecretString,
}

/// Kafka's names of the mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// The password itself is sent: only with TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// The password is proven, not sent.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password is proven, not sent.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl PartialEq for Sasl {
    fn eq(&self, other: &Self) -> bool {
        let secret = |sasl: &Self| sasl.password.expose_secret().to_owned();
        (self.mechanism, &self.user) == (other.mechanism, &other.user) && secret(self) == secret(other)
    }
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Refuses what cannot work.
pub(crate) fn validate(config: &Config) -> Result<()> {
    config.tls.validate("kafka")?;
    let Some(sasl) = &config.sasl else { return Ok(()) };
    let refuse = |key: &str, rule: &str| Err(Error::fatal(format!("kafka.sasl.{key} {rule}")));
    if sasl.user.is_empty() || sasl.user.contains('\0') {
        return refuse("user", "must not be empty or contain NUL");
    }
    if sasl.password.expose_secret().contains('\0') {
        return refuse("password", "must not contain NUL");
    }
    if sasl.mechanism == Mechanism::Plain && !config.tls.is_on() {
        return refuse(
            "mechanism",
            "PLAIN sends the password as it is: set kafka.tls.mode, or use SCRAM-SHA-512",
        );
    }
    Ok(())
}

/// The settings as librdkafka has them.
pub(crate) fn apply(config: &Config, client: &mut ClientConfig) {
    client.set("security.protocol", protocol(config));
    let mode = config.tls.mode;
    if config.tls.is_on() {
        client.set("enable.ssl.certificate.verification", (mode != Mode::Require).to_string());
        let name = if mode == Mode::VerifyFull { "https" } else { "none" };
        client.set("ssl.endpoint.identification.algorithm", name);
    }
    // Paths and not contents, which errors of librdkafka might show.
    let files = [
        ("ssl.ca.location", &config.tls.root_certificate),
        ("ssl.certificate.location", &config.tls.client_certificate),
        ("ssl.key.location", &config.tls.client_key),
    ];
    for (key, path) in files {
        if let Some(path) = path {
            client.set(key, path.to_string_lossy());
        }
    }
    if let Some(sasl) = &config.sasl {
        client
            .set("sasl.mechanism", sasl.mechanism.name())
            .set("sasl.username", &sasl.user)
            .set("sasl.password", sasl.password.expose_secret());
    }
}

/// The settings as a client in Java has them, such as Spark's Kafka source. Passwords and keys are among them.
///
/// # Errors
/// Fatal, naming the setting that such a client cannot have, or a file that cannot be read.
pub fn java(config: &Config) -> Result<Vec<(&'static str, SecretString)>> {
    let mut settings = vec![("security.protocol", protocol(config).to_owned())];
    if config.tls.mode == Mode::Require {
        return Err(Error::fatal(
            "kafka.tls.mode = require, which trusts any certificate, is nothing that Spark's Kafka client can do: set \
             kafka.tls.root_certificate and verify-full or verify-ca",
        ));
    }
    if config.tls.is_on() {
        let files = Files::read(&config.tls, "kafka")?;
        let name = if config.tls.mode == Mode::VerifyFull { "https" } else { "" };
        settings.push(("ssl.endpoint.identification.algorithm", name.to_owned()));
        if let Some(roots) = files.roots {
            settings
                .extend([("ssl.truststore.type", "PEM".to_owned()), ("ssl.truststore.certificates", roots)]);
        }
        if let Some(own) = files.identity {
            settings.push(("ssl.keystore.type", "PEM".to_owned()));
            settings
                .extend([("ssl.keystore.certificate.chain", own.certificate), ("ssl.keystore.key", own.key)]);
        }
    }
    if let Some(sasl) = &config.sasl {
        settings.push(("sasl.mechanism", sasl.mechanism.name().to_owned()));
        settings.push(("sasl.jaas.config", jaas(sasl)));
    }
    Ok(settings.into_iter().map(|(name, value)| (name, value.into())).collect())
}

/// Kafka's documentation, "Configuring Kafka Clients" for SASL: the account as a login module's options.
fn jaas(sasl: &Sasl) -> String {
    let module = match sasl.mechanism {
        Mechanism::Plain => "plain.PlainLoginModule",
        Mechanism::ScramSha256 | Mechanism::ScramSha512 => "scram.ScramLoginModule",
    };
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let (user, password) = (quoted(&sasl.user), quoted(sasl.password.expose_secret()));
    format!("org.apache.kafka.common.security.{module} required username={user} password={password};")
}

/// Kafka's own name for it.
pub(crate) fn protocol(config: &Config) -> &'static str {
    match (config.tls.is_on(), config.sasl.is_some()) {
        (false, false) => "PLAINTEXT",
        (true, false) => "SSL",
        (false, true) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    }
}

/// Why the two ends do not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The mechanism is not offered.
    Mechanism,
    /// User or password are refused.
    Login,
    /// The broker's certificate does not prove itself.
    Certificate,
    /// It does, but for another name.
    Name,
    /// The broker wants a certificate of ours.
    ClientCertificate,
    /// The broker does not speak TLS.
    NoTls,
    /// The broker speaks something else than we do.
    Protocol,
}

/// What librdkafka and OpenSSL say, which they tell only by text; the first that fits counts.
const SAYINGS: [(&str, Flaw); 16] = [
    ("nsupported SASL mechanism", Flaw::Mechanism),
    ("SASL authentication error", Flaw::Login),
    ("SaslAuthenticateRequest failed", Flaw::Login),
    ("certificate verify failed", Flaw::Certificate),
    ("could not be verified", Flaw::Certificate),
    ("certificate required", Flaw::ClientCertificate),
    ("bad certificate", Flaw::ClientCertificate),
    ("handshake failure", Flaw::ClientCertificate),
    ("client SSL authentication might be required", Flaw::ClientCertificate),
    ("connecting to a PLAINTEXT broker listener", Flaw::NoTls),
    ("wrong version number", Flaw::NoTls),
    ("packet length too long", Flaw::NoTls),
    ("incorrect security.protocol", Flaw::Protocol),
    ("connecting to a SSL listener", Flaw::Protocol),
    ("in state APIVERSION_QUERY", Flaw::Protocol),
    ("SSL connection closed by peer", Flaw::Protocol),
];

impl Flaw {
    /// What a message is about.
    pub(crate) fn of(text: &str) -> Option<Self> {
        SAYINGS.iter().find(|(words, _)| text.contains(words)).map(|(_, flaw)| *flaw)
    }

    /// The flaw and what to do.
    pub(crate) fn remedy(self, config: &Config) -> String {
        let user = config.sasl.as_ref().map_or("", |sasl| &sasl.user);
        let root = config.tls.root_certificate.as_deref().unwrap_or_else(|| "".as_ref()).display();
        match self {
            Self::Mechanism => {
                "the broker does not offer this kafka.sasl.mechanism: set one that its listener has enabled".to_owned()
            }
            Self::Login => format!(
                "the broker refuses the user {user} or its password: check kafka.sasl.user and kafka.sasl.password"
            ),
            Self::Certificate => format!(
                "the broker's certificate is not signed by an authority in {root}, or has expired: correct \
                 kafka.tls.root_certificate or renew it, or you are not speaking with your broker"
            ),
            Self::Name => "the broker's certificate is for another name: set kafka.bootstrap and the broker's \
                           advertised.listeners to a name in it, or kafka.tls.mode to verify-ca where the network \
                           is trusted"
                .to_owned(),
            Self::ClientCertificate => {
                "the broker ended the TLS handshake: see its log; it may ask for kafka.tls.client_certificate".to_owned()
            }
            Self::NoTls => format!(
                "the listener has no TLS, which kafka.tls.mode = {} demands: use the port of an SSL or SASL_SSL \
                 listener, or set kafka.tls.mode to disable where the network is trusted",
                config.tls.mode.name()
            ),
            Self::Protocol => format!(
                "the broker hangs up on {}: its listener seems to demand TLS or SASL; set kafka.tls.mode to \
                 verify-full, and kafka.sasl where it has accounts",
                protocol(config)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config> {
        let config: Config = toml::from_str(text).unwrap();
        config.validate().map(|()| config)
    }

    const SASL: &str = "[sasl]\nmechanism = 'SCRAM-SHA-256'\nuser = 'u'\npassword = 'hunter2'\n";

    #[test]
    fn the_two_settings_make_kafkas_four_protocols() {
        let tls = "[tls]\nmode = 'require'\n";
        for (text, expected) in [
            (String::new(), "PLAINTEXT"),
            (tls.to_owned(), "SSL"),
            (SASL.to_owned(), "SASL_PLAINTEXT"),
            (format!("{tls}{SASL}"), "SASL_SSL"),
        ] {
            assert_eq!(protocol(&config(&text).unwrap()), expected);
        }
    }

    #[test]
    fn java_gets_the_same_and_prints_no_password() {
        let settings = java(&config(SASL).unwrap()).unwrap();
        let value = |name| settings.iter().find(|(key, _)| *key == name).unwrap().1.expose_secret();
        assert_eq!(value("security.protocol"), "SASL_PLAINTEXT");
        assert!(value("sasl.jaas.config").ends_with("required username=\"u\" password=\"hunter2\";"));
        assert!(!format!("{settings:?}").contains("hunter2"));
        let quotes = SASL.replace("hunter2", "a\"b\\c");
        let quotes = config(&quotes).unwrap();
        assert!(jaas(quotes.sasl.as_ref().unwrap()).ends_with(r#"password="a\"b\\c";"#));
        assert!(java(&config("[tls]\nmode = 'require'\n").unwrap()).is_err());
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear_and_not_printed() {
        let refused = config(&SASL.replace("SCRAM-SHA-256", "PLAIN")).unwrap_err().to_string();
        assert!(refused.starts_with("kafka.sasl.mechanism PLAIN"), "{refused}");
        let kept = config(SASL).unwrap();
        assert!(!format!("{kept:?}").contains("hunter2"));
        let mut client = ClientConfig::new();
        apply(&kept, &mut client);
        assert!(!format!("{client:?}").contains("hunter2"), "{client:?}");
    }
}
