//! The years before the shop goes live, as one run of the simulation.
//!
//! Each round drafts a few blocks of orders in parallel (who, when, what they would like: pure functions of the
//! order's id), settles them one after the other (stock, prices, what has become of them by the end), and
//! writes them as COPY text in parallel again. Only the middle step needs the order of events, and it is cheap.
//! Nothing is held but the state of the shop and one round of blocks.

mod closing;
mod draft;
mod settle;
#[cfg(test)]
mod tests;
mod world;

use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::thread;

pub use closing::Closing;
pub(crate) use draft::{basket_size, pieces};
pub(crate) use settle::LOYALTY_DAYS;

use crate::config::{Config, Size};
use crate::copy::CopyRow;
use crate::error::Result;
use crate::model::{Detail, Order, Table};
use crate::time::Timestamp;
use draft::Draft;
use settle::Settle;
use world::World;

/// Orders that one thread drafts at a time.
const BLOCK: u64 = 4096;

/// A part of the history: consecutive orders with all their details.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Orders, by id.
    pub orders: Vec<Order>,
    /// Their details, by id.
    pub details: Vec<Detail>,
    /// The orders as COPY text.
    pub orders_copy: Vec<u8>,
    /// The details as COPY text.
    pub details_copy: Vec<u8>,
}

/// A history: nothing but its parameters and what follows from them for users and products.
///
/// The same parameters give the same bytes, whatever the number of threads.
pub struct History {
    world: World,
}

impl History {
    /// The history of a shop of this `size` over `days` days up to `end`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the size or the length is out of its range.
    pub fn new(seed: u64, size: Size, days: u32, end: Timestamp) -> Result<Self> {
        let [users, products, orders] = [size.users, size.products, size.orders].map(Some);
        Config { seed, users, products, orders, history_days: days, ..Config::default() }.validate()?;
        Ok(Self { world: World::new(seed, size, days, end) })
    }

    /// Lives through the history and gives every chunk of it to `sink`, oldest first.
    ///
    /// `sink` ends the walk early by breaking; the state is then that of the moment. Blocks the thread.
    pub fn walk(&self, threads: NonZeroUsize, mut sink: impl FnMut(Chunk) -> ControlFlow<()>) -> Closing<'_> {
        let mut settle = Settle::new(&self.world);
        let orders = self.world.size.orders;
        let per_round = BLOCK * threads.get() as u64;
        'rounds: for start in (0..orders).step_by(usize::try_from(per_round).unwrap_or(usize::MAX)) {
            let blocks = blocks(start, orders.min(start + per_round));
            let drafts = self.draft(&blocks);
            let mut chunks: Vec<_> = drafts.iter().map(|drafts| settle.block(drafts)).collect();
            write(&mut chunks);
            for chunk in chunks {
                if sink(chunk).is_break() {
                    break 'rounds;
                }
            }
        }
        settle.close()
    }

    /// One table's rows as COPY text, piece by piece, and how many rows there are. Blocks the thread.
    pub fn copy(&self, table: Table, threads: NonZeroUsize, mut sink: impl FnMut(&[u8])) {
        let closing = self.walk(threads, |chunk| {
            match table {
                Table::Orders => sink(&chunk.orders_copy),
                Table::Details => sink(&chunk.details_copy),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        for (text, _) in closing.copy(table) {
            sink(&text);
        }
    }

    fn draft(&self, blocks: &[Range<u64>]) -> Vec<Vec<Draft>> {
        let draft = |block: &Range<u64>| block.clone().map(|order| Draft::new(&self.world, order)).collect();
        in_parallel(blocks.iter().map(|block| move || draft(block)))
    }
}

fn blocks(start: u64, end: u64) -> Vec<Range<u64>> {
    (start..end).step_by(BLOCK as usize).map(|first| first..end.min(first + BLOCK)).collect()
}

fn write(chunks: &mut [Chunk]) {
    in_parallel(chunks.iter_mut().map(|chunk| {
        || {
            chunk.orders_copy.reserve(chunk.orders.len() * 90);
            chunk.details_copy.reserve(chunk.details.len() * 48);
            chunk.orders.iter().for_each(|order| order.copy(&mut chunk.orders_copy));
            chunk.details.iter().for_each(|detail| detail.copy(&mut chunk.details_copy));
        }
    }));
}

/// Runs each task in a thread of its own, the first in this one; results keep the order of the tasks.
fn in_parallel<T: Send>(mut tasks: impl Iterator<Item = impl FnOnce() -> T + Send>) -> Vec<T> {
    let Some(first) = tasks.next() else { return Vec::new() };
    thread::scope(|scope| {
        let others: Vec<_> = tasks.map(|task| scope.spawn(task)).collect();
        let mut results = vec![first()];
        for other in others {
            match other.join() {
                Ok(result) => results.push(result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}
