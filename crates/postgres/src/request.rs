//! Asking a capture for something, by a logical message in the source's log.

use tidemart_change::{Request, request::REQUEST_PREFIX};
use tidemart_pipeline::{Error, Result};

use crate::{client::connect, config::Config, error::at, quote::quote_table};

/// Asks the captures of this database for what the request says. `Ok` means that it stands in the log; a capture takes
/// it up when it has come there, also one that is started later.
///
/// # Errors
/// Fatal where the table does not exist; else as [`connect`].
pub async fn request(config: &Config, request: &Request) -> Result<()> {
    let client = connect(config).await?;
    let name = quote_table(&request.table);
    let doing = at("cannot look for the table");
    let there: bool =
        client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await.map_err(doing)?.get(0);
    if !there {
        let (table, database) = (&request.table, &config.database);
        return Err(Error::fatal(format!("there is no table {table} in the database {database}")));
    }
    let content = serde_json::to_string(request)
        .map_err(|error| Error::fatal("cannot write a request").because(error))?;
    let mark = include_str!("snapshot/mark.sql");
    let written = client.execute(mark, &[&REQUEST_PREFIX, &content]).await;
    written.map(drop).map_err(at("cannot write a request into the log"))
}
