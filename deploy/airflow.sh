#!/bin/bash
# One of Airflow's programs, after two files were written: the password of its page, which Airflow takes from a file only, and
# where its database is, as a task that tidies it up is not given that by the environment.
set -euo pipefail
umask 077
printf '{"admin": "%s"}\n' "$AIRFLOW_PASSWORD" > "$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
printf '[database]\nsql_alchemy_conn = %s\n' "$AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" > "$AIRFLOW_HOME/airflow.cfg"
unset AIRFLOW_PASSWORD
exec airflow "$@"
