package emr

import (
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
)

// labelForm is what a release label looks like. AWS: the first one was emr-4.0.0; what came before had AMI versions.
var labelForm = regexp.MustCompile(`^emr-(spark-)?([4-9]|[1-9]\d)\.\d{1,3}\.\d{1,3}$`)

const newestLabel = "emr-7.13.0"

// releases are labels with the Spark that AWS runs for them, the newest first. Clusters show AWS's versions; what runs
// here is the Spark that `mayfly setup` has brought.
var releases = []struct{ label, spark string }{
	{"emr-spark-8.0.0", "4.0.1"},
	{"emr-7.13.0", "3.5.6"}, {"emr-7.12.0", "3.5.6"}, {"emr-7.11.0", "3.5.6"}, {"emr-7.10.0", "3.5.5"}, {"emr-7.9.0", "3.5.5"},
	{"emr-7.8.0", "3.5.4"}, {"emr-7.7.0", "3.5.3"}, {"emr-7.6.0", "3.5.3"}, {"emr-7.5.0", "3.5.2"}, {"emr-7.4.0", "3.5.2"},
	{"emr-7.3.0", "3.5.1"}, {"emr-7.2.0", "3.5.1"}, {"emr-7.1.0", "3.5.0"}, {"emr-7.0.0", "3.5.0"},
	{"emr-6.15.0", "3.4.1"}, {"emr-6.6.0", "3.2.0"}, {"emr-6.5.0", "3.1.2"}, {"emr-6.3.0", "3.1.1"}, {"emr-6.1.0", "3.0.0"}, {"emr-6.0.0", "2.4.4"},
	{"emr-5.36.2", "2.4.8"}, {"emr-5.34.0", "2.4.8"}, {"emr-5.29.0", "2.4.4"}, {"emr-5.24.0", "2.4.2"}, {"emr-5.22.0", "2.4.0"},
}

// sparkOf is the Spark of a label: of the nearest known one that is not newer, for labels that are not in the table.
func sparkOf(label string) string {
	for _, r := range releases {
		if r.label == label {
			return r.spark
		}
	}
	for _, r := range releases {
		if strings.HasPrefix(r.label, "emr-spark-") == strings.HasPrefix(label, "emr-spark-") && compareLabels(r.label, label) <= 0 {
			return r.spark
		}
	}
	return releases[len(releases)-1].spark
}

func compareLabels(a, b string) int {
	part := func(s string) []string {
		f := strings.Split(s[strings.LastIndexByte(s, '-')+1:], ".")
		for i := range f {
			f[i] = strings.Repeat("0", max(0, 6-len(f[i]))) + f[i]
		}
		return f
	}
	return slices.Compare(part(a), part(b))
}

// applications shows the versions of the label.
func applications(label string, asked []emrapi.Application) []emrapi.Application {
	out := []emrapi.Application{}
	for _, a := range asked {
		if a.Version == nil && strings.EqualFold(awsapi.Val(a.Name), "spark") {
			a.Version = awsapi.Ptr(sparkOf(label))
		}
		out = append(out, a)
	}
	return out
}

// What a configuration classification does here.
//
//	spark-defaults       lines of spark-defaults.conf, without those for YARN
//	spark                maximizeResourceAllocation
//	spark-env, hadoop-env   export: the environment of steps
//	core-site            settings of Hadoop's file systems
//
// Every other one that EMR knows is kept and shown.
var knownClassification = regexp.MustCompile(`^(spark|spark-.*|core-site|hadoop-.*|hdfs-.*|yarn-.*|mapred-.*|emrfs-site|hive|hive-.*|hcatalog-.*|presto-.*|trino-.*|` +
	`hue-.*|zeppelin-.*|livy-.*|jupyter-.*|oozie-.*|tez-.*|flink-.*|hbase|hbase-.*|pig-.*|sqoop-.*|zookeeper-.*|zoo-.*|capacity-scheduler|container-.*|` +
	`docker-conf|httpfs-.*|iceberg-.*|delta-.*|hudi-.*|phoenix-.*|ranger-.*|emr-.*|jobtracker.*|tensorboard.*|aws-.*)$`)

func checkConfigurations(cs []emrapi.Configuration) error {
	for _, c := range cs {
		if name := awsapi.Val(c.Classification); !knownClassification.MatchString(name) {
			return validation("The configuration classification '%s' is not known.", name)
		}
	}
	return nil
}

// configured is what the classifications come to.
type configured struct {
	defaults map[string]string // of spark-defaults.conf
	env      map[string]string // of steps
	notes    []string
}
