"""What one writes without us: PySpark on this machine, JDBC, `foreachBatch`, append.

Reads what to do as JSON from its standard input, and writes what it measured as JSON to its standard output.
"""

import json
import sys
import time

BEGUN = time.time()

from pyspark.sql import SparkSession  # noqa: E402  (its start counts)
from pyspark.sql.functions import col, from_json  # noqa: E402

# Debezium's envelope, as far as it is needed. What JSON has is text first: numbers keep their digits.
ENVELOPE = """after struct<order_id: string, user_id: string, order_date: string, total_amount: string, status: string,
    delivery_date: string>"""
ORDER = [
    "CAST(after.order_id AS bigint) AS order_id",
    "CAST(after.user_id AS bigint) AS user_id",
    "CAST(after.order_date AS timestamp) AS order_date",
    "CAST(after.total_amount AS decimal(12, 2)) AS total_amount",
    "after.status AS status",
    "CAST(after.delivery_date AS timestamp) AS delivery_date",
]


def main():
    task = json.load(sys.stdin)
    builder = SparkSession.builder.master("local[2]").appName("peer")
    settings = {
        "spark.driver.memory": "2g",
        "spark.driver.extraClassPath": task["jars"],
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": task["folder"],
        "spark.sql.warehouse.dir": task["folder"],
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    measured = mart(spark, task) if task["part"] == "mart" else drain(spark, task)
    json.dump(measured, sys.stdout)
    spark.stop()


def access(task):
    return {
        "user": task["user"],
        "password": task["password"],
        "driver": "com.mysql.cj.jdbc.Driver",
    }


def mart(spark, task):
    """Seconds of each run, the first of them from the program's start."""
    elapsed, begun = [], BEGUN
    for _ in range(task["runs"]):
        for table in ["orders", "users"]:
            spark.read.jdbc(task["url"], table, properties=access(task)).createOrReplaceTempView(table)
        rows = spark.sql(task["select"])
        rows.write.jdbc(task["url"], "pyspark_user_sales", mode="overwrite", properties=access(task))
        elapsed.append(time.time() - begun)
        begun = time.time()
    return {"elapsed_s": elapsed}


def drain(spark, task):
    """Rows a second from the end of the first batch to that of the last."""
    ends = []

    def append(batch, _number):
        batch.write.jdbc(task["url"], "pyspark_orders", mode="append", properties=access(task))
        ends.append(time.time())

    source = spark.readStream.format("kafka").options(
        **{
            "kafka.bootstrap.servers": task["kafka"],
            "kafka.isolation.level": "read_committed",
            "subscribe": task["topic"],
            "startingOffsets": "earliest",
            "maxOffsetsPerTrigger": str(task["batch_rows"]),
        }
    )
    messages = source.load().select(from_json(col("value").cast("string"), ENVELOPE).alias("value")).select("value.after")
    orders = messages.where("after IS NOT NULL").selectExpr(*ORDER)
    writer = orders.writeStream.foreachBatch(append).option("checkpointLocation", task["folder"] + "/checkpoint")
    query = writer.trigger(availableNow=True).start()
    query.awaitTermination()
    rows = [progress["numInputRows"] for progress in query.recentProgress if progress["numInputRows"] > 0]
    if len(rows) != len(ends) or len(rows) < 2:
        raise SystemExit(f"{len(rows)} batches with rows, {len(ends)} that were written")
    return {"rows": sum(rows), "rows_per_s": sum(rows[1:]) / (ends[-1] - ends[0])}


main()
