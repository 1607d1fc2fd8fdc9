#!/bin/sh
# Stands in for Python with venv and pip: what setup asks of them, without the network. Each call is a line of $CALLS.
here=$(cd "$(dirname "$0")" && pwd)
site=$here/../lib/python3.11/site-packages
case "$1 $2" in
  "-c "*version_info*) echo 3.11 ;;
  "-c "*pyspark*) [ -d "$site/pyspark" ] || exit 1; echo "$site/pyspark" ;;
  "-c pass") ;;
  "-m venv")
    echo venv >> "$CALLS"
    mkdir -p "$3/bin" "$3/lib/python3.11/site-packages" && cp "$0" "$3/bin/python3" && echo "home = $here" > "$3/pyvenv.cfg" ;;
  "-m pip")
    echo pip >> "$CALLS"
    for list in "$@"; do :; done
    if [ -e "$CALLS.broken" ]; then echo "ERROR: no network" >&2; exit 1; fi
    echo "Collecting pyspark"
    echo "  Downloading pyspark-4.0.1.tar.gz (434.2 MB)"
    echo "Building wheels for collected packages"
    echo "Installing collected packages"
    grep -q '^pyspark==' "$list" || exit 0
    mkdir -p "$site/pyspark/jars" "$site/pyspark/bin"
    echo core > "$site/pyspark/jars/spark-core_2.13-4.0.1.jar"
    cp "$SPARK_SUBMIT" "$site/pyspark/bin/spark-submit" ;;
  *) echo "sparktest: what is python3 $*" >&2; exit 1 ;;
esac
