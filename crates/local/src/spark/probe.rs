//! Asks a page of Spark's for what it knows, as JSON.

use serde_json::Value;

use crate::http;

/// What the page of a master or a worker tells programs.
pub(super) async fn json(port: u16) -> Result<Value, String> {
    let body = http::body(port, "/json/").await.map_err(|error| error.to_string())?;
    serde_json::from_str(&body).map_err(|_| "its page does not answer yet".to_owned())
}

/// Whether a field of the answer is as it should be.
pub(super) fn holds(
    answer: &Value,
    field: &str,
    wanted: impl FnOnce(&str) -> bool,
    otherwise: &str,
) -> Result<(), String> {
    let right = answer.get(field).and_then(Value::as_str).is_some_and(wanted);
    if right { Ok(()) } else { Err(otherwise.to_owned()) }
}
