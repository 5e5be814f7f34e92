//! Messages of the replication stream, and rows of COPY: any bytes are a message or an error.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidemart_postgres::{copy::parse_row, pgoutput::decode};

fuzz_target!(|data: &[u8]| {
    let message = Bytes::copy_from_slice(data);
    drop(decode(&message));
    let columns = data.iter().filter(|byte| **byte == b'\t').count() + 1;
    if let Ok(row) = parse_row(&message, columns) {
        assert_eq!(row.len(), columns);
    }
});
