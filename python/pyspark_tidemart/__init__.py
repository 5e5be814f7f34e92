"""Applies Tidemart's topics to MySQL or MariaDB: the sink of a streaming query of Spark.

All work is done in Rust, by the code that `tidemart consumer` runs too. Where a record was applied stands in MySQL, in the
transaction that applied it: what Spark repeats does no harm.
"""

from pyspark.sql.datasource import DataSource, DataSourceStreamArrowWriter, WriterCommitMessage

from . import _native

__version__ = _native.version()


class _Writer(DataSourceStreamArrowWriter):
    """What Spark sends to its executors; it knows nothing but the query's options."""

    def __init__(self, options):
        # Tells early, and once, what each executor would say.
        _native.check(options)
        self.options = options

    def write(self, iterator):
        _native.write(self.options, iterator)
        return WriterCommitMessage()

    def commit(self, messages, batchId):
        """Nothing: each task has committed what it had."""

    def abort(self, messages, batchId):
        """Nothing: what tasks have committed is right, whatever became of the others."""


class DefaultSource(DataSource):
    """Found by its module's name, which begins with `pyspark_`."""

    @classmethod
    def name(cls):
        return "tidemart"

    def streamWriter(self, schema, overwrite):
        return _Writer(dict(self.options))
