//! Dead letters: changes that MySQL did not take because of their data, parked beside the replica.
//!
//! A change is parked by the transaction that moves its partition's checkpoint over it, so it is neither lost nor in
//! the way of other keys. Later changes of its key: one that carries the whole row, or deletes it, needs no earlier
//! one; it removes all that is parked of the key, and is applied, or parked in turn. One that lacks columns cannot be
//! told without them; it is parked behind the others, in order. So a key has one whole row at the most, and changes
//! that complete it. A truncate removes all.
//!
//! People and the consumer change what is parked only together with the partition's row of `tidemart_checkpoints`,
//! taken first: the consumer by moving it, people by counting up its column `parked`, which the consumer compares.

mod ask;
mod kind;
mod letter;
mod list;
mod packet;
mod parked;
mod retry;

pub use ask::{Missing, missing, note_asked};
pub use kind::Kind;
pub use list::{Count, DeadLetter, Page, Selection, count, list, parked_keys, row, still_parked};
pub use retry::{Outcome, retry, skip};

pub(crate) use letter::Letter;
pub(crate) use parked::{Changes, Parked, load};
pub(crate) use retry::Place;
