//! The wheel `pyspark_tidemart`: the consumer's appliers inside the executors of a streaming query of Spark.
//!
//! Python hands over the options of the query and Arrow batches of Kafka's messages. Everything else is what
//! `tidemart consumer` does: messages become records, [`SharedApplier`](tidemart_mysql::executors::SharedApplier) writes
//! them to MySQL with their checkpoints.

mod columns;
mod options;
mod schemas;
mod task;

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_pyarrow::FromPyArrow;
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyIterator};
use tidemart_pipeline::{Error, Kind, error::chain};

use self::{options::Options, task::Task};

/// Applies the messages of one task, which the iterator brings as Arrow batches.
#[pyfunction]
fn write(py: Python<'_>, options: HashMap<String, String>, batches: Bound<'_, PyIterator>) -> PyResult<()> {
    let mut task = Task::begin(&options).map_err(raised)?;
    for batch in batches {
        let batch = RecordBatch::from_pyarrow_bound(&batch?)?;
        py.detach(|| task.take(&batch)).map_err(raised)?;
    }
    py.detach(|| task.end()).map_err(raised)
}

/// Refuses options that no executor could work with.
#[pyfunction]
fn check(options: HashMap<String, String>) -> PyResult<()> {
    Options::read(&options).map(drop).map_err(raised)
}

/// The version that the consumer must have, too.
#[pyfunction]
fn version() -> &'static str {
    tidemart_mysql::executors::VERSION
}

/// The class' name is what Spark shows first. The consumer reads what follows (`explain.rs` of `crates/spark`).
fn raised(error: Error) -> PyErr {
    let fatal = if error.kind() == Kind::Fatal { ", fatal" } else { "" };
    PyRuntimeError::new_err(format!("tidemart{fatal}: {}", chain(&error)))
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{check, version, write};
}
