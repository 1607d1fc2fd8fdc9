#!/bin/sh
# Stands in for spark-submit as setup uses it: Ivy "brings" one jar, and one that nobody asked for.
echo ivy >> "$CALLS"
for word in "$@"; do
  case "$word" in spark.jars.ivy=*) ivy=${word#*=} ;; esac
done
mkdir -p "$ivy/jars" && printf "${IVY_BRINGS:-abc}" > "$ivy/jars/a.jar" && echo other > "$ivy/jars/other.jar"
