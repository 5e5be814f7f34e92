//! The writer, the reader and the status on a real broker.

#[cfg(test)]
mod support;

#[cfg(test)]
mod reader;
#[cfg(test)]
mod status;
#[cfg(test)]
mod writer;
