package spark

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultVersion is the Spark that runs when nobody asks for another: what EMR's newest label runs.
const DefaultVersion = "4.0.1"

// versions are the releases of Spark that Mayfly knows, each with the file system modules that fit its Hadoop.
var versions = map[string]struct {
	packages     []string
	scala        string
	newestPython int // the last 3.x that its pyspark runs on
}{
	"4.0.1": {[]string{"org.apache.hadoop:hadoop-aws:3.4.1", "software.amazon.awssdk:s3:2.25.70",
		"software.amazon.awssdk:s3-transfer-manager:2.25.70", "software.amazon.awssdk:apache-client:2.25.70"}, "2.13", 13},
	"4.3.0": {[]string{"org.apache.hadoop:hadoop-aws:3.5.0", "software.amazon.awssdk:s3:2.35.4",
		"software.amazon.awssdk:s3-transfer-manager:2.35.4", "software.amazon.awssdk:apache-client:2.35.4"}, "2.13", 14},
}

// Versions lists the releases of Spark that Setup can bring.
func Versions() []string {
	var out []string
	for v := range versions {
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

//go:embed requirements.txt
var requirements string

//go:embed jars.sha256
var jarSums string

// jarsOf is the list of S3A jars of a version: file name → SHA-256.
func jarsOf(version string) map[string]string {
	jars := map[string]string{}
	for line := range strings.Lines(jarSums) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == version {
			jars[f[2]] = f[1]
		}
	}
	return jars
}

// Options say which Spark, and where it lies.
type Options struct {
	Version  string // DefaultVersion when empty
	CacheDir string // CacheDir() when empty
	// SparkHome is an existing Spark of a known version, used instead of PyPI's. Empty: the one that the environment's
	// SPARK_HOME names, if Mayfly runs its version and no other is set up; else one is brought.
	SparkHome string
}

// CacheDir is where installations are kept: MAYFLY_CACHE, or mayfly in the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("MAYFLY_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "mayfly"), nil
}

// Installation is a Spark that is ready to run. Its file (install.json) is written when all of it stands.
type Installation struct {
	Version     string   `json:"version"`
	Dir         string   `json:"dir"`    // the folder of the installation
	Home        string   `json:"home"`   // SPARK_HOME
	Python      string   `json:"python"` // the interpreter of the private environment: pyspark, numpy, boto3
	Java        Java     `json:"java"`
	JavaOptions []string `json:"javaOptions"` // modules that Spark's own launcher opens
	Scala       string   `json:"scala"`
	// ClassPath is the list of jars in the order in which the archives were made.
	ClassPath []string `json:"classPath"`
	Jars      string   `json:"jars"`     // the folder of the S3A jars
	Empty     string   `json:"empty"`    // an empty folder: the SPARK_CONF_DIR of daemons and executors
	Archives  string   `json:"archives"` // the folder of class-data archives, a file <role>.jsa each

	training bool // processes write their archives instead of using them
}

// AWS is the path of the AWS command line.
func (i *Installation) AWS() string { return filepath.Join(filepath.Dir(i.Python), "aws") }

// ErrNotSetUp says that Setup has not been run, or not to its end.
var ErrNotSetUp = errors.New("Spark is not set up: run `mayfly setup`")

// normal fills in what is empty and refuses what is unknown.
func (o Options) normal() (Options, error) {
	if o.CacheDir == "" {
		dir, err := CacheDir()
		if err != nil {
			return o, err
		}
		o.CacheDir = dir
	}
	if o.SparkHome == "" {
		o.SparkHome = o.ambient()
	}
	if o.SparkHome != "" {
		version, err := versionOfHome(o.SparkHome)
		if err != nil {
			return o, err
		}
		if o.Version != "" && o.Version != version {
			return o, fmt.Errorf("SPARK_HOME=%s is Spark %s, not %s", o.SparkHome, version, o.Version)
		}
		o.Version = version
	}
	if o.Version == "" {
		o.Version = DefaultVersion
	}
	if _, ok := versions[o.Version]; !ok {
		return o, fmt.Errorf("Mayfly does not know Spark %s; it runs %s", o.Version, strings.Join(Versions(), " and "))
	}
	return o, nil
}

// ambient is the environment's SPARK_HOME, or "". One that was made for another Spark is no reason to stop.
func (o Options) ambient() string {
	home := os.Getenv("SPARK_HOME")
	version, err := versionOfHome(home)
	if home == "" || err != nil || o.Version != "" && o.Version != version {
		return ""
	}
	if o.Version == "" {
		o.Version = DefaultVersion
	}
	if _, err := os.Stat(filepath.Join(o.folder(), installFile)); err == nil {
		return ""
	}
	return home
}

func versionOfHome(home string) (string, error) {
	found, _ := filepath.Glob(filepath.Join(home, "jars", "spark-core_*.jar"))
	if len(found) != 1 {
		return "", fmt.Errorf("SPARK_HOME=%s holds no Spark; unset it, and `mayfly setup` brings one", home)
	}
	name := strings.TrimSuffix(filepath.Base(found[0]), ".jar")
	version := name[strings.LastIndexByte(name, '-')+1:]
	if _, ok := versions[version]; !ok {
		return "", fmt.Errorf("SPARK_HOME=%s is Spark %s and Mayfly runs %s; unset it, and `mayfly setup` brings one",
			home, version, strings.Join(Versions(), " and "))
	}
	return version, nil
}

// folder is the installation's folder without the Python version, which only Setup knows: "spark-4.0.1-1a2b3c4d".
func (o Options) folder() string {
	h := sha256.New()
	fmt.Fprintln(h, "layout 1", o.Version, o.SparkHome, requirements)
	for _, name := range slices.Sorted(maps.Keys(jarsOf(o.Version))) {
		fmt.Fprintln(h, name, jarsOf(o.Version)[name])
	}
	return filepath.Join(o.CacheDir, "spark-"+o.Version+"-"+hex.EncodeToString(h.Sum(nil))[:8])
}

const installFile = "install.json"

// Find is the installation that Setup has made, or ErrNotSetUp. It starts no program.
func Find(o Options) (*Installation, error) {
	o, err := o.normal()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(o.folder(), installFile))
	if err != nil {
		return nil, ErrNotSetUp
	}
	var in Installation
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(o.folder(), installFile), err)
	}
	for _, path := range []string{in.Python, in.Java.Bin(), in.Home, in.Jars} {
		if _, err := os.Stat(path); err != nil {
			return nil, ErrNotSetUp
		}
	}
	// Another build of Java has come: the archives are of no use, and module options may differ.
	if key, err := in.Java.key(); err != nil || filepath.Base(in.Archives) != "archives-"+key {
		return nil, ErrNotSetUp
	}
	return &in, nil
}

// MissingArchives lists the roles whose class-data archive could not be made: their processes start slower.
func (i *Installation) MissingArchives() (roles []string) {
	for _, role := range []string{"master", "worker", "driver", "executor"} {
		if st, err := os.Stat(filepath.Join(i.Archives, role+".jsa")); err != nil || st.Size() == 0 {
			roles = append(roles, role)
		}
	}
	return roles
}

// java is a command line of the installation's Java for a role: "master", "worker", "driver".
func (i *Installation) java(role, heap string, options ...string) []string {
	args := []string{i.Java.Bin(), "-cp", strings.Join(i.ClassPath, ":"), "-Xmx" + heap}
	args = append(args, lean...)
	args = append(args, i.JavaOptions...)
	args = append(args, i.archive(role)...)
	return append(args, options...)
}

// lean are the options that make short lives on few cores cheap: one collector thread and the quick compiler.
var lean = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss1m"}

// archive are the options that use a role's class-data archive. Java goes on without one that is missing or does not fit.
func (i *Installation) archive(role string) []string {
	path := filepath.Join(i.Archives, role+".jsa")
	if i.training {
		return []string{"-XX:ArchiveClassesAtExit=" + path, "-Xlog:disable", "-Xlog:all=error:stderr"}
	}
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	// Mapped where it was made for: moving it elsewhere costs time and makes its pages private to the process.
	return []string{"-XX:+UnlockDiagnosticVMOptions", "-XX:ArchiveRelocationMode=0", "-XX:SharedArchiveFile=" + path,
		"-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"}
}

// env is what every Java process of Spark needs to find itself.
func (i *Installation) env() []string {
	return []string{"JAVA_HOME=" + i.Java.Home, "SPARK_HOME=" + i.Home, "SPARK_SCALA_VERSION=" + i.Scala,
		"SPARK_CONF_DIR=" + i.Empty, "SPARK_LOCAL_IP=127.0.0.1", "HADOOP_USER_NAME=hadoop",
		"PYSPARK_PYTHON=" + i.Python, "PYTHONHASHSEED=0", "LANG=C.UTF-8", "TZ=UTC"}
}
