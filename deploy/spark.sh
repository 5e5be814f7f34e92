#!/bin/bash
# One of Spark's servers: spark.sh master | worker | connect. With the properties of `tidemart up` and what differs where
# each server is a machine of its own. Secrets go from the environment to a file that only this account reads.
set -euo pipefail
umask 077
server=$1
here=/opt/tidemart/spark
properties=/tmp/spark.properties

text=$(cat "$here/cluster.properties" "$here/$server.properties")
fill() { text=${text//"{$1}"/"$2"}; }
fill secret "$SPARK_SECRET"
fill token "$SPARK_TOKEN"
fill recovery /tmp/recovery
fill master spark-master:7077
fill port 15002
fill page 4040
fill driver_mb 768
fill executor_mb 512
fill jars "/opt/tidemart/jars/*"
fill python /opt/spark-python/bin/python
fill pools "$here/fairscheduler.xml"
fill warehouse /opt/tidemart/warehouse
printf '%s\n' "$text" > "$properties"
if [ "$server" = connect ]; then
    # The last line of a name counts.
    cat >> "$properties" <<'END'
spark.connect.grpc.binding.address=0.0.0.0
spark.driver.host=spark-connect
spark.driver.bindAddress=0.0.0.0
spark.driver.extraClassPath=/opt/tidemart/jars/*
END
fi
unset SPARK_SECRET SPARK_TOKEN

export SPARK_CONF_DIR=$here SPARK_DAEMON_MEMORY=128m MALLOC_ARENA_MAX=2
deploy=org.apache.spark.deploy
case $server in
    master)
        exec /opt/spark/bin/spark-class $deploy.master.Master --host spark-master --port 7077 --webui-port 8080 \
            --properties-file "$properties" ;;
    worker)
        exec /opt/spark/bin/spark-class $deploy.worker.Worker --host "$(hostname)" --webui-port 8081 --cores 2 \
            --memory 2g --work-dir /tmp/work --properties-file "$properties" spark://spark-master:7077 ;;
    connect)
        exec /opt/spark/bin/spark-submit --properties-file "$properties" \
            --class org.apache.spark.sql.connect.service.SparkConnectServer spark-internal ;;
esac
