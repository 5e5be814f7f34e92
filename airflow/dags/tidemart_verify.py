"""### Is the replica what the source is?

Every hour `tidemart verify` compares Postgres with MySQL row by row while both are being written, and each mart with one that
is computed from nothing. The task `verify` fails on any difference; its log names every key that differs. It changes nothing.
Before it, `fresh` waits for the replica to be up to date, as after a first start.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag
from tidemart_tasks import DEFAULTS, READER, fresh, tidemart


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
    default_args=DEFAULTS | {"execution_timeout": timedelta(minutes=50)},
    tags=["tidemart", "quality"],
)
def tidemart_verify():
    # A difference is no accident that another try would mend.
    fresh(READER) >> tidemart("verify", "verify", READER, retries=0)


tidemart_verify()
