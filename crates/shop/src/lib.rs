//! The shop: its Postgres schema and the seeded generator.
//!
//! The generator is a simulation and pure: [`History`] lives through the years before the shop goes live,
//! [`Live`](live::Live) goes on from there, [`oracle`] says what the tables and both marts must hold. Nothing in
//! them reads a clock or does I/O. Only [`writer`] knows Postgres.

mod calendar;
mod config;
mod copy;
mod draws;
mod error;
mod fate;
mod goods;
mod history;
mod people;
mod time;

pub mod live;
pub mod model;
pub mod oracle;
pub mod writer;

pub use config::*;
pub use error::{Error, Result};
pub use history::{Chunk, Closing, History};
pub use time::{Month, Timestamp};
