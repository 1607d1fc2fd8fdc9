// Package emr is the pipeline that ships: state machines, functions, templates and PySpark programs that launch an EMR
// cluster, run two programs on it for each processing mode, and remove the cluster whatever happens.
//
// Everything in it is written for AWS and runs there as it runs on Mayfly. The package holds the files and what a client
// needs to put them on an endpoint; it calls nothing itself. README.md tells how the pipeline works.
package emr
