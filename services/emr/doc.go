// Package emr serves the EMR API with clusters of real Apache Spark on this machine.
//
// What a cluster does is decided in package cluster; this package starts the processes that it asks for (package spark),
// and turns its state into AWS's shapes. Everything that a command starts is found again by its folder after a restart:
//
//	<data>/emr/<cluster>/                 the cluster's folder, for its owner only
//	  spark/                              master, workers and their configuration (package spark)
//	  nodes/<instance>/home               HOME of the node's programs; bootstrap-actions/<n>/ and provision-node/ hold its logs
//	  nodes/<instance>/worker             the name of the worker's folder in spark/ whose log is copied as this node's
//	  python/                             the cluster's Python environment, over the one that setup brought
//	  bin/                                what programs find first on their PATH: spark-submit, aws, pip, sudo …
//	  steps/<step>/{controller,stdout,stderr}   live logs, and the step's process in proc/
//
// A cluster starts when it has a lease of this machine's cores and memory (package host). The lease is a fact of the
// cluster, so what the host has given away is known again after a restart before anything is given anew. A worker that
// ends is replaced, with the nodes that it stood for; when the master ends, or the last worker, so does the cluster.
//
// A step's command is repeated after a restart until its end is recorded, and starting a process in a folder that has
// one only opens it: a live driver is adopted, a written status counts, neither means FAILED, and no step runs twice.
//
// Programs on a cluster act as the cluster, on behalf of whoever made it: boto3 and the AWS CLI in them reach Mayfly with
// credentials of the cluster's own.
//
// Logs are copied to LogUri when they have grown, every 30 seconds, and at the end of a step and of the cluster.
//
// What it does not do: no scaling of a living cluster, no Hive, Presto or notebooks, no custom jar steps; each is refused
// by name.
package emr
