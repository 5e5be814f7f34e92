"""### The marts, month by month

`fresh` asks whether the replica is up to date with the source, `user_sales` and `product_sales` compute one month of each
mart from nothing and swap it in at once, `data_tests` looks for rows that cannot be right, and `publish` tells everybody
who waits for the marts (an event of each mart's asset, with the month). A data test that fails keeps `publish` from
running; its log names the test and the rows.

**Which month?** The one that the run's data interval begins in. The schedule is daily: the present month is computed anew
every night (UTC). Months that are over are one run each: those that were missed while Airflow was off are caught up when it
is back, and *Trigger → Backfill* computes any range of months again, also months before the first start. A run by hand takes
the parameter `month` (YYYY-MM), or else the present month.

Between the runs `tidemart marts watch` keeps both marts fresh by what changes; a run is what repairs a month whatever
happened to it, and what vouches for it.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import Asset, Metadata, Param, dag, task
from tidemart_tasks import DEFAULTS, READER, WRITER, fresh, tidemart
from tidemart_months import MonthsDaily, month_of

MARTS = ["user_sales", "product_sales"]
ASSETS = {mart: Asset(name=mart, uri=f"x-tidemart://mart/{mart}", group="marts") for mart in MARTS}
# What computes them: `mysql`, or `spark` where there is a cluster.
ENGINE = os.environ.get("TIDEMART_DAGS_ENGINE", "mysql")
# The first month that is caught up: that of the day before the first start, so that a laptop is not busy with years of history.
FIRST = pendulum.parse(os.environ.get("TIDEMART_DAGS_FIRST_MONTH", "2026-01") + "-01", tz="UTC")


def month(dag_run, params) -> str:
    """The month that a run is for."""
    if params["month"]:
        return params["month"]
    # A run by hand without a date has no data interval.
    return month_of(dag_run.data_interval_start or dag_run.run_after).format("YYYY-MM")


MONTH = "{{ month(dag_run, params) }}"


@dag(
    dag_id="tidemart_marts",
    description="computes a month of both marts, tests it and publishes it",
    doc_md=__doc__,
    schedule=MonthsDaily(),
    start_date=FIRST,
    catchup=True,
    max_active_runs=2,
    dagrun_timeout=timedelta(hours=3),
    default_args=DEFAULTS,
    user_defined_macros={"month": month},
    params={
        "month": Param(
            "",
            type="string",
            pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$",
            description="YYYY-MM; empty: the month of the run's data interval",
        ),
    },
    tags=["tidemart", "marts"],
)
def tidemart_marts():
    engine = "" if ENGINE == "mysql" else f" --engine {ENGINE}"
    marts = [
        # One at a time, whichever runs they belong to: a mart has one rebuild at once.
        tidemart(mart, f"marts refresh {mart} --month {MONTH}{engine}", WRITER, max_active_tis_per_dag=1)
        for mart in MARTS
    ]
    # What a test finds does not go away by asking again.
    data_tests = tidemart("data_tests", f"marts test --month {MONTH}", WRITER, retries=1)

    @task(outlets=list(ASSETS.values()))
    def publish(dag_run=None, params=None):
        for asset in ASSETS.values():
            yield Metadata(asset, {"month": month(dag_run, params)})

    fresh(READER) >> marts >> data_tests >> publish()


tidemart_marts()
