//! Everything of ours that Kafka keeps beside the rows: positions, stamps, marks, requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemart_change::{Epoch, Lsn, Mark, Request, Stamp, TableSchema};
use tidemart_kafka::state::{CAPTURE_KEY, Positions, WRITER_KEY};

fuzz_target!(|data: &[u8]| {
    let mut positions = Positions::default();
    for key in [CAPTURE_KEY, WRITER_KEY, "table/[\"s\",\"t\"]"] {
        drop(positions.take(key.as_bytes(), data));
    }
    drop((serde_json::from_slice::<TableSchema>(data), serde_json::from_slice::<Request>(data)));
    let Ok(text) = std::str::from_utf8(data) else { return };
    drop(text.parse::<Mark>());
    if let Ok(stamp) = text.parse::<Stamp>() {
        assert_eq!(stamp.to_string().parse::<Stamp>().ok(), Some(stamp));
    }
    if let Ok(lsn) = text.parse::<Lsn>() {
        assert_eq!(lsn.to_string().parse::<Lsn>().ok(), Some(lsn));
    }
    if let Ok(epoch) = text.parse::<Epoch>() {
        assert_eq!(epoch.to_string().parse::<Epoch>().ok(), Some(epoch));
    }
});
