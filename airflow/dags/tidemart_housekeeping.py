"""### What is old goes

Once a week Airflow's own record of runs, tasks and events, and the logs of tasks, lose what is older than 90 days. The newest
scheduled run of each DAG stays whatever its age: the schedule goes on from it. The marts are not touched.
"""

from __future__ import annotations

import os
import shlex
import sys

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag
from tidemart_tasks import DEFAULTS

DAYS = int(os.environ.get("TIDEMART_DAGS_KEEP_DAYS", "90"))
LOGS = os.environ.get("TIDEMART_DAGS_LOGS", "logs")
# In the command lines, for `tidemart up` to know whose processes they are.
MARK = sys._xoptions.get("tidemart.server", "")

# Each run has logs: where none is old enough, no run is, and Airflow need not be started. A task is told not to use the
# database; this one is Airflow's own command, which reads the settings of the scheduler.
SCRIPT = f"""
set -eu
old=$(find {shlex.quote(LOGS)} -type f -mtime +{DAYS} -print -quit)
if [ -z "$old" ]; then
    echo "nothing is older than {DAYS} days"
    exit 0
fi
unset AIRFLOW__DATABASE__SQL_ALCHEMY_CONN AIRFLOW__CORE__SQL_ALCHEMY_CONN
_AIRFLOW_PROCESS_CONTEXT=server setpriv --pdeathsig KILL -- \
    {shlex.quote(sys.executable)} {shlex.quote(f"-Xtidemart.server={MARK}")} -P -m airflow db clean \
    --tables dag_run,job,log,asset_event --clean-before-timestamp "$(date -u -d '{DAYS} days ago' +%Y-%m-%dT%H:%M:%S+00:00)" \
    --yes --skip-archive --error-on-cleanup-failure
find {shlex.quote(LOGS)} -type f -mtime +{DAYS} -delete
# Not one that a task is about to write in.
find {shlex.quote(LOGS)} -mindepth 1 -type d -empty -mmin +60 -delete
"""


@dag(
    dag_id="tidemart_housekeeping",
    description=f"removes what Airflow has kept for {DAYS} days",
    doc_md=__doc__,
    schedule="@weekly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["tidemart"],
)
def tidemart_housekeeping():
    # The shell, too, ends with the task, also where that is killed.
    line = f"exec setpriv --pdeathsig KILL -- bash -c {shlex.quote(SCRIPT)} {shlex.quote(MARK)}"
    BashOperator(task_id="remove_old", bash_command=line, append_env=True, do_xcom_push=False)


tidemart_housekeeping()
