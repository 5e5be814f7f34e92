"""Applies Tidemart's topics to MySQL or MariaDB, in the tasks of a streaming query of Spark.

All work is done in Rust, by the code that `tidemart consumer` runs too. Where a record was applied stands in MySQL, in the
transaction that applied it: what Spark repeats does no harm.

The query calls `Applier` by `mapInArrow`. Who starts it speaks no Python, and reads the function, pickled, from a data source.
"""

import sys

from pyspark import cloudpickle
from pyspark.sql.datasource import DataSource, DataSourceReader
from pyspark.sql.types import BooleanType, StructField, StructType

from . import _native

__version__ = _native.version()


class Applier:
    """What a task calls with Arrow batches of messages; it gives back no rows. It knows nothing but the query's options."""

    __name__ = "tidemart"

    def __init__(self, options):
        # Tells early, and once, what each task would say.
        _native.check(options)
        self.options = options

    def __call__(self, batches):
        _native.write(self.options, batches)
        return iter(())


class _Function(DataSourceReader):
    """One row: the version of Python here, and what a query with these options is to call."""

    def __init__(self, options):
        self.options = options

    def read(self, partition):
        version = "{}.{}".format(*sys.version_info)
        result = StructType([StructField("done", BooleanType())])
        yield version, cloudpickle.dumps((Applier(self.options), result))


class DefaultSource(DataSource):
    """Found by its module's name, which begins with `pyspark_`."""

    @classmethod
    def name(cls):
        return "tidemart"

    def schema(self):
        return "python string, command binary"

    def reader(self, schema):
        return _Function(dict(self.options))
