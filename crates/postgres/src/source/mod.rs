//! The capture as a [`pipeline::Source`](tidemart_pipeline::Source).
//!
//! ```text
//! no state  ──▶ Declaring ──acknowledged──▶ Making the slot ──▶ Streaming
//! declared  ──▶ (an unused slot is dropped) ▲                    ▲
//! position  ──▶ checks ──────────────────────────────────────────┘
//! ```

mod opening;
mod plan;
mod streaming;
mod tempo;
mod watch;

use tidemart_change::{CaptureBatch, CaptureState};
use tidemart_pipeline::{Error, Next, Result};

use self::{opening::Opening, streaming::Streaming};
use crate::config::Config;

/// Yields a declaration, then a snapshot of every table and every committed change.
pub struct Source {
    config: Config,
    session: Session,
}

enum Session {
    Closed,
    /// Nothing is known to Kafka yet.
    Declaring(Box<Opening>),
    /// Kafka knows who we are; the slot has to be made.
    Declared(Box<Opening>),
    Streaming(Box<Streaming>),
}

impl Source {
    /// A source that connects when it is started.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, session: Session::Closed }
    }

    async fn close(&mut self) {
        if let Session::Streaming(streaming) = std::mem::replace(&mut self.session, Session::Closed) {
            streaming.close().await;
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("config", &self.config).finish_non_exhaustive()
    }
}

impl tidemart_pipeline::Source for Source {
    type Scope = ();
    type Position = Option<CaptureState>;
    type Batch = CaptureBatch;

    async fn scope(&mut self) -> Result<()> {
        Ok(())
    }

    async fn start(&mut self, position: Option<CaptureState>) -> Result<()> {
        self.close().await;
        self.config.validate()?;
        let opening = Box::new(Opening::prepare(&self.config, position.as_ref()).await?);
        self.session = match position {
            None => Session::Declaring(opening),
            Some(CaptureState { position: None, .. }) => Session::Declared(opening),
            Some(CaptureState { position: Some(position), .. }) => {
                Session::Streaming(Box::new(opening.resume(position).await?))
            }
        };
        Ok(())
    }

    async fn next(&mut self) -> Result<Next<CaptureBatch>> {
        if matches!(self.session, Session::Declared(_)) {
            let Session::Declared(opening) = std::mem::replace(&mut self.session, Session::Closed) else {
                return Err(closed());
            };
            self.session = Session::Streaming(Box::new(opening.begin().await?));
        }
        match &mut self.session {
            Session::Declaring(opening) => Ok(Next::Batch(opening.declaration())),
            Session::Streaming(streaming) => streaming.next().await,
            Session::Declared(_) | Session::Closed => Err(closed()),
        }
    }

    async fn acknowledge(&mut self, batch: &CaptureBatch) -> Result<()> {
        match (&self.session, &batch.position) {
            (Session::Declaring(_), _) => {
                if let Session::Declaring(opening) = std::mem::replace(&mut self.session, Session::Closed) {
                    self.session = Session::Declared(opening);
                }
            }
            (Session::Streaming(streaming), Some(position)) => streaming.confirm(position.confirmed_lsn),
            _ => {}
        }
        Ok(())
    }

    async fn stop(&mut self) {
        self.close().await;
    }
}

fn closed() -> Error {
    Error::transient("the capture's session is closed")
}
