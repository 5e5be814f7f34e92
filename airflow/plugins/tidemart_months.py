"""The marts' timetable: every day, but a month that is over is one interval.

The first run decides where it begins; months before that one are a backfill's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

DAY = timedelta(days=1)
# From an interval's end to its run: longer than the replica may be behind (MAX_LAG of tidemart_tasks), or what `fresh` lets
# pass could lack a month's last minute.
SETTLE = timedelta(minutes=2)


class MonthsDaily(Timetable):
    """Divides time into intervals that no month's end lies in, each as long as it can be.

    A mart is computed by months, and the month of a run is the one that its data interval lies in. While Airflow runs,
    an interval is a day: the present month is computed anew every day. What was missed (Airflow was off, a catch-up, a
    backfill) is one interval up to the month's end or today: nobody gains from computing March thirty-one times.
    """

    description = "every day after midnight UTC; months that are over at once"
    periodic = True

    def __init__(self) -> None:
        super().__init__()

    @property
    def summary(self) -> str:
        return "daily, by months"

    def serialize(self) -> dict[str, Any]:
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MonthsDaily:
        return cls()

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """A run by hand is for the month so far."""
        return DataInterval(start=month_of(run_after), end=run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        today = day_of(pendulum.now("UTC"))
        if last_automated_data_interval is not None:
            start = last_automated_data_interval.end
        elif restriction.earliest is not None:
            start = day_of(restriction.earliest)
        else:
            start = month_of(today - DAY)
        if not restriction.catchup:
            start = max(start, month_of(today - DAY))
        if restriction.latest is not None and start > restriction.latest:
            return None
        end = min(month_of(start).add(months=1), max(today, start + DAY))
        return DagRunInfo(run_after=end + SETTLE, data_interval=DataInterval(start=start, end=end))


def day_of(moment: pendulum.DateTime) -> pendulum.DateTime:
    return pendulum.instance(moment).in_timezone("UTC").start_of("day")


def month_of(moment: pendulum.DateTime) -> pendulum.DateTime:
    return pendulum.instance(moment).in_timezone("UTC").start_of("month")


class TidemartPlugin(AirflowPlugin):
    name = "tidemart"
    timetables = [MonthsDaily]
