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

// Rewrite turns the arguments of a spark-submit that was written for YARN into ones for the target. What follows the
// program's file is the program's own and stays as it is.
func Rewrite(args []string, t Target) (*Submission, error) {
	options, rest, err := parseOptions(args)
	if err != nil {
		return nil, err
	}
	if len(rest) == 0 && len(options) == 0 {
		return nil, errors.New("spark-submit was given no program")
	}
	r := &rewriter{t: t, s: &Submission{DriverHeap: "1g"}}
	for _, o := range options {
		if err := r.option(o[0], o[1]); err != nil {
			return nil, err
		}
	}
	r.limitCores()
	if r.userDefaults {
		r.add("--load-spark-defaults")
	}
	r.s.Args = append(append([]string{"--master", t.Master}, r.out...), rest...)
	return r.s, nil
}

// parseOptions parts spark-submit's options, as pairs of name and value, from the program with its arguments.
func parseOptions(args []string) (options [][2]string, rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name := args[i]
		if !strings.HasPrefix(name, "-") {
			return options, args[i:], nil
		}
		if switches[name] {
			options = append(options, [2]string{name, ""})
			continue
		}
		name, value, joined := strings.Cut(name, "=")
		if !withValue[name] {
			return nil, nil, fmt.Errorf("spark-submit does not know the option %s", args[i])
		}
		if !joined {
			if i++; i >= len(args) {
				return nil, nil, fmt.Errorf("the option %s needs a value", name)
			}
			value = args[i]
		}
		options = append(options, [2]string{name, value})
	}
	return options, nil, nil
}

// rewriter is a Rewrite in the making.
type rewriter struct {
	t             Target
	s             *Submission
	out           []string // options for SparkSubmit
	executors     int      // that were asked for
	executorCores int
	userDefaults  bool // the user brings a properties file
}

func (r *rewriter) note(format string, a ...any) {
	r.s.Notes = append(r.s.Notes, fmt.Sprintf(format, a...))
}

func (r *rewriter) add(words ...string) { r.out = append(r.out, words...) }

// option takes over, changes or drops one option.
func (r *rewriter) option(name, value string) (err error) {
	switch name {
	case "--master":
		if value != r.t.Master {
			r.note("--master %s becomes %s", value, r.t.Master)
		}
		return nil
	case "--deploy-mode":
		if value != "client" {
			r.note("--deploy-mode %s becomes client: the step is the driver", value)
		}
		return nil
	case "--queue", "--principal", "--keytab", "--proxy-user", "--remote", "--supervise":
		r.note("%s is dropped: it means nothing on this cluster", strings.TrimSpace(name+" "+value))
		return nil
	case "--conf", "-c":
		return r.conf(value)
	case "--properties-file":
		r.userDefaults = true
	default:
		if key := settingOf[name]; key != "" {
			var dropped bool
			if value, dropped, err = r.setting(key, name, value); err != nil || dropped {
				return err
			}
		}
	}
	r.add(name)
	if !switches[name] {
		r.add(value)
	}
	return nil
}

// conf is option for --conf KEY=VALUE.
func (r *rewriter) conf(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("--conf %s has no value", text)
	}
	if why := onlyOnYARN(key); why != "" {
		if key != "spark.master" || value != r.t.Master {
			r.note("--conf %s is dropped: it %s", key, why)
		}
		return nil
	}
	value, dropped, err := r.setting(key, key, value)
	if err != nil || dropped {
		return err
	}
	r.add("--conf", key+"="+value)
	return nil
}

// settingOf is the setting that an option stands for, as far as setting knows it.
var settingOf = map[string]string{
	"--num-executors": "spark.executor.instances", "--executor-cores": "spark.executor.cores", "--executor-memory": "spark.executor.memory",
	"--driver-memory": "spark.driver.memory", "--driver-java-options": "spark.driver.extraJavaOptions",
	"--driver-class-path": "spark.driver.extraClassPath", "--driver-library-path": "spark.driver.extraLibraryPath",
}

// minExecutorMB is the least that Spark accepts.
const minExecutorMB = 450

// setting fits a setting into the target, and takes from it what the driver's command line needs. what is how the user
// calls it.
func (r *rewriter) setting(key, what, value string) (fitting string, dropped bool, err error) {
	switch key {
	case "spark.executor.instances":
		if r.executors, err = strconv.Atoi(value); err != nil || r.executors < 1 {
			return "", false, fmt.Errorf("%s is %q; it must be a number from 1", what, value)
		}
		return "", true, nil // limitCores says it in standalone's way
	case "spark.executor.cores":
		value, err = r.cores(what, value)
	case "spark.executor.memory":
		value, err = r.memory(what, value, r.t.MemoryMB)
	case "spark.driver.memory":
		value, err = r.memory(what, value, r.t.DriverMemoryMB)
		r.s.DriverHeap = value
	case "spark.driver.extraJavaOptions":
		r.s.JavaOptions = append(r.s.JavaOptions, strings.Fields(value)...)
	case "spark.driver.extraClassPath":
		r.s.ClassPath = value
	case "spark.driver.extraLibraryPath":
		r.s.LibraryPath = value
	}
	return value, false, err
}

// cores fits an executor into a worker: one that is larger would wait for ever.
func (r *rewriter) cores(what, value string) (string, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return "", fmt.Errorf("%s is %q; it must be a number from 1", what, value)
	}
	if n > r.t.Cores {
		r.note("%s %d becomes %d: a worker has no more", what, n, r.t.Cores)
		n = r.t.Cores
	}
	r.executorCores = n
	return strconv.Itoa(n), nil
}

// memory fits a heap between what Spark needs and what there is; most is 0 for no limit.
func (r *rewriter) memory(what, value string, most int) (string, error) {
	mb, err := megabytes(value)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s is %q; it must be a size such as 1g", what, value)
	case most > 0 && mb > most:
		r.note("%s %s becomes %dm: there is no more", what, value, most)
		return fmt.Sprintf("%dm", most), nil
	case mb < minExecutorMB:
		r.note("%s %s becomes %dm: Spark needs as much", what, value, minExecutorMB)
		return fmt.Sprintf("%dm", minExecutorMB), nil
	}
	return value, nil
}

// limitCores says in standalone's way how many executors were asked for.
func (r *rewriter) limitCores() {
	if r.executors == 0 {
		return
	}
	each, total := r.executorCores, r.t.Workers*r.t.Cores
	if each == 0 {
		each = r.t.Cores
	}
	n := min(min(r.executors, total)*each, total)
	r.add("--conf", fmt.Sprintf("spark.cores.max=%d", n))
	r.note("%d executors become spark.cores.max=%d of %d cores", r.executors, n, total)
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
