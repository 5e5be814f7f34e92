//! The writer, the reader and the status on a real broker.

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod support;

#[cfg(test)]
mod limits;
#[cfg(test)]
mod many;
#[cfg(test)]
mod positions;
#[cfg(test)]
mod reader;
#[cfg(test)]
mod security;
#[cfg(test)]
mod status;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod writer;
