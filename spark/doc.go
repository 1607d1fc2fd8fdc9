// Package spark runs real Apache Spark on this machine: it installs it (Setup), starts clusters of a master and workers
// as child processes (Cluster), and turns the spark-submit command lines that were written for YARN into ones for such a
// cluster (Rewrite). It knows nothing of AWS: s3:// is a file system at an endpoint with credentials, as S3A sees it.
//
// Everything that Setup brings lies in one folder of the user's cache directory, named by the version of Spark and a
// digest of the pins, so that clones share it and another version stands beside it. Each stage leaves a stamp when it is
// whole; a Setup that was interrupted goes on where it stood.
//
// Java is started directly and not through Spark's shell scripts, with class-data archives that hold the classes which
// each role loads: a cluster stands in about two seconds instead of five. An archive belongs to one build of Java and one
// list of jars, so archives are keyed by both; Java ignores one that does not fit.
//
// A daemon that ends is told of (Lost), and a worker can be replaced (Replace): its next process has a folder of its own, and
// cluster.json says how often that has happened, so that another server process sees the same cluster.
//
// Invariants: daemons and drivers bind the loopback interface only; each cluster has a secret of its own; all
// processes run under package proc, so they outlive the server and can be adopted from the cluster's folder.
package spark
