package spark

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Target is the cluster that a command line is rewritten for.
type Target struct {
	Master         string // spark://…
	Workers        int
	Cores          int // of each worker
	MemoryMB       int // of each worker
	DriverMemoryMB int // the most that a driver may ask for; 0: no limit
}

// Submission is a spark-submit command line, rewritten.
type Submission struct {
	Args        []string // for org.apache.spark.deploy.SparkSubmit
	DriverHeap  string   // "1g"
	JavaOptions []string // of the driver's Java
	ClassPath   string   // to be added to the driver's
	LibraryPath string
	Notes       []string // one sentence for each change, for the step's controller log
}

// withValue are the options of spark-submit that take a value.
var withValue = set("--archives", "--class", "--conf", "-c", "--deploy-mode", "--driver-class-path", "--driver-cores",
	"--driver-java-options", "--driver-library-path", "--driver-memory", "--executor-cores", "--executor-memory",
	"--exclude-packages", "--files", "--jars", "--keytab", "--kill", "--master", "--name", "--num-executors", "--packages",
	"--principal", "--properties-file", "--proxy-user", "--py-files", "--queue", "--remote", "--repositories", "--status",
	"--total-executor-cores")

var switches = set("--help", "-h", "--load-spark-defaults", "--supervise", "--usage-error", "--verbose", "-v", "--version")

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

// onlyOnYARN says why a setting means nothing on a cluster without YARN, or "".
func onlyOnYARN(key string) string {
	for _, p := range []struct{ prefix, why string }{
		{"spark.yarn.", "is for YARN"},
		{"spark.kerberos.", "is for Kerberos"},
		{"spark.shuffle.service.", "is for YARN's shuffle service"},
		{"spark.dynamicAllocation.", "is not used: the cluster's workers are all the application's"},
		{"spark.blacklist.decommissioning", "is EMR's own"},
		{"spark.resourceManager.", "is EMR's own"},
		{"spark.stage.attempt.ignoreOnDecommission", "is EMR's own"},
		{"spark.sql.emr.", "is EMR's own"},
	} {
		if strings.HasPrefix(key, p.prefix) {
			return p.why
		}
	}
	switch key {
	case "spark.master":
		return "is the cluster's own master"
	case "spark.submit.deployMode":
		return "is client on this cluster"
	}
	return ""
}

// FilterDefaults drops the settings that mean nothing here from a set of defaults, with a note for each.
func FilterDefaults(in map[string]string) (out map[string]string, notes []string) {
	out = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(in)) {
		if why := onlyOnYARN(key); why != "" {
			notes = append(notes, key+" is dropped: it "+why)
			continue
		}
		out[key] = in[key]
	}
	return out, notes
}

// minExecutorMB is the least that Spark accepts.
const minExecutorMB = 450

// Rewrite turns the arguments of a spark-submit that was written for YARN into ones for the target. What follows the
// program's file is the program's own and stays as it is.
func Rewrite(args []string, t Target) (*Submission, error) {
	s := &Submission{DriverHeap: "1g"}
	note := func(format string, a ...any) { s.Notes = append(s.Notes, fmt.Sprintf(format, a...)) }
	var options [][2]string
	var rest []string
	for i := 0; i < len(args); i++ {
		name := args[i]
		if !strings.HasPrefix(name, "-") {
			rest = args[i:]
			break
		}
		if switches[name] {
			options = append(options, [2]string{name, ""})
			continue
		}
		name, value, joined := strings.Cut(name, "=")
		if !withValue[name] {
			return nil, fmt.Errorf("spark-submit does not know the option %s", args[i])
		}
		if !joined {
			if i++; i >= len(args) {
				return nil, fmt.Errorf("the option %s needs a value", name)
			}
			value = args[i]
		}
		options = append(options, [2]string{name, value})
	}

	var out []string
	var executors, executorCores int
	userDefaults := false
	total := t.Workers * t.Cores
	cores := func(what, value string) (string, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return "", fmt.Errorf("%s is %q; it must be a number from 1", what, value)
		}
		if n > t.Cores {
			note("%s %d becomes %d: a worker has no more", what, n, t.Cores)
			n = t.Cores
		}
		executorCores = n
		return strconv.Itoa(n), nil
	}
	memory := func(what, value string, least, most int) (string, error) {
		mb, err := megabytes(value)
		if err != nil {
			return "", fmt.Errorf("%s is %q; it must be a size such as 1g", what, value)
		}
		switch {
		case most > 0 && mb > most:
			note("%s %s becomes %dm: there is no more", what, value, most)
			return fmt.Sprintf("%dm", most), nil
		case mb < least:
			note("%s %s becomes %dm: Spark needs as much", what, value, least)
			return fmt.Sprintf("%dm", least), nil
		}
		return value, nil
	}
	var err error
	for _, o := range options {
		name, value := o[0], o[1]
		if name == "-c" {
			name = "--conf"
		}
		switch name {
		case "--master":
			if value != t.Master {
				note("--master %s becomes %s", value, t.Master)
			}
			continue
		case "--deploy-mode":
			if value != "client" {
				note("--deploy-mode %s becomes client: the step is the driver", value)
			}
			continue
		case "--queue", "--principal", "--keytab", "--proxy-user", "--remote", "--supervise":
			note("%s is dropped: it means nothing on this cluster", strings.TrimSpace(name+" "+value))
			continue
		case "--num-executors":
			if executors, err = strconv.Atoi(value); err != nil || executors < 1 {
				return nil, fmt.Errorf("--num-executors is %q; it must be a number from 1", value)
			}
			continue
		case "--executor-cores":
			value, err = cores(name, value)
		case "--executor-memory":
			value, err = memory(name, value, minExecutorMB, t.MemoryMB)
		case "--driver-memory":
			value, err = memory(name, value, minExecutorMB, t.DriverMemoryMB)
			s.DriverHeap = value
		case "--driver-java-options":
			s.JavaOptions = append(s.JavaOptions, strings.Fields(value)...)
		case "--driver-class-path":
			s.ClassPath = value
		case "--driver-library-path":
			s.LibraryPath = value
		case "--properties-file":
			userDefaults = true
		case "--conf":
			key, v, ok := strings.Cut(value, "=")
			if !ok {
				return nil, fmt.Errorf("--conf %s has no value", value)
			}
			if why := onlyOnYARN(key); why != "" {
				if !strings.HasSuffix(why, "master") || v != t.Master {
					note("--conf %s is dropped: it %s", key, why)
				}
				continue
			}
			switch key {
			case "spark.executor.instances":
				if executors, err = strconv.Atoi(v); err != nil || executors < 1 {
					return nil, fmt.Errorf("spark.executor.instances is %q; it must be a number from 1", v)
				}
				continue
			case "spark.executor.cores":
				v, err = cores(key, v)
			case "spark.executor.memory":
				v, err = memory(key, v, minExecutorMB, t.MemoryMB)
			case "spark.driver.memory":
				v, err = memory(key, v, minExecutorMB, t.DriverMemoryMB)
				s.DriverHeap = v
			case "spark.driver.extraJavaOptions":
				s.JavaOptions = append(s.JavaOptions, strings.Fields(v)...)
			case "spark.driver.extraClassPath":
				s.ClassPath = v
			case "spark.driver.extraLibraryPath":
				s.LibraryPath = v
			}
			value = key + "=" + v
		}
		if err != nil {
			return nil, err
		}
		out = append(out, name)
		if !switches[name] {
			out = append(out, value)
		}
	}
	if executors > 0 {
		each := executorCores
		if each == 0 {
			each = t.Cores
		}
		n := min(executors*each, total)
		out = append(out, "--conf", fmt.Sprintf("spark.cores.max=%d", n))
		note("%d executors become spark.cores.max=%d of %d cores", executors, n, total)
	}
	if userDefaults {
		out = append(out, "--load-spark-defaults")
	}
	if len(rest) == 0 && len(options) == 0 {
		return nil, errors.New("spark-submit was given no program")
	}
	s.Args = append(append([]string{"--master", t.Master}, out...), rest...)
	return s, nil
}

// Megabytes reads Java's sizes: 512m, 1g, 1024k, 2T; a bare number counts bytes.
func Megabytes(size string) (int, error) {
	mb, err := megabytes(size)
	if err != nil {
		return 0, fmt.Errorf("%q is no size such as 12g", size)
	}
	return mb, nil
}

func megabytes(s string) (int, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	s = strings.TrimSuffix(s, "b")
	unit := 1.0 / (1 << 20)
	if n := len(s); n > 0 {
		switch s[n-1] {
		case 'k':
			unit, s = 1.0/(1<<10), s[:n-1]
		case 'm':
			unit, s = 1, s[:n-1]
		case 'g':
			unit, s = 1<<10, s[:n-1]
		case 't':
			unit, s = 1<<20, s[:n-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 40)
	if err != nil {
		return 0, err
	}
	return int(float64(n) * unit), nil
}

// Command is a program with its arguments and the environment that Spark needs beside the caller's own.
type Command struct {
	Args  []string
	Env   []string
	Notes []string
}

// Target is the cluster as Rewrite sees it.
func (c *Cluster) Target() Target {
	driver := c.Config.DriverMB
	if driver == 0 {
		_, memory := Machine()
		driver = max(1024, memory/2)
	}
	return Target{Master: c.URL, Workers: c.Config.Workers, Cores: c.Config.Cores, MemoryMB: c.Config.MemoryMB, DriverMemoryMB: driver}
}

// Driver is the command for the arguments of a spark-submit: the driver itself, in client mode.
func (c *Cluster) Driver(args []string) (Command, error) {
	s, err := Rewrite(args, c.Target())
	if err != nil {
		return Command{}, err
	}
	return c.driver("org.apache.spark.deploy.SparkSubmit", s), nil
}

func (c *Cluster) driver(class string, s *Submission) Command {
	conf := filepath.Join(c.Config.Dir, "conf")
	in := *c.Install
	if s.ClassPath != "" {
		// Behind Spark's own jars and not before them: the archive fits only what it was made for.
		in.ClassPath = append(append([]string{}, in.ClassPath...), s.ClassPath)
	}
	options := append([]string{}, s.JavaOptions...)
	if s.LibraryPath != "" {
		options = append(options, "-Djava.library.path="+s.LibraryPath)
	}
	options = append(options, "-Djava.io.tmpdir="+filepath.Join(c.Config.Dir, "local"),
		"-Dlog4j2.configurationFile="+filepath.Join(conf, "log4j2.properties"), class)
	return Command{Args: append(in.java("driver", s.DriverHeap, options...), s.Args...),
		Env: append(c.Install.env(), "SPARK_CONF_DIR="+conf), Notes: s.Notes}
}
