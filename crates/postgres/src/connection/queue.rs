//! A queue of blocks that is bounded by their bytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Error, Result};

/// Whole messages as they were read, and the room that they take in the queue until they are dropped.
#[derive(Debug)]
pub(crate) struct Block {
    /// The messages.
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// The end that fills.
#[derive(Debug)]
pub(super) struct Sender {
    blocks: mpsc::UnboundedSender<Result<Block>>,
    room: Arc<Semaphore>,
    limit: u32,
}

/// The end that takes.
pub(super) type Receiver = mpsc::UnboundedReceiver<Result<Block>>;

/// A queue of so many bytes; one block may be larger when the queue is empty.
pub(super) fn queue(bytes: usize) -> (Sender, Receiver) {
    let limit = u32::try_from(bytes).unwrap_or(u32::MAX).min(1 << 30);
    let (blocks, receiver) = mpsc::unbounded_channel();
    (Sender { blocks, room: Arc::new(Semaphore::new(limit as usize)), limit }, receiver)
}

impl Sender {
    /// Waits for room. Nothing is lost when the future is dropped: `bytes` is cloned only when it is sent.
    /// `false`: nobody takes any more.
    pub(super) async fn send(&self, bytes: &Bytes) -> bool {
        let permits = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.limit);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.ok();
        self.blocks.send(Ok(Block { bytes: bytes.clone(), _room: room })).is_ok()
    }

    /// Says why nothing more will come.
    pub(super) fn fail(&self, error: Error) {
        drop(self.blocks.send(Err(error)));
    }
}
