//! Keys and envelopes from Kafka: any bytes are a row or an error, and what was read can be written and read again.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidemart_change::{
    Change, Column, ColumnType, Lsn, Op, TableName, TableSchema,
    envelope::{Decoder, Encoder},
    schema::NumericShape,
};

/// One column of each kind; the key is the first.
fn schema() -> Arc<TableSchema> {
    let types = [
        ColumnType::BigInt,
        ColumnType::Boolean,
        ColumnType::SmallInt,
        ColumnType::Real,
        ColumnType::Double,
        ColumnType::Numeric(None),
        ColumnType::Numeric(Some(NumericShape { precision: 12, scale: 2 })),
        ColumnType::Text,
        ColumnType::Char(3),
        ColumnType::Bytea,
        ColumnType::Date,
        ColumnType::Time(6),
        ColumnType::Timestamp(6),
        ColumnType::TimestampTz(3),
        ColumnType::Uuid,
        ColumnType::Json,
        ColumnType::Jsonb,
        ColumnType::Enum(vec!["a".to_owned()]),
    ];
    let column = |(index, column_type)| Column { name: format!("c{index}"), column_type, nullable: index > 0 };
    let columns = types.into_iter().enumerate().map(column).collect();
    Arc::new(TableSchema { table: TableName::new("s", "t"), version: 1, columns, key: vec![0] })
}

fuzz_target!(|data: &[u8]| {
    let schema = schema();
    let mut decoder = Decoder::new(Arc::clone(&schema));
    drop(decoder.key(data));
    let Ok(event) = decoder.value(data) else { return };
    let (before, after) = match event.op {
        Op::Delete => (Some(event.row.clone()), None),
        _ => (None, Some(event.row.clone())),
    };
    let change = Change {
        schema: Arc::clone(&schema),
        op: event.op,
        before,
        after,
        commit_lsn: Lsn(1),
        ordinal: 1,
        lsn: Lsn(1),
        xid: 1,
        commit_time_us: 0,
    };
    let mut again = Vec::new();
    // Texts in Kafka need not be such as Postgres prints; those are refused here.
    if Encoder::new(Arc::clone(&schema), "p", "d").value(&change, 0, &mut again).is_ok() {
        let read = decoder.value(&again).expect("what was written can be read");
        assert_eq!(read.row, event.row);
    }
});
