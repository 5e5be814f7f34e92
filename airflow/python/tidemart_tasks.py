"""What the DAGs share: how they call tidemart."""

from __future__ import annotations

import os
import shlex
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator

# Set by `tidemart up`. Neither file's content ever stands in a command line, a variable or a log.
TIDEMART = os.environ.get("TIDEMART_DAGS_BIN", "tidemart")
# Settings of an account that may write marts.
WRITER = os.environ.get("TIDEMART_DAGS_WRITER", "tidemart.toml")
# Settings of an account that may only read.
READER = os.environ.get("TIDEMART_DAGS_READER", WRITER)

# Seconds that the replica may be behind the source (the timetable waits longer than that, tidemart_months), and that are
# waited for it to catch up.
MAX_LAG = os.environ.get("TIDEMART_DAGS_MAX_LAG", "60")
PATIENCE = os.environ.get("TIDEMART_DAGS_PATIENCE", "300")

DEFAULTS = {
    "owner": "tidemart",
    "retries": 3,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
    "execution_timeout": timedelta(hours=1),
}


def tidemart(task_id: str, command: str, settings: str, **more) -> BashOperator:
    """A task that is one command of tidemart: it ends as the command does, and its log is the command's.

    The command ends with the task, also where that is killed; Airflow starts it in a way that `sitecustomize` cannot see.
    """
    program = f"setpriv --pdeathsig KILL -- {shlex.quote(TIDEMART)}"
    line = f"exec {program} {command} --config {shlex.quote(settings)}"
    return BashOperator(task_id=task_id, bash_command=line, append_env=True, do_xcom_push=False, **more)


def fresh(settings: str) -> BashOperator:
    """Waits for the replica to be up to date with the source, and fails with the reason where it is not in time."""
    return tidemart("fresh", f"status --max-lag {MAX_LAG} --wait {PATIENCE}", settings)
