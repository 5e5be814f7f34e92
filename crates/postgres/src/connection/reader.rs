//! The reading task: takes what Postgres sends, answers in time whatever happens downstream, and hands blocks on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::frontend;
use tidemart_change::Lsn;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Block, Result,
    pulse::Question,
    queue::{Receiver, Sender, queue},
    socket::{READ_BUFFER, Socket},
    wire::{put_status, scan},
};
use crate::config::Config;

/// A read that leaves less room than this gets a new buffer.
const MIN_ROOM: usize = 64 << 10;

/// Reads that follow each other faster than this are part of one flow.
const BUSY: Duration = Duration::from_millis(3);

/// After such a silence Postgres is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(2);

/// After such a silence, and as long again after each answer, another session looks what the walsender does.
const DOUBT: Duration = Duration::from_secs(4);

/// After such a silence the connection is dead whatever can be found out, at the earliest: a walsender that is busy with a large transaction of
/// other tables reads our questions only after half of its own time-out.
const DEAD: Duration = Duration::from_secs(30);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// How the task reads and answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time between two status messages.
    pub(crate) status: Duration,
    /// Pause where nothing is there while data keeps coming.
    pub(crate) coalesce: Duration,
    /// Bytes read ahead.
    pub(crate) queue_bytes: usize,
    /// `wal_sender_timeout`.
    pub(crate) sender_timeout: Duration,
}

/// A running stream.
#[derive(Debug)]
pub(crate) struct Stream {
    blocks: Receiver,
    confirmed: watch::Sender<Lsn>,
    task: JoinHandle<()>,
}

impl Stream {
    /// Starts the task; `read` holds what was read already.
    pub(super) fn spawn(socket: Socket, read: BytesMut, from: Lsn, pace: Pace, walsender: Walsender) -> Self {
        let (sender, blocks) = queue(pace.queue_bytes);
        let (confirmed, watched) = watch::channel(from);
        let mut ticks = interval(pace.status);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reader = Reader {
            socket,
            read,
            write: BytesMut::new(),
            confirmed: watched,
            pace,
            last_read: Instant::now(),
            nap: None,
            asked: false,
            walsender,
            question: None,
            doubted: Instant::now(),
        };
        let task = tokio::spawn(async move {
            if let Err(error) = reader.run(&sender, ticks).await {
                sender.fail(error);
            }
        });
        Self { blocks, confirmed, task }
    }

    /// The next block. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Block> {
        self.blocks
            .recv()
            .await
            .unwrap_or_else(|| Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()))
    }

    /// A block that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Result<Block>> {
        self.blocks.try_recv().ok()
    }

    /// Everything that ended at or before this LSN is safe at the destination: Postgres may forget it.
    pub(crate) fn confirm(&self, lsn: Lsn) {
        self.confirmed.send_if_modified(|confirmed| {
            let forward = lsn > *confirmed;
            *confirmed = lsn.max(*confirmed);
            forward
        });
    }

    /// Sends the last status and ends the connection.
    pub(crate) async fn close(self) {
        let Self { blocks, confirmed, task } = self;
        drop((blocks, confirmed));
        let abort = task.abort_handle();
        if timeout(GOODBYE, task).await.is_err() {
            abort.abort();
        }
    }
}

/// The process at the other end.
#[derive(Debug)]
pub(super) struct Walsender {
    pub(super) config: Config,
    pub(super) id: i32,
}

struct Reader {
    socket: Socket,
    read: BytesMut,
    write: BytesMut,
    confirmed: watch::Receiver<Lsn>,
    pace: Pace,
    last_read: Instant,
    /// Where nothing is there, no looking before this moment, so that more is there by then.
    nap: Option<Instant>,
    /// Postgres asked for an answer; it gets a second one as soon as there is something to confirm.
    asked: bool,
    walsender: Walsender,
    /// What is being asked about it.
    question: Option<Question>,
    /// When that was last asked.
    doubted: Instant,
}

impl Reader {
    /// Runs until nobody listens any more. While a block waits for room nothing is read, but answers go on.
    async fn run(&mut self, blocks: &Sender, mut ticks: Interval) -> Result<()> {
        let mut waiting = self.take_block().await?;
        loop {
            tokio::select! { biased;
                changed = self.confirmed.changed() => match changed {
                    Ok(()) if self.asked => self.confirm_asked().await?,
                    Ok(()) => {}
                    Err(_) => return self.goodbye().await,
                },
                _ = ticks.tick() => self.tick(waiting.is_some()).await?,
                sent = send(blocks, waiting.as_ref()), if waiting.is_some() => {
                    if !sent {
                        return self.goodbye().await;
                    }
                    waiting = None;
                    self.last_read = Instant::now();
                }
                read = read(&mut self.socket, &mut self.read, self.nap), if waiting.is_none() => {
                    read?;
                    self.pace_after();
                    waiting = self.take_block().await?;
                }
            }
        }
    }

    /// A read that soon follows another is followed by a nap.
    fn pace_after(&mut self) {
        let now = Instant::now();
        let busy = now - self.last_read < BUSY && !self.pace.coalesce.is_zero();
        self.nap = busy.then(|| now + self.pace.coalesce);
        self.last_read = now;
    }

    /// Takes the whole messages out of the buffer, having answered Postgres where it wants that.
    async fn take_block(&mut self) -> Result<Option<Bytes>> {
        let found = scan(&self.read)?;
        if found.reply {
            self.asked = true;
            self.send_status(false).await?;
        }
        let block = self.read.split_to(found.whole).freeze();
        if self.read.capacity() - self.read.len() < MIN_ROOM {
            self.read.reserve(READ_BUFFER.max(found.next.saturating_sub(self.read.len())));
        }
        Ok(Some(block).filter(|block| !block.is_empty()))
    }

    async fn confirm_asked(&mut self) -> Result<()> {
        self.asked = false;
        self.send_status(false).await
    }

    /// A status message; after some silence one that wants an answer, after a long one the connection is given up:
    /// Postgres itself sends nothing to a client that keeps answering.
    async fn tick(&mut self, stalled: bool) -> Result<()> {
        let silence = self.last_read.elapsed();
        if !stalled
            && (silence > DEAD.max(self.pace.sender_timeout + DOUBT) || self.is_forgotten(silence).await)
        {
            return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        }
        self.send_status(!stalled && silence > QUIET).await
    }

    /// Whether the walsender waits for us, or is not there, while we wait for it.
    async fn is_forgotten(&mut self, silence: Duration) -> bool {
        if self.question.is_none() && silence > DOUBT && self.doubted.elapsed() > DOUBT {
            self.doubted = Instant::now();
            let Walsender { config, id } = &self.walsender;
            self.question = Some(Question::ask(config.clone(), *id));
        }
        let Some(question) = &mut self.question else { return false };
        let Some(idle) = question.answer().await else { return false };
        self.question = None;
        // What it sent last may have come since.
        idle && self.last_read < self.doubted
    }

    async fn send_status(&mut self, ask: bool) -> Result<()> {
        let confirmed = *self.confirmed.borrow_and_update();
        put_status(confirmed, now_us(), ask, &mut self.write);
        self.flush().await
    }

    async fn goodbye(&mut self) -> Result<()> {
        let confirmed = *self.confirmed.borrow();
        put_status(confirmed, now_us(), false, &mut self.write);
        frontend::copy_done(&mut self.write);
        frontend::terminate(&mut self.write);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.socket.write(&self.write.split()).await?)
    }
}

async fn send(blocks: &Sender, block: Option<&Bytes>) -> bool {
    match block {
        Some(block) => blocks.send(block).await,
        None => true,
    }
}

/// Reads what is there; where nothing is, naps before it has the socket watched. Cancel safe.
async fn read(socket: &mut Socket, buffer: &mut BytesMut, nap: Option<Instant>) -> Result<usize> {
    if let Some(bytes) = socket.try_read(buffer)? {
        return Ok(bytes);
    }
    if let Some(nap) = nap {
        sleep_until(nap).await;
    }
    Ok(socket.read(buffer).await?)
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
