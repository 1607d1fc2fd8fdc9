package spark

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/proc"
)

// Config describes a cluster. It is kept in the cluster's folder (readable by its owner only), so that another
// process can open the cluster.
type Config struct {
	Dir      string // the cluster's own folder, absolute
	Workers  int    // worker processes
	Cores    int    // of each worker
	MemoryMB int    // of each worker
	DriverMB int    // the most that the heap of a driver may have; half of the machine's memory when 0
	// Storage is where s3://, s3a:// and s3n:// lead; nil: nowhere.
	Storage *Storage
	// Defaults are further lines of spark-defaults.conf; they win over Mayfly's own, except for the master.
	Defaults map[string]string
}

// Storage is an S3 endpoint as Hadoop's S3A sees it.
type Storage struct {
	Endpoint, Region                           string
	AccessKeyID, SecretAccessKey, SessionToken string
}

// Cluster is a running master with its workers.
type Cluster struct {
	Install *Installation
	Config  Config
	URL     string // spark://127.0.0.1:PORT
	WebUI   string // http://127.0.0.1:PORT; /json/ tells its state

	master *proc.Process
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	kept    *kept
	workers []*proc.Process
	changed chan struct{} // closed, and made anew, when a daemon has ended or was replaced
}

// kept is what stands in cluster.json.
type kept struct {
	Config      Config
	Install     Installation
	Secret      string
	URL         string
	Generations []int `json:",omitempty"` // how often each worker was replaced; empty: never
}

// generation is how often a worker was replaced.
func (k *kept) generation(worker int) int {
	if worker < len(k.Generations) {
		return k.Generations[worker]
	}
	return 0
}

// workerName is the folder of a worker's process.
func workerName(worker, generation int) string {
	if generation == 0 {
		return fmt.Sprintf("worker-%d", worker)
	}
	return fmt.Sprintf("worker-%d-%d", worker, generation)
}

const clusterFile = "cluster.json"

// Launch starts the cluster and returns when every worker has registered. On a folder in which a cluster was started
// before, it adopts what lives there. The processes outlive the caller; Stop ends them.
func Launch(ctx context.Context, in *Installation, cfg Config) (*Cluster, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "local"), 0o700); err != nil {
		return nil, err
	}
	k := kept{Config: cfg, Install: *in}
	path := filepath.Join(cfg.Dir, clusterFile)
	if b, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(b, &k); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	} else {
		if cfg.Workers < 1 || cfg.Cores < 1 || cfg.MemoryMB < 512 {
			return nil, fmt.Errorf("a cluster of %d workers with %d cores and %d MiB cannot run", cfg.Workers, cfg.Cores, cfg.MemoryMB)
		}
		secret := make([]byte, 24)
		rand.Read(secret)
		k.Secret = hex.EncodeToString(secret)
		if err := writeFiles(&k); err != nil {
			return nil, err
		}
	}
	c := &Cluster{Install: &k.Install, Config: k.Config, kept: &k, closed: make(chan struct{}), changed: make(chan struct{})}
	c.Install.training = in.training
	if err := c.launch(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) launch(ctx context.Context) (err error) {
	if c.master, err = c.daemon("master", "master", "org.apache.spark.deploy.master.Master"); err != nil {
		return err
	}
	go c.tell(c.master)
	// Workers that find no listener wait ten seconds before they try again, so they start when the master listens.
	if c.URL, err = c.await(ctx, c.master, "master", startedMaster); err != nil {
		if _, ended := c.master.Status(); ended {
			return &MasterEnded{err.Error()}
		}
		return err
	}
	for i := range c.Config.Workers {
		w, err := c.worker(i, c.kept.generation(i))
		if err != nil {
			return err
		}
		c.workers = append(c.workers, w)
	}
	if c.kept.URL != c.URL {
		c.kept.URL = c.URL
		if err := writeFiles(c.kept); err != nil {
			return err
		}
	}
	for i, w := range c.workers {
		name := workerName(i, c.kept.generation(i))
		if _, err := c.await(ctx, w, name, registered); err != nil {
			// One that had registered and has ended since, and one that came in another's place, are losses that Lost tells.
			if _, ended := w.Status(); !ended || c.kept.generation(i) == 0 && !c.said(name, registered) {
				return err
			}
		}
	}
	port, err := c.await(ctx, c.master, "master", startedUI)
	c.WebUI = "http://127.0.0.1:" + port
	return err
}

// MasterEnded is Launch's error when the master is gone.
type MasterEnded struct{ reason string }

func (e *MasterEnded) Error() string { return e.reason }

// daemon starts a daemon of the cluster, or opens the one that was started before.
func (c *Cluster) daemon(name, role, class string, args ...string) (*proc.Process, error) {
	in, dir := c.Install, c.Config.Dir
	opts := []string{"-Dlog4j2.configurationFile=" + filepath.Join(dir, "conf", "log4j2-daemon.properties"), class,
		"--properties-file", filepath.Join(dir, "conf", "daemon.conf"), "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"}
	cmd := append(in.java(role, "256m", opts...), args...)
	home := filepath.Join(dir, name)
	env := append(in.env(), "PATH=/usr/local/bin:/usr/bin:/bin", "HOME="+home, "SPARK_LOCAL_DIRS="+filepath.Join(dir, "local"))
	return proc.Start(proc.Spec{Dir: home, Args: cmd, Env: env})
}

func (c *Cluster) worker(n, generation int) (*proc.Process, error) {
	name := workerName(n, generation)
	p, err := c.daemon(name, "worker", "org.apache.spark.deploy.worker.Worker",
		"--cores", fmt.Sprint(c.Config.Cores), "--memory", fmt.Sprintf("%dM", c.Config.MemoryMB),
		"--work-dir", filepath.Join(c.Config.Dir, name, "work"), c.URL)
	if err == nil {
		go c.tell(p)
	}
	return p, err
}

// Replace starts a worker's next process, which is the given generation of it, and returns when it has registered. It can
// be repeated.
func (c *Cluster) Replace(ctx context.Context, worker, generation int) error {
	c.mu.Lock()
	err := c.replace(worker, generation)
	var p *proc.Process
	if err == nil {
		p = c.workers[worker]
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = c.await(ctx, p, workerName(worker, generation), registered)
	return err
}

func (c *Cluster) replace(worker, generation int) error {
	switch now := c.kept.generation(worker); {
	case worker < 0 || worker >= len(c.workers) || generation < now:
		return fmt.Errorf("Spark's worker %d cannot be replaced by generation %d: it is at %d", worker, generation, now)
	case generation == now:
		return nil
	}
	k := *c.kept
	k.Generations = make([]int, len(c.workers))
	copy(k.Generations, c.kept.Generations)
	k.Generations[worker] = generation
	p, err := c.worker(worker, generation)
	if err != nil {
		return err
	}
	if err := writeFiles(&k); err != nil {
		p.Close()
		return err
	}
	c.workers[worker].Close()
	c.kept, c.workers[worker] = &k, p
	c.poke()
	return nil
}

// WorkerDir is the folder of a worker's process as it is now: its log is stderr, its executors are in work.
func (c *Cluster) WorkerDir(worker int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return filepath.Join(c.Config.Dir, workerName(worker, c.kept.generation(worker)))
}

var (
	startedMaster = regexp.MustCompile(`Starting Spark master at (spark://127\.0\.0\.1:\d+)`)
	startedUI     = regexp.MustCompile(`Bound MasterWebUI to .*started at http://[^:\s]+:(\d+)`)
	registered    = regexp.MustCompile(`Successfully registered with master (spark://127\.0\.0\.1:\d+)`)
)

// startTimeout is how long a daemon may take to say that it is there.
const startTimeout = 2 * time.Minute

// await looks into a daemon's log until sign is found, and returns its first group.
func (c *Cluster) await(ctx context.Context, p *proc.Process, name string, sign *regexp.Regexp) (string, error) {
	late := fmt.Errorf("Spark's %s did not start within %v", name, startTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, late)
	defer cancel()
	for {
		b, err := os.ReadFile(filepath.Join(c.Config.Dir, name, "stderr"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if s, ended := p.Status(); ended {
			return "", fmt.Errorf("Spark's %s ended (%v): %s", name, s, lastLine(b))
		}
		if m := sign.FindSubmatch(b); m != nil {
			return string(m[1]), nil
		}
		select {
		case <-p.Done():
		case <-ctx.Done():
			if context.Cause(ctx) == late {
				return "", fmt.Errorf("%w: %s", late, lastLine(b))
			}
			return "", context.Cause(ctx)
		case <-after(pollInterval):
		}
	}
}

// said looks for a sign in a daemon's log.
func (c *Cluster) said(name string, sign *regexp.Regexp) bool {
	b, err := os.ReadFile(filepath.Join(c.Config.Dir, name, "stderr"))
	return err == nil && sign.Match(b)
}

// tell wakes Lost when a daemon ends.
func (c *Cluster) tell(p *proc.Process) {
	select {
	case <-p.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		c.poke()
	case <-c.closed:
	}
}

func (c *Cluster) poke() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Loss is the end of a daemon.
type Loss struct {
	Worker     int // Master for the master
	Generation int // of the worker
	Message    string
}

// Master stands for the master where a worker's number may stand.
const Master = -1

// Lost returns when the master has ended, or a worker that is at least of the given generation (from 0 where none is
// given). After Close the error is os.ErrClosed.
func (c *Cluster) Lost(ctx context.Context, generations []int) (Loss, error) {
	for {
		c.mu.Lock()
		loss, found := c.lost(generations)
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-c.closed:
			return Loss{}, os.ErrClosed
		default:
		}
		if found {
			return loss, nil
		}
		select {
		case <-changed:
		case <-c.closed:
			return Loss{}, os.ErrClosed
		case <-ctx.Done():
			return Loss{}, context.Cause(ctx)
		}
	}
}

func (c *Cluster) lost(generations []int) (Loss, bool) {
	if s, ended := c.master.Status(); ended {
		return Loss{Master, 0, fmt.Sprintf("Spark's master ended: %v", s)}, true
	}
	for i, w := range c.workers {
		generation := c.kept.generation(i)
		if s, ended := w.Status(); ended && (i >= len(generations) || generation >= generations[i]) {
			return Loss{i, generation, fmt.Sprintf("Spark's %s ended: %v", workerName(i, generation), s)}, true
		}
	}
	return Loss{}, false
}

// Close stops watching; the processes go on.
func (c *Cluster) Close() {
	c.once.Do(func() {
		close(c.closed)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range append(slices.Clone(c.workers), c.master) {
			if p != nil {
				p.Close()
			}
		}
	})
}

// Stop ends every daemon of the cluster that was launched in dir, whoever launched it, and removes what only they
// needed. It does not end drivers. A folder without a cluster is no error.
func Stop(ctx context.Context, dir string, grace time.Duration) error {
	names, err := filepath.Glob(filepath.Join(dir, "worker-*"))
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, home := range append(names, filepath.Join(dir, "master")) {
		wait.Go(func() {
			p, err := proc.Open(home)
			if errors.Is(err, proc.ErrNotStarted) {
				return
			}
			if err == nil {
				_, err = p.Stop(ctx, grace)
				p.Close()
			}
			if err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, "local"))
}

// defaults is the cluster's spark-defaults.conf.
func (k *kept) defaults() map[string]string {
	cfg, in := k.Config, &k.Install
	memory := min(cfg.MemoryMB, 2048)
	d := map[string]string{
		"spark.driver.host":               "127.0.0.1",
		"spark.driver.bindAddress":        "127.0.0.1",
		"spark.ui.port":                   "0",
		"spark.port.maxRetries":           "64",
		"spark.executor.memory":           fmt.Sprintf("%dm", memory),
		"spark.executor.cores":            fmt.Sprint(cfg.Cores),
		"spark.executor.extraJavaOptions": strings.Join(append(slices.Clone(lean), in.archive("executor")...), " "),
		"spark.executor.extraClassPath":   filepath.Join(in.Jars, "*"),
		"spark.sql.shuffle.partitions":    fmt.Sprint(max(2, 2*cfg.Cores*cfg.Workers)),
		"spark.sql.warehouse.dir":         "file:" + filepath.Join(cfg.Dir, "warehouse"),
		"spark.local.dir":                 filepath.Join(cfg.Dir, "local"),
		"spark.authenticate":              "true",
		"spark.authenticate.secret":       k.Secret,
		"spark.ui.showConsoleProgress":    "false",
		"spark.pyspark.python":            in.Python,
		"spark.deploy.maxExecutorRetries": "3",
		"spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
	}
	if s := cfg.Storage; s != nil {
		for _, scheme := range []string{"s3", "s3a", "s3n"} {
			d["spark.hadoop.fs."+scheme+".impl"] = "org.apache.hadoop.fs.s3a.S3AFileSystem"
			d["spark.hadoop.fs.AbstractFileSystem."+scheme+".impl"] = "org.apache.hadoop.fs.s3a.S3A"
		}
		maps.Copy(d, map[string]string{
			"spark.hadoop.fs.s3a.endpoint":                 s.Endpoint,
			"spark.hadoop.fs.s3a.endpoint.region":          s.Region,
			"spark.hadoop.fs.s3a.path.style.access":        "true",
			"spark.hadoop.fs.s3a.connection.ssl.enabled":   fmt.Sprint(strings.HasPrefix(s.Endpoint, "https:")),
			"spark.hadoop.fs.s3a.access.key":               s.AccessKeyID,
			"spark.hadoop.fs.s3a.secret.key":               s.SecretAccessKey,
			"spark.hadoop.fs.s3a.performance.flags":        "*",
			"spark.hadoop.fs.s3a.buffer.dir":               filepath.Join(cfg.Dir, "local", "s3a"),
			"spark.hadoop.fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
		})
		if s.SessionToken != "" {
			d["spark.hadoop.fs.s3a.session.token"] = s.SessionToken
			d["spark.hadoop.fs.s3a.aws.credentials.provider"] = "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"
		}
	}
	maps.Copy(d, cfg.Defaults)
	if k.URL != "" {
		d["spark.master"] = k.URL
	}
	return d
}

// daemonConf is what master and workers read.
func (k *kept) daemonConf() map[string]string {
	return map[string]string{
		"spark.authenticate":              "true",
		"spark.authenticate.secret":       k.Secret,
		"spark.deploy.appIdPattern":       "application_%s_%04d",
		"spark.deploy.maxExecutorRetries": "3",
		"spark.deploy.defaultCores":       fmt.Sprint(k.Config.Cores * k.Config.Workers),
		"spark.worker.timeout":            "60",
		"spark.worker.cleanup.enabled":    "true",
		"spark.worker.cleanup.appDataTtl": "86400",
		"spark.port.maxRetries":           "64",
	}
}

const daemonLog = `rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.console.type = Console
appender.console.name = stderr
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.deploy.name = org.apache.spark.deploy
logger.deploy.level = info
`

const driverLog = `rootLogger.level = info
rootLogger.appenderRef.stderr.ref = stderr
appender.console.type = Console
appender.console.name = stderr
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.jetty.name = org.sparkproject.jetty
logger.jetty.level = warn
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.metrics.name = org.apache.hadoop.metrics2
logger.metrics.level = error
`

// writeFiles writes the cluster's configuration; cluster.json last, since it says that all of it stands.
func writeFiles(k *kept) error {
	conf := filepath.Join(k.Config.Dir, "conf")
	if err := os.MkdirAll(conf, 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		path    string
		content []byte
	}{
		{filepath.Join(conf, "log4j2-daemon.properties"), []byte(daemonLog)},
		{filepath.Join(conf, "log4j2.properties"), []byte(driverLog)},
		{filepath.Join(conf, "daemon.conf"), properties(k.daemonConf())},
		{filepath.Join(conf, "spark-defaults.conf"), properties(k.defaults())},
		{filepath.Join(conf, "core-site.xml"), coreSite(k.defaults())},
		{filepath.Join(k.Config.Dir, clusterFile), b},
	} {
		if err := os.WriteFile(f.path+".new", f.content, 0o600); err != nil {
			return err
		}
		if err := os.Rename(f.path+".new", f.path); err != nil {
			return err
		}
	}
	return nil
}

// properties writes a Java properties file.
func properties(m map[string]string) []byte {
	var b bytes.Buffer
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%s\n", strings.NewReplacer(`\`, `\\`, "=", `\=`, ":", `\:`, " ", `\ `, "\n", `\n`, "\r", `\r`).Replace(key), escape.Replace(m[key]))
	}
	return b.Bytes()
}
