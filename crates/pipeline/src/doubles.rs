//! In-memory source and destination with faults on demand, for tests of the loop and of single stages.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::{Destination, Error, Next, Result, Source};

/// Numbers from the position on, three to a batch, up to a last one; then waits for ever.
#[derive(Debug)]
pub struct MemorySource {
    next: u64,
    last: u64,
    /// Highest number that was acknowledged.
    pub acknowledged: u64,
}

impl MemorySource {
    /// A source of `1..=last`.
    #[must_use]
    pub fn new(last: u64) -> Self {
        Self { next: 1, last, acknowledged: 0 }
    }
}

impl Source for MemorySource {
    type Scope = ();
    type Position = u64;
    type Batch = Vec<u64>;

    async fn scope(&mut self) -> Result<()> {
        Ok(())
    }

    async fn start(&mut self, position: u64) -> Result<()> {
        self.next = position + 1;
        Ok(())
    }

    async fn next(&mut self) -> Result<Next<Vec<u64>>> {
        if self.next > self.last {
            std::future::pending::<()>().await;
        }
        let end = self.last.min(self.next + 2);
        let batch = (self.next..=end).collect();
        self.next = end + 1;
        Ok(Next::Batch(batch))
    }

    async fn acknowledge(&mut self, batch: &Vec<u64>) -> Result<()> {
        self.acknowledged = batch.last().copied().unwrap_or(self.acknowledged);
        Ok(())
    }

    async fn stop(&mut self) {}
}

/// When a write of a [`MemoryDestination`] fails.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing was written.
    Before,
    /// Everything was written, but the answer was lost.
    After,
    /// Nothing was written and a person must act.
    Fatal,
    /// Nothing was written, and everything from there on is set aside for so long.
    Aside(Duration),
}

/// Keeps what is written and the position, both in one place; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDestination {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    written: Vec<u64>,
    faults: VecDeque<Option<Fault>>,
    retry_at: Option<Instant>,
}

impl MemoryDestination {
    /// The next writes meet these faults, one each (`None`: none), and none afterwards.
    #[must_use]
    pub fn with_faults(faults: impl IntoIterator<Item = Option<Fault>>) -> Self {
        let destination = Self::default();
        destination.state().faults.extend(faults);
        destination
    }

    /// Everything written so far.
    #[must_use]
    pub fn written(&self) -> Vec<u64> {
        self.state().written.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Destination for MemoryDestination {
    type Scope = ();
    type Position = u64;
    type Batch = Vec<u64>;

    async fn resume(&mut self, (): &()) -> Result<u64> {
        let mut state = self.state();
        state.retry_at = None;
        Ok(state.written.last().copied().unwrap_or(0))
    }

    async fn write(&mut self, batch: &Vec<u64>) -> Result<()> {
        let mut state = self.state();
        if state.retry_at.is_some() {
            return Ok(());
        }
        match state.faults.pop_front().flatten() {
            Some(Fault::Before) => return Err(Error::transient("fault before the write")),
            Some(Fault::Fatal) => return Err(Error::fatal("fatal fault")),
            Some(Fault::After) => {
                state.written.extend(batch);
                return Err(Error::transient("fault after the write"));
            }
            Some(Fault::Aside(pause)) => {
                state.retry_at = Some(tokio::time::Instant::now().into_std() + pause);
            }
            None => state.written.extend(batch),
        }
        Ok(())
    }

    fn retry_at(&self) -> Option<Instant> {
        self.state().retry_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run;

    async fn wait_for(destination: &MemoryDestination, last: u64) {
        while destination.written().last() != Some(&last) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn faults_before_and_after_a_write_lose_and_double_nothing() {
        let faults = [None, Some(Fault::Before), None, Some(Fault::After), Some(Fault::After), None];
        let mut destination = MemoryDestination::with_faults(faults);
        let seen = destination.clone();
        let mut source = MemorySource::new(20);
        run("test", &mut source, &mut destination, wait_for(&seen, 20)).await.unwrap();
        assert_eq!(seen.written(), (1..=20).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_set_aside_is_tried_again_though_nothing_new_comes() {
        let pause = Duration::from_secs(30);
        let mut destination = MemoryDestination::with_faults([None, Some(Fault::Aside(pause)), None]);
        let seen = destination.clone();
        let mut source = MemorySource::new(5);
        let begun = tokio::time::Instant::now();
        run("test", &mut source, &mut destination, wait_for(&seen, 5)).await.unwrap();
        assert_eq!(seen.written(), [1, 2, 3, 4, 5]);
        assert!(begun.elapsed() >= pause);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fatal_error_ends_the_loop_and_nothing_beyond_it_is_acknowledged() {
        let mut destination = MemoryDestination::with_faults([None, Some(Fault::Fatal)]);
        let mut source = MemorySource::new(20);
        let error = run("test", &mut source, &mut destination, std::future::pending()).await.unwrap_err();
        assert_eq!((error.kind(), source.acknowledged), (crate::Kind::Fatal, 3));
    }
}
