//! The capture as a [`pipeline::Source`](tidemart_pipeline::Source).
//!
//! ```text
//! no state  ──▶ Declaring ──acknowledged──▶ Making the slot ──▶ Streaming
//! declared  ──▶ (an unused slot is dropped) ▲                    ▲
//! position  ──▶ checks ──────────────────────────────────────────┘
//! a new generation ──▶ Declaring
//! ```

mod opening;
mod plan;
mod streaming;
mod tempo;
mod timeline;
mod watch;

use tidemart_change::{CaptureBatch, CaptureState};
use tidemart_pipeline::{Error, Next, Result};

use self::{
    opening::{Opening, Stage},
    streaming::Streaming,
};
use crate::config::Config;

/// Yields a declaration, then a snapshot of every table and every committed change.
pub struct Source {
    config: Config,
    generation: Option<u32>,
    /// The type for which the session before has ended.
    unknown_type: Option<u32>,
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
        Self { config, generation: None, unknown_type: None, session: Session::Closed }
    }

    /// Begins anew at the first start where Kafka does not know this generation: another slot, replicas emptied, every
    /// table read. At every later start it goes on where it was.
    #[must_use]
    pub fn starting_over(self, generation: Option<u32>) -> Self {
        Self { generation, ..self }
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
        let opening = Opening::prepare(&self.config, position.as_ref(), self.generation).await?;
        let opening = Box::new(opening);
        self.session = match opening.stage {
            Stage::Declare => Session::Declaring(opening),
            Stage::Begin => Session::Declared(opening),
            Stage::Resume(position) => {
                let mut streaming = opening.resume(position).await?;
                streaming.excuse_type(self.unknown_type);
                Session::Streaming(Box::new(streaming))
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
            Session::Streaming(streaming) => {
                let next = streaming.next().await;
                self.unknown_type = streaming.unknown_type().or(self.unknown_type);
                next
            }
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
