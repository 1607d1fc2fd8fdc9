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
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/services/emr/host"
	"github.com/mayfly-run/mayfly/spark"
)

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
	return s.provisionNodes(spec, nil)
}

// some are nodes by their EC2 ids; nil: all.
type some map[string]bool

func (n some) has(node cluster.Instance) bool { return n == nil || n[node.EC2ID] }

func (s *Service) provisionNodes(spec *cluster.Spec, nodes some) error {
	for _, g := range spec.Groups {
		for _, node := range g.Instances {
			if !nodes.has(node) {
				continue
			}
			if err := s.provisionNode(spec, g, node); err != nil {
				return err
			}
		}
	}
	return nil
}

// provisionNode makes a node's folder: its home, and what EMR tells the programs on it.
func (s *Service) provisionNode(spec *cluster.Spec, g cluster.Group, node cluster.Instance) error {
	dir := s.dir(spec.ID, "nodes", node.EC2ID)
	for _, name := range []string{"home", "info"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
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
		if err := writeFile(filepath.Join(dir, "info", name), b, 0o600); err != nil {
			return err
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
func configure(cs []emrapi.Configuration, lease host.Lease) configured {
	c := configured{defaults: map[string]string{}, env: map[string]string{}}
	for _, one := range cs {
		switch name := awsapi.Val(one.Classification); name {
		case "spark-defaults":
			kept, notes := spark.FilterDefaults(one.Properties)
			maps.Copy(c.defaults, kept)
			c.notes = append(c.notes, notes...)
		case "spark":
			if strings.EqualFold(one.Properties["maximizeResourceAllocation"], "true") {
				c.defaults["spark.executor.memory"] = fmt.Sprintf("%dm", lease.MemoryMB)
				c.defaults["spark.default.parallelism"] = fmt.Sprint(2 * lease.Workers * lease.Cores)
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
	for name, value := range configure(spec.Request.Configurations, host.Lease{}).env {
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

// bootstrap runs the bootstrap actions on each node, in order, and then starts Spark.
func (s *Service) bootstrap(ctx context.Context, l *live, spec *cluster.Spec) error {
	if err := s.bootstrapActions(ctx, l, spec, nil); err != nil {
		return err
	}
	c, err := s.sparkOf(ctx, l, spec)
	if err != nil {
		return err
	}
	s.tellNodes(spec, c)
	return nil
}

func (s *Service) bootstrapActions(ctx context.Context, l *live, spec *cluster.Spec, nodes some) error {
	for n, action := range spec.Request.BootstrapActions {
		var failed []string
		master := false
		for _, g := range spec.Groups {
			for _, node := range g.Instances {
				if !nodes.has(node) {
					continue
				}
				status, err := s.bootstrapAction(ctx, l, spec, g, node, n+1, action)
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
	return nil
}

// bootstrapAction runs action number n on one node.
func (s *Service) bootstrapAction(ctx context.Context, l *live, spec *cluster.Spec, g cluster.Group, node cluster.Instance, n int, action emrapi.BootstrapActionConfig) (proc.Status, error) {
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
	s.copyLogs(ctx, l, spec, fmt.Sprintf("node/%s/bootstrap-actions/%d/", node.EC2ID, n), true)
	return status, nil
}
