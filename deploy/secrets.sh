#!/bin/sh
# Makes the passwords, keys and tokens of deploy/compose.yaml, once: files that only you can read, in deploy/secrets.
# Does nothing where they are there: the databases keep the passwords that they were made with.
set -eu
cd "$(dirname "$0")"

if [ -d secrets ]; then
    echo "deploy/secrets is there already: nothing to do" >&2
    exit 0
fi

umask 077
rm -rf secrets.new
mkdir secrets.new

# All in variables and by builtins: nothing of it stands in a command line.
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
fernet_key() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }
file() { cat > "secrets.new/$1.env"; }

postgres=$(secret) mariadb=$(secret) owner=$(secret) airflow_database=$(secret) token=$(secret)

file postgres <<END
POSTGRES_PASSWORD=$postgres
OWNER_PASSWORD=$owner
AIRFLOW_DATABASE_PASSWORD=$airflow_database
END
file mariadb <<END
MARIADB_ROOT_PASSWORD=$mariadb
END
file administrator <<END
TIDEMART_POSTGRES_PASSWORD=$postgres
TIDEMART_MYSQL_PASSWORD=$mariadb
END
file shop <<END
TIDEMART_POSTGRES_PASSWORD=$owner
END
file spark <<END
SPARK_SECRET=$(secret)
SPARK_TOKEN=$token
END
file spark-client <<END
TIDEMART_SPARK_TOKEN=$token
END
file airflow <<END
AIRFLOW_PASSWORD=$(secret)
AIRFLOW__CORE__FERNET_KEY=$(fernet_key)
AIRFLOW__API__SECRET_KEY=$(secret)
AIRFLOW__API_AUTH__JWT_SECRET=$(secret)
AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=postgresql+psycopg2://airflow:$airflow_database@postgres:5432/airflow
# No secret: the first month that Airflow catches up.
TIDEMART_DAGS_FIRST_MONTH=$(date -u +%Y-%m)
END
file jupyterhub <<END
JUPYTERHUB_ANALYST=$(secret)
JUPYTERHUB_ADMIN=$(secret)
END

mv secrets.new secrets
echo "made deploy/secrets; logins: AIRFLOW_PASSWORD of admin in airflow.env, those of analyst and admin in jupyterhub.env" >&2
