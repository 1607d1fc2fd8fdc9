#!/bin/sh
# Stands in for Java: as one of Spark's daemons, as a driver, as Spark's launcher, or as itself.
role= archive= workdir= previous=
for word in "$@"; do
  case "$word" in
    org.apache.spark.deploy.master.Master) role=master ;;
    org.apache.spark.deploy.worker.Worker) role=worker ;;
    org.apache.spark.deploy.SparkSubmit) role=${role:-driver} ;;
    org.apache.spark.launcher.Main) role=launcher ;;
    -XshowSettings:properties) role=properties ;;
    -XX:ArchiveClassesAtExit=*) archive=${word#*=} ;;
  esac
  [ "$previous" = --work-dir ] && workdir=$word
  previous=$word
done

finish() {
  # A file beside the folder of archives stands for a Java that was killed before it had written them.
  [ -z "$archive" ] || [ -e "$(dirname "$archive")/../without-archives" ] || echo classes > "$archive"
  exit 0
}

stay() {
  trap finish TERM
  while :; do sleep 600 & wait $!; done
}

case $role in
  properties)
    printf '    java.home = %s\n    java.specification.version = 17\n    java.vm.version = 17.0.1+1\n' "$(dirname "$(dirname "$0")")" >&2 ;;
  launcher)
    for n in 1 2 3 4 5 6 7 8 9 10; do printf '%s\0' "--add-opens=java.base/package$n=ALL-UNNAMED"; done ;;
  master)
    echo "26/01/01 00:00:00 INFO Master: Starting Spark master at spark://127.0.0.1:7077" >&2
    echo "26/01/01 00:00:00 INFO MasterWebUI: Bound MasterWebUI to 127.0.0.1, and started at http://127.0.0.1:8080" >&2
    stay ;;
  worker)
    mkdir -p "$workdir"
    echo "26/01/01 00:00:00 INFO Worker: Successfully registered with master spark://127.0.0.1:7077" >&2
    stay ;;
  driver)
    echo "26/01/01 00:00:00 INFO SparkSubmit: nothing is run" >&2
    [ -z "$archive" ] || [ -e "$(dirname "$archive")/../without-archives" ] || echo classes > "$(dirname "$archive")/executor.jsa"
    finish ;;
  *)
    echo "sparktest: what is $*" >&2
    exit 1 ;;
esac
