"""What the notebooks work with: the replica in MySQL, by an account that may only read, and the cluster.

    import tidemart
    tidemart.sql("SELECT month, total_revenue FROM user_sales WHERE loyalty_status = 'Gold'")
    spark = tidemart.spark()
    tidemart.spark_table("orders", "order_id").groupBy("status").count().show()
"""

import functools
import json
import pathlib
import time

import pandas
import sqlalchemy

_SETTINGS = json.loads(pathlib.Path("/run/tidemart/settings.json").read_text())
# Partitions in which a table is read by the cluster.
_PARTITIONS = 4


class NoCluster(Exception):
    pass


class NoReplica(Exception):
    pass


def _replica():
    if _SETTINGS["replica"] is None:
        raise NoReplica("JupyterHub was started without a database to read")
    return _SETTINGS["replica"]


@functools.cache
def engine():
    """The replica and the marts, for SQLAlchemy."""
    return sqlalchemy.create_engine(sqlalchemy.URL.create(
        "mysql+pymysql", _replica()["user"], _replica()["password"], _replica()["host"], _replica()["port"], _replica()["database"],
    ), pool_pre_ping=True)


def sql(query, **values):
    """The answer to a SELECT as a table of pandas; `:name` in it stands for a value."""
    with engine().connect() as connection:
        table = pandas.read_sql(sqlalchemy.text(query), connection, params=values)
    for name in table.columns:
        if name == "month":
            table[name] = pandas.to_datetime(table[name])
    return table


@functools.cache
def spark():
    """The cluster."""
    if _SETTINGS["spark"] is None:
        raise NoCluster("there is no Spark cluster here: start it with the hub, `tidemart up --with spark,jupyterhub` or `--all`")
    from pyspark.sql import SparkSession

    return SparkSession.builder.remote(_SETTINGS["spark"]).getOrCreate()


def spark_table(name, key=None):
    """A table of the replica on the cluster; with `key`, a column of whole numbers, read in partitions at once."""
    replica = _replica()
    # With the scheme `mariadb` Spark would quote names as MariaDB does not; a DATETIME is what it says, in no time zone.
    url = f"jdbc:mysql://{replica['host']}:{replica['port']}/{replica['database']}?permitMysqlScheme=true"
    reader = spark().read.format("jdbc").options(
        url=url, driver="org.mariadb.jdbc.Driver", user=replica["user"], password=replica["password"],
        dbtable=name, fetchsize=10_000, preferTimestampNTZ=True,
    )
    if key:
        least, greatest = sql(f"SELECT COALESCE(MIN({key}), 0), COALESCE(MAX({key}), 0) FROM {name}").iloc[0]
        reader = reader.options(
            partitionColumn=key, lowerBound=int(least), upperBound=int(greatest) + 1, numPartitions=_PARTITIONS,
        )
    return reader.load()


def watch(query, seconds=10, every=1.0):
    """The answers to a SELECT, one row each, as they change over some seconds; it ends by itself."""
    begun, rows = time.monotonic(), []
    while (now := time.monotonic()) < begun + seconds:
        rows.append(sql(query).assign(seconds=round(now - begun, 1)))
        time.sleep(max(0, every - (time.monotonic() - now)))
    return pandas.concat(rows).set_index("seconds")
