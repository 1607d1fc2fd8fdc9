package spark

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Shims are the programs that Main stands in for, by name.
var Shims = []string{"spark-submit", "spark-sql", "hadoop", "hdfs"}

// ClusterEnv names the environment variable that tells shims the folder of their cluster.
const ClusterEnv = "MAYFLY_SPARK_CLUSTER"

// Main is the hidden command `mayfly on-cluster PROGRAM ARGS…`: what scripts on a cluster start when they say
// spark-submit. It becomes the program that is really meant, and returns only when it cannot.
func Main(args []string) int {
	err := errors.New("usage: mayfly on-cluster PROGRAM ARGS (started by scripts on a cluster)")
	if len(args) > 0 {
		err = run(args[0], args[1:])
	}
	fmt.Fprintln(os.Stderr, "mayfly:", err)
	return 1
}

func run(program string, args []string) error {
	c, err := Describe(os.Getenv(ClusterEnv))
	if err != nil {
		return err
	}
	cmd, err := c.Program(program, args)
	if err != nil {
		return err
	}
	for _, n := range cmd.Notes {
		fmt.Fprintln(os.Stderr, "mayfly:", n)
	}
	return syscall.Exec(cmd.Args[0], cmd.Args, override(os.Environ(), cmd.Env))
}

// override puts further variables in the place of those of the same name.
func override(env, more []string) []string {
	names := map[string]bool{}
	for _, kv := range more {
		name, _, _ := strings.Cut(kv, "=")
		names[name] = true
	}
	var out []string
	for _, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); !names[name] {
			out = append(out, kv)
		}
	}
	return append(out, more...)
}

// Describe reads what Launch wrote about the cluster in dir, to make commands for it. It watches no process.
func Describe(dir string) (*Cluster, error) {
	b, err := os.ReadFile(filepath.Join(dir, clusterFile))
	if err != nil {
		return nil, fmt.Errorf("no Spark cluster: %w", err)
	}
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, fmt.Errorf("%s: %w", clusterFile, err)
	}
	return &Cluster{Install: &k.Install, Config: k.Config, URL: k.URL}, nil
}

// Program is the command for one of the Shims.
func (c *Cluster) Program(name string, args []string) (Command, error) {
	switch name {
	case "spark-submit":
		return c.Driver(args)
	case "spark-sql":
		options, rest := splitSQL(args)
		options = append([]string{"--class", "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver"}, options...)
		s, err := Rewrite(append(append(options, "spark-internal"), rest...), c.Target())
		if err != nil {
			return Command{}, err
		}
		return c.driver("org.apache.spark.deploy.SparkSubmit", s), nil
	case "hadoop", "hdfs":
		if len(args) == 0 || args[0] != "fs" && args[0] != "dfs" {
			return Command{}, fmt.Errorf("%s %s: Mayfly has no Hadoop beyond `hadoop fs`", name, strings.Join(args, " "))
		}
		conf := filepath.Join(c.Config.Dir, "conf")
		in := *c.Install
		in.ClassPath = append([]string{conf}, in.ClassPath...)
		in.Archives = in.Empty // no archive was made for this class path
		return Command{Args: append(in.java("hadoop", "512m", "-Dlog4j2.level=error", "org.apache.hadoop.fs.FsShell"), args[1:]...),
			Env: append(in.env(), "HADOOP_CONF_DIR="+conf)}, nil
	}
	return Command{}, fmt.Errorf("Mayfly has no %s", name)
}

// splitSQL parts spark-sql's own options from those of spark-submit.
func splitSQL(args []string) (options, rest []string) {
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(args[i], "=")
		switch {
		case withValue[name] && joined, switches[name] && name != "-v" && name != "--verbose":
			options = append(options, args[i])
		case withValue[name] && i+1 < len(args):
			options = append(options, args[i], args[i+1])
			i++
		default:
			rest = append(rest, args[i])
		}
	}
	return options, rest
}

// coreSite is the Hadoop configuration of the cluster for programs that are no Spark applications.
func coreSite(defaults map[string]string) []byte {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<configuration>\n")
	for key, value := range defaults {
		if name, ok := strings.CutPrefix(key, "spark.hadoop."); ok {
			b.WriteString("<property><name>")
			xml.EscapeText(&b, []byte(name))
			b.WriteString("</name><value>")
			xml.EscapeText(&b, []byte(value))
			b.WriteString("</value></property>\n")
		}
	}
	b.WriteString("</configuration>\n")
	return []byte(b.String())
}
