#!/bin/bash
# One of Airflow's programs, after the file with the password of its page was written: Airflow takes that from a file only.
set -euo pipefail
umask 077
printf '{"admin": "%s"}\n' "$AIRFLOW_PASSWORD" > "$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
unset AIRFLOW_PASSWORD
exec airflow "$@"
