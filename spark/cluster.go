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

	master  *proc.Process
	workers []*proc.Process
	dead    chan struct{}
	once    sync.Once
	why     error
}

// kept is what stands in cluster.json.
type kept struct {
	Config  Config
	Install Installation
	Secret  string
	URL     string
}

const clusterFile = "cluster.json"

// Launch starts the cluster and returns when every worker has registered. On a folder in which a cluster was started
// before, it adopts what lives there. The processes outlive the caller; Stop ends them.
func Launch(ctx context.Context, in *Installation, cfg Config) (*Cluster, error) {
	if cfg.Workers < 1 || cfg.Cores < 1 || cfg.MemoryMB < 512 {
		return nil, fmt.Errorf("a cluster of %d workers with %d cores and %d MiB cannot run", cfg.Workers, cfg.Cores, cfg.MemoryMB)
	}
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
		secret := make([]byte, 24)
		rand.Read(secret)
		k.Secret = hex.EncodeToString(secret)
		if err := writeFiles(&k); err != nil {
			return nil, err
		}
	}
	c := &Cluster{Install: &k.Install, Config: k.Config, dead: make(chan struct{})}
	c.Install.training = in.training
	if err := c.launch(ctx, &k); err != nil {
		c.Close()
		return nil, err
	}
	go c.watch()
	return c, nil
}

func (c *Cluster) launch(ctx context.Context, k *kept) error {
	in, dir := c.Install, c.Config.Dir
	daemon := func(name, role, class string, args ...string) (*proc.Process, error) {
		opts := []string{"-Dlog4j2.configurationFile=" + filepath.Join(dir, "conf", "log4j2-daemon.properties"), class,
			"--properties-file", filepath.Join(dir, "conf", "daemon.conf"), "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"}
		cmd := append(in.java(role, "256m", opts...), args...)
		home := filepath.Join(dir, name)
		env := append(in.env(), "PATH=/usr/local/bin:/usr/bin:/bin", "HOME="+home, "SPARK_LOCAL_DIRS="+filepath.Join(dir, "local"))
		return proc.Start(proc.Spec{Dir: home, Args: cmd, Env: env})
	}
	var err error
	if c.master, err = daemon("master", "master", "org.apache.spark.deploy.master.Master"); err != nil {
		return err
	}
	// Workers that find no listener wait ten seconds before they try again, so they start when the master listens.
	found, err := c.await(ctx, c.master, "master", startedMaster)
	if err != nil {
		return err
	}
	c.URL = found
	for i := range c.Config.Workers {
		name := fmt.Sprintf("worker-%d", i)
		w, err := daemon(name, "worker", "org.apache.spark.deploy.worker.Worker",
			"--cores", fmt.Sprint(c.Config.Cores), "--memory", fmt.Sprintf("%dM", c.Config.MemoryMB),
			"--work-dir", filepath.Join(dir, name, "work"), c.URL)
		if err != nil {
			return err
		}
		c.workers = append(c.workers, w)
	}
	if k.URL != c.URL {
		k.URL = c.URL
		if err := writeFiles(k); err != nil {
			return err
		}
	}
	for i, w := range c.workers {
		if _, err := c.await(ctx, w, fmt.Sprintf("worker-%d", i), registered); err != nil {
			return err
		}
	}
	port, err := c.await(ctx, c.master, "master", startedUI)
	c.WebUI = "http://127.0.0.1:" + port
	return err
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

// watch closes Dead when the master, or every worker, has ended.
func (c *Cluster) watch() {
	workers := make(chan struct{})
	go func() {
		for _, w := range c.workers {
			select {
			case <-w.Done():
			case <-c.dead:
				return
			}
		}
		close(workers)
	}()
	select {
	case <-c.master.Done():
		s, _ := c.master.Status()
		c.die(fmt.Errorf("Spark's master ended: %v", s))
	case <-workers:
		c.die(errors.New("all of Spark's workers ended"))
	case <-c.dead:
	}
}

func (c *Cluster) die(why error) { c.once.Do(func() { c.why = why; close(c.dead) }) }

// Dead is closed when the cluster can run nothing any more, or was closed.
func (c *Cluster) Dead() <-chan struct{} { return c.dead }

// Err says why Dead is closed.
func (c *Cluster) Err() error {
	select {
	case <-c.dead:
		return c.why
	default:
		return nil
	}
}

// Close stops watching; the processes go on.
func (c *Cluster) Close() {
	c.die(os.ErrClosed)
	for _, p := range append(slices.Clone(c.workers), c.master) {
		if p != nil {
			p.Close()
		}
	}
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
