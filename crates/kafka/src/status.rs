//! What has been published, for operators and for `verify`.

use tidemart_pipeline::Result;

use crate::{
    Config,
    client::blocking,
    replay::Replay,
    schemas::read_positions,
    state::Positions,
    topics::{self, Topics},
};

/// Reads the positions topic again and again; each time only what is new in it.
pub struct Watch {
    config: Config,
    session: Option<Box<Session>>,
}

struct Session {
    replay: Replay,
    positions: Positions,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("prefix", &self.config.prefix).finish_non_exhaustive()
    }
}

impl Watch {
    /// Connects with the first question.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, session: None }
    }

    /// Everything that is published by now; nothing where no capture has declared itself under this prefix.
    ///
    /// # Errors
    /// When the brokers do not answer within `kafka.producer.timeout_ms`, or the topic holds what is not ours.
    pub async fn positions(&mut self) -> Result<Positions> {
        let mut config = self.config.clone();
        config.producer.timeout_ms = config.producer.timeout_ms.min(PATIENCE_MS);
        let session = self.session.take();
        let session = blocking(move || look(session, &config)).await?;
        let positions = session.as_ref().map(|session| session.positions.clone()).unwrap_or_default();
        self.session = session;
        Ok(positions)
    }
}

/// An operator waits for the answer.
const PATIENCE_MS: u64 = 4_000;

fn look(session: Option<Box<Session>>, config: &Config) -> Result<Option<Box<Session>>> {
    let mut session = match session {
        Some(session) => session,
        None => {
            let topic = topics::positions(&config.prefix);
            if Topics::list(config)?.partitions(&topic).is_none() {
                return Ok(None);
            }
            Box::new(Session { replay: Replay::new(config, topic)?, positions: Positions::default() })
        }
    };
    read_positions(&mut session.replay, None, &mut session.positions)?;
    Ok(Some(session))
}
