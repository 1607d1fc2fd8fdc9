package emr

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/store"
)

// live is what this process holds of a cluster: nothing that its folder does not hold too.
type live struct {
	// tearing is held for reading by every command that starts something, and for writing by TearDown, so that nothing is
	// started behind its back.
	tearing sync.RWMutex
	ctx     context.Context // ends when the teardown begins
	cancel  context.CancelFunc

	launch sync.Mutex
	spark  *spark.Cluster
}

func (s *Service) hold(id string) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[id]
	if l == nil {
		l = &live{}
		l.ctx, l.cancel = context.WithCancel(context.Background())
		s.live[id] = l
	}
	return l
}

const endedFile = "ended" // stands when the cluster is being torn down: nothing may be started any more

// dispatch carries out one command of a cluster. Each can be repeated: what it started is found again.
func (s *Service) dispatch(ctx context.Context, entity store.ID, _ string, c cluster.Command) (*cluster.Input, error) {
	id := strings.TrimPrefix(string(entity), kind+"/")
	l := s.hold(id)
	if c.TearDown != nil {
		return s.tearDown(ctx, id, l, c.TearDown)
	}
	l.tearing.RLock()
	defer l.tearing.RUnlock()
	if _, err := os.Stat(s.dir(id, endedFile)); err == nil {
		return nil, nil
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()

	var spec cluster.Spec
	var step cluster.Step
	err := s.clusters.View(both, entity, func(st *cluster.State) {
		spec = st.Spec
		spec.Request.Tags = st.Settings.Tags
		if c.RunStep != nil {
			if found := st.Step(c.RunStep.ID); found != nil {
				step = *found
			}
		}
	})
	var in *cluster.Input
	if err == nil {
		switch {
		case c.Provision != nil:
			in = &cluster.Input{Provisioned: &cluster.Outcome{}}
			if err = s.provision(both, &spec); err != nil {
				in.Provisioned = &cluster.Outcome{Code: "INTERNAL_ERROR", Message: err.Error()}
			}
		case c.Bootstrap != nil:
			in = &cluster.Input{Bootstrapped: &cluster.Outcome{}}
			if err = s.bootstrap(both, l, &spec); err != nil {
				in.Bootstrapped = outcome(err)
			}
		case c.Watch != nil:
			in, err = s.watch(both, l, &spec)
		case c.RunStep != nil:
			in, err = s.runStep(both, l, &spec, &step)
		case c.CancelStep != nil:
			err = s.cancelStep(id, c.CancelStep)
		}
	}
	switch {
	case l.ctx.Err() != nil:
		return nil, nil // the cluster ends: nobody waits for the answer
	case ctx.Err() != nil:
		return nil, context.Cause(ctx) // the server ends: the command is repeated by the next one
	case in != nil:
		if err != nil {
			s.Log.WarnContext(ctx, "cluster failed", "cluster", id, "err", err)
		}
		return in, nil
	}
	return nil, err
}

// reasoned is an error with the code of a cluster's state change reason.
type reasoned struct {
	code, message string
}

func (r *reasoned) Error() string { return r.message }

func outcome(err error) *cluster.Outcome {
	var r *reasoned
	if errors.As(err, &r) {
		return &cluster.Outcome{Code: r.code, Message: r.message}
	}
	return &cluster.Outcome{Code: "INTERNAL_ERROR", Message: err.Error()}
}

// principal is who programs on the cluster are.
func principal(spec *cluster.Spec) identity.Principal {
	role := awsapi.Val(spec.Request.JobFlowRole)
	if i := strings.LastIndexByte(role, '/'); i >= 0 {
		role = role[i+1:]
	}
	if role == "" {
		role = "EMR_EC2_DefaultRole"
	}
	return spec.Principal.On(identity.Cluster, spec.ID,
		fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", spec.Principal.Account, role, spec.Master().EC2ID))
}

const credentialsFile = "credentials.json"

func (s *Service) credentials(id string) (c identity.Credentials, err error) {
	b, err := os.ReadFile(s.dir(id, credentialsFile))
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	return c, err
}

// provision makes the cluster's folder: credentials, the Python environment, the programs on the PATH, the nodes.
func (s *Service) provision(ctx context.Context, spec *cluster.Spec) error {
	in, err := s.Spark()
	if err != nil {
		return err
	}
	for _, dir := range []string{"bin", "steps", "python"} {
		if err := os.MkdirAll(s.dir(spec.ID, dir), 0o700); err != nil {
			return err
		}
	}
	if _, err := s.credentials(spec.ID); errors.Is(err, fs.ErrNotExist) {
		c, err := s.Issuer.Issue(ctx, principal(spec))
		if err != nil {
			return err
		}
		b, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if err := writeFile(s.dir(spec.ID, credentialsFile), b, 0o600); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := overlay(in, s.dir(spec.ID, "python")); err != nil {
		return err
	}
	if err := shims(in, s.dir(spec.ID, "bin")); err != nil {
		return err
	}
	for _, g := range spec.Groups {
		for _, node := range g.Instances {
			info := s.dir(spec.ID, "nodes", node.EC2ID, "info")
			if err := os.MkdirAll(filepath.Join(filepath.Dir(info), "home"), 0o700); err != nil {
				return err
			}
			if err := os.MkdirAll(info, 0o700); err != nil {
				return err
			}
			for name, v := range map[string]any{
				"instance.json": map[string]any{"isMaster": g.Role == "MASTER", "isSlave": g.Role != "MASTER", "isRunningNameNode": g.Role == "MASTER",
					"isRunningDataNode": g.Role == "CORE", "instanceGroupId": g.ID},
				"job-flow.json": map[string]any{"jobFlowId": spec.ID, "instanceCount": spec.Workers() + 1, "masterInstanceId": spec.Master().EC2ID,
					"masterPrivateDnsName": "localhost"},
			} {
				b, err := json.Marshal(v)
				if err != nil {
					return err
				}
				if err := writeFile(filepath.Join(info, name), b, 0o600); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// writeFile writes a file that is whole or absent.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path+".new", b, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

//go:embed sitecustomize.py
var siteCustomize string

// overlay makes a Python environment in which pip installs for this cluster only, over the one that setup brought.
func overlay(in *spark.Installation, dir string) error {
	base := filepath.Dir(filepath.Dir(in.Python))
	real, err := filepath.EvalSymlinks(in.Python)
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(base, "lib", "python3.*", "site-packages"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("no site-packages in %s", base)
	}
	site := filepath.Join(dir, "lib", filepath.Base(filepath.Dir(found[0])), "site-packages")
	for _, d := range []string{filepath.Join(dir, "bin"), site} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	cfg, err := os.ReadFile(filepath.Join(base, "pyvenv.cfg"))
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "pyvenv.cfg"), cfg, 0o600); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(site, "sitecustomize.py"), []byte(siteCustomize), 0o600); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(site, "mayfly.pth"), []byte(found[0]+"\n"), 0o600); err != nil {
		return err
	}
	for _, name := range []string{"python3", "python"} {
		if err := os.Symlink(real, filepath.Join(dir, "bin", name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// shims are the programs that mean something else on this machine than on a node of EMR.
func shims(in *spark.Installation, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	self = strings.TrimSuffix(self, " (deleted)")
	python := filepath.Join(filepath.Dir(dir), "python", "bin", "python3")
	scripts := map[string]string{
		// There is no root here: what follows runs as it is.
		"sudo": "while [ $# -gt 0 ]; do case \"$1\" in\n-u|-g|-h|-p|-C) shift 2;;\n--) shift; break;;\n-*) shift;;\n*=*) export \"$1\"; shift;;\n*) break;;\nesac; done\n[ $# -eq 0 ] || exec \"$@\"\n",
		// AWS: version 1 of the command line does not read AWS_ENDPOINT_URL for every service and region.
		"aws": "exec " + quote(in.AWS()) + " --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\"\n",
		// The shared environment is never written to.
		"pip": "exec " + quote(python) + " -m pip --disable-pip-version-check \"$@\"\n",
	}
	scripts["pip3"], scripts["pip-3"] = scripts["pip"], scripts["pip"]
	for _, name := range []string{"yum", "dnf", "apt-get", "apt", "amazon-linux-extras", "systemctl", "service"} {
		scripts[name] = "echo \"mayfly: '" + name + " $*' is refused: a cluster on this machine changes nothing outside of its own folder. Install what is missing yourself.\" >&2\nexit 1\n"
	}
	for _, name := range spark.Shims {
		scripts[name] = "exec " + quote(self) + " on-cluster " + name + " \"$@\"\n"
	}
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		if err := writeFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+scripts[name]), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// configure reads the configuration classifications.
func configure(cs []emrapi.Configuration, budget spark.Budget) configured {
	c := configured{defaults: map[string]string{}, env: map[string]string{}}
	for _, one := range cs {
		switch name := awsapi.Val(one.Classification); name {
		case "spark-defaults":
			kept, notes := spark.FilterDefaults(one.Properties)
			maps.Copy(c.defaults, kept)
			c.notes = append(c.notes, notes...)
		case "spark":
			if strings.EqualFold(one.Properties["maximizeResourceAllocation"], "true") {
				c.defaults["spark.executor.memory"] = fmt.Sprintf("%dm", budget.MemoryMB)
				c.defaults["spark.default.parallelism"] = fmt.Sprint(2 * budget.Workers * budget.Cores)
			}
		case "core-site":
			for k, v := range one.Properties {
				c.defaults["spark.hadoop."+k] = v
			}
		case "spark-env", "hadoop-env":
			for _, nested := range one.Configurations {
				if awsapi.Val(nested.Classification) != "export" {
					continue
				}
				for k, v := range nested.Properties {
					if strings.HasPrefix(k, "PYSPARK_") {
						if _, err := os.Stat(v); err != nil {
							c.notes = append(c.notes, k+"="+v+" is dropped: there is no such program on this machine")
							continue
						}
					}
					c.env[k] = v
				}
			}
		default:
			c.notes = append(c.notes, "the configuration "+name+" is kept and shown, and changes nothing here")
		}
	}
	return c
}

// environment is what programs on the cluster see.
func (s *Service) environment(spec *cluster.Spec, in *spark.Installation, node cluster.Instance) ([]string, error) {
	key, err := s.credentials(spec.ID)
	if err != nil {
		return nil, err
	}
	home := s.dir(spec.ID, "nodes", node.EC2ID, "home")
	env := []string{
		"PATH=" + strings.Join([]string{s.dir(spec.ID, "bin"), s.dir(spec.ID, "python", "bin"), filepath.Join(in.Java.Home, "bin"), "/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin"}, ":"),
		"HOME=" + home, "USER=hadoop", "LOGNAME=hadoop", "SHELL=/bin/sh", "LANG=C.UTF-8", "TZ=UTC", "TMPDIR=" + os.TempDir(),
		"HADOOP_USER_NAME=hadoop", "JAVA_HOME=" + in.Java.Home, "SPARK_HOME=" + in.Home, spark.ClusterEnv + "=" + s.dir(spec.ID, "spark"),
		"SPARK_CONF_DIR=" + s.dir(spec.ID, "spark", "conf"), "HADOOP_CONF_DIR=" + s.dir(spec.ID, "spark", "conf"), "SPARK_LOCAL_IP=127.0.0.1",
		"PYSPARK_PYTHON=" + s.dir(spec.ID, "python", "bin", "python3"), "PYTHONUNBUFFERED=1",
		"EMR_CLUSTER_ID=" + spec.ID, "EMR_RELEASE_LABEL=" + awsapi.Val(spec.Request.ReleaseLabel), "MAYFLY_NODE_INFO=" + s.dir(spec.ID, "nodes", node.EC2ID, "info"),
	}
	env = append(env, s.awsEnvironment(spec, key)...)
	for name, value := range configure(spec.Request.Configurations, spark.BudgetFor(spec.Workers())).env {
		env = append(env, name+"="+value)
	}
	return env, nil
}

// awsEnvironment has boto3 and the AWS CLI reach Mayfly, as the cluster.
func (s *Service) awsEnvironment(spec *cluster.Spec, key identity.Credentials) []string {
	env := []string{"AWS_ENDPOINT_URL=" + s.Endpoint(), "AWS_REGION=" + spec.Principal.Region, "AWS_DEFAULT_REGION=" + spec.Principal.Region,
		"AWS_ACCESS_KEY_ID=" + key.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + key.SecretAccessKey, "AWS_EC2_METADATA_DISABLED=true"}
	if key.SessionToken != "" {
		env = append(env, "AWS_SESSION_TOKEN="+key.SessionToken)
	}
	return env
}

// sparkConfig is the cluster as package spark starts it.
func (s *Service) sparkConfig(spec *cluster.Spec) (spark.Config, error) {
	key, err := s.credentials(spec.ID)
	if err != nil {
		return spark.Config{}, err
	}
	budget := spark.BudgetFor(spec.Workers())
	defaults := configure(spec.Request.Configurations, budget).defaults
	defaults["spark.pyspark.python"] = s.dir(spec.ID, "python", "bin", "python3")
	for _, kv := range s.awsEnvironment(spec, key) {
		name, value, _ := strings.Cut(kv, "=")
		defaults["spark.executorEnv."+name] = value
	}
	return spark.Config{
		Dir: s.dir(spec.ID, "spark"), Workers: budget.Workers, Cores: budget.Cores, MemoryMB: budget.MemoryMB,
		Storage: &spark.Storage{Endpoint: s.Endpoint(), Region: spec.Principal.Region,
			AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey, SessionToken: key.SessionToken},
		Defaults: defaults,
	}, nil
}

// sparkOf is the cluster's Spark: launched, or adopted after a restart.
func (s *Service) sparkOf(ctx context.Context, l *live, spec *cluster.Spec) (*spark.Cluster, error) {
	l.launch.Lock()
	defer l.launch.Unlock()
	if l.spark != nil {
		return l.spark, nil
	}
	in, err := s.Spark()
	if err != nil {
		return nil, err
	}
	cfg, err := s.sparkConfig(spec)
	if err != nil {
		return nil, err
	}
	l.spark, err = spark.Launch(ctx, in, cfg)
	return l.spark, err
}

// bootstrap runs the bootstrap actions on each node, in order, and then starts Spark.
func (s *Service) bootstrap(ctx context.Context, l *live, spec *cluster.Spec) error {
	for n, action := range spec.Request.BootstrapActions {
		var failed []string
		master := false
		for _, g := range spec.Groups {
			for _, node := range g.Instances {
				status, err := s.bootstrapAction(ctx, spec, g, node, n+1, action)
				if err != nil {
					return err
				}
				if status.Code != 0 {
					failed = append(failed, node.EC2ID)
					master = master || g.Role == "MASTER"
				}
			}
		}
		switch {
		case master:
			return &reasoned{"BOOTSTRAP_FAILURE", fmt.Sprintf("On the master instance (%s), bootstrap action %d returned a non-zero return code", spec.Master().EC2ID, n+1)}
		case len(failed) > 0:
			return &reasoned{"BOOTSTRAP_FAILURE", fmt.Sprintf("On %d slave instances (including %s), bootstrap action %d returned a non-zero return code",
				len(failed), strings.Join(failed[:min(2, len(failed))], " and "), n+1)}
		}
	}
	_, err := s.sparkOf(ctx, l, spec)
	return err
}

// bootstrapAction runs action number n on one node.
func (s *Service) bootstrapAction(ctx context.Context, spec *cluster.Spec, g cluster.Group, node cluster.Instance, n int, action emrapi.BootstrapActionConfig) (proc.Status, error) {
	in, err := s.Spark()
	if err != nil {
		return proc.Status{}, err
	}
	dir := s.dir(spec.ID, "nodes", node.EC2ID, "bootstrap-actions", fmt.Sprint(n))
	p, err := proc.Open(filepath.Join(dir, "proc"))
	if errors.Is(err, proc.ErrNotStarted) {
		path, args := action.ScriptBootstrapAction.Path, action.ScriptBootstrapAction.Args
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return proc.Status{}, err
		}
		var command []string
		if strings.HasSuffix(path, "elasticmapreduce/bootstrap-actions/run-if") && len(args) > 1 {
			// AWS: the documented helper. Its condition is looked at here, its command is a program on the node.
			want, known := strings.CutPrefix(args[0], "instance.isMaster=")
			if !known || want != "true" && want != "false" {
				return proc.Status{}, &reasoned{"BOOTSTRAP_FAILURE", "run-if: Mayfly knows instance.isMaster=true and false, not " + args[0]}
			}
			if (want == "true") != (g.Role == "MASTER") {
				return proc.Status{}, nil
			}
			command = args[1:]
		} else {
			script := filepath.Join(dir, "script-"+filepath.Base(path))
			if err := s.download(ctx, principal(spec), path, script); err != nil {
				if ctx.Err() != nil {
					return proc.Status{}, err
				}
				return proc.Status{}, &reasoned{"BOOTSTRAP_FAILURE", fmt.Sprintf("On the instance %s, bootstrap action %d could not be downloaded: %v", node.EC2ID, n, err)}
			}
			command = append([]string{script}, args...)
		}
		env, err := s.environment(spec, in, node)
		if err != nil {
			return proc.Status{}, err
		}
		p, err = proc.Start(proc.Spec{Dir: filepath.Join(dir, "proc"), Args: command, Env: env,
			WorkDir: s.dir(spec.ID, "nodes", node.EC2ID, "home"), Stdout: filepath.Join(dir, "stdout"), Stderr: filepath.Join(dir, "stderr")})
		if err != nil {
			return proc.Status{}, err
		}
	} else if err != nil {
		return proc.Status{}, err
	}
	defer p.Close()
	status, err := p.Wait(ctx)
	if err != nil {
		return status, err
	}
	s.controller(dir, "bootstrap action %d (%s) on %s: %v", n, action.Name, node.EC2ID, status)
	s.upload(ctx, spec, dir, fmt.Sprintf("node/%s/bootstrap-actions/%d", node.EC2ID, n))
	return status, nil
}

// watch returns when the cluster's Spark can run nothing any more.
func (s *Service) watch(ctx context.Context, l *live, spec *cluster.Spec) (*cluster.Input, error) {
	c, err := s.sparkOf(ctx, l, spec)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return &cluster.Input{Died: &cluster.Died{Message: err.Error()}}, nil
	}
	select {
	case <-c.Dead():
		return &cluster.Input{Died: &cluster.Died{Message: c.Err().Error()}}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// endGrace is how long processes have between SIGTERM and SIGKILL when their cluster ends.
const endGrace = 3 * time.Second

// tearDown ends every process of the cluster, saves the logs of the steps that were interrupted, and forgets its key.
func (s *Service) tearDown(ctx context.Context, id string, l *live, t *cluster.TearDown) (*cluster.Input, error) {
	if err := os.MkdirAll(s.dir(id), 0o700); err != nil {
		return nil, err
	}
	if err := writeFile(s.dir(id, endedFile), nil, 0o600); err != nil {
		return nil, err
	}
	l.cancel()
	l.tearing.Lock()
	defer l.tearing.Unlock()
	if l.spark != nil {
		l.spark.Close()
	}
	started, err := filepath.Glob(s.dir(id, "steps", "*", "proc"))
	if err != nil {
		return nil, err
	}
	bootstrapping, err := filepath.Glob(s.dir(id, "nodes", "*", "bootstrap-actions", "*", "proc"))
	if err != nil {
		return nil, err
	}
	var wait sync.WaitGroup
	errs := make([]error, len(started)+len(bootstrapping)+1)
	for i, dir := range append(started, bootstrapping...) {
		wait.Go(func() {
			p, err := proc.Open(dir)
			if errors.Is(err, proc.ErrNotStarted) {
				return
			}
			if err == nil {
				_, err = p.Stop(ctx, endGrace)
				p.Close()
			}
			errs[i] = err
		})
	}
	wait.Wait()
	errs[len(errs)-1] = spark.Stop(ctx, s.dir(id, "spark"), endGrace)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("end the processes of %s: %w", id, err)
	}
	var spec cluster.Spec
	if err := s.clusters.View(ctx, EntityID(id), func(st *cluster.State) { spec = st.Spec }); err != nil {
		return nil, err
	}
	for _, step := range t.Interrupted {
		s.controller(s.dir(id, "steps", step), "the step ends with its cluster")
		s.upload(ctx, &spec, s.dir(id, "steps", step), "steps/"+step)
	}
	if key, err := s.credentials(id); err == nil {
		if err := s.Issuer.Revoke(ctx, key.AccessKeyID); err != nil {
			return nil, err
		}
	}
	// The logs stay; secrets and what only processes needed go.
	gone := []string{s.dir(id, credentialsFile), s.dir(id, "python"), s.dir(id, "bin"), s.dir(id, "spark", "conf"),
		s.dir(id, "spark", "cluster.json"), s.dir(id, "spark", "warehouse")}
	for _, pattern := range []string{s.dir(id, "spark", "worker-*", "work"), s.dir(id, "nodes", "*", "home")} {
		found, _ := filepath.Glob(pattern)
		gone = append(gone, found...)
	}
	for _, path := range gone {
		if err := os.RemoveAll(path); err != nil {
			s.Log.WarnContext(ctx, "cluster's files not removed", "cluster", id, "err", err)
		}
	}
	s.mu.Lock()
	delete(s.live, id)
	s.mu.Unlock()
	return &cluster.Input{TornDown: &struct{}{}}, nil
}

// machine is one line on how nodes and processes relate.
func machine(spec *cluster.Spec, c *spark.Cluster) string {
	return fmt.Sprintf("Spark %s on this machine (%s/%s): %d worker processes with %d cores and %d MiB each stand for %d worker nodes",
		c.Install.Version, runtime.GOOS, runtime.GOARCH, c.Config.Workers, c.Config.Cores, c.Config.MemoryMB, spec.Workers())
}
