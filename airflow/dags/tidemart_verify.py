"""### Is the replica what the source is?

Every hour `tidemart verify` compares Postgres with MySQL row by row while both are being written, and each mart with one that
is computed from nothing. The task fails on any difference; its log names every key that differs. It changes nothing.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag
from tidemart_tasks import DEFAULTS, READER, tidemart


@dag(
    dag_id="tidemart_verify",
    description="compares the source, the replica and the marts",
    doc_md=__doc__,
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    # A comparison is of what is there now; there is nothing to catch up.
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    # A difference is no accident that another try would mend.
    default_args=DEFAULTS | {"retries": 0, "execution_timeout": timedelta(minutes=50)},
    tags=["tidemart", "quality"],
)
def tidemart_verify():
    tidemart("verify", "verify", READER)


tidemart_verify()
