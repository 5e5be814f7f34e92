//! What the reader's thread and its asynchronous side tell each other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidemart_change::{ApplyBatch, TopicPartition};
use tidemart_pipeline::{Error, Result};
use tokio::sync::Notify;

use super::place::Places;

/// Offsets by partition.
pub(super) type Offsets = BTreeMap<TopicPartition, i64>;

#[derive(Debug, Default)]
pub(super) struct Handover {
    state: Mutex<State>,
    /// Wakes the asynchronous side.
    news: Notify,
    /// Wakes the thread where it waits for its batch to be taken.
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with each assignment and revocation.
    generation: u64,
    /// `None` between a revocation and the next assignment.
    assigned: Option<Vec<TopicPartition>>,
    /// Where to start, until the thread has taken it.
    begin: Option<Places>,
    /// Somebody waits for a batch.
    wanted: bool,
    ready: Option<ApplyBatch>,
    failed: Option<Error>,
    /// What was applied since the group was last told.
    applied: Offsets,
    /// The member that speaks to the group; what an earlier one says counts no more.
    member: u64,
    /// Since when the member has no partitions of the group's, although it may be reading those that it had before its
    /// session was over.
    adrift: Option<Instant>,
    stopped: bool,
    /// The thread has ended, or is about to.
    ended: bool,
}

impl Handover {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the group has given us partitions, if only none.
    pub(super) async fn assignment(&self) -> Result<(u64, Vec<TopicPartition>)> {
        self.wait(|state| state.assigned.clone().map(|partitions| (state.generation, partitions))).await
    }

    /// Tells the thread where to start, unless the assignment has changed.
    pub(super) fn begin(&self, generation: u64, places: Places) {
        let mut state = self.state();
        if state.generation == generation {
            (state.ready, state.begin) = (None, Some(places));
        }
        self.taken.notify_all();
    }

    /// The next batch; `None` once the assignment has changed. Cancel safe.
    pub(super) async fn next(&self, generation: u64) -> Result<Option<ApplyBatch>> {
        self.wait(|state| {
            if state.generation != generation {
                return Some(None);
            }
            let batch = state.ready.take();
            state.wanted = batch.is_none();
            self.taken.notify_all();
            batch.map(Some)
        })
        .await
    }

    async fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            {
                let mut state = self.state();
                if let Some(error) = state.failed.take() {
                    return Err(error);
                }
                if let Some(found) = look(&mut state) {
                    return Ok(found);
                }
            }
            news.await;
        }
    }

    /// These offsets, and all before, are applied.
    pub(super) fn acknowledge(&self, generation: u64, offsets: impl Iterator<Item = (TopicPartition, i64)>) {
        let mut state = self.state();
        // A group that does not count us any more refuses them, and while one is on the way librdkafka does not join again.
        if state.generation == generation && state.adrift.is_none() {
            state.applied.extend(offsets);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// The thread is to end.
    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.taken.notify_all();
    }

    // The thread's side.

    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Another member is to speak to the group; its number.
    pub(super) fn next_member(&self) -> u64 {
        let mut state = self.state();
        state.member += 1;
        state.adrift = Some(Instant::now());
        state.member
    }

    /// Another assignment: whatever was read for the one before is void.
    pub(super) fn assign(&self, member: u64, partitions: Option<Vec<TopicPartition>>) {
        let mut state = self.state();
        if state.member != member {
            return;
        }
        state.generation += 1;
        state.adrift = if partitions.is_none() { Some(Instant::now()) } else { None };
        state.assigned = partitions;
        (state.begin, state.ready, state.wanted) = (None, None, false);
        state.applied.clear();
        drop(state);
        self.news.notify_waiters();
    }

    /// The member's session is over; it goes on with what it has until the group has shared out the partitions anew.
    pub(super) fn cast_off(&self, member: u64) {
        let mut state = self.state();
        if state.member == member {
            state.adrift = Some(Instant::now());
            state.applied.clear();
        }
    }

    /// Nothing is kept any more of what the group had shared out.
    pub(super) fn give_up(&self) {
        let member = self.state().member;
        self.assign(member, None);
    }

    /// For how long the member has had no partitions of the group's.
    pub(super) fn adrift(&self) -> Option<Duration> {
        self.state().adrift.map(|since| since.elapsed())
    }

    pub(super) fn fail(&self, error: Error) {
        let mut state = self.state();
        (state.failed, state.ended) = (Some(error), true);
        drop(state);
        self.news.notify_waiters();
    }

    /// The thread ends; whoever waits must hear of it even where it panicked.
    fn end(&self) {
        if !self.has_ended() {
            self.fail(Error::transient("the reader's thread has ended"));
        }
    }

    pub(super) fn take_begin(&self) -> Option<Places> {
        self.state().begin.take()
    }

    pub(super) fn take_applied(&self) -> Offsets {
        std::mem::take(&mut self.state().applied)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.state().wanted
    }

    /// Gives a batch to whoever waits; only to be called while one is wanted. Nobody wants it any more where the
    /// position was set anew meanwhile.
    pub(super) fn give(&self, batch: ApplyBatch) {
        let mut state = self.state();
        if state.begin.is_none() {
            (state.ready, state.wanted) = (Some(batch), false);
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// Whether there is something for the thread to do besides reading on.
    pub(super) fn has_news(&self) -> bool {
        self.state().has_news()
    }

    /// Waits until there is, or for so long.
    pub(super) fn wait_for_news(&self, limit: Duration) {
        drop(self.taken.wait_timeout_while(self.state(), limit, |state| !state.has_news()));
    }
}

/// Tells of the thread's end when it is dropped.
#[derive(Debug)]
pub(super) struct Ending(pub(super) Arc<Handover>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl State {
    fn has_news(&self) -> bool {
        self.wanted || self.stopped || self.begin.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: 0 }
    }

    #[test]
    fn what_an_earlier_member_says_counts_no_more() {
        let handover = Handover::default();
        let (old, new) = (handover.next_member(), handover.next_member());
        handover.assign(new, Some(vec![partition()]));
        handover.assign(old, None);
        handover.cast_off(old);
        assert_eq!(handover.state().assigned, Some(vec![partition()]));
        assert_eq!(handover.adrift(), None);
    }

    #[test]
    fn the_group_is_told_nothing_by_whom_it_does_not_count() {
        let handover = Handover::default();
        let member = handover.next_member();
        assert!(handover.adrift().is_some());
        handover.assign(member, Some(vec![partition()]));
        let generation = handover.state().generation;
        let applied = || [(partition(), 7)].into_iter();
        handover.acknowledge(generation, applied());
        assert_eq!(handover.take_applied().len(), 1);
        handover.acknowledge(generation, applied());
        handover.cast_off(member);
        assert!(handover.take_applied().is_empty() && handover.adrift().is_some());
        handover.acknowledge(generation, applied());
        assert!(handover.take_applied().is_empty());
    }
}
