//! What anyone with access to the source can ask of a capture, by a transactional logical message in the log.
//!
//! `SELECT pg_logical_emit_message(true, 'tidemart.request', '{"repair": {…}}')`; a capture takes the requests that
//! name its slot, or none.

use serde::{Deserialize, Serialize};

use crate::TableName;

/// Prefix of the logical messages that carry a [`Request`].
pub const REQUEST_PREFIX: &str = "tidemart.request";

/// A request, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The capture that it is for, by its slot; `None`: every capture that reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The table.
    pub table: TableName,
    /// What is wanted.
    pub want: Want,
}

/// What is wanted of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// Its rows are read again and laid over the replica, which stays readable; rows that the source does not have stay.
    Refresh,
    /// The replica is emptied and filled anew; a table that was stopped goes on. Heals gaps.
    Resync,
    /// The rows with these keys are read again: the texts of the key's columns, in the key's order.
    Repair(Vec<Vec<String>>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_json() {
        let table = TableName::new("public", "t");
        let request = Request { slot: None, table, want: Want::Repair(vec![vec!["1".to_owned()]]) };
        let text = r#"{"table":{"schema":"public","name":"t"},"want":{"repair":[["1"]]}}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        assert!(
            serde_json::from_str::<Request>(r#"{"table":{"schema":"a","name":"t"},"want":"drop"}"#).is_err()
        );
    }
}
