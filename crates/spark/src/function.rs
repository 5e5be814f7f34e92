//! A Python function of a wheel's that is applied to Arrow batches in executors.
//!
//! A streaming sink in Python would be called by the driver twice more for each batch, in a Python process there, although
//! there is nothing to do: a fifth of a small batch's time.

use arrow::{
    array::{Array, AsArray},
    record_batch::RecordBatch,
};
use secrecy::{ExposeSecret, SecretString};
use spark_connect::{
    DataFrame, DataType, SparkError, SparkSession, col,
    udf::{CommonInlineUserDefinedFunctionExpression, PythonUDFPayload},
};

/// Spark's number for `DataFrame.mapInArrow` (`SQL_MAP_ARROW_ITER_UDF`).
const MAP_IN_ARROW: i32 = 207;
/// What it gives back, as Spark's SQL names it: no rows.
const RESULT: &str = "done boolean";

/// It, pickled in an executor, and the version of Python there, which must be that of all of them.
pub(crate) struct Function {
    name: &'static str,
    python: String,
    command: Vec<u8>,
}

impl Function {
    /// Asks the wheel's data source of that name for it, with these options. Always there in an answer that is whole.
    pub(crate) fn fetch(
        spark: &SparkSession,
        name: &'static str,
        options: &[(String, SecretString)],
    ) -> Result<Option<Self>, SparkError> {
        let mut source = spark.read().format(name);
        for (name, value) in options {
            source = source.option(name, value.expose_secret());
        }
        let batches = source.load(None).collect_record_batches()?;
        Ok(batches.iter().find_map(|batch| Self::read(name, batch)))
    }

    fn read(name: &'static str, batch: &RecordBatch) -> Option<Self> {
        let python = batch.column_by_name("python")?.as_string_opt::<i32>()?;
        let command = batch.column_by_name("command")?.as_binary_opt::<i32>()?;
        (!command.is_empty()).then(|| Self {
            name,
            python: python.value(0).to_owned(),
            command: command.value(0).to_vec(),
        })
    }

    /// Rows of nothing, for which it was applied to these ones.
    pub(crate) fn of(self, rows: &DataFrame, columns: &[&str]) -> Result<DataFrame, SparkError> {
        let result = DataType::from_ddl(RESULT)?;
        let payload = PythonUDFPayload::new(result, MAP_IN_ARROW, self.command, self.python);
        let arguments = columns.iter().map(|column| col(column).expression().clone()).collect();
        // Not deterministic: Spark must not leave it out.
        let function =
            CommonInlineUserDefinedFunctionExpression::new(self.name.to_owned(), false, arguments, payload);
        Ok(rows.map_in_arrow(function, false))
    }
}
