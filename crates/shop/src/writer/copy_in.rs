use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::mpsc;
use tokio_postgres::Client;

use crate::error::{Doing, Error, Result};
use crate::model::Table;

/// What the generator hands to a table's connection.
pub(super) enum Piece {
    /// Lines of COPY text, and how many.
    Rows(Bytes, u64),
    /// The table is complete. A channel that closes without this must not be taken for the end.
    End,
}

/// Loads one table in one COPY, which is one transaction: after a crash the table is complete or empty.
pub(super) async fn copy_in(
    client: &Client,
    table: Table,
    mut pieces: mpsc::Receiver<Piece>,
    loaded: impl Fn(u64),
) -> Result<u64> {
    let doing = "loading history with COPY";
    let copy = format!("COPY public.{} FROM STDIN", table.name());
    let mut sink = pin!(client.copy_in::<_, Bytes>(&copy).await.doing(doing)?);
    loop {
        match pieces.recv().await {
            Some(Piece::Rows(text, rows)) => {
                sink.send(text).await.doing(doing)?;
                loaded(rows);
            }
            Some(Piece::End) => return sink.finish().await.doing(doing),
            // Dropping the sink makes the server roll back.
            None => return Err(Error::Generator),
        }
    }
}
